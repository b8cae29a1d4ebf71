//! How late a guest that spins is stopped, what it does to its neighbours, and what the means of stopping it cost.

use std::{
    hint,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tapline_host_core::{
    CallState, Capability, EPOCH_TICK, Fault, Host, HostConfig, Tap, engine_config,
    limits::{Limits, PartialLimits, StoreLimiter},
    swap_is_impossible,
};
use tokio::task::JoinSet;
use wasmtime::{
    Engine, EngineWeak, Store, StoreContextMut,
    component::{Component, ComponentExportIndex, InstancePre, Linker},
};

use super::{Run, on_one_thread, spec};
use crate::{
    bare::Ours as _,
    measure::{Arm, nanoseconds, take_turns},
    stats::{self, Estimate},
    taps::number_tap,
};

/// How long a guest may take that never ends.
const LIMIT: Duration = Duration::from_millis(10);

number_tap!(Spin, "spin", "bench:stop/spin@1.0.0", "run");
number_tap!(Work, "work", "bench:stop/work@1.0.0", "run");
number_tap!(Wait, "wait", "bench:stop/wait@1.0.0", "run");

pub(super) fn run(run: &mut Run) -> Result<()> {
    on_two_threads(async { lateness(run).await })?;
    on_two_threads(async { neighbours(run).await })?;
    on_one_thread(async { costs(run).await })
}

/// As many as the figure is asked for, whatever the machine has.
fn on_two_threads<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?.block_on(work)
}

/// Host functions: one that only counts, and one that waits ten milliseconds, as a query does.
struct Functions;

impl Capability for Functions {
    fn grant_name(&self) -> Option<&'static str> {
        None
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["bench:stop/host@1.0.0"]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        let mut host = linker.instance("bench:stop/host@1.0.0")?;
        host.func_wrap("step", |_: StoreContextMut<'_, CallState>, (x,): (u32,)| Ok((x.wrapping_add(1),)))?;
        host.func_wrap_async("wait", |_: StoreContextMut<'_, CallState>, (): ()| {
            Box::new(async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok(())
            })
        })
    }
}

/// A component whose core function has this body; it may call `$step` and `$wait`.
fn guest(interface: &str, pages: u32, module: &str, body: &str) -> Result<Vec<u8>> {
    Ok(wat::parse_str(format!(
        r#"(component
             (import "bench:stop/host@1.0.0" (instance $host
               (export "step" (func (param "x" u32) (result u32))) (export "wait" (func))))
             (core func $step (canon lower (func $host "step")))
             (core func $wait (canon lower (func $host "wait")))
             (core module $m
               (import "" "step" (func $step (param i32) (result i32)))
               (import "" "wait" (func $wait))
               (memory {pages})
               {module}
               (func (export "run") (param $x i32) (result i32) {body}))
             (core instance $i (instantiate $m (with "" (instance
               (export "step" (func $step)) (export "wait" (func $wait))))))
             (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
             (instance $e (export "run" (func $run)))
             (export "{interface}" (instance $e)))"#
    ))?)
}

async fn host(guests: &[(&str, Vec<u8>, Duration)]) -> Result<Host> {
    let limits = Limits::builder().max_execution_time(Duration::from_secs(60)).build()?;
    let config = HostConfig { pool_size: 200, limits, ..HostConfig::default() };
    let builder = Host::builder().config(config).tap::<Spin>().tap::<Work>().tap::<Wait>().capability(Functions);
    let host = builder.build()?;
    for (name, bytes, limit) in guests {
        let max_execution_time_ms = Some(u64::try_from(limit.as_millis())?);
        let mut spec =
            spec(name, bytes.clone())?.limits(PartialLimits { max_execution_time_ms, ..PartialLimits::default() });
        // It is called because it does not come back.
        spec.breaker.enabled = Some(false);
        host.load(spec).await?;
    }
    Ok(host)
}

/// From the deadline of a call to the return of its dispatch.
async fn lateness(run: &mut Run) -> Result<()> {
    let spin = <Spin as Tap>::INTERFACES[0].name;
    let endless = || guest(spin, 1, "", "(loop (br 0)) (local.get $x)");
    let stops = run.scale.pick(200, 50, 2);
    add_stops(run, "native", &native_stops(stops))?;
    let spinners = [
        ("loop", endless()?, 1),
        // More than there are threads: nobody else is left to look at the timers.
        ("crowd", endless()?, 6),
        ("calls", guest(spin, 1, "(func $f)", "(loop (call $f) (br 0)) (local.get $x)")?, 1),
        ("host-calls", guest(spin, 1, "", "(loop (drop (call $step (local.get $x))) (br 0)) (local.get $x)")?, 1),
        ("waits", guest(spin, 1, "", "(loop (call $wait) (br 0)) (local.get $x)")?, 1),
        ("fill-1mb", fills(spin, 16)?, 1),
        ("fill-16mb", fills(spin, 256)?, 1),
        ("fill-128mb", fills(spin, 2048)?, 1),
    ];
    for (name, bytes, at_once) in spinners {
        run.say(format!("{stops} guests that are stopped: {name}"));
        let host = host(&[("spinner", bytes, LIMIT)]).await?;
        let mut tasks = JoinSet::new();
        for _ in 0..at_once {
            tasks.spawn(stop(host.clone(), stops.div_ceil(at_once)));
        }
        let mut late = Vec::with_capacity(stops);
        while let Some(done) = tasks.join_next().await {
            late.extend(done??);
        }
        add_stops(run, name, &late)?;
    }
    Ok(())
}

fn add_stops(run: &mut Run, name: &str, late: &[f64]) -> Result<()> {
    for (share, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        run.add(format!("stop.{name}.{share}"), Estimate::exact(stats::quantile(late, quantile) * 1e-6))?;
    }
    Ok(())
}

/// What the machine does by itself: how much later than the limit a loop without a guest sees the first tick after it.
fn native_stops(stops: usize) -> Vec<f64> {
    let ticks = Arc::new(AtomicU64::new(0));
    let counted = Arc::downgrade(&ticks);
    thread::spawn(move || {
        while let Some(ticks) = counted.upgrade() {
            ticks.fetch_add(1, Relaxed);
            drop(ticks);
            thread::sleep(EPOCH_TICK);
        }
    });
    let stop = || {
        let (start, mut seen) = (Instant::now(), 0);
        loop {
            let now = ticks.load(Relaxed);
            if now != seen && start.elapsed() >= LIMIT {
                return later(start);
            }
            seen = now;
            hint::spin_loop();
        }
    };
    (0..stops).map(|_| stop()).collect()
}

/// How much later than the limit it is, in nanoseconds.
fn later(start: Instant) -> f64 {
    start.elapsed().saturating_sub(LIMIT).as_nanos() as f64
}

async fn stop(host: Host, stops: usize) -> Result<Vec<f64>> {
    let mut late = Vec::with_capacity(stops);
    for _ in 0..stops {
        let start = Instant::now();
        let failures = host.dispatch(Spin, &1).await?.failures;
        late.push(later(start));
        let stopped = matches!(failures.first().map(|error| &error.fault), Some(Fault::TimedOut { .. }));
        ensure!(stopped, "it was not stopped by its deadline: {failures:?}");
    }
    Ok(late)
}

/// One instruction that takes as long as the memory is large: the clock is seen only when it is done.
fn fills(interface: &str, pages: u32) -> Result<Vec<u8>> {
    let bytes = u64::from(pages) << 16;
    let body = format!("(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const {bytes})) (br 0)) (local.get $x)");
    guest(interface, pages, "", &body)
}

/// The p99 of neighbours while one more plugin spins all the time, over their p99 without it.
async fn neighbours(run: &mut Run) -> Result<()> {
    let minute = Duration::from_secs(60);
    let guests = [
        ("spinner", guest(<Spin as Tap>::INTERFACES[0].name, 1, "", "(loop (br 0)) (local.get $x)")?, 10 * LIMIT),
        ("work", guest(<Work as Tap>::INTERFACES[0].name, 1, "", "(call $step (local.get $x))")?, minute),
        ("wait", guest(<Wait as Tap>::INTERFACES[0].name, 1, "", "(call $wait) (call $step (local.get $x))")?, minute),
    ];
    let host = host(&guests).await?;
    let rounds = run.scale.pick(20, 5, 1);
    for (name, waits) in [("waiting", true), ("computing", false)] {
        run.say(format!("{rounds} rounds of neighbours that are {name}"));
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            alone.push(neighbours_p99(&host, waits, false).await?);
            beside.push(neighbours_p99(&host, waits, true).await?);
        }
        run.add(format!("stop.neighbours.{name}"), stats::ratio(&beside, &alone))?;
        run.millis(format!("stop.neighbours.{name}.p99"), &beside)?;
    }
    Ok(())
}

/// The p99 of the neighbours' calls, in nanoseconds. Each makes one every ten to twenty milliseconds.
async fn neighbours_p99(host: &Host, waits: bool, spinning: bool) -> Result<f64> {
    const NEIGHBOURS: u32 = 99;
    const CALLS: u32 = 20;
    let spinner = spinning.then(|| {
        let host = host.clone();
        tokio::spawn(async move {
            loop {
                let _ = host.dispatch(Spin, &1).await;
            }
        })
    });
    let mut tasks = JoinSet::new();
    for neighbour in 0..NEIGHBOURS {
        let host = host.clone();
        tasks.spawn(async move {
            let mut times = Vec::new();
            for call in 0..CALLS {
                // Spread over the round, and not in step with the clock.
                let pause = 10_000 + (neighbour * 7919 + call * 104_729) % 10_000;
                tokio::time::sleep(Duration::from_micros(pause.into())).await;
                let start = Instant::now();
                let answers =
                    if waits { host.dispatch(Wait, &1).await?.answers } else { host.dispatch(Work, &1).await?.answers };
                times.push(nanoseconds(start));
                ensure!(matches!(answers[..], [(_, 2)]), "a neighbour was not served");
            }
            Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    if let Some(spinner) = spinner {
        spinner.abort();
        // Its call is dropped with it: the next round begins without.
        let _ = spinner.await;
    }
    Ok(stats::quantile(&times, 0.99))
}

/// What bare wasmtime is told to do beside running the guest.
#[derive(Clone, Copy)]
struct Means {
    name: &'static str,
    epoch: bool,
    fuel: bool,
    limiter: bool,
}

const MEANS: [Means; 5] = [
    Means { name: "none", epoch: false, fuel: false, limiter: false },
    Means { name: "epoch", epoch: true, fuel: false, limiter: false },
    Means { name: "fuel", epoch: false, fuel: true, limiter: false },
    Means { name: "limiter", epoch: false, fuel: false, limiter: true },
    Means { name: "both", epoch: true, fuel: false, limiter: true },
];

struct Stopper {
    means: Means,
    engine: Engine,
    pre: InstancePre<StoreLimiter>,
    function: ComponentExportIndex,
}

impl Stopper {
    fn new(means: Means, bytes: &[u8]) -> Result<Self> {
        let config = HostConfig { pool_size: 4, ..HostConfig::default() };
        let mut settings = engine_config(&config, means.fuel, swap_is_impossible())?;
        settings.epoch_interruption(means.epoch);
        let engine = Engine::new(&settings).ours()?;
        if means.epoch {
            tick(engine.weak())?;
        }
        let component = Component::new(&engine, bytes).ours()?;
        let mut linker = Linker::new(&engine);
        let mut host = linker.instance("bench:stop/host@1.0.0").ours()?;
        host.func_wrap("step", |_: StoreContextMut<'_, StoreLimiter>, (x,): (u32,)| Ok((x.wrapping_add(1),))).ours()?;
        host.func_wrap_async("wait", |_: StoreContextMut<'_, StoreLimiter>, (): ()| Box::new(async { Ok(()) }))
            .ours()?;
        let function = component
            .get_export_index(None, <Work as Tap>::INTERFACES[0].name)
            .and_then(|instance| component.get_export_index(Some(&instance), "run"))
            .context("the guest has no function `run`")?;
        Ok(Self { means, pre: linker.instantiate_pre(&component).ours()?, engine, function })
    }

    async fn call(&self, input: u32) -> wasmtime::Result<u32> {
        let mut store = Store::new(&self.engine, StoreLimiter::new(&Limits::default()));
        if self.means.limiter {
            store.limiter(|limiter| limiter);
        }
        if self.means.epoch {
            store.set_epoch_deadline(1);
            store.epoch_deadline_async_yield_and_update(1);
        }
        if self.means.fuel {
            store.set_fuel(u64::MAX / 2)?;
        }
        let instance = self.pre.instantiate_async(&mut store).await?;
        let function = instance.get_typed_func::<(u32,), (u32,)>(&mut store, &self.function)?;
        Ok(function.call_async(&mut store, (input,)).await?.0)
    }
}

/// Advances the epoch as the host does, until the engine is gone.
fn tick(engine: EngineWeak) -> std::io::Result<()> {
    let clock = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(EPOCH_TICK);
        }
    };
    thread::Builder::new().name("epoch".to_owned()).spawn(clock).map(drop)
}

/// The same guest through bare wasmtime with the host's settings, with each of the means switched on alone.
async fn costs(run: &mut Run) -> Result<()> {
    let work = <Work as Tap>::INTERFACES[0].name;
    let adds = "(local $n i32) (local $sum i32)
        (loop $next
          (local.set $sum (i32.add (i32.xor (local.get $sum) (local.get $n)) (local.get $x)))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $n) (i32.const 10000))))
        (local.get $sum)";
    let fibonacci = "(func $fib (param $n i32) (result i32)
        (if (result i32) (i32.lt_u (local.get $n) (i32.const 2)) (then (local.get $n))
          (else (i32.add (call $fib (i32.sub (local.get $n) (i32.const 1)))
                         (call $fib (i32.sub (local.get $n) (i32.const 2)))))))";
    let grows = format!("{} (memory.size)", "(drop (memory.grow (i32.const 1)))".repeat(32));
    let guests = [
        ("answers", guest(work, 1, "", "(local.get $x)")?),
        ("adds", guest(work, 1, "", adds)?),
        ("calls", guest(work, 1, fibonacci, "(call $fib (i32.const 18))")?),
        ("grows", guest(work, 1, "", &grows)?),
    ];
    for (name, bytes) in guests {
        run.say(format!("what epoch, fuel and limiter cost a guest that {name}"));
        let stoppers = MEANS.map(|means| Stopper::new(means, &bytes)).into_iter().collect::<Result<Vec<_>>>()?;
        let expected = stoppers[0].call(7).await.ours()?;
        let clocks = stoppers.iter().map(|stopper| {
            Arm::new(stopper.means.name, ["call"], async move || {
                let start = Instant::now();
                let answer = stopper.call(7).await.ours()?;
                let took = nanoseconds(start);
                ensure!(answer == expected, "{answer}, and not {expected}");
                Ok([took])
            })
        });
        let rounds = take_turns(&clocks.collect::<Vec<_>>(), run.scale.rounds(), run.scale.pick(200, 100, 2)).await?;
        let bare = rounds.medians("none", "call");
        run.micros(format!("stop.cost.{name}"), bare)?;
        for means in &MEANS[1..] {
            let more =
                stats::paired(rounds.medians(means.name, "call"), bare, |with, bare| 100.0 * (with / bare - 1.0));
            run.add(format!("stop.cost.{name}.{}", means.name), stats::estimate(&more))?;
        }
    }
    Ok(())
}
