//! What the last minute was like.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tapline_host_core::metrics::TapSnapshot;

/// The time between two samples.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// Samples that are kept: one minute, and the one before it.
const KEPT: usize = 61;

/// Samples of the counters, once a second while a server serves. Without any, nothing is known about rates.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<VecDeque<Sample>>);

#[derive(Clone, Debug)]
struct Sample {
    at: Instant,
    by_plugin: BTreeMap<String, Totals>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    calls: u64,
    failures: u64,
    seconds: f64,
}

/// What one plugin did in each of the last seconds, the latest last.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    /// Calls for each second.
    pub(crate) calls: Vec<f64>,
    /// Calls for each second over all of them.
    pub(crate) mean: f64,
    /// The part of the calls that failed; 0 without a call.
    pub(crate) error_rate: f64,
}

impl History {
    pub(crate) fn take(&self, at: Instant, taps: &[TapSnapshot]) {
        let mut by_plugin: BTreeMap<String, Totals> = BTreeMap::new();
        for tap in taps {
            let totals = by_plugin.entry(tap.plugin.clone()).or_default();
            totals.calls += tap.invocations;
            totals.failures += tap.failures;
            totals.seconds += tap.total_seconds;
        }
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing has a rate over no time.
        if samples.back().is_some_and(|last| at <= last.at) {
            return;
        }
        if samples.len() == KEPT {
            samples.pop_front();
        }
        samples.push_back(Sample { at, by_plugin });
    }

    pub(crate) fn rates(&self, plugin: &str) -> Rates {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let totals = |sample: &Sample| sample.by_plugin.get(plugin).copied().unwrap_or_default();
        let mut calls = Vec::new();
        for (before, after) in samples.iter().zip(samples.iter().skip(1)) {
            let count = totals(after).calls.saturating_sub(totals(before).calls);
            calls.push(count as f64 / (after.at - before.at).as_secs_f64().max(f64::MIN_POSITIVE));
        }
        let (Some(first), Some(last)) = (samples.front(), samples.back()) else { return Rates::default() };
        let (before, after) = (totals(first), totals(last));
        let count = after.calls.saturating_sub(before.calls);
        let seconds = (last.at - first.at).as_secs_f64();
        Rates {
            calls,
            mean: if seconds > 0.0 { count as f64 / seconds } else { 0.0 },
            error_rate: after.failures.saturating_sub(before.failures) as f64 / (count as f64).max(1.0),
        }
    }

    /// The most calls that were running at the same time, as a mean over one second: the time that all calls of a second
    /// took together, by that second. `None`: nothing is known yet.
    pub(crate) fn concurrency(&self) -> Option<f64> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A plugin that was removed takes its totals with it, and one that is loaded again begins anew: neither gave time back.
        let busy = |before: &Sample, after: &Sample| {
            let since = |(plugin, totals): (&String, &Totals)| {
                totals.seconds - before.by_plugin.get(plugin).map_or(0.0, |totals| totals.seconds)
            };
            after.by_plugin.iter().map(since).map(|seconds| seconds.max(0.0)).sum::<f64>()
        };
        let seconds = samples.iter().zip(samples.iter().skip(1));
        seconds
            .map(|(before, after)| busy(before, after) / (after.at - before.at).as_secs_f64().max(f64::MIN_POSITIVE))
            .max_by(f64::total_cmp)
    }
}

#[cfg(test)]
mod tests {
    use tapline_host_core::metrics::{Metrics, Outcome};

    use super::*;

    #[test]
    fn rates_of_the_last_minute() {
        let (history, metrics, start) = (History::default(), Metrics::new(), Instant::now());
        assert_eq!(history.rates("seo"), Rates::default());
        assert_eq!(history.concurrency(), None);
        let tap = metrics.tap("seo", "item_view");
        for second in 0..100 {
            history.take(start + second * EVERY, &metrics.tap_snapshots());
            let calls = if second == 99 { 0 } else { 10 };
            (0..calls).for_each(|_| tap.record(Outcome::Ok, Duration::from_millis(250)));
        }
        (0..10).for_each(|_| tap.record(Outcome::Trap, Duration::from_millis(500)));
        history.take(start + 100 * EVERY, &metrics.tap_snapshots());
        let rates = history.rates("seo");
        assert_eq!(rates.calls, [10.0; 60]);
        assert_eq!(rates.mean, 10.0);
        assert!((rates.error_rate - 10.0 / 600.0).abs() < 1e-9);
        assert_eq!(history.concurrency(), Some(5.0));
        assert_eq!(history.rates("other").mean, 0.0);
    }

    #[test]
    fn who_is_refused_is_not_running_and_who_is_removed_gives_nothing_back() {
        let (history, metrics, start) = (History::default(), Metrics::new(), Instant::now());
        let (lease, gone, stays) = (metrics.lease("gone"), metrics.tap("gone", "cron"), metrics.tap("stays", "cron"));
        gone.record(Outcome::Ok, Duration::from_secs(100));
        history.take(start, &metrics.tap_snapshots());
        drop(lease);
        stays.record(Outcome::Ok, Duration::from_secs(2));
        (0..1000).for_each(|_| stays.refused(Outcome::Overloaded));
        history.take(start + EVERY, &metrics.tap_snapshots());
        assert_eq!(history.concurrency(), Some(2.0));
        assert_eq!((history.rates("gone").mean, history.rates("stays").mean), (0.0, 1001.0));
    }

    /// The clock of the day is not read at all. This one never goes back, and stands still only where the machine does.
    #[test]
    fn a_clock_that_stands_still_or_jumps_makes_no_rate_that_is_none() {
        let (history, metrics, start) = (History::default(), Metrics::new(), Instant::now());
        let tap = metrics.tap("seo", "item_view");
        let after = |seconds: u64, calls: u32| {
            (0..calls).for_each(|_| tap.record(Outcome::Ok, Duration::from_millis(100)));
            history.take(start + Duration::from_secs(seconds), &metrics.tap_snapshots());
        };
        // Twice at the same moment, before the last one, and after a machine was suspended for an hour.
        for (seconds, calls) in [(1, 0), (2, 10), (2, 10), (1, 10), (3602, 3600)] {
            after(seconds, calls);
        }
        let rates = history.rates("seo");
        assert_eq!(rates.calls.iter().map(|rate| rate.round()).collect::<Vec<_>>(), [10.0, 1.0]);
        assert!(rates.mean > 0.0 && rates.mean < 10.0 && rates.error_rate == 0.0, "{rates:?}");
        assert_eq!(history.concurrency().map(f64::round), Some(1.0));
    }
}
