//! The queue in front of the pool, each plugin's share of it, and the instances that wait in it for their next use.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tapline_metrics::Metrics;
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::{
    call::Call,
    config::HostConfig,
    engine::EPOCH_TICK,
    error::{Fault, LoadError},
    plugin::{Plugin, PluginSpec},
    pressure::Pressure,
    stock::Keeper,
};

/// As many permits as the pool has instances, so that a full pool means waiting, with a bound on how many wait and how
/// long.
///
/// A call first takes a turn in its plugin's [`Lane`], then a slot. An instance that waits for its next use has a slot and
/// no turn: it gives way to whoever needs the slot.
pub(crate) struct Slots {
    free: Semaphore,
    limit: usize,
    /// All calls that wait, for a turn, for a slot, or for code that another call has begun to bring.
    line: Line,
    /// Those among them that wait for a slot.
    wanting: AtomicUsize,
    /// Told when one more of them comes.
    wanted: Notify,
    max_wait: Duration,
    /// Never has a permit. Closed when the host stops, which wakes those that wait for a turn or for code.
    stopping: Semaphore,
    /// Never has a permit. Closed when the host has stopped for long enough, which ends the calls that still run.
    cutting_off: Semaphore,
    idle: Mutex<Idle>,
    pub(crate) pressure: Arc<Pressure>,
    metrics: Metrics,
}

/// Instances that calls may leave to be dropped. Where nobody gets to it, a call drops its own, as it does without a stock.
const MAX_SPENT: usize = 32;

/// More than any caller waits: a moment that is too far away cannot be named.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Instances that wait for a call, those that came last behind, and those whose call has ended and that nobody has dropped
/// yet. Each has a slot.
#[derive(Default)]
struct Idle {
    calls: VecDeque<Call>,
    spent: Vec<Call>,
    closed: bool,
}

impl Idle {
    fn take_of(&mut self, plugin: &Plugin) -> VecDeque<Call> {
        let (taken, others) = std::mem::take(&mut self.calls).into_iter().partition(|call| call.is_of(plugin));
        self.calls = others;
        taken
    }
}

/// One plugin's share of the pool: so many of its calls run at once, and so many wait. However slow it is, the rest is for
/// the others.
#[derive(Debug)]
pub(crate) struct Lane {
    turns: Semaphore,
    limit: usize,
    line: Line,
}

/// A place in the pool for one call, with the plugin's turn. Given back on drop.
pub(crate) struct Slot<'a> {
    slots: &'a Slots,
    /// None for an instance that is made ahead: no call of the plugin is running on it.
    _turn: Option<SemaphorePermit<'a>>,
    used: Option<Call>,
    kept: bool,
}

impl Slots {
    pub(crate) fn new(config: &HostConfig, pressure: Pressure, metrics: Metrics) -> Self {
        let limit = config.pool_size as usize;
        Self {
            free: Semaphore::new(limit),
            limit,
            line: Line::new(config.max_waiting),
            wanting: AtomicUsize::new(0),
            wanted: Notify::new(),
            max_wait: config.max_wait.min(LONGEST_WAIT),
            stopping: Semaphore::new(0),
            cutting_off: Semaphore::new(0),
            idle: Mutex::default(),
            pressure: Arc::new(pressure),
            metrics,
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether whatever comes is refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.free.is_closed()
    }

    /// Slots that have an instance, those that wait for their next use included.
    pub(crate) fn in_use(&self) -> usize {
        self.limit - self.free.available_permits()
    }

    /// Instances that wait for a call.
    pub(crate) fn idle(&self) -> usize {
        self.lock().calls.len()
    }

    /// Those of the plugin that have served nobody.
    pub(crate) fn unused(&self, plugin: &Plugin) -> usize {
        self.lock().calls.iter().filter(|call| call.is_unused() && call.is_of(plugin)).count()
    }

    /// Takes a free slot for an instance that is made ahead, if nobody else needs one.
    pub(crate) fn try_take_ahead<'a>(&'a self, plugin: &'a Plugin) -> Option<Slot<'a>> {
        if self.wanting.load(Relaxed) > 0 || plugin.retired.load(Relaxed) {
            return None;
        }
        self.free.try_acquire().ok()?.forget();
        Some(Slot { slots: self, _turn: None, used: None, kept: false })
    }

    /// Drops the instances that calls have left.
    pub(crate) fn drop_spent(&self) {
        let spent = std::mem::take(&mut self.lock().spent);
        for call in spent {
            let start = Instant::now();
            let metrics = call.metrics();
            self.drop_all([call]);
            metrics.torn_down(start.elapsed());
        }
    }

    /// Drops so many instances of the plugin that have served nobody.
    pub(crate) fn drop_unused(&self, plugin: &Plugin, count: usize) {
        for _ in 0..count {
            let mut idle = self.lock();
            let found = idle.calls.iter().position(|call| call.is_unused() && call.is_of(plugin));
            let unused = found.and_then(|index| idle.calls.remove(index));
            drop(idle);
            self.drop_all(unused);
        }
    }

    /// Takes a slot for a call of `plugin` if one is free.
    pub(crate) fn try_take<'a>(&'a self, plugin: &'a Plugin) -> Option<Slot<'a>> {
        let turn = plugin.lane.turns.try_acquire().ok()?;
        let used = self.claim(plugin)?;
        Some(Slot { slots: self, _turn: Some(turn), used, kept: false })
    }

    /// Takes a slot for a call of `plugin` that must not wait, because a call around it has one: two such calls would wait
    /// for each other.
    pub(crate) fn take_now<'a>(&'a self, plugin: &'a Plugin) -> Result<Slot<'a>, Fault> {
        if self.free.is_closed() {
            return Err(Fault::ShuttingDown);
        }
        if let Some(slot) = self.try_take(plugin) {
            return Ok(slot);
        }
        let _wanting = self.want();
        self.make_room();
        self.try_take(plugin).ok_or_else(|| self.overloaded(plugin, Duration::ZERO))
    }

    /// Takes a slot for a call of `plugin`, waiting for one if it must.
    pub(crate) async fn take<'a>(&'a self, plugin: &'a Plugin) -> Result<Slot<'a>, Fault> {
        if self.free.is_closed() {
            return Err(Fault::ShuttingDown);
        }
        if let Some(slot) = self.try_take(plugin) {
            return Ok(slot);
        }
        let _places = self.line_up(plugin).ok_or_else(|| self.overloaded(plugin, Duration::ZERO))?;
        let since = Instant::now();
        let slot = self.wait(plugin, since).await;
        let waited = since.elapsed();
        self.metrics.queue_waited(waited);
        tracing::debug!(plugin = %plugin.name(), ?waited, taken = slot.is_ok(), "a call waited for an instance");
        slot
    }

    /// A place in the plugin's line and in that of all, for as long as the call waits.
    pub(crate) fn line_up<'a>(&'a self, plugin: &'a Plugin) -> Option<Places<'a>> {
        Some(Places { _of_plugin: plugin.lane.line.join()?, _of_all: self.line.join()? })
    }

    /// How long a call may wait for a slot.
    pub(crate) fn max_wait(&self) -> Duration {
        self.max_wait
    }

    async fn wait<'a>(&'a self, plugin: &'a Plugin, since: Instant) -> Result<Slot<'a>, Fault> {
        let until = since + self.max_wait;
        let lane = &plugin.lane;
        let turn = tokio::select! {
            biased;
            turn = lane.turns.acquire() => turn.map_err(|_closed| Fault::ShuttingDown)?,
            () = self.until_closed() => return Err(Fault::ShuttingDown),
            () = sleep_until(until) => return Err(self.overloaded(plugin, since.elapsed())),
        };
        let used = match self.claim(plugin) {
            Some(used) => used,
            None => {
                let _wanting = self.want();
                self.make_room();
                match timeout_at(until, self.free.acquire()).await {
                    Ok(Ok(permit)) => permit.forget(),
                    Ok(Err(_closed)) => return Err(Fault::ShuttingDown),
                    Err(_elapsed) => return Err(self.overloaded(plugin, since.elapsed())),
                }
                None
            }
        };
        Ok(Slot { slots: self, _turn: Some(turn), used, kept: false })
    }

    /// There is no slot for a call of `plugin`: because the pool is full, or else because the plugin's share of it is.
    fn overloaded(&self, plugin: &Plugin, waited: Duration) -> Fault {
        let others_could = self.free.available_permits() > 0 || self.idle() > 0;
        Fault::Overloaded { waited, share: others_could.then_some(plugin.lane.limit) }
    }

    /// A slot if there is one: with an instance of the plugin that waits for its next use, or else a free one.
    fn claim(&self, plugin: &Plugin) -> Option<Option<Call>> {
        if plugin.reuse.is_some() || plugin.stock().is_some() {
            let mut idle = self.lock();
            // What was used last is most likely still in the processor's cache, and near the end.
            let found = idle.calls.iter().rposition(|call| call.is_of(plugin));
            if let Some(call) = found.and_then(|index| idle.calls.remove(index)) {
                return Some(Some(call));
            }
        }
        self.free.try_acquire().ok()?.forget();
        Some(None)
    }

    /// Says that a call waits for a slot, until it is dropped.
    fn want(&self) -> Wanting<'_> {
        let wanting = Wanting::new(&self.wanting);
        self.wanted.notify_waiters();
        wanting
    }

    /// Ready when a call waits for a slot.
    pub(crate) async fn until_wanted(&self) {
        loop {
            let mut wanted = pin!(self.wanted.notified());
            // Who comes from here on is heard.
            wanted.as_mut().enable();
            if self.wanting.load(Relaxed) > 0 {
                return;
            }
            wanted.await;
        }
    }

    /// Drops an instance that waits, and frees its slot: one whose call has ended, else one that was made ahead, else the one
    /// that has waited longest for its next use.
    ///
    /// Whoever calls it counts in `wanting` already. So either it finds an instance that was kept meanwhile, or whoever
    /// would keep one later sees that somebody is waiting: both hold the lock while they look.
    fn make_room(&self) {
        let dispensable = {
            let mut idle = self.lock();
            idle.spent.pop().or_else(|| {
                let unused = idle.calls.iter().position(Call::is_unused);
                idle.calls.remove(unused.unwrap_or_default())
            })
        };
        self.drop_all(dispensable);
    }

    /// Takes the plugin's instances out that wait for their next use. None is kept from now on, until the plugin is enabled.
    pub(crate) fn retire(&self, plugin: &Plugin) {
        let (retired, spent) = {
            let mut idle = self.lock();
            plugin.retired.store(true, Relaxed);
            (idle.take_of(plugin), std::mem::take(&mut idle.spent))
        };
        self.drop_all(retired.into_iter().chain(spent));
    }

    /// Drops the plugin's instances that wait for their next use.
    pub(crate) fn give_up(&self, plugin: &Plugin) {
        let given_up = self.lock().take_of(plugin);
        self.drop_all(given_up);
    }

    /// Refuses whatever comes from now on, and drops the instances that wait for their next use.
    pub(crate) fn close(&self) {
        self.free.close();
        self.stopping.close();
        self.keep_none();
    }

    /// Ready when the host stops.
    pub(crate) async fn until_closed(&self) {
        let _closed = self.stopping.acquire().await;
    }

    /// Ends the calls that still run, each the next time that it is polled, for which it is woken.
    pub(crate) fn cut_off(&self) {
        self.cutting_off.close();
    }

    /// Ready when they are to end.
    pub(crate) async fn until_cut_off(&self) {
        let _closed = self.cutting_off.acquire().await;
    }

    /// Drops the instances that wait for their next use, and keeps no more of them.
    pub(crate) fn keep_none(&self) {
        let calls = {
            let mut idle = self.lock();
            idle.closed = true;
            let spent = std::mem::take(&mut idle.spent);
            std::mem::take(&mut idle.calls).into_iter().chain(spent)
        };
        self.drop_all(calls);
    }

    /// Waits until no call is running.
    pub(crate) async fn drained(&self) {
        while self.in_use() > 0 {
            // The semaphore is closed, so there is nothing to wait on; a millisecond is the clock of everything else.
            sleep(EPOCH_TICK).await;
        }
    }

    /// Drops instances, each before its slot is free. Never with the lock held: it takes microseconds for each.
    fn drop_all(&self, calls: impl IntoIterator<Item = Call>) {
        for call in calls {
            drop(call);
            self.free.add_permits(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    pub(crate) fn new(config: &HostConfig, spec: &PluginSpec) -> Result<Self, LoadError> {
        let pool = config.pool_size as usize;
        let limit = match spec.max_concurrent_calls {
            None => config.share_of(pool),
            Some(0) => {
                return Err(LoadError::Setting {
                    plugin: spec.name.clone(),
                    setting: "max_concurrent_calls",
                    message: "a plugin that may run 0 calls can answer none".to_owned(),
                });
            }
            Some(calls) => pool.min(calls as usize),
        };
        Ok(Self { turns: Semaphore::new(limit), limit, line: Line::new(config.share_of(config.max_waiting)) })
    }

    /// Whether calls of the plugin run now.
    pub(crate) fn is_busy(&self) -> bool {
        self.turns.available_permits() < self.limit
    }

    /// Calls of the plugin that may run at once.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }
}

impl Slot<'_> {
    /// An instance of the plugin that was there already, when there was one.
    pub(crate) fn used(&mut self) -> Option<Call> {
        self.used.take()
    }

    /// Keeps the instance for the plugin's next call, unless somebody needs the slot, the plugin is gone or the host stops.
    /// Whether it was kept.
    pub(crate) fn keep(mut self, plugin: &Plugin, call: Call) -> bool {
        let refused = {
            let mut idle = self.slots.lock();
            if idle.closed || self.slots.wanting.load(Relaxed) > 0 || plugin.retired.load(Relaxed) {
                Some(call)
            } else {
                idle.calls.push_back(call);
                self.kept = true;
                None
            }
        };
        refused.is_none()
    }

    /// Leaves an instance whose call has ended to whoever keeps the plugin's stock, unless somebody needs the slot.
    pub(crate) fn leave(mut self, plugin: &Plugin, stock: &Keeper, call: Call) {
        let refused = {
            let mut idle = self.slots.lock();
            let nobody_drops_it = plugin.retired.load(Relaxed) || idle.spent.len() >= MAX_SPENT;
            if idle.closed || self.slots.wanting.load(Relaxed) > 0 || nobody_drops_it {
                Some(call)
            } else {
                idle.spent.push(call);
                self.kept = true;
                None
            }
        };
        drop(refused);
        stock.look_again();
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        drop(self.used.take());
        if !self.kept {
            self.slots.free.add_permits(1);
        }
    }
}

/// Calls that wait, of which there may be so many.
#[derive(Debug)]
struct Line {
    waiting: AtomicUsize,
    max: usize,
}

impl Line {
    fn new(max: usize) -> Self {
        Self { waiting: AtomicUsize::new(0), max }
    }

    fn join(&self) -> Option<Wanting<'_>> {
        let place = Wanting::new(&self.waiting);
        (place.before < self.max).then_some(place)
    }
}

/// A call's places in both lines.
pub(crate) struct Places<'a> {
    _of_plugin: Wanting<'a>,
    _of_all: Wanting<'a>,
}

/// Somebody who waits is counted, until it is dropped: also when the waiting call is cancelled.
struct Wanting<'a> {
    count: &'a AtomicUsize,
    before: usize,
}

impl<'a> Wanting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        Self { count, before: count.fetch_add(1, Relaxed) }
    }
}

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Relaxed);
    }
}
