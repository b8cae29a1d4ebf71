//! Watching the calls of one piece of work, such as one page.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tapline_metrics::Outcome;
use tapline_tap_dispatch::{PluginName, TapName};
use tokio::time::Instant;

/// Calls that one piece of work is told of. A list of items can make thousands.
pub const MAX_OBSERVATIONS: usize = 1000;

tokio::task_local! {
    static OBSERVER: Arc<Observer>;
}

/// Runs a future, and tells what became of every call of a plugin that it made, in the order in which they ended: at most
/// [`MAX_OBSERVATIONS`]. Calls of a task that the future spawns are not among them.
pub async fn observed<F: Future>(work: F) -> (F::Output, Vec<Observation>) {
    let observer = Arc::new(Observer::default());
    let output = OBSERVER.scope(Arc::clone(&observer), work).await;
    let seen = std::mem::take(&mut *observer.seen.lock().unwrap_or_else(PoisonError::into_inner));
    (output, seen)
}

/// What became of one call of a handler.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Observation {
    /// The plugin.
    pub plugin: PluginName,
    /// The tap.
    pub tap: TapName,
    /// How it ended.
    pub outcome: Outcome,
    /// From taking an instance to the decoded answer. Of a call that got no instance: what it waited.
    pub took: Duration,
    /// The part of it in which it was running and not waiting.
    pub cpu: Duration,
    /// What it used. `None`: it did not get so far, or was dropped before it ended.
    pub used: Option<Used>,
}

/// What one call of a handler used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Used {
    /// Fuel, where it is metered.
    pub fuel: Option<u64>,
    /// The most linear memory that it had, in bytes.
    pub peak_memory_bytes: u64,
    /// Host functions that it called: those of capabilities that count them with
    /// [`CallState::count_host_call`](crate::CallState::count_host_call).
    pub host_calls: u64,
}

#[derive(Default)]
pub(crate) struct Observer {
    seen: Mutex<Vec<Observation>>,
}

impl Observer {
    /// Whoever watches the current task.
    pub(crate) fn current() -> Option<Arc<Self>> {
        OBSERVER.try_with(Arc::clone).ok()
    }

    pub(crate) fn saw(&self, observation: Observation) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < MAX_OBSERVATIONS {
            seen.push(observation);
        }
    }
}

/// How long a call was running. Most calls end the first time that they are polled: those need no clock but the one that
/// is read for their duration.
#[derive(Clone, Copy, Default)]
pub(crate) struct Running {
    total: Duration,
    since: Option<Instant>,
    is_timed: bool,
}

impl Running {
    /// Nothing is timed without a moment to begin with.
    pub(crate) fn begin(since: Option<Instant>) -> Self {
        Self { total: Duration::ZERO, since, is_timed: since.is_some() }
    }

    pub(crate) fn pause(&mut self, now: impl FnOnce() -> Instant) {
        if let Some(since) = self.since.take() {
            self.total += now() - since;
        }
    }

    pub(crate) fn resume(&mut self, now: impl FnOnce() -> Instant) {
        if self.is_timed && self.since.is_none() {
            self.since = Some(now());
        }
    }

    pub(crate) fn until(self, end: Instant) -> Duration {
        self.total + self.since.map_or(Duration::ZERO, |since| end - since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_left_out() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let no_clock = || -> Instant { panic!("the clock is read for nothing") };
        let mut running = Running::begin(Some(start));
        running.resume(no_clock);
        assert_eq!(running.until(at(2)), Duration::from_millis(2));
        running.pause(|| at(3));
        running.resume(|| at(53));
        assert_eq!(running.until(at(57)), Duration::from_millis(7));
        running.pause(|| at(57));
        assert_eq!(running.until(at(99)), Duration::from_millis(7));
        let mut untimed = Running::begin(None);
        untimed.resume(no_clock);
        untimed.pause(no_clock);
        assert_eq!(untimed.until(at(3)), Duration::ZERO);
    }
}
