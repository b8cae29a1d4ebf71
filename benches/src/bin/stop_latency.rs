//! Spins guests, and prints how late they are stopped, what that does to their neighbours, and what the means cost.
//!
//! `stop-latency [--stops N]`, in release mode, on a quiet machine. Three tables, each isolating one thing:
//!
//! 1. From the deadline of a call to the return of its dispatch, for guests that spin in different ways. N stops each. The first
//!    row is the control: what two native threads make of the same clock on this machine.
//! 2. The p99 of 99 neighbours while one more plugin spins all the time, as a ratio to their p99 without it. Rounds with
//!    and without take turns; the ratio is taken within each pair of rounds, so that the spread shows what the machine does.
//! 3. The same guest through bare wasmtime with the host's settings, with the epoch clock, fuel and the limiter each
//!    switched on alone. Arms take turns of a hundred calls.

#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::{
    error::Error,
    fmt::Write as _,
    hint,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tapline_host_core::{
    Call, CallError, CallState, Capability, Collect, EPOCH_TICK, Fault, Host, HostConfig, Interface, PluginName,
    PluginSpec, Signature, Tap, engine_config,
    limits::{Limits, PartialLimits, StoreLimiter},
    swap_is_impossible,
};
use tokio::{task::JoinSet, time::Instant};
use wasmtime::{
    Engine, EngineWeak, Store, StoreContextMut,
    component::{Component, InstancePre, Linker},
};

const CROWD: &str = "a loop, six at once on two threads";

type Failure = Box<dyn Error + Send + Sync>;

macro_rules! tap {
    ($tap:ident, $name:literal, $interface:literal) => {
        struct $tap;

        impl Tap for $tap {
            const NAME: &'static str = $name;
            const INTERFACES: &'static [Interface] = &[Interface { name: $interface, function: "run", mode: "full" }];
            type Policy = Collect;
            type Input = u32;
            type Answer = u32;

            fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
                signature.is::<(u32,), (u32,)>()
            }

            async fn call(call: &mut Call, input: &u32) -> Result<u32, CallError> {
                Ok(call.invoke::<(u32,), (u32,)>((*input,)).await?.0)
            }
        }
    };
}

tap!(Spin, "spin", "bench:stop/spin@1.0.0");
tap!(Work, "work", "bench:stop/work@1.0.0");
tap!(Wait, "wait", "bench:stop/wait@1.0.0");

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
fn guest(interface: &str, pages: u32, module: &str, body: &str) -> Result<Vec<u8>, wat::Error> {
    wat::parse_str(format!(
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
    ))
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let stops = match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (None, ..) => 200,
        (Some("--stops"), Some(number), None) => number.parse()?,
        _ => return Err("usage: stop-latency [--stops N]".into()),
    };
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    runtime()?.block_on(lateness(stops))?;
    runtime()?.block_on(neighbours((stops / 10).max(1)))?;
    runtime()?.block_on(costs((stops * 10).max(100)))
}

async fn host(guests: &[(&str, Vec<u8>, Duration)]) -> Result<Host, Failure> {
    let limits = Limits::builder().max_execution_time(Duration::from_secs(60)).build()?;
    let config = HostConfig { pool_size: 200, limits, ..HostConfig::default() };
    let builder = Host::builder().config(config).tap::<Spin>().tap::<Work>().tap::<Wait>().capability(Functions);
    let host = builder.build()?;
    for (name, bytes, limit) in guests {
        let limit = u64::try_from(limit.as_millis())?;
        let mut spec = PluginSpec::bytes(PluginName::new(name)?, bytes.clone())
            .limits(PartialLimits { max_execution_time_ms: Some(limit), ..PartialLimits::default() });
        // It is called because it does not come back.
        spec.breaker.enabled = Some(false);
        host.load(spec).await?;
    }
    Ok(host)
}

async fn lateness(stops: usize) -> Result<(), Failure> {
    const LIMIT: Duration = Duration::from_millis(10);
    let spin = <Spin as Tap>::INTERFACES[0].name;
    let spinners = [
        ("a loop", guest(spin, 1, "", "(loop (br 0)) (local.get $x)")?),
        // More than there are threads: nobody else is left to look at the timers.
        (CROWD, guest(spin, 1, "", "(loop (br 0)) (local.get $x)")?),
        ("calls that return", guest(spin, 1, "(func $f)", "(loop (call $f) (br 0)) (local.get $x)")?),
        ("host calls", guest(spin, 1, "", "(loop (drop (call $step (local.get $x))) (br 0)) (local.get $x)")?),
        ("waiting", guest(spin, 1, "", "(loop (call $wait) (br 0)) (local.get $x)")?),
        ("fills 1 MiB at a time", fills(spin, 16)?),
        ("fills 16 MiB at a time", fills(spin, 256)?),
        ("fills 128 MiB at a time", fills(spin, 2048)?),
    ];
    println!(
        "how late a guest is stopped, from its deadline of {LIMIT:?} to the return of the dispatch, {stops} stops each\n"
    );
    println!("| guest | p50 | p99 | most |\n|---|---|---|---|");
    print_row("none: a native thread that spins, and another that counts ticks", &mut native_stops(stops, LIMIT));
    for (what, bytes) in spinners {
        let host = host(&[("spinner", bytes, LIMIT)]).await?;
        let at_once = if what == CROWD { 6 } else { 1 };
        let mut tasks = JoinSet::new();
        for _ in 0..at_once {
            tasks.spawn(stop(host.clone(), what, LIMIT, stops.div_ceil(at_once)));
        }
        let mut late = Vec::with_capacity(stops);
        while let Some(done) = tasks.join_next().await {
            late.extend(done??);
        }
        print_row(what, &mut late);
    }
    println!();
    Ok(())
}

fn print_row(what: &str, late: &mut [Duration]) {
    let [p50, p99, most] = quantiles(late, [0.5, 0.99, 1.0]);
    println!("| {what} | {p50:.2?} | {p99:.2?} | {most:.2?} |");
}

/// What the machine does by itself: how much later than `limit` a loop without a guest sees the first tick after it.
fn native_stops(stops: usize, limit: Duration) -> Vec<Duration> {
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
            if now != seen && start.elapsed() >= limit {
                return start.elapsed().saturating_sub(limit);
            }
            seen = now;
            hint::spin_loop();
        }
    };
    (0..stops).map(|_| stop()).collect()
}

/// How much later than `limit` each call came back.
async fn stop(host: Host, what: &str, limit: Duration, stops: usize) -> Result<Vec<Duration>, Failure> {
    let mut late = Vec::with_capacity(stops);
    for _ in 0..stops {
        let start = Instant::now();
        let failures = host.dispatch(Spin, &1).await?.failures;
        let took = start.elapsed();
        if !matches!(failures.first().map(|error| &error.fault), Some(Fault::TimedOut { .. })) {
            return Err(format!("{what}: was not stopped by its deadline: {failures:?}").into());
        }
        late.push(took.saturating_sub(limit));
    }
    Ok(late)
}

/// One instruction that takes as long as the memory is large: the clock is seen only when it is done.
fn fills(interface: &str, pages: u32) -> Result<Vec<u8>, wat::Error> {
    let body = format!(
        "(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const {})) (br 0)) (local.get $x)",
        u64::from(pages) << 16
    );
    guest(interface, pages, "", &body)
}

async fn neighbours(rounds: usize) -> Result<(), Failure> {
    const NEIGHBOURS: u32 = 99;
    let spin = guest(<Spin as Tap>::INTERFACES[0].name, 1, "", "(loop (br 0)) (local.get $x)")?;
    let work = guest(<Work as Tap>::INTERFACES[0].name, 1, "", "(call $step (local.get $x))")?;
    let wait = guest(<Wait as Tap>::INTERFACES[0].name, 1, "", "(call $wait) (call $step (local.get $x))")?;
    let minute = Duration::from_secs(60);
    let host =
        host(&[("spinner", spin, Duration::from_millis(100)), ("work", work, minute), ("wait", wait, minute)]).await?;
    println!(
        "the p99 of {NEIGHBOURS} neighbours beside one plugin that spins all the time, {rounds} pairs of rounds\n"
    );
    println!(
        "| neighbours | p99 alone | p99 beside it | ratio, median | lowest | highest |\n|---|---|---|---|---|---|"
    );
    for waits in [true, false] {
        let (mut alone, mut beside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let without = round(&host, NEIGHBOURS, waits, false).await?;
            let with = round(&host, NEIGHBOURS, waits, true).await?;
            ratios.push(with.as_secs_f64() / without.as_secs_f64());
            alone.push(without);
            beside.push(with);
        }
        ratios.sort_by(f64::total_cmp);
        let ratio = |share: f64| ratios[((ratios.len() - 1) as f64 * share) as usize];
        let [alone] = quantiles(&mut alone, [0.5]);
        let [beside] = quantiles(&mut beside, [0.5]);
        let what = if waits { "wait 10 ms in a host function" } else { "compute, no wait" };
        println!("| {what} | {alone:.2?} | {beside:.2?} | {:.3} | {:.3} | {:.3} |", ratio(0.5), ratio(0.0), ratio(1.0));
    }
    println!();
    Ok(())
}

/// The p99 of the neighbours' calls, each of which makes one every ten to twenty milliseconds.
async fn round(host: &Host, neighbours: u32, waits: bool, spinning: bool) -> Result<Duration, Failure> {
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
    for neighbour in 0..neighbours {
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
                times.push(start.elapsed());
                if answers.first().map(|(_, answer)| *answer) != Some(2) {
                    return Err(Failure::from("a neighbour was not served"));
                }
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
    let [p99] = quantiles(&mut times, [0.99]);
    Ok(p99)
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
    Means { name: "epoch and limiter", epoch: true, fuel: false, limiter: true },
];

struct Arm {
    means: Means,
    engine: Engine,
    pre: InstancePre<StoreLimiter>,
    function: wasmtime::component::ComponentExportIndex,
}

impl Arm {
    fn new(means: Means, bytes: &[u8]) -> Result<Self, Failure> {
        let config = HostConfig { pool_size: 4, ..HostConfig::default() };
        let mut settings = engine_config(&config, means.fuel, swap_is_impossible())?;
        settings.epoch_interruption(means.epoch);
        let engine = Engine::new(&settings)?;
        if means.epoch {
            tick(engine.weak())?;
        }
        let component = Component::new(&engine, bytes)?;
        let mut linker = Linker::new(&engine);
        let mut host = linker.instance("bench:stop/host@1.0.0")?;
        host.func_wrap("step", |_: StoreContextMut<'_, StoreLimiter>, (x,): (u32,)| Ok((x.wrapping_add(1),)))?;
        host.func_wrap_async("wait", |_: StoreContextMut<'_, StoreLimiter>, (): ()| Box::new(async { Ok(()) }))?;
        let function = component
            .get_export_index(None, <Work as Tap>::INTERFACES[0].name)
            .and_then(|instance| component.get_export_index(Some(&instance), "run"))
            .ok_or("the guest has no function `run`")?;
        Ok(Self { means, pre: linker.instantiate_pre(&component)?, engine, function })
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
            std::thread::sleep(EPOCH_TICK);
        }
    };
    std::thread::Builder::new().name("epoch".to_owned()).spawn(clock).map(drop)
}

async fn costs(calls: usize) -> Result<(), Failure> {
    const TURN: usize = 100;
    let work = <Work as Tap>::INTERFACES[0].name;
    let guests = [
        ("answers at once", guest(work, 1, "", "(local.get $x)")?),
        (
            "adds 10 000 numbers",
            guest(
                work,
                1,
                "",
                "(local $n i32) (local $sum i32)
                 (loop $next
                   (local.set $sum (i32.add (i32.xor (local.get $sum) (local.get $n)) (local.get $x)))
                   (local.set $n (i32.add (local.get $n) (i32.const 1)))
                   (br_if $next (i32.lt_u (local.get $n) (i32.const 10000))))
                 (local.get $sum)",
            )?,
        ),
        (
            "calls 10 000 functions",
            guest(
                work,
                1,
                "(func $fib (param $n i32) (result i32)
                   (if (result i32) (i32.lt_u (local.get $n) (i32.const 2)) (then (local.get $n))
                     (else (i32.add (call $fib (i32.sub (local.get $n) (i32.const 1)))
                                    (call $fib (i32.sub (local.get $n) (i32.const 2)))))))",
                "(call $fib (i32.const 18))",
            )?,
        ),
        ("grows 32 times", {
            let grow = "(drop (memory.grow (i32.const 1)))".repeat(32);
            guest(work, 1, "", &format!("{grow} (memory.size)"))?
        }),
    ];
    println!("what the means cost: bare wasmtime, a fresh instance and one call, median of {calls} calls each\n");
    let names: Vec<&str> = MEANS.iter().map(|means| means.name).collect();
    println!("| guest | {} |\n|---{}|", names.join(" | "), "|---".repeat(MEANS.len()));
    for (what, bytes) in guests {
        let arms = MEANS.map(|means| Arm::new(means, &bytes)).into_iter().collect::<Result<Vec<_>, _>>()?;
        let expected = arms[0].call(7).await?;
        let mut times = vec![Vec::with_capacity(calls); arms.len()];
        for _ in 0..calls.div_ceil(TURN) {
            for (arm, times) in arms.iter().zip(&mut times) {
                for turn in 0..TURN {
                    let start = Instant::now();
                    let answer = arm.call(7).await?;
                    let took = start.elapsed();
                    if answer != expected {
                        return Err(format!("{}: {answer}, and not {expected}", arm.means.name).into());
                    }
                    // The first calls of a turn meet what the arm before has left in the caches.
                    if turn >= TURN / 10 {
                        times.push(took);
                    }
                }
            }
        }
        let medians: Vec<Duration> = times.iter_mut().map(|times| quantiles(times, [0.5])[0]).collect();
        let mut row = format!("| {what} ");
        for median in &medians {
            let more = 100.0 * (median.as_secs_f64() / medians[0].as_secs_f64() - 1.0);
            write!(row, "| {median:.2?} ({more:+.1} %) ")?;
        }
        println!("{row}|");
    }
    Ok(())
}

fn quantiles<const N: usize>(times: &mut [Duration], shares: [f64; N]) -> [Duration; N] {
    times.sort_unstable();
    shares.map(|share| {
        let rank = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len().max(1));
        times.get(rank - 1).copied().unwrap_or_default()
    })
}
