//! Instances that are made ahead: fresh for each call, there when they are wanted, and gone when somebody needs their slots.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tapline_host_core::{
    CallState, Capability, Fault, Host, HostConfig, HostFault, LoadError, PartialBreaker, PluginSpec, PoolMetrics,
    Reuse, Stock,
    limits::{Limits, PartialLimits},
};
use wasmtime::{StoreContextMut, component::Linker};

use crate::guests::{
    NUMBER, Number, PATIENCE, component, config, host, host_with, limits, metric, name, number, number_with, spec,
    time, waiting,
};

const OFF: PartialBreaker =
    PartialBreaker { enabled: Some(false), failures: None, first_open_ms: None, max_open_ms: None };

fn stocked(spec: PluginSpec, min: u32, max: u32) -> PluginSpec {
    PluginSpec { stock: Some(Stock { min, max }), ..spec }
}

/// Counts its calls in a global, and answers with their number.
fn counter() -> PluginSpec {
    let count = "(global.set $count (i32.add (global.get $count) (i32.const 1)))";
    spec("p", number(&format!("{count} (global.get $count)")))
}

/// Waits until the pool looks like this.
async fn until(host: &Host, is_it: impl Fn(PoolMetrics) -> bool) -> PoolMetrics {
    let waiting = async {
        while !is_it(host.pool_metrics()) {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "{:?}", host.pool_metrics());
    host.pool_metrics()
}

async fn ask(host: &Host) -> Result<u32, Fault> {
    let outcome = host.dispatch(Number, &7).await.unwrap();
    match outcome.failures.into_iter().next() {
        Some(error) => Err(error.fault),
        None => Ok(outcome.answers[0].1),
    }
}

#[tokio::test]
async fn every_call_has_memory_that_no_other_has_seen_and_none_makes_its_instance() {
    let host = host();
    host.load(stocked(counter(), 2, 4)).await.unwrap();
    until(&host, |pool| pool.idle_vms == 2).await;
    for _ in 0..20 {
        assert_eq!(ask(&host).await.unwrap(), 1);
        until(&host, |pool| pool.idle_vms >= 2 && pool.active_vms == 0).await;
    }
    let pool = host.pool_metrics();
    assert_eq!((pool.pool_size, pool.pool_hits, pool.pool_misses), (8, 20, 0), "{pool:?}");
    assert_eq!(metric(&host, "tapline_stock_hits_total{plugin=\"p\"}"), 20);
    assert!(metric(&host, "tapline_stock_made_total{plugin=\"p\"}") >= 22);
    assert_eq!(metric(&host, "tapline_teardown_duration_seconds_count{plugin=\"p\"}"), 20);
    assert_eq!(metric(&host, "tapline_tap_invocations_total{plugin=\"p\",tap=\"number\",outcome=\"ok\"}"), 20);
    assert_eq!(metric(&host, "tapline_instance_reuses_total{plugin=\"p\"}"), 0);
    assert!(host.unload(&name("p")).await.unwrap());
    assert_eq!(host.slots().0, 0, "the stock goes with its plugin");
    assert_eq!(host.memory().usage().current_pages, 0);
}

#[tokio::test]
async fn without_a_stock_every_call_is_a_miss_and_nothing_waits() {
    let host = host();
    host.load(counter()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&host).await.unwrap(), 1);
    }
    let pool = host.pool_metrics();
    assert_eq!((pool.active_vms, pool.idle_vms, pool.pool_hits, pool.pool_misses), (0, 0, 0, 3), "{pool:?}");
}

#[tokio::test]
async fn it_grows_with_demand_up_to_its_maximum_and_shrinks_again() {
    let (host, gate) = host_with(HostConfig { limits: limits(60_000), ..config() });
    host.load(stocked(spec("p", waiting()).grant("gate", "open"), 1, 3)).await.unwrap();
    until(&host, |pool| pool.idle_vms == 1).await;
    // Five at once, of which four find nothing.
    let (outcomes, ()) = tokio::join!(biased; join_all((0..5).map(|_| ask(&host))), async { gate.add_permits(5) });
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!((host.pool_metrics().pool_hits, host.pool_metrics().pool_misses), (1, 4));
    let pool = until(&host, |pool| pool.idle_vms == 3).await;
    assert_eq!(pool.active_vms + pool.idle_vms, host.slots().0);
    // Nobody asks any more.
    until(&host, |pool| pool.idle_vms == 1 && pool.active_vms == 0).await;
}

#[tokio::test]
async fn one_that_is_overrun_pauses_and_is_tried_again() {
    let host = host();
    host.load(stocked(counter(), 1, 1)).await.unwrap();
    until(&host, |pool| pool.idle_vms == 1).await;
    let made = || metric(&host, "tapline_stock_made_total{plugin=\"p\"}");
    let overrun = async {
        let (mut before, mut rounds_without) = (made(), 0);
        // Eight calls at once, of which one finds something, and time enough to make another one.
        while rounds_without < 20 {
            let answers = join_all((0..8).map(|_| ask(&host))).await;
            assert!(answers.iter().all(|answer| matches!(answer, Ok(1))), "{answers:?}");
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            rounds_without = if made() == before { rounds_without + 1 } else { 0 };
            before = made();
        }
    };
    tokio::time::timeout(PATIENCE, overrun).await.unwrap();
    assert_eq!(host.slots().0, 0, "nobody has an instance");
    // Nobody asks any more.
    until(&host, |pool| pool.idle_vms == 1).await;
    let hits = host.pool_metrics().pool_hits;
    assert_eq!(ask(&host).await.unwrap(), 1);
    assert_eq!(host.pool_metrics().pool_hits, hits + 1);
}

#[tokio::test]
async fn it_gives_way_to_whoever_needs_a_slot() {
    let (host, gate) =
        host_with(HostConfig { pool_size: 4, plugin_share_percent: 100, limits: limits(60_000), ..config() });
    host.load(stocked(spec("p", number("(local.get $x)")), 4, 4)).await.unwrap();
    until(&host, |pool| pool.idle_vms == 4).await;
    assert_eq!(host.slots(), (4, 4), "the stock has the whole pool");
    host.load(spec("slow", waiting()).grant("gate", "open")).await.unwrap();
    let all_run = async {
        until(&host, |pool| pool.active_vms == 4 && pool.idle_vms == 0).await;
        gate.add_permits(8);
    };
    let slow = async {
        let outcomes = join_all((0..4).map(|_| host.dispatch(Number, &7))).await;
        outcomes.into_iter().map(|outcome| outcome.unwrap().answers.len()).sum::<usize>()
    };
    let (answers, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(slow, all_run) }).await.unwrap();
    assert_eq!(answers, 8, "nobody was refused");
}

#[tokio::test]
async fn a_use_has_its_own_deadline_and_fuel() {
    let host = host();
    let fuel = PartialLimits {
        enable_fuel_metering: Some(true),
        fuel_limit: Some(10_000),
        max_execution_time_ms: Some(100),
        ..PartialLimits::default()
    };
    // Starting takes most of what a call may have; the call takes as much again.
    let work = "(func $work (local $n i32) (loop $l (local.set $n (i32.add (local.get $n) (i32.const 1)))
                  (br_if $l (i32.lt_u (local.get $n) (i32.const 900))))) (start $work)";
    let bytes = number_with(work, "(call $work) (local.get $x)");
    host.load(stocked(spec("p", bytes.clone()).limits(fuel), 1, 1)).await.unwrap();
    until(&host, |pool| pool.idle_vms == 1).await;
    // The instance becomes older than a call may.
    tokio::time::sleep(Duration::from_millis(120)).await;
    for _ in 0..5 {
        until(&host, |pool| pool.idle_vms == 1).await;
        assert_eq!(ask(&host).await.unwrap(), 7);
    }
    // An endless one ends at the deadline of its call, and not before.
    let endless = number("(loop $l (br_if $l (i32.eq (local.get $x) (i32.const 7)))) (local.get $x)");
    host.replace(stocked(spec("p", endless).limits(time(50)), 1, 1)).await.unwrap();
    until(&host, |pool| pool.idle_vms == 1).await;
    assert!(matches!(ask(&host).await, Err(Fault::TimedOut { .. })));
    assert_eq!(host.dispatch(Number, &8).await.unwrap().answers, [(name("p"), 8)]);
    // A dispatch with limits of its own has an instance of its own.
    until(&host, |pool| pool.idle_vms == 1).await;
    let narrow = Limits::builder().max_execution_time(Duration::from_millis(5)).build().unwrap();
    let outcome = host.dispatch_within(Number, &7, narrow).await.unwrap();
    assert!(matches!(outcome.failures[0].fault, Fault::TimedOut { limit } if limit == Duration::from_millis(5)));
}

/// Counts the instances that start, and lets none of them once it is told so.
#[derive(Clone, Default)]
struct Starts {
    count: Arc<AtomicU32>,
    is_refused: Arc<AtomicBool>,
    /// The number of the start at which the host function panics, from 1.
    panics_at: Option<u32>,
}

impl Capability for Starts {
    fn grant_name(&self) -> Option<&'static str> {
        None
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["test:host/starts@1.0.0"]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        let starts = self.clone();
        linker.instance("test:host/starts@1.0.0")?.func_wrap(
            "start",
            move |_: StoreContextMut<'_, CallState>, (): ()| {
                let number = starts.count.fetch_add(1, Relaxed) + 1;
                assert!(starts.panics_at != Some(number), "a defect of the capability");
                match starts.is_refused.load(Relaxed) {
                    true => Err(HostFault { capability: "starts", message: "not now".into() }.into()),
                    false => Ok(()),
                }
            },
        )
    }
}

/// A plugin that tells [`Starts`] of each of its instances, and answers with what it gets.
fn starting() -> PluginSpec {
    let bytes = component(&format!(
        r#"(import "test:host/starts@1.0.0" (instance $host (export "start" (func))))
           (core func $start (canon lower (func $host "start")))
           (core module $m
             (import "" "start" (func $start))
             (func (export "run") (param i32) (result i32) (local.get 0))
             (start $start))
           (core instance $i (instantiate $m (with "" (instance (export "start" (func $start))))))
           (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "{NUMBER}" (instance $e))"#
    ));
    PluginSpec { breaker: OFF, ..stocked(spec("p", bytes), 1, 4) }
}

#[tokio::test]
async fn a_plugin_that_cannot_start_is_not_started_again_and_again_for_nobody() {
    let starts = Starts::default();
    let host = Host::builder().config(config()).tap::<Number>().capability(starts.clone()).build().unwrap();
    host.load(starting()).await.unwrap();
    starts.is_refused.store(true, Relaxed);
    for _ in 0..10 {
        assert!(matches!(ask(&host).await, Err(Fault::HostFunction { .. })));
        tokio::task::yield_now().await;
    }
    assert_eq!(starts.count.load(Relaxed), 1 + 1 + 10, "once to load it, once for the stock, and once for each call");
    assert_eq!(host.slots().0, 0);
}

#[tokio::test]
async fn a_host_function_that_panics_for_the_stock_costs_one_instance_and_no_call() {
    // The first start is that of the load.
    let starts = Starts { panics_at: Some(2), ..Starts::default() };
    let host = Host::builder().config(config()).tap::<Number>().capability(starts.clone()).build().unwrap();
    host.load(starting()).await.unwrap();
    let panicked = async {
        while starts.count.load(Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, panicked).await.unwrap();
    for call in 1..=5 {
        assert_eq!(ask(&host).await.unwrap(), 7);
        // The instance of a call is dropped by whoever keeps the stock, which the panic has not ended.
        until(&host, |pool| pool.active_vms == 0).await;
        assert_eq!((starts.count.load(Relaxed), host.slots().0), (2 + call, 0));
    }
    assert!(host.unload(&name("p")).await.unwrap());
    assert_eq!(host.memory().usage().current_pages, 0);
}

#[tokio::test]
async fn a_disabled_plugin_has_none_and_a_host_that_stops_leaves_none() {
    let host = host();
    host.load(stocked(counter(), 2, 2)).await.unwrap();
    until(&host, |pool| pool.idle_vms == 2).await;
    host.disable(&name("p")).await.unwrap();
    assert_eq!(host.slots().0, 0);
    host.enable(&name("p")).await.unwrap();
    until(&host, |pool| pool.idle_vms == 2).await;
    let old = Arc::downgrade(&host.plugins()[0]);
    host.replace(stocked(counter(), 1, 1)).await.unwrap();
    until(&host, |pool| pool.idle_vms == 1 && pool.active_vms == 0).await;
    assert_eq!(ask(&host).await.unwrap(), 1);
    tokio::time::timeout(PATIENCE, async {
        while old.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(host.shut_down(PATIENCE).await);
    assert_eq!(host.slots().0, 0);
    assert_eq!(host.memory().usage().current_pages, 0);
}

#[tokio::test]
async fn calls_wait_no_longer_and_none_is_lost_when_all_of_the_pool_is_asked_for() {
    let host = host_with(HostConfig { pool_size: 4, max_wait: PATIENCE, limits: limits(60_000), ..config() }).0;
    host.load(stocked(counter(), 1, 4)).await.unwrap();
    let outcomes = join_all((0..500).map(|_| ask(&host))).await;
    assert!(outcomes.iter().all(|answer| matches!(answer, Ok(1))), "{outcomes:?}");
    let pool = until(&host, |pool| pool.active_vms == 0).await;
    assert_eq!(pool.pool_hits + pool.pool_misses, 500);
}

#[tokio::test]
async fn loading_a_plugin_is_no_demand() {
    let host = host_with(HostConfig { initial_pool_size: 3, ..config() }).0;
    host.load(stocked(counter(), 1, 8)).await.unwrap();
    until(&host, |pool| pool.idle_vms == 1).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(metric(&host, "tapline_stock_made_total{plugin=\"p\"}"), 1);
    assert_eq!(host.pool_metrics().idle_vms, 1);
}

/// All on one thread: nobody else can have dropped the instance when the answer is there.
#[tokio::test]
async fn a_call_leaves_its_instance_to_somebody_else_to_drop() {
    let host = host();
    host.load(stocked(counter(), 1, 1)).await.unwrap();
    until(&host, |pool| pool.idle_vms == 1).await;
    assert_eq!(ask(&host).await.unwrap(), 1);
    assert_eq!(host.pool_metrics().active_vms, 1, "it is still there");
    until(&host, |pool| pool.active_vms == 0).await;
    assert_eq!(metric(&host, "tapline_teardown_duration_seconds_count{plugin=\"p\"}"), 1);
}

/// A plugin whose instances wait at the gate when they start.
fn slow_to_start() -> PluginSpec {
    let bytes = component(&format!(
        r#"(import "test:host/gate@1.0.0" (instance $gate (export "wait" (func))))
           (core func $wait (canon lower (func $gate "wait")))
           (core module $m
             (import "" "wait" (func $wait))
             (func (export "run") (param i32) (result i32) (local.get 0))
             (start $wait))
           (core instance $i (instantiate $m (with "" (instance (export "wait" (func $wait))))))
           (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "{NUMBER}" (instance $e))"#
    ));
    stocked(spec("slow", bytes), 1, 1).grant("gate", "open")
}

#[tokio::test]
async fn an_instance_that_is_being_made_ahead_gives_way_too() {
    let (host, gate) = host_with(HostConfig { pool_size: 1, limits: limits(60_000), ..config() });
    gate.add_permits(1);
    host.load(slow_to_start()).await.unwrap();
    until(&host, |pool| pool.active_vms == 1).await;
    // It has the only slot, and nobody lets it go on.
    let loaded = tokio::time::timeout(PATIENCE, host.load(counter())).await;
    loaded.expect("the slot was given up").unwrap();
    assert_eq!(host.slots(), (0, 1));
}

#[tokio::test]
async fn stocks_that_cannot_be_are_refused() {
    let host = host();
    let refused = [
        stocked(counter(), 0, 0),
        stocked(counter(), 3, 2),
        stocked(counter(), 1, 9),
        PluginSpec { reuse: Some(Reuse::default()), ..stocked(counter(), 1, 2) },
    ];
    for spec in refused {
        let error = host.load(spec).await.unwrap_err();
        assert!(matches!(error, LoadError::Setting { setting: "stock", .. }), "{error}");
    }
    assert_eq!(host.slots().0, 0);
}
