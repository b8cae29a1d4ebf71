//! Clocks, and what an integrator puts in their place.

use std::time::{Duration, SystemTime};

use tapline_host_core::{
    Call, CallError, CallState, Capability, Collect, Fault, Host, Interface, PluginSpec, Signature, Tap,
    limits::PartialLimits, observed,
};
use tapline_host_wasi::MAX_RANDOM_BYTES;
use tokio::time::timeout;
use wasmtime::{StoreContextMut, component::Linker};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;

use crate::{Place, answers, config, fault, guests, host, name, probe_spec};

/// Long enough for anything that is not stuck.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_clock_tells_the_time() {
    let host = host();
    host.load(probe_spec(Place::new().grant("read"))).await.unwrap();
    let seconds = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let before = seconds();
    let told: u64 = answers(&host, &["now"]).await[0].strip_prefix("ok ").unwrap().parse().unwrap();
    assert!((before..=seconds()).contains(&told), "{told}");
}

#[tokio::test]
async fn whoever_watches_sees_how_often_a_plugin_asked_for_something() {
    let host = host();
    let place = Place::new();
    std::fs::write(place.data().join("a"), "text").unwrap();
    host.load(probe_spec(place.grant("read"))).await.unwrap();
    let mut counts = Vec::new();
    for commands in [&["now"][..], &["now", "now"], &["now", "read /data/a"]] {
        let (_, calls) = observed(answers(&host, commands)).await;
        counts.push(calls[0].used.unwrap().host_calls);
    }
    let [once, twice, with_a_file] = counts[..] else { panic!("{counts:?}") };
    assert!(once > 0 && twice == once + 1 && with_a_file > once + 1, "{counts:?}");
}

#[tokio::test]
async fn a_plugin_that_sleeps_is_woken_by_its_deadline() {
    let host = host();
    let place = Place::new();
    let mut spec = probe_spec(place.grant("read"));
    spec.limits = PartialLimits { max_execution_time_ms: Some(300), ..PartialLimits::default() };
    host.load(spec).await.unwrap();
    let fault = timeout(PATIENCE, fault(&host, "sleep 1000000")).await.unwrap();
    assert!(matches!(fault, Fault::TimedOut { limit } if limit == Duration::from_millis(300)), "{fault}");
}

/// A tap that takes nothing and answers a number.
struct Seconds;

impl Tap for Seconds {
    const NAME: &'static str = "seconds";
    const INTERFACES: &'static [Interface] =
        &[Interface { name: "test:wasi/seconds@1.0.0", function: "run", mode: "full" }];
    type Policy = Collect;
    type Input = ();
    type Answer = u64;

    fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        signature.is::<(), (u64,)>()
    }

    async fn call(call: &mut Call, (): &()) -> Result<u64, CallError> {
        Ok(call.invoke::<(), (u64,)>(()).await?.0)
    }
}

/// A tap that answers how many random bytes it got.
pub(crate) struct Randomness;

impl Tap for Randomness {
    const NAME: &'static str = "randomness";
    const INTERFACES: &'static [Interface] =
        &[Interface { name: "test:wasi/randomness@1.0.0", function: "run", mode: "full" }];
    type Policy = Collect;
    type Input = (bool, u64);
    type Answer = u32;

    fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        signature.is::<(bool, u64), (u32,)>()
    }

    async fn call(call: &mut Call, asked: &(bool, u64)) -> Result<u32, CallError> {
        Ok(call.invoke::<(bool, u64), (u32,)>(*asked).await?.0)
    }
}

#[tokio::test]
async fn one_host_call_gives_no_more_random_bytes_than_it_may() {
    let host = tapline_host_wasi::register(Host::builder().config(config()).tap::<Randomness>()).build().unwrap();
    host.load(PluginSpec::bytes(name("random"), guests::random()).grant("random", true)).await.unwrap();
    for is_secure in [true, false] {
        let most = host.dispatch(Randomness, &(is_secure, MAX_RANDOM_BYTES)).await.unwrap();
        assert_eq!(most.answers, [(name("random"), 65_536)], "{:?}", most.failures);
        for length in [MAX_RANDOM_BYTES + 1, u64::MAX] {
            let more = host.dispatch(Randomness, &(is_secure, length)).await.unwrap();
            assert_eq!((more.answers.len(), more.failures.len(), host.slots().0), (0, 1, 0), "{length}");
            assert!(matches!(more.failures[0].fault, Fault::BadAnswer { .. }), "{}", more.failures[0]);
        }
    }
}

/// A clock that stands still, as a program that replays the past would want it.
struct StoppedClock;

impl Capability for StoppedClock {
    fn grant_name(&self) -> Option<&'static str> {
        None
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["wasi:clocks/wall-clock@0.2.12"]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        let mut clock = linker.instance("wasi:clocks/wall-clock@0.2.12")?;
        clock.func_wrap("now", |_: StoreContextMut<'_, CallState>, (): ()| {
            Ok((Datetime { seconds: 42, nanoseconds: 0 },))
        })
    }
}

#[tokio::test]
async fn an_integrator_serves_an_interface_in_our_place() {
    // An older version of the interface, which a newer one serves.
    let plugin = guests::clock("0.2.0");
    let ours = Host::builder().config(config()).tap::<Seconds>();
    let ours = tapline_host_wasi::register(ours).build().unwrap();
    ours.load(PluginSpec::bytes(name("clock"), plugin.clone()).grant("clocks", true)).await.unwrap();
    assert!(ours.dispatch(Seconds, &()).await.unwrap().answers[0].1 > 1_700_000_000);

    let theirs = Host::builder().config(config()).tap::<Seconds>().capability(StoppedClock).build().unwrap();
    theirs.load(PluginSpec::bytes(name("clock"), plugin)).await.unwrap();
    assert_eq!(theirs.dispatch(Seconds, &()).await.unwrap().answers[0].1, 42);

    // Both at once would leave open which of them is asked.
    let both = tapline_host_wasi::register(Host::builder().config(config())).capability(StoppedClock).build();
    assert_eq!(both.err().unwrap().to_string(), "`wasi:clocks/wall-clock@0.2.12` is offered twice");
}
