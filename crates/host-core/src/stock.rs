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
    pressure,
    state::contain,
};

/// How long the demand is watched before a stock shrinks to it.
const PERIOD: Duration = Duration::from_secs(1);
/// How long no instance is made after one that could not be: a plugin whose start fails or never ends must not be started
/// again and again for nobody.
const PAUSE: Duration = Duration::from_secs(60);

/// Keeps instances of a plugin that are made ahead, and made and dropped off the caller's path. A call takes one that no
/// other call has seen, and so isolation is that of a fresh instance; what it saves is the time to make one and to drop it.
///
/// The stock follows demand between [`min`](Self::min) and [`max`](Self::max): it grows when a call finds nothing, and
/// shrinks to what one second took of it. Each instance in it has a slot of the pool and gives it up as soon as somebody
/// needs one, and all are dropped while this process or the machine is short of memory; a call that finds nothing makes its own.
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
    /// Calls that found nothing since the stock was last looked at.
    missed: AtomicUsize,
    /// Something is to be made or to be dropped.
    wake: Arc<Notify>,
    is_kept: AtomicBool,
}

impl Keeper {
    pub(crate) fn new(stock: Stock) -> Self {
        let wake = Arc::new(Notify::new());
        Self { stock, missed: AtomicUsize::new(0), wake, is_kept: AtomicBool::new(false) }
    }

    /// A call found no instance, and makes its own.
    pub(crate) fn missed(&self) {
        self.missed.fetch_add(1, Relaxed);
        self.wake.notify_one();
    }

    /// A call left its instance to be dropped.
    pub(crate) fn left(&self) {
        self.wake.notify_one();
    }
}

/// Begins to keep the stock of the handler's plugin, if it has one and nobody keeps it yet.
pub(crate) fn keep(handler: &Arc<Handler>) {
    let Some(keeper) = &handler.plugin.stock else { return };
    if !keeper.is_kept.swap(true, Relaxed) {
        tokio::spawn(run(Arc::downgrade(handler), Arc::clone(&keeper.wake), keeper.stock));
    }
}

/// How many instances there should be.
struct Demand {
    min: usize,
    max: usize,
    target: usize,
    /// The most that were missing of it in this period.
    deepest: usize,
    /// Why there should be none for now.
    short_of_memory: bool,
}

impl Demand {
    fn new(stock: Stock) -> Self {
        let (min, max) = (stock.min as usize, stock.max as usize);
        Self { min, max, target: min, deepest: 0, short_of_memory: false }
    }

    /// So many are ready, and so many calls found none since the last look.
    fn look(&mut self, ready: usize, missed: usize) {
        self.deepest = self.deepest.max(self.target.saturating_sub(ready));
        if missed > 0 && !self.short_of_memory {
            self.target = (self.target + missed).min(self.max);
            self.deepest = self.target;
        }
    }

    /// A period is over. Another one begins.
    fn end_period(&mut self, short_of_memory: bool) {
        self.short_of_memory = short_of_memory;
        self.target = if short_of_memory { 0 } else { self.deepest.clamp(self.min, self.max) };
        self.deepest = 0;
    }
}

/// Drops what calls have left, and makes what is missing, until the plugin is gone.
async fn run(handler: Weak<Handler>, wake: Arc<Notify>, stock: Stock) {
    let mut demand = Demand::new(stock);
    let mut period = Instant::now() + PERIOD;
    let mut not_before = Instant::now();
    loop {
        let mut ended = None;
        if Instant::now() >= period {
            ended = Some(pressure::is_short_of_memory().await);
            period = Instant::now() + PERIOD;
        }
        {
            let Some(handler) = handler.upgrade() else { return };
            let (slots, plugin) = (&handler.runtime.slots, &handler.plugin);
            let Some(keeper) = &plugin.stock else { return };
            slots.drop_spent();
            let ready = slots.unused(plugin);
            demand.look(ready, keeper.missed.swap(0, Relaxed));
            if let Some(short_of_memory) = ended {
                demand.end_period(short_of_memory);
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
    use super::*;

    #[test]
    fn it_follows_demand_and_has_nothing_while_memory_is_short() {
        let mut demand = Demand::new(Stock { min: 1, max: 8 });
        assert_eq!(demand.target, 1);
        demand.look(0, 3);
        assert_eq!(demand.target, 4, "three calls found nothing");
        demand.look(0, 100);
        assert_eq!(demand.target, 8);
        demand.end_period(false);
        assert_eq!(demand.target, 8, "so many were wanted at once");
        demand.look(6, 0);
        demand.end_period(false);
        assert_eq!(demand.target, 2, "two were taken at once");
        demand.end_period(true);
        assert_eq!(demand.target, 0, "memory is short");
        demand.look(0, 5);
        assert_eq!(demand.target, 0, "calls make their own");
        demand.end_period(true);
        assert_eq!(demand.target, 0);
        demand.end_period(false);
        assert_eq!(demand.target, 1, "there is memory again");
        demand.look(0, 1);
        assert_eq!(demand.target, 2);
    }
}
