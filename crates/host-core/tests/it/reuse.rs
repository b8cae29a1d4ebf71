//! Instances that serve several calls: what they keep, what each call has of its own, and when they are given up.

use std::{sync::Arc, time::Duration};

use tapline_host_core::{
    Call, CallError, CallState, Capability, Collect, Fault, Host, HostConfig, Interface, LoadError, MAX_USES,
    PluginSpec, Reuse, Signature, Tap, limits::PartialLimits,
};
use tokio::sync::Semaphore;
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource, ResourceType},
};

use crate::guests::{
    Gate, NUMBER, Number, PATIENCE, assert_serves, component, config, limits, metric, name, number, number_with, spec,
    time,
};

/// The same function as [`Number`]; for an answer of 13 it says that the tap returned an error.
struct Superstitious;

impl Tap for Superstitious {
    const NAME: &'static str = "superstitious";
    const INTERFACES: &'static [Interface] = &[Interface { name: NUMBER, function: "run", mode: "full" }];
    type Policy = Collect;
    type Input = u32;
    type Answer = u32;

    fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        signature.is::<(u32,), (u32,)>()
    }

    async fn call(call: &mut Call, input: &u32) -> Result<u32, CallError> {
        match call.invoke::<(u32,), (u32,)>((*input,)).await?.0 {
            13 => Err(call.returned("bad luck")),
            answer => Ok(answer),
        }
    }
}

/// Makes calls of [`Number`] that it gives up in the middle, and answers all the same.
struct Careless;

impl Tap for Careless {
    const NAME: &'static str = "careless";
    const INTERFACES: &'static [Interface] = Superstitious::INTERFACES;
    type Policy = Collect;
    type Input = u32;
    type Answer = u32;

    fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        signature.is::<(u32,), (u32,)>()
    }

    async fn call(call: &mut Call, input: &u32) -> Result<u32, CallError> {
        tokio::select! {
            biased;
            answer = call.invoke::<(u32,), (u32,)>((*input,)) => Ok(answer.map_or(0, |answer| answer.0)),
            () = tokio::task::yield_now() => Ok(0),
        }
    }
}

/// Something that a guest gets a handle for, and a number that counts within a call.
struct Things;

struct Thing;

#[derive(Default)]
struct Asked(u32);

impl Capability for Things {
    fn grant_name(&self) -> Option<&'static str> {
        Some("things")
    }

    fn carries_user_data(&self) -> bool {
        false
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["test:host/things@1.0.0"]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        let mut instance = linker.instance("test:host/things@1.0.0")?;
        let gone = |mut store: StoreContextMut<'_, CallState>, rep: u32| {
            store.data_mut().table().delete(Resource::<Thing>::new_own(rep))?;
            Ok(())
        };
        instance.resource("thing", ResourceType::host::<Thing>(), gone)?;
        instance.func_wrap("open", |mut store: StoreContextMut<'_, CallState>, (): ()| {
            Ok((store.data_mut().table().push(Thing)?,))
        })?;
        instance.func_wrap("asked", |mut store: StoreContextMut<'_, CallState>, (): ()| {
            let asked = store.data_mut().local::<Asked>();
            asked.0 += 1;
            Ok((asked.0,))
        })
    }
}

fn host_with(config: HostConfig) -> (Host, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let builder = Host::builder().config(config).tap::<Number>().tap::<Superstitious>().tap::<Careless>();
    (builder.capability(Gate(Arc::clone(&gate))).capability(Things).build().unwrap(), gate)
}

fn host() -> Host {
    host_with(HostConfig { limits: limits(30_000), ..config() }).0
}

fn reused(spec: PluginSpec) -> PluginSpec {
    PluginSpec { reuse: Some(Reuse { with_user_data: true, ..Reuse::default() }), ..spec }
}

/// Counts its calls in a global, and answers with their number.
const COUNT: &str = "(global.set $count (i32.add (global.get $count) (i32.const 1)))";

fn counter(before: &str) -> PluginSpec {
    spec("p", number(&format!("{COUNT} {before} (global.get $count)")))
}

async fn ask(host: &Host, input: u32) -> Result<u32, Fault> {
    let outcome = host.dispatch(Number, &input).await.unwrap();
    match outcome.failures.into_iter().next() {
        Some(error) => Err(error.fault),
        None => Ok(outcome.answers[0].1),
    }
}

async fn answers(host: &Host, times: usize) -> Vec<u32> {
    let mut answers = Vec::new();
    for _ in 0..times {
        answers.push(ask(host, 1).await.unwrap());
    }
    answers
}

#[tokio::test]
async fn what_one_call_leaves_the_next_one_finds_and_without_reuse_it_does_not() {
    let fresh = host();
    fresh.load(counter("")).await.unwrap();
    assert_eq!(answers(&fresh, 4).await, [1, 1, 1, 1]);
    assert_eq!(fresh.slots().0, 0);
    assert_eq!(metric(&fresh, "tapline_instance_reuses_total{plugin=\"p\"}"), 0);

    let reusing = host();
    reusing.load(reused(counter(""))).await.unwrap();
    assert_eq!(answers(&reusing, 4).await, [1, 2, 3, 4]);
    assert_eq!(reusing.slots().0, 1, "it waits for its next use");
    assert_eq!(metric(&reusing, "tapline_instance_reuses_total{plugin=\"p\"}"), 3);
    assert_eq!(metric(&reusing, "tapline_pool_slots_idle"), 1);
    assert_eq!(metric(&reusing, "tapline_instantiate_duration_seconds_count{plugin=\"p\"}"), 1);
    assert_eq!(metric(&reusing, "tapline_tap_invocations_total{plugin=\"p\",tap=\"number\",outcome=\"ok\"}"), 4);
}

#[tokio::test]
async fn an_instance_has_a_number_of_uses() {
    for max_uses in [1, 2, 3] {
        let host = host();
        let reuse = Some(Reuse { max_uses, ..Reuse::default() });
        host.load(PluginSpec { reuse, ..counter("") }).await.unwrap();
        let expected: Vec<u32> = (0..7).map(|call| call % max_uses + 1).collect();
        assert_eq!(answers(&host, 7).await, expected);
    }
}

#[tokio::test]
async fn the_taps_of_a_plugin_share_its_instances() {
    let host = host();
    host.load(reused(counter(""))).await.unwrap();
    assert_eq!(ask(&host, 1).await.unwrap(), 1);
    let outcome = host.dispatch(Superstitious, &1).await.unwrap();
    assert_eq!(outcome.answers, [(name("p"), 2)]);
    let text = host.metrics().render().unwrap();
    let line = "tapline_tap_invocations_total{plugin=\"p\",tap=\"superstitious\",outcome=\"ok\"} 1";
    assert!(text.contains(line), "a call counts for its own tap: {text}");
}

#[tokio::test]
async fn plugins_never_share_an_instance() {
    let host = host();
    host.load(reused(counter(""))).await.unwrap();
    host.load(PluginSpec { name: name("q"), ..reused(counter("")) }).await.unwrap();
    for expected in 1..5 {
        let outcome = host.dispatch(Number, &1).await.unwrap();
        assert_eq!(outcome.answers, [(name("p"), expected), (name("q"), expected)]);
    }
}

#[tokio::test]
async fn calls_at_the_same_time_never_share_an_instance() {
    let (host, gate) = host_with(HostConfig { limits: limits(30_000), ..config() });
    let bytes = component(&format!(
        r#"(import "test:host/gate@1.0.0" (instance $gate (export "wait" (func))))
           (core func $wait (canon lower (func $gate "wait")))
           (core module $m
             (import "" "wait" (func $wait))
             (global $count (mut i32) (i32.const 0))
             (func (export "run") (param i32) (result i32) {COUNT} (call $wait) (global.get $count)))
           (core instance $i (instantiate $m (with "" (instance (export "wait" (func $wait))))))
           (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "{NUMBER}" (instance $e))"#
    ));
    host.load(reused(spec("p", bytes).grant("gate", "open"))).await.unwrap();
    for round in 1..5 {
        let release = async {
            assert_eq!(host.slots().0, 3, "three instances are in use");
            gate.add_permits(3);
        };
        let (a, b, c, ()) = tokio::join!(biased; ask(&host, 1), ask(&host, 1), ask(&host, 1), release);
        assert_eq!([a.unwrap(), b.unwrap(), c.unwrap()], [round; 3]);
    }
}

#[tokio::test]
async fn any_end_but_an_answer_gives_it_up() {
    let (host, gate) = host_with(HostConfig { limits: limits(30_000), ..config() });
    // 0 traps, 2 never ends.
    let moody = "(if (i32.eqz (local.get $x)) (then (unreachable)))
                 (loop $l (br_if $l (i32.eq (local.get $x) (i32.const 2))))";
    host.load(reused(counter(moody)).limits(time(200))).await.unwrap();
    assert_eq!(answers(&host, 2).await, [1, 2]);
    assert!(matches!(ask(&host, 0).await, Err(Fault::Trapped { .. })));
    assert_eq!(host.slots().0, 0);
    assert_eq!(answers(&host, 2).await, [1, 2], "after a trap");
    assert!(matches!(ask(&host, 2).await, Err(Fault::TimedOut { .. })));
    assert_eq!(answers(&host, 2).await, [1, 2], "after a timeout");
    tokio::select! {
        biased;
        _ = ask(&host, 2) => panic!("it never ends"),
        () = tokio::task::yield_now() => {}
    }
    assert_eq!(host.slots().0, 0);
    assert_eq!(answers(&host, 2).await, [1, 2], "after a cancellation");
    let careless = host.dispatch(Careless, &2).await.unwrap();
    assert_eq!(careless.answers, [(name("p"), 0)]);
    assert_eq!(answers(&host, 2).await, [1, 2], "after a call into the guest that was given up");
    host.dispatch(Careless, &0).await.unwrap();
    assert_eq!(answers(&host, 10).await, (1..11).collect::<Vec<_>>(), "after a trap that the tap says nothing of");
    let returned = host.dispatch(Superstitious, &1).await.unwrap();
    assert_eq!(returned.answers, [(name("p"), 11)]);
    assert_eq!(answers(&host, 1).await, [12]);
    let returned = host.dispatch(Superstitious, &1).await.unwrap();
    assert!(matches!(returned.failures[0].fault, Fault::Returned { .. }), "{returned:?}");
    assert_eq!(answers(&host, 2).await, [1, 2], "after an error that the tap returned");
    drop(gate);
}

#[tokio::test]
async fn a_host_function_that_fails_gives_it_up() {
    let host = host();
    let bytes = component(&format!(
        r#"(import "test:host/broken@1.0.0" (instance $broken (export "break" (func (param "how" u32)))))
           (core func $break (canon lower (func $broken "break")))
           (core module $m
             (import "" "break" (func $break (param i32)))
             (global $count (mut i32) (i32.const 0))
             (func (export "run") (param $x i32) (result i32)
               {COUNT}
               (if (i32.ne (local.get $x) (i32.const 1)) (then (call $break (local.get $x))))
               (global.get $count)))
           (core instance $i (instantiate $m (with "" (instance (export "break" (func $break))))))
           (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "{NUMBER}" (instance $e))"#
    ));
    host.load(reused(spec("p", bytes).grant("gate", "open"))).await.unwrap();
    assert_eq!(answers(&host, 2).await, [1, 2]);
    assert!(matches!(ask(&host, 0).await, Err(Fault::HostPanicked { .. })));
    assert_eq!(answers(&host, 2).await, [1, 2]);
    assert!(matches!(ask(&host, 5).await, Err(Fault::HostFunction { .. })));
    assert_eq!(answers(&host, 2).await, [1, 2]);
}

#[tokio::test]
async fn each_use_has_its_own_fuel() {
    let host = host();
    let fuel = PartialLimits { enable_fuel_metering: Some(true), fuel_limit: Some(10_000), ..PartialLimits::default() };
    let work = "(local $n i32) (loop $l (local.set $n (i32.add (local.get $n) (i32.const 1)))
                  (br_if $l (i32.lt_u (local.get $n) (i32.const 500))))";
    let module = format!("(func $work {work})");
    let bytes = number_with(&module, &format!("{COUNT} (call $work) (global.get $count)"));
    host.load(reused(spec("p", bytes).limits(fuel))).await.unwrap();
    assert_eq!(answers(&host, 10).await, (1..11).collect::<Vec<_>>(), "ten times 500 rounds, of which two fit");
}

#[tokio::test]
async fn each_use_has_its_own_deadline() {
    struct Deadlines;
    impl Capability for Deadlines {
        fn grant_name(&self) -> Option<&'static str> {
            None
        }

        fn interfaces(&self) -> &'static [&'static str] {
            &["test:host/clock@1.0.0"]
        }

        fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
            let start = tokio::time::Instant::now();
            linker.instance("test:host/clock@1.0.0")?.func_wrap(
                "deadline",
                move |store: StoreContextMut<'_, CallState>, (): ()| {
                    let nanos = (store.data().deadline() - start).as_nanos();
                    Ok((u32::try_from(nanos / 1000 % u128::from(u32::MAX)).unwrap(),))
                },
            )
        }
    }
    let builder = Host::builder().config(config()).tap::<Number>().capability(Deadlines);
    let host = builder.build().unwrap();
    let bytes = component(&format!(
        r#"(import "test:host/clock@1.0.0" (instance $clock (export "deadline" (func (result u32)))))
           (core func $deadline (canon lower (func $clock "deadline")))
           (core module $m
             (import "" "deadline" (func $deadline (result i32)))
             (func (export "run") (param i32) (result i32) (call $deadline)))
           (core instance $i (instantiate $m (with "" (instance (export "deadline" (func $deadline))))))
           (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "{NUMBER}" (instance $e))"#
    ));
    host.load(reused(spec("p", bytes))).await.unwrap();
    let first = ask(&host, 1).await.unwrap();
    let later = async {
        while ask(&host, 1).await.unwrap() == first {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, later).await.unwrap();
}

/// Uses `things`: `open` leaves a handle on the stack, `drop` takes one.
fn with_things(body: &str) -> PluginSpec {
    let bytes = component(&format!(
        r#"(import "test:host/things@1.0.0" (instance $things
             (export "thing" (type $thing (sub resource)))
             (export "open" (func (result (own $thing))))
             (export "asked" (func (result u32)))))
           (alias export $things "thing" (type $thing))
           (core func $open (canon lower (func $things "open")))
           (core func $asked (canon lower (func $things "asked")))
           (core func $drop (canon resource.drop $thing))
           (core module $m
             (import "" "open" (func $open (result i32)))
             (import "" "asked" (func $asked (result i32)))
             (import "" "drop" (func $drop (param i32)))
             (global $count (mut i32) (i32.const 0))
             (func (export "run") (param $x i32) (result i32) {COUNT} {body}))
           (core instance $i (instantiate $m (with "" (instance
             (export "open" (func $open)) (export "asked" (func $asked)) (export "drop" (func $drop))))))
           (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "{NUMBER}" (instance $e))"#
    ));
    spec("p", bytes).grant("things", true)
}

#[tokio::test]
async fn an_instance_that_holds_a_handle_is_given_up() {
    let tidy = host();
    tidy.load(reused(with_things("(call $drop (call $open)) (global.get $count)"))).await.unwrap();
    assert_eq!(answers(&tidy, 3).await, [1, 2, 3]);
    let leaking = host();
    leaking.load(reused(with_things("(drop (call $open)) (global.get $count)"))).await.unwrap();
    assert_eq!(answers(&leaking, 3).await, [1, 1, 1]);
    assert_eq!(leaking.slots().0, 0);
}

#[tokio::test]
async fn what_a_capability_counts_it_counts_for_each_use() {
    let host = host();
    let body = "(drop (call $asked)) (i32.add (i32.mul (global.get $count) (i32.const 10)) (call $asked))";
    host.load(reused(with_things(body))).await.unwrap();
    assert_eq!(answers(&host, 3).await, [12, 22, 32]);
}

#[tokio::test]
async fn each_use_has_its_own_output() {
    let host = host();
    let bytes = component(&format!(
        r#"(import "tapline:host/diagnostics@0.1.0" (instance $host
             (export "output" (func (param "descriptor" u32) (param "bytes" (list u8))))))
           (core module $memory (memory (export "memory") 2))
           (core instance $memory (instantiate $memory))
           (core func $output (canon lower (func $host "output") (memory (core memory $memory "memory"))))
           (core module $m
             (import "" "output" (func $output (param i32 i32 i32)))
             (func (export "run") (param $x i32) (result i32)
               (call $output (i32.const 1) (i32.const 0) (i32.const 40000)) (local.get $x)))
           (core instance $i (instantiate $m (with "" (instance (export "output" (func $output))))))
           (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "{NUMBER}" (instance $e))"#
    ));
    host.load(reused(spec("p", bytes))).await.unwrap();
    assert_eq!(answers(&host, 4).await, [1; 4]);
    assert_eq!(metric(&host, "tapline_instance_reuses_total{plugin=\"p\"}"), 3);
    assert_eq!(metric(&host, "tapline_guest_output_dropped_bytes_total{plugin=\"p\"}"), 0, "64 KiB are for one call");
}

#[tokio::test]
async fn what_was_refused_to_one_call_is_not_the_reason_why_the_next_one_failed() {
    let host = host();
    let moody = "(if (i32.eqz (local.get $x)) (then (unreachable))) (drop (memory.grow (i32.const 60000)))";
    host.load(reused(counter(moody))).await.unwrap();
    assert_eq!(answers(&host, 2).await, [1, 2]);
    let fault = ask(&host, 0).await.unwrap_err();
    assert!(matches!(fault, Fault::Trapped { .. }), "it did not even ask for memory: {fault}");
    assert_eq!(metric(&host, "tapline_refused_growths_total{plugin=\"p\"}"), 2);
}

#[tokio::test]
async fn an_instance_that_has_grown_large_is_given_up() {
    let host = host();
    let memory = PartialLimits { max_memory_bytes: Some(8 << 16), ..PartialLimits::default() };
    // One page more for each call, of eight.
    host.load(reused(counter("(drop (memory.grow (i32.const 1)))")).limits(memory)).await.unwrap();
    assert_eq!(answers(&host, 8).await, [1, 2, 3, 4, 1, 2, 3, 4], "the fourth has five pages");
}

#[tokio::test]
async fn an_instance_whose_table_has_grown_large_is_given_up_and_one_that_began_so_is_not() {
    let host = host();
    let table = PartialLimits { max_table_elements: Some(8), ..PartialLimits::default() };
    let growing = format!("{COUNT} (drop (table.grow 0 (ref.null func) (i32.const 1))) (global.get $count)");
    for first in [0, 3] {
        let growing = crate::guests::number_with(&format!("(table {first} funcref)"), &growing);
        host.load(reused(spec("p", growing)).limits(table)).await.unwrap();
        // One more for each call, of eight.
        assert_eq!(answers(&host, 10).await, [1, 2, 3, 4, 5, 1, 2, 3, 4, 5], "the fifth has grown by five");
        host.unload(&name("p")).await.unwrap();
    }
    let large = crate::guests::number_with("(table 8 funcref)", &format!("{COUNT} (global.get $count)"));
    host.load(reused(spec("p", large)).limits(table)).await.unwrap();
    assert_eq!(answers(&host, 3).await, [1, 2, 3]);
}

#[tokio::test]
async fn instances_that_wait_give_way() {
    let (host, gate) = host_with(HostConfig { pool_size: 2, limits: limits(30_000), ..config() });
    let gated = reused(spec("p", crate::guests::waiting()).grant("gate", "open"));
    host.load(gated).await.unwrap();
    let (a, b, ()) = tokio::join!(biased; ask(&host, 1), ask(&host, 1), async { gate.add_permits(2) });
    assert_eq!((a.unwrap(), b.unwrap()), (1, 1));
    assert_eq!((host.slots(), metric(&host, "tapline_pool_slots_idle")), ((2, 2), 2), "the pool is full of them");
    host.load(spec("fresh", number("(i32.const 5)"))).await.unwrap();
    // The plugin that is reused takes its own instance, the other one the slot of the other instance.
    gate.add_permits(1);
    let outcome = host.dispatch(Number, &1).await.unwrap();
    assert_eq!(outcome.answers, [(name("fresh"), 5), (name("p"), 1)]);
    assert_eq!(metric(&host, "tapline_instance_reuses_total{plugin=\"p\"}"), 1);
}

#[tokio::test]
async fn an_instance_is_not_kept_while_somebody_waits_for_its_slot() {
    let (host, gate) = host_with(HostConfig { pool_size: 1, limits: limits(30_000), ..config() });
    host.load(reused(spec("p", crate::guests::waiting()).grant("gate", "open"))).await.unwrap();
    host.load(spec("fresh", number("(i32.const 5)"))).await.unwrap();
    for _ in 0..10 {
        let both = async { tokio::join!(biased; host.dispatch(Number, &1), async { gate.add_permits(1) }).0 };
        let outcome = tokio::time::timeout(PATIENCE, both).await.unwrap().unwrap();
        assert_eq!(outcome.answers, [(name("fresh"), 5), (name("p"), 1)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_ever_when_instances_are_kept_and_wanted_at_once() {
    let (host, _) = host_with(HostConfig { pool_size: 2, max_wait: PATIENCE, limits: limits(30_000), ..config() });
    host.load(reused(counter(""))).await.unwrap();
    host.load(spec("fresh", number("(i32.const 5)"))).await.unwrap();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let host = host.clone();
            tokio::spawn(async move {
                for _ in 0..200 {
                    assert_eq!(host.dispatch(Number, &1).await.unwrap().answers.len(), 2);
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    host.unload(&name("p")).await.unwrap();
    assert_eq!(host.slots().0, 0);
}

#[tokio::test]
async fn a_plugin_that_is_removed_leaves_none_behind() {
    let (host, gate) = host_with(HostConfig { limits: limits(30_000), ..config() });
    host.load(reused(spec("p", crate::guests::waiting()).grant("gate", "open"))).await.unwrap();
    gate.add_permits(1);
    ask(&host, 1).await.unwrap();
    assert_eq!(host.slots().0, 1);
    // One waits, and one is in use.
    let (running, ()) = tokio::join!(biased; async { tokio::join!(ask(&host, 1), ask(&host, 1)) }, async {
        assert_eq!(host.slots().0, 2);
        assert!(host.unload(&name("p")).await.unwrap());
        gate.add_permits(2);
    });
    assert_eq!((running.0.unwrap(), running.1.unwrap()), (1, 1), "calls that run end as they would have");
    assert_serves(&host).await;
}

#[tokio::test]
async fn a_host_that_stops_waits_for_none() {
    let host = host();
    host.load(reused(counter(""))).await.unwrap();
    answers(&host, 2).await;
    assert!(host.shut_down(Duration::from_secs(30)).await);
    assert_eq!((host.slots().0, host.memory().usage().current_pages), (0, 0));
}

#[tokio::test]
async fn a_host_that_is_dropped_drops_them() {
    let host = host();
    host.load(reused(counter(""))).await.unwrap();
    answers(&host, 2).await;
    let memory = host.memory().clone();
    assert_eq!(memory.usage().current_pages, 1);
    drop(host);
    assert_eq!(memory.usage().current_pages, 0);
}

#[tokio::test]
async fn where_it_must_not_be_it_is_refused() {
    let reuse = |reuse| PluginSpec { reuse: Some(reuse), ..counter("") };
    for max_uses in [0, MAX_USES + 1] {
        let error = host().load(reuse(Reuse { max_uses, ..Reuse::default() })).await.unwrap_err();
        assert!(matches!(error, LoadError::Setting { setting: "reuse.max_uses", .. }), "{error}");
    }
    let (off, _) = host_with(HostConfig { enable_reuse: false, ..config() });
    let error = off.load(reuse(Reuse::default())).await.unwrap_err();
    assert!(matches!(error, LoadError::ReuseOff { .. }), "{error}");
    assert!(error.hint().unwrap().contains("enable_reuse"), "{error:?}");

    // The gate has not said that what passes through it is nobody's.
    let with_data = |with_user_data| {
        let spec = spec("p", crate::guests::waiting()).grant("gate", "open");
        PluginSpec { reuse: Some(Reuse { with_user_data, ..Reuse::default() }), ..spec }
    };
    let error = host().load(with_data(false)).await.unwrap_err();
    assert!(matches!(error, LoadError::ReuseWithUserData { grant: "gate", .. }), "{error}");
    assert!(error.hint().unwrap().contains("with_user_data"), "{error:?}");
    host().load(with_data(true)).await.unwrap();
    let harmless = PluginSpec { reuse: Some(Reuse::default()), ..with_things("(i32.const 1)") };
    host().load(harmless).await.unwrap();
}
