//! Instances that are made before somebody asks for them. Each serves one call, as any fresh one does.

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use crate::{
    call::{Call, Handler},
    code,
    config::HostConfig,
    error::LoadError,
    plugin::PluginSpec,
    pressure::Pressure,
    state::contain,
};

/// How long the demand is watched before a stock shrinks to it, and how long one pauses that was overrun.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a stock is tried after its pause: a twentieth of the pause, so that where there is no time to spare it costs a twentieth
/// of what it would cost otherwise.
const TRIAL: Duration = Duration::from_millis(50);
/// A stock was overrun when more calls found nothing than found something, and these would have emptied it so often in a second: a
/// burst alone does not.
const OVERRUN: usize = 16;
/// How long no instance is made after one that could not be: a plugin whose start fails or never ends must not be started
/// again and again for nobody.
const PAUSE: Duration = Duration::from_secs(60);

/// Keeps instances of a plugin that are made ahead, and made and dropped off the caller's path. A call takes one that no
/// other call has seen, and so isolation is that of a fresh instance; what it saves is the time to make one and to drop it.
///
/// The stock follows demand between [`min`](Self::min) and [`max`](Self::max): it grows when a call finds nothing, and
/// shrinks to what one second took of it. Each instance in it has a slot of the pool and gives it up as soon as somebody
/// needs one, and all are dropped while this process or the machine is short of memory; a call that finds nothing makes its own.
/// Where calls come faster than instances are made ahead, because there is no time to spare, the stock pauses: it has none for a
/// second, and is then tried for a twentieth of one.
///
/// What a plugin does when it starts, it does before there is a call: it sees no deadline of one, and uses none of its fuel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Stock {
    /// Instances that are there without any demand. Defaults to 1.
    pub min: u32,
    /// The most instances that wait, at least 1. Defaults to 8.
    pub max: u32,
}

impl Default for Stock {
    fn default() -> Self {
        Self { min: 1, max: 8 }
    }
}

/// Refuses a stock that cannot be.
pub(crate) fn check(config: &HostConfig, spec: &PluginSpec) -> Result<(), LoadError> {
    let Some(Stock { min, max }) = spec.stock else { return Ok(()) };
    let message = if spec.reuse.is_some() {
        "an instance is either used once or reused: take `stock` or `reuse` away".to_owned()
    } else if max == 0 || min > max {
        format!("it keeps {min} to {max} instances; `max` is at least 1 and not less than `min`")
    } else if max > config.pool_size {
        format!("{max} instances do not fit into a pool of {}", config.pool_size)
    } else {
        return Ok(());
    };
    Err(LoadError::Setting { plugin: spec.name.clone(), setting: "stock", message })
}

/// The stock of one plugin, but for the instances: those wait in the slots that they have.
#[derive(Debug)]
pub(crate) struct Keeper {
    stock: Stock,
    /// Calls that found something since the stock was last looked at, and calls that found nothing.
    found: AtomicUsize,
    missed: AtomicUsize,
    /// Calls do as if there were no stock.
    is_paused: AtomicBool,
    /// Something is to be made or to be dropped.
    wake: Arc<Notify>,
    is_kept: AtomicBool,
}

impl Keeper {
    pub(crate) fn new(stock: Stock) -> Self {
        let wake = Arc::new(Notify::new());
        Self {
            stock,
            found: AtomicUsize::new(0),
            missed: AtomicUsize::new(0),
            is_paused: AtomicBool::new(false),
            wake,
            is_kept: AtomicBool::new(false),
        }
    }

    /// Whether calls do as if there were none.
    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused.load(Relaxed)
    }

    /// A call runs on an instance of the stock.
    pub(crate) fn found(&self) {
        self.found.fetch_add(1, Relaxed);
    }

    /// A call found no instance, and makes its own.
    pub(crate) fn missed(&self) {
        self.missed.fetch_add(1, Relaxed);
        self.look_again();
    }

    /// There is something to make, or to drop: there is code now, or a call left its instance.
    pub(crate) fn look_again(&self) {
        self.wake.notify_one();
    }
}

/// Begins to keep the stock of the handler's plugin, if it has one and nobody keeps it yet.
pub(crate) fn keep(handler: &Arc<Handler>) {
    let Some(keeper) = &handler.plugin.stock else { return };
    if !keeper.is_kept.swap(true, Relaxed) {
        let pressure = Arc::clone(&handler.runtime.slots.pressure);
        tokio::spawn(run(Arc::downgrade(handler), Arc::clone(&keeper.wake), keeper.stock, pressure));
    }
}

/// How many instances there should be.
struct Demand {
    min: usize,
    max: usize,
    target: usize,
    /// The most that were missing of it in this period.
    deepest: usize,
    /// Calls of this period that found something, and those that found nothing.
    found: usize,
    missed: usize,
    /// Why there should be none for now.
    short_of_memory: bool,
    is_paused: bool,
    /// How long this period is.
    length: Duration,
}

impl Demand {
    fn new(stock: Stock) -> Self {
        let (min, max) = (stock.min as usize, stock.max as usize);
        let (deepest, found, missed) = (0, 0, 0);
        Self { min, max, target: min, deepest, found, missed, short_of_memory: false, is_paused: false, length: PERIOD }
    }

    /// So many are ready, and so many calls found one and found none since the last look.
    fn look(&mut self, ready: usize, found: usize, missed: usize) {
        self.found += found;
        self.missed += missed;
        self.deepest = self.deepest.max(self.target.saturating_sub(ready));
        if missed > 0 && !self.short_of_memory && !self.is_paused {
            self.target = (self.target + missed).min(self.max);
            self.deepest = self.target;
        }
    }

    /// A period is over. Another one begins, and is so long.
    fn end_period(&mut self, short_of_memory: bool) -> Duration {
        let was_paused = self.is_paused;
        // As many in a trial as come in that part of a second.
        let enough = (OVERRUN as f64 * self.length.div_duration_f64(PERIOD)).max(1.0) * self.max as f64;
        self.is_paused = !was_paused && self.missed > self.found && self.missed as f64 > enough;
        self.short_of_memory = short_of_memory;
        self.target = if short_of_memory || self.is_paused { 0 } else { self.deepest.clamp(self.min, self.max) };
        (self.deepest, self.found, self.missed) = (0, 0, 0);
        self.length = if was_paused { TRIAL } else { PERIOD };
        self.length
    }
}

/// Drops what calls have left, and makes what is missing, until the plugin is gone.
async fn run(handler: Weak<Handler>, wake: Arc<Notify>, stock: Stock, pressure: Arc<Pressure>) {
    let mut demand = Demand::new(stock);
    let mut period = Instant::now() + PERIOD;
    let mut not_before = Instant::now();
    loop {
        let mut ended = None;
        if Instant::now() >= period {
            ended = Some(pressure.is_high().await);
        }
        {
            let Some(handler) = handler.upgrade() else { return };
            let (slots, plugin) = (&handler.runtime.slots, &handler.plugin);
            let Some(keeper) = &plugin.stock else { return };
            slots.drop_spent();
            let ready = slots.unused(plugin);
            demand.look(ready, keeper.found.swap(0, Relaxed), keeper.missed.swap(0, Relaxed));
            if let Some(short_of_memory) = ended {
                period = Instant::now() + demand.end_period(short_of_memory);
                keeper.is_paused.store(demand.is_paused, Relaxed);
                if demand.is_paused {
                    tracing::debug!(plugin = %plugin.name(), "calls come faster than instances are made ahead: the stock pauses");
                }
                slots.drop_unused(plugin, ready.saturating_sub(demand.target));
            }
            let missing = demand.target.saturating_sub(ready);
            if Instant::now() >= not_before && !make(&handler, missing).await {
                not_before = Instant::now() + PAUSE;
            }
        }
        // Not with the handler in hand: its plugin could not go.
        let _ = timeout(PERIOD, wake.notified()).await;
    }
}

/// Makes so many instances, as far as nobody else needs their slots. `false`: one could not be made.
async fn make(handler: &Arc<Handler>, count: usize) -> bool {
    let slots = &handler.runtime.slots;
    let plugin = &handler.plugin;
    // Instances are made of code that is here: to bring it is for calls.
    let Some(code) = plugin.code.peek() else { return true };
    for _ in 0..count {
        if plugin.code.is_resting() {
            return true;
        }
        let Some(slot) = slots.try_take_ahead(plugin) else { return true };
        let start = Instant::now();
        let deadline = start + plugin.limits.max_execution_time();
        let mut call = Call::new(handler, Arc::clone(&code), deadline, plugin.limits);
        let started = {
            let mut starting = pin!(Some(code::start(&mut call, handler, None, deadline)));
            let start = poll_fn(|context| match starting.as_mut().as_pin_mut() {
                Some(starting) => starting.poll(context),
                None => Poll::Pending,
            });
            let started = tokio::select! {
                biased;
                started = start => Some(started),
                // Its slot is somebody's who waits for one: what is made ahead gives way, also in the middle of its start.
                () = slots.until_wanted() => None,
            };
            // A host function that is dropped in the middle may panic, which must not end whoever keeps the stock.
            contain(plugin.name(), &handler.tap, || starting.set(None));
            started
        };
        // What it used is no call's.
        call.set_aside();
        let Some(started) = started else { return true };
        if started.is_err() {
            tracing::debug!(plugin = %plugin.name(), "an instance could not be made ahead; calls make their own");
            return false;
        }
        plugin.metrics().made_ahead(start.elapsed());
        if !slot.keep(plugin, call) {
            return true;
        }
        // Calls come first, also those that are ready in the same thread.
        tokio::task::yield_now().await;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        Collect,
        error::CallError,
        host::Host,
        plugin::PluginSpec,
        pressure::fake,
        tap::{Interface, Signature, Tap},
    };

    struct Nothing;

    impl Tap for Nothing {
        const NAME: &'static str = "nothing";
        const INTERFACES: &'static [Interface] =
            &[Interface { name: "test:host/nothing", function: "run", mode: "full" }];
        type Policy = Collect;
        type Input = ();
        type Answer = ();

        fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
            signature.is::<(), ()>()
        }

        async fn call(call: &mut Call, (): &()) -> Result<(), CallError> {
            call.invoke::<(), ()>(()).await
        }
    }

    const PLUGIN: &str = r#"(component
        (core module $m (func (export "run")))
        (core instance $i (instantiate $m))
        (func $run (canon lift (core func $i "run")))
        (instance $e (export "run" (func $run)))
        (export "test:host/nothing" (instance $e)))"#;

    async fn until_idle(host: &Host, instances: usize) {
        let waiting = async {
            while host.pool_metrics().idle_vms != instances {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = timeout(Duration::from_secs(60), waiting).await;
        assert!(waited.is_ok(), "{instances} instances were expected: {:?}", host.pool_metrics());
    }

    #[tokio::test]
    async fn while_memory_is_short_there_is_none_and_calls_are_served() {
        let directory = tempfile::tempdir().unwrap();
        let kernel = directory.path().join("memory");
        let say = |percent| fs::write(&kernel, fake::text(percent)).unwrap();
        say("0.00");
        let host = Host::builder().tap::<Nothing>().pressure(fake::pressure(&kernel)).build().unwrap();
        let name = tapline_tap_dispatch::PluginName::new("p").unwrap();
        let spec = PluginSpec::bytes(name, wat::parse_str(PLUGIN).unwrap());
        host.load(PluginSpec { stock: Some(Stock { min: 2, max: 4 }), ..spec }).await.unwrap();
        until_idle(&host, 2).await;
        say("50.00");
        until_idle(&host, 0).await;
        let misses = host.pool_metrics().pool_misses;
        assert_eq!(host.dispatch(Nothing, &()).await.unwrap().answers.len(), 1);
        assert_eq!(host.pool_metrics().pool_misses, misses + 1, "it made its own");
        say("0.00");
        until_idle(&host, 2).await;
    }

    #[test]
    fn it_follows_demand_and_has_nothing_while_memory_is_short() {
        let mut demand = Demand::new(Stock { min: 1, max: 8 });
        assert_eq!(demand.target, 1);
        demand.look(0, 1, 3);
        assert_eq!(demand.target, 4, "three calls found nothing");
        demand.look(0, 4, 100);
        assert_eq!(demand.target, 8);
        demand.end_period(false);
        assert_eq!(demand.target, 8, "so many were wanted at once");
        demand.look(6, 2, 0);
        demand.end_period(false);
        assert_eq!(demand.target, 2, "two were taken at once");
        demand.end_period(true);
        assert_eq!(demand.target, 0, "memory is short");
        demand.look(0, 0, 5);
        assert_eq!(demand.target, 0, "calls make their own");
        demand.end_period(true);
        assert_eq!(demand.target, 0);
        demand.end_period(false);
        assert_eq!(demand.target, 1, "there is memory again");
        demand.look(0, 0, 1);
        assert_eq!(demand.target, 2);
    }

    #[test]
    fn it_pauses_when_it_is_overrun_and_is_tried_again() {
        let mut demand = Demand::new(Stock { min: 1, max: 8 });
        demand.look(0, 8, 92);
        assert_eq!(demand.end_period(false), PERIOD);
        assert!(!demand.is_paused, "a burst");
        demand.look(0, 1000, 999);
        demand.end_period(false);
        assert!(!demand.is_paused, "most calls find an instance");
        demand.look(0, 99, 129);
        assert_eq!(demand.end_period(false), PERIOD);
        assert_eq!((demand.is_paused, demand.target), (true, 0));
        demand.look(0, 0, 2);
        assert_eq!(demand.target, 0, "of calls that came before they knew");
        assert_eq!(demand.end_period(false), TRIAL);
        assert_eq!((demand.is_paused, demand.target), (false, 1));
        demand.look(0, 5, 9);
        assert_eq!(demand.end_period(false), PERIOD);
        assert!(demand.is_paused, "as many as before, in a twentieth of the time");
        assert_eq!(demand.end_period(false), TRIAL);
        demand.look(0, 5, 8);
        assert_eq!(demand.end_period(false), PERIOD);
        assert!(!demand.is_paused, "it keeps up again");
    }
}
