//! The circuit breaker of a handler, through dispatches.

use std::{sync::Arc, time::Duration};

use tapline_host_core::{
    Ballot, BreakerSettings, BreakerState, BreakerStatus, Call, CallError, Collect, Fault, Host, HostConfig, Interface,
    LoadError, OnFailure, PartialBreaker, Party, PluginSpec, Signature, Tap, Vote, limits::PartialLimits,
};
use tokio::sync::Semaphore;

use crate::guests::{
    Gate, NUMBER, Number, PATIENCE, breaking, component, config, limits, name, number, number_with, panicking, spec,
    time,
};

const INTERFACES: &[Interface] = &[Interface { name: NUMBER, function: "run", mode: "full" }];

/// Taps that call the same function of a plugin, and differ in what they make of it.
macro_rules! tap {
    ($tap:ident, $name:literal, $policy:ident, $answer:ty, $on_failure:expr, $default:expr, $make:expr) => {
        struct $tap;

        impl Tap for $tap {
            const NAME: &'static str = $name;
            const INTERFACES: &'static [Interface] = INTERFACES;
            const ON_FAILURE: Option<OnFailure> = $on_failure;
            type Policy = $policy;
            type Input = u32;
            type Answer = $answer;

            fn default_answer(_: &u32) -> Option<$answer> {
                $default
            }

            fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
                signature.is::<(u32,), (u32,)>()
            }

            async fn call(call: &mut Call, input: &u32) -> Result<$answer, CallError> {
                let answer = call.invoke::<(u32,), (u32,)>((*input,)).await?.0;
                $make(call, answer)
            }
        }
    };
}

tap!(Door, "door", Vote, Ballot, None, None, |_: &Call, _| Ok(Ballot::Allow));
tap!(Strict, "strict", Collect, u32, Some(OnFailure::Fail), None, |_: &Call, answer| Ok(answer));
tap!(Lenient, "lenient", Collect, u32, Some(OnFailure::Default), Some(7), |_: &Call, answer| Ok(answer));
tap!(Picky, "picky", Collect, u32, None, None, |call: &Call, answer| match answer {
    1 => Err(call.returned("not this one")),
    2 => Err(call.bad_answer("two is not a number")),
    answer => Ok(answer),
});

/// Long enough that nobody waits for it.
const LONG: Duration = Duration::from_secs(3600);
/// Over before anybody looks, or soon after.
const SHORT: Duration = Duration::from_millis(1);

fn settings(first_open: Duration) -> BreakerSettings {
    BreakerSettings { enabled: true, failures: 3, first_open, max_open: LONG }
}

fn host(breaker: BreakerSettings) -> (Host, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let builder = Host::builder().config(HostConfig { breaker, limits: limits(30_000), ..config() });
    let builder = builder.tap::<Number>().tap::<Door>().tap::<Strict>().tap::<Lenient>().tap::<Picky>();
    (builder.capability(Gate(Arc::clone(&gate))).build().unwrap(), gate)
}

/// Traps for 0, waits at the gate for 9, and answers with everything else.
fn moody() -> PluginSpec {
    let bytes = component(&format!(
        r#"(import "test:host/gate@1.0.0" (instance $gate (export "wait" (func))))
           (core func $wait (canon lower (func $gate "wait")))
           (core module $m
             (import "" "wait" (func $wait))
             (func (export "run") (param $x i32) (result i32)
               (if (i32.eqz (local.get $x)) (then (unreachable)))
               (if (i32.eq (local.get $x) (i32.const 9)) (then (call $wait)))
               (local.get $x)))
           (core instance $i (instantiate $m (with "" (instance (export "wait" (func $wait))))))
           (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "{NUMBER}" (instance $e))"#
    ));
    spec("moody", bytes).grant("gate", "open")
}

async fn ask(host: &Host, input: u32) -> Result<u32, Fault> {
    let outcome = host.dispatch(Number, &input).await.unwrap();
    match outcome.failures.into_iter().next() {
        Some(error) => Err(error.fault),
        None => Ok(outcome.answers[0].1),
    }
}

async fn fail(host: &Host, times: usize) {
    for _ in 0..times {
        let fault = ask(host, 0).await.unwrap_err();
        assert!(matches!(fault, Fault::Trapped { .. }), "{fault}");
    }
}

fn breaker(host: &Host, tap: &str) -> BreakerStatus {
    host.breakers().into_iter().find(|breaker| breaker.tap.as_ref() == tap).unwrap()
}

/// Goes on when the time is over for which the breaker is open.
async fn half_open(host: &Host) {
    let half_open = async {
        while breaker(host, "number").state != BreakerState::HalfOpen {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, half_open).await.unwrap();
}

/// The value of a series whose labels begin with plugin `moody` and this tap.
fn metric(host: &Host, name: &str, more: &str) -> f64 {
    let text = host.metrics().render().unwrap();
    let series = format!("{name}{{plugin=\"moody\"{more}}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0.0, |value| value.parse().unwrap())
}

const OF_NUMBER: &str = ",tap=\"number\"";

#[tokio::test]
async fn it_opens_after_failures_in_a_row_and_then_the_plugin_is_not_called() {
    let (host, _) = host(settings(LONG));
    host.load(moody()).await.unwrap();
    for _ in 0..3 {
        fail(&host, 2).await;
        assert_eq!(ask(&host, 1).await.unwrap(), 1, "a success starts the count anew");
    }
    assert_eq!(breaker(&host, "number").state, BreakerState::Closed);
    fail(&host, 3).await;
    let instances = metric(&host, "tapline_instantiate_duration_seconds_count", "");
    for _ in 0..4 {
        let fault = ask(&host, 1).await.unwrap_err();
        assert!(matches!(fault, Fault::BreakerOpen { retry_in } if !retry_in.is_zero() && retry_in <= LONG), "{fault}");
        assert_eq!(fault.party(), Party::Guest);
        assert!(fault.hint().unwrap().contains("log"), "{fault:?}");
    }
    assert_eq!(metric(&host, "tapline_instantiate_duration_seconds_count", ""), instances, "no instance was made");
    assert_eq!(metric(&host, "tapline_tap_invocations_total", ",tap=\"number\",outcome=\"breaker_open\""), 4.0);
    assert_eq!(metric(&host, "tapline_breaker_state", OF_NUMBER), 2.0);
    assert_eq!(metric(&host, "tapline_breaker_openings_total", OF_NUMBER), 1.0);
    let status = breaker(&host, "number");
    assert_eq!((status.plugin, status.state, status.openings), (name("moody"), BreakerState::Open, 1));
    assert_eq!((status.failures, status.open_for), (3, LONG));
    assert_eq!(host.slots().0, 0);
}

#[tokio::test]
async fn each_tap_of_a_plugin_has_its_own() {
    let (host, _) = host(settings(LONG));
    host.load(moody()).await.unwrap();
    fail(&host, 3).await;
    assert!(matches!(ask(&host, 1).await, Err(Fault::BreakerOpen { .. })));
    let outcome = host.dispatch(Picky, &5).await.unwrap();
    assert_eq!(outcome.answers, [(name("moody"), 5)]);
    assert_eq!(breaker(&host, "picky").state, BreakerState::Closed);
}

#[tokio::test]
async fn one_probe_goes_through_and_its_success_closes() {
    let (host, gate) = host(settings(SHORT));
    host.load(moody()).await.unwrap();
    fail(&host, 3).await;
    half_open(&host).await;
    let others = async {
        for _ in 0..10 {
            let fault = ask(&host, 1).await.unwrap_err();
            assert!(matches!(fault, Fault::BreakerOpen { retry_in: Duration::ZERO }), "{fault}");
        }
        assert_eq!(metric(&host, "tapline_breaker_state", OF_NUMBER), 1.0);
        gate.add_permits(1);
    };
    let (probe, ()) = tokio::join!(biased; ask(&host, 9), others);
    assert_eq!(probe.unwrap(), 9);
    assert_eq!(ask(&host, 1).await.unwrap(), 1);
    let status = breaker(&host, "number");
    assert_eq!((status.state, status.failures, status.open_for), (BreakerState::Closed, 0, Duration::ZERO));
    assert_eq!(metric(&host, "tapline_breaker_state", OF_NUMBER), 0.0);
}

#[tokio::test]
async fn each_probe_that_fails_doubles_the_time() {
    let (host, _) = host(BreakerSettings { max_open: Duration::from_millis(5), ..settings(SHORT) });
    host.load(moody()).await.unwrap();
    fail(&host, 3).await;
    for (openings, milliseconds) in [(1, 1), (2, 2), (3, 4), (4, 5), (5, 5)] {
        let status = breaker(&host, "number");
        assert_eq!((status.openings, status.open_for), (openings, Duration::from_millis(milliseconds)));
        half_open(&host).await;
        fail(&host, 1).await;
    }
    half_open(&host).await;
    assert_eq!(ask(&host, 1).await.unwrap(), 1);
    fail(&host, 3).await;
    assert_eq!(breaker(&host, "number").open_for, SHORT, "a success sets it back");
    assert_eq!(metric(&host, "tapline_breaker_openings_total", OF_NUMBER), 7.0);
}

#[tokio::test]
async fn a_probe_that_is_cancelled_leaves_room_for_the_next() {
    let (host, _) = host(settings(SHORT));
    host.load(moody()).await.unwrap();
    fail(&host, 3).await;
    for _ in 0..3 {
        half_open(&host).await;
        tokio::select! {
            biased;
            _ = ask(&host, 9) => panic!("the gate is closed"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(breaker(&host, "number").state, BreakerState::HalfOpen);
    }
    assert_eq!(ask(&host, 1).await.unwrap(), 1);
    assert_eq!(breaker(&host, "number").state, BreakerState::Closed);
}

#[tokio::test]
async fn a_probe_that_gets_no_slot_leaves_room_for_the_next() {
    let gate = Arc::new(Semaphore::new(0));
    let config =
        HostConfig { pool_size: 1, max_waiting: 0, breaker: settings(SHORT), limits: limits(30_000), ..config() };
    let builder = Host::builder().config(config).tap::<Number>().tap::<Door>();
    let host = builder.capability(Gate(Arc::clone(&gate))).build().unwrap();
    host.load(moody()).await.unwrap();
    fail(&host, 3).await;
    half_open(&host).await;
    // Another tap of the same plugin has the only slot.
    let (door, ()) = tokio::join!(biased; host.dispatch(Door, &9), async {
        let fault = ask(&host, 1).await.unwrap_err();
        assert!(matches!(fault, Fault::Overloaded { .. }), "{fault}");
        gate.add_permits(1);
    });
    assert_eq!(door.unwrap().ballot, Ballot::Allow);
    assert_eq!(ask(&host, 1).await.unwrap(), 1, "the next one is the probe");
}

#[tokio::test]
async fn what_the_guest_is_to_blame_for_opens_it() {
    let fuel = PartialLimits { enable_fuel_metering: Some(true), fuel_limit: Some(1000), ..PartialLimits::default() };
    let grow = "(if (i32.eq (memory.grow (i32.const 4000)) (i32.const -1)) (then (unreachable))) (i32.const 0)";
    let cases = [
        ("trap", spec("p", number("(unreachable)"))),
        ("panic", spec("p", panicking(b"no", "(unreachable)"))),
        ("timeout", spec("p", number("(loop (br 0)) (i32.const 0)")).limits(time(20))),
        ("out_of_fuel", spec("p", number("(loop (br 0)) (i32.const 0)")).limits(fuel)),
        ("out_of_memory", spec("p", number(grow))),
        ("stack_overflow", spec("p", number_with("(func $f (call $f) (call $f))", "(call $f) (i32.const 0)"))),
        ("bad_answer", spec("p", panicking(b"\xff", "(local.get $x)"))),
    ];
    for (outcome, spec) in cases {
        let (host, _) = host(BreakerSettings { failures: 1, ..settings(LONG) });
        host.load(spec).await.unwrap();
        let fault = ask(&host, 0).await.unwrap_err();
        assert_eq!(fault.outcome().as_str(), outcome, "{fault}");
        assert_eq!(breaker(&host, "number").state, BreakerState::Open, "{outcome}");
    }
    // An answer that the tap refuses is one as well.
    let (host, _) = host(BreakerSettings { failures: 1, ..settings(LONG) });
    host.load(moody()).await.unwrap();
    host.dispatch(Picky, &2).await.unwrap();
    assert_eq!(breaker(&host, "picky").state, BreakerState::Open);
}

#[tokio::test]
async fn what_the_guest_is_not_to_blame_for_does_not() {
    let (host, _gate) = host(BreakerSettings { failures: 1, ..settings(LONG) });
    host.load(moody()).await.unwrap();
    for _ in 0..3 {
        let returned = host.dispatch(Picky, &1).await.unwrap();
        assert!(matches!(returned.failures[0].fault, Fault::Returned { .. }));
        tokio::select! {
            biased;
            _ = host.dispatch(Picky, &9) => panic!("the gate is closed"),
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(breaker(&host, "picky").state, BreakerState::Closed);
    host.unload(&name("moody")).await.unwrap();

    host.load(spec("p", breaking()).grant("gate", "open")).await.unwrap();
    for (input, panicked) in [(0, true), (1, false), (0, true), (1, false)] {
        let fault = ask(&host, input).await.unwrap_err();
        assert_eq!(matches!(fault, Fault::HostPanicked { .. }), panicked, "{fault}");
        assert_eq!(breaker(&host, "number").state, BreakerState::Closed, "{fault}");
    }
}

#[tokio::test]
async fn an_error_that_a_probe_returns_closes_because_the_plugin_works() {
    let (host, _) = host(BreakerSettings { failures: 1, ..settings(SHORT) });
    host.load(moody()).await.unwrap();
    host.dispatch(Picky, &2).await.unwrap();
    let closed = async {
        while breaker(&host, "picky").state != BreakerState::Closed {
            host.dispatch(Picky, &1).await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.unwrap();
}

#[tokio::test]
async fn a_plugin_that_is_loaded_again_begins_with_a_closed_one() {
    let (host, _) = host(settings(LONG));
    host.load(moody()).await.unwrap();
    fail(&host, 3).await;
    assert_eq!(metric(&host, "tapline_breaker_state", OF_NUMBER), 2.0);
    host.unload(&name("moody")).await.unwrap();
    assert!(host.breakers().is_empty());
    assert_eq!(metric(&host, "tapline_breaker_state", OF_NUMBER), 0.0, "nobody is alarmed by what is gone");
    host.load(moody()).await.unwrap();
    assert_eq!(ask(&host, 1).await.unwrap(), 1);
    assert_eq!(breaker(&host, "number").openings, 0);
}

#[tokio::test]
async fn a_vote_denies_while_it_is_open() {
    let (host, _) = host(settings(LONG));
    host.load(moody()).await.unwrap();
    assert_eq!(host.dispatch(Door, &1).await.unwrap().ballot, Ballot::Allow);
    for _ in 0..3 {
        host.dispatch(Door, &0).await.unwrap();
    }
    let decision = host.dispatch(Door, &1).await.unwrap();
    assert_eq!((decision.ballot, decision.denied_by), (Ballot::Deny, vec![name("moody")]));
    assert!(matches!(decision.failures[0].fault, Fault::BreakerOpen { .. }), "{:?}", decision.failures);
}

#[tokio::test]
async fn while_it_is_open_the_taps_failure_policy_decides() {
    let (host, _) = host(settings(LONG));
    host.load(moody()).await.unwrap();
    host.load(spec("steady", number("(i32.const 5)"))).await.unwrap();
    for _ in 0..3 {
        host.dispatch(Strict, &0).await.unwrap_err();
        host.dispatch(Lenient, &0).await.unwrap();
        host.dispatch(Number, &0).await.unwrap();
    }
    let error = host.dispatch(Strict, &1).await.unwrap_err();
    assert!(matches!(error.fault, Fault::BreakerOpen { .. }), "fail: {error}");

    let skipped = host.dispatch(Number, &1).await.unwrap();
    assert_eq!(skipped.answers, [(name("steady"), 5)]);
    assert!(matches!(skipped.failures[0].fault, Fault::BreakerOpen { .. }), "skip: {:?}", skipped.failures);

    let default = host.dispatch(Lenient, &1).await.unwrap();
    assert_eq!(default.answers, [(name("moody"), 7), (name("steady"), 5)]);
    assert!(matches!(default.failures[0].fault, Fault::BreakerOpen { .. }), "default: {:?}", default.failures);
}

#[tokio::test]
async fn host_and_plugin_can_do_without_or_have_their_own() {
    let (off, _) = host(BreakerSettings::OFF);
    off.load(moody()).await.unwrap();
    fail(&off, 20).await;

    let own = |partial| PluginSpec { breaker: partial, ..moody() };
    let (on, _) = host(settings(LONG));
    on.load(own(PartialBreaker { enabled: Some(false), ..PartialBreaker::default() })).await.unwrap();
    fail(&on, 20).await;

    let (strict, _) = host(BreakerSettings::OFF);
    let partial = PartialBreaker { enabled: Some(true), failures: Some(2), ..PartialBreaker::default() };
    strict.load(own(partial)).await.unwrap();
    fail(&strict, 2).await;
    assert!(matches!(ask(&strict, 1).await, Err(Fault::BreakerOpen { .. })));
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let (host, _) = host(settings(LONG));
    let spec = PluginSpec { breaker: PartialBreaker { failures: Some(0), ..PartialBreaker::default() }, ..moody() };
    let error = host.load(spec).await.unwrap_err();
    assert!(matches!(error, LoadError::Setting { setting: "breaker", .. }), "{error}");
    assert!(error.to_string().contains("failures"), "{error}");
    let config = HostConfig { breaker: BreakerSettings { first_open: Duration::ZERO, ..settings(LONG) }, ..config() };
    let error = Host::builder().config(config).build().err().unwrap().to_string();
    assert!(error.contains("first_open_ms"), "{error}");
}
