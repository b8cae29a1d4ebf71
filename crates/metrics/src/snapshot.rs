//! The instruments as figures for programs.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use crate::derive::total;
use crate::instrument::{INSTRUMENTS, Id};
use crate::label::{Outcome, Stage};
use crate::metrics::Metrics;
use crate::registry::{Families, Family, GONE, Samples};

const PAGE_BYTES: u64 = 64 * 1024;
const MILLISECOND: f64 = 1e6;

/// What one plugin's handler of one tap has done since the host started.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TapSnapshot {
    /// The plugin's name.
    pub plugin: String,
    /// The tap's name.
    pub tap: String,
    /// Calls, however they ended.
    pub invocations: u64,
    /// Those of them that did not end with [`Outcome::Ok`].
    pub failures: u64,
    /// Time of all calls together that got an instance, in seconds.
    pub total_seconds: f64,
    /// The time below which half of those calls stayed, in seconds: exact to a bucket of the histogram.
    pub p50_seconds: f64,
    /// The time below which 99 of 100 of them stayed, in seconds: exact to a bucket of the histogram.
    pub p99_seconds: f64,
    /// The time that calls were running and not waiting, in seconds, of all together.
    pub cpu_seconds: f64,
}

/// What one plugin has done since the host started, whichever tap it served.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PluginSnapshot {
    /// The time of its last start, from its bytes to an instance that could be called.
    pub last_start_ms: f64,
    /// The most linear memory that one instance has had.
    pub memory_peak_bytes: u64,
    /// Times that it asked for more memory or table than its limit.
    pub refused_growths: u64,
}

/// What a host has done since it was built. The names are DWCP's, whose VM is an instance of ours.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RuntimeMetrics {
    /// Starts of plugins: compile or load artifact, and instantiate fresh, from the bytes to an instance that could be called.
    pub cold_starts: u64,
    /// Instances that were made of plugins which had been started.
    pub warm_starts: u64,
    /// The mean time of a cold start, both stages together.
    pub average_cold_start_ms: f64,
    /// The mean time of a warm start: instantiate fresh.
    pub average_warm_start_ms: f64,
    /// The median of the last 1000 cold starts (compile or load artifact, instantiate fresh), exact, as are the next two.
    pub p50_cold_start_ms: f64,
    /// The 95th percentile.
    pub p95_cold_start_ms: f64,
    /// The 99th percentile.
    pub p99_cold_start_ms: f64,
    /// Instances that serve a call now.
    pub active_vms: u64,
    /// Calls of handlers, however they ended.
    pub total_executions: u64,
    /// Those of them that did not end with an answer.
    pub failed_executions: u64,
    /// The part of all instances whose code was there, in memory or on disk; 0 before the first one.
    pub cache_hit_rate: f64,
    /// Linear memory of all instances.
    pub memory_bytes: u64,
    /// When the host was built.
    pub started: SystemTime,
}

/// What one stage of a start has taken since the host was built.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct StageSnapshot {
    /// Which.
    pub stage: Stage,
    /// How often it was gone through; *process start* once at most.
    pub count: u64,
    /// Its mean time; 0 where it was never gone through, as the percentiles.
    pub average_ms: f64,
    /// The time below which half of them stayed: exact to a bucket of the histogram, as the next two.
    pub p50_ms: f64,
    /// The time below which 95 of 100 of them stayed.
    pub p95_ms: f64,
    /// The time below which 99 of 100 of them stayed.
    pub p99_ms: f64,
}

/// How calls waited for a slot of the pool since the host was built.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueueMetrics {
    /// Calls that asked the pool for a slot, and were not refused.
    pub calls: u64,
    /// Calls that had to wait for one, those that waited in vain included.
    pub waits: u64,
    /// The mean time that those waited.
    pub average_wait_ms: f64,
}

impl Metrics {
    /// What each handler has done, ordered by plugin and tap. Read from the instruments while others record, so that
    /// a call that ends at this moment may be in `invocations` and not yet in `total_seconds`.
    pub fn tap_snapshots(&self) -> Vec<TapSnapshot> {
        let Some(families) = self.families() else {
            return Vec::new();
        };
        let mut counts: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
        for (labels, number) in outcomes(families) {
            let [plugin, tap, outcome] = labels.as_slice() else {
                continue;
            };
            if plugin == GONE {
                continue;
            }
            let (invocations, failures) = counts.entry((plugin.clone(), tap.clone())).or_default();
            *invocations += number;
            if outcome != Outcome::Ok.as_str() {
                *failures += number;
            }
        }
        let snapshot = |((plugin, tap), (invocations, failures)): ((String, String), _)| {
            let duration = families.counts(Id::TapDuration, &[&plugin, &tap]);
            TapSnapshot {
                invocations,
                failures,
                total_seconds: duration.sum(1e9),
                p50_seconds: duration.quantile_seconds(0.5),
                p99_seconds: duration.quantile_seconds(0.99),
                cpu_seconds: families.counts(Id::TapCpu, &[&plugin, &tap]).sum(1e9),
                plugin,
                tap,
            }
        };
        counts.into_iter().map(snapshot).collect()
    }

    /// What one plugin has done. `None`: nothing is recorded.
    pub fn plugin_snapshot(&self, plugin: &str) -> Option<PluginSnapshot> {
        let families = self.families()?;
        Some(PluginSnapshot {
            last_start_ms: families.module_value(Id::StartupMs, plugin) as f64 / MILLISECOND,
            memory_peak_bytes: families.value(Id::MemoryPeak, &[plugin]),
            refused_growths: families.value(Id::RefusedGrowths, &[plugin]),
        })
    }

    /// The figures of the host as a whole. `None`: nothing is recorded.
    pub fn runtime_metrics(&self) -> Option<RuntimeMetrics> {
        let inner = self.0.as_ref()?;
        let families = &*inner.families;
        let [cold, warm] = [Id::Startup, Id::InstantiateDuration].map(|id| total(families, id));
        let sorted = inner.cold_starts.sorted();
        let executions = outcomes(families);
        let failed = executions.iter().filter(|(labels, _)| labels.last().is_none_or(|it| it != Outcome::Ok.as_str()));
        Some(RuntimeMetrics {
            cold_starts: cold.count(),
            warm_starts: warm.count(),
            average_cold_start_ms: cold.mean(MILLISECOND),
            average_warm_start_ms: warm.mean(MILLISECOND),
            p50_cold_start_ms: percentile_ms(&sorted, 50),
            p95_cold_start_ms: percentile_ms(&sorted, 95),
            p99_cold_start_ms: percentile_ms(&sorted, 99),
            active_vms: number(families, Id::WasmActiveVms) as u64,
            total_executions: executions.iter().map(|(_, number)| number).sum(),
            failed_executions: failed.map(|(_, number)| number).sum(),
            cache_hit_rate: number(families, Id::WasmCacheHitRate),
            memory_bytes: families.number(Id::RiptidePages, &[]).load(Relaxed).saturating_mul(PAGE_BYTES),
            started: inner.started,
        })
    }

    /// What each stage of a start has taken, in their order. Empty: nothing is recorded.
    pub fn stages(&self) -> Vec<StageSnapshot> {
        let Some(families) = self.families() else { return Vec::new() };
        let measured = |stage, id| {
            let counts = total(families, id);
            let quantile = |part| counts.quantile_seconds(part) * 1000.0;
            StageSnapshot {
                stage,
                count: counts.count(),
                average_ms: counts.mean(MILLISECOND),
                p50_ms: quantile(0.5),
                p95_ms: quantile(0.95),
                p99_ms: quantile(0.99),
            }
        };
        let stage = |stage: &Stage| match *stage {
            Stage::ProcessStart => {
                let nanos = families.value(Id::ProcessStartDuration, &[]);
                let took = nanos as f64 / MILLISECOND;
                let count = u64::from(nanos > 0);
                StageSnapshot { stage: *stage, count, average_ms: took, p50_ms: took, p95_ms: took, p99_ms: took }
            }
            Stage::Compile => measured(*stage, Id::CompileDuration),
            Stage::LoadArtifact => measured(*stage, Id::LoadArtifactDuration),
            Stage::InstantiateFresh => measured(*stage, Id::InstantiateDuration),
            Stage::TakeFromStock => measured(*stage, Id::StockTakeDuration),
        };
        Stage::ALL.iter().map(stage).collect()
    }

    /// The figures of the queue for the pool. `None`: nothing is recorded.
    pub fn queue_metrics(&self) -> Option<QueueMetrics> {
        let families = self.families()?;
        let waits = total(families, Id::QueueWaitDuration);
        // These did not get so far, or were refused.
        let without =
            [Outcome::Overloaded, Outcome::BreakerOpen, Outcome::TooDeep, Outcome::NotLoaded, Outcome::ShuttingDown]
                .map(Outcome::as_str);
        let calls = outcomes(families)
            .iter()
            .filter(|(labels, _)| labels.last().is_some_and(|outcome| !without.contains(&outcome.as_str())))
            .map(|(_, number)| number)
            .sum();
        Some(QueueMetrics { calls, waits: waits.count(), average_wait_ms: waits.mean(MILLISECOND) })
    }

    /// RipTide's figures by their names.
    pub fn riptide(&self) -> BTreeMap<&'static str, f64> {
        let Some(families) = self.families() else { return BTreeMap::new() };
        let rows = INSTRUMENTS.iter().zip(Id::ALL).filter(|(row, _)| row.name.starts_with("riptide_"));
        rows.map(|(row, id)| (row.name, number(families, *id))).collect()
    }
}

/// A row that has no labels.
fn number(families: &Families, id: Id) -> f64 {
    match families.samples(id) {
        Samples::Numbers(series) => series.first().map_or(0.0, |(_, value)| *value),
        Samples::Histograms(_) => 0.0,
    }
}

fn outcomes(families: &Families) -> Vec<(Vec<String>, u64)> {
    match &*families.family(Id::TapInvocations) {
        Family::Numbers(series) => series.iter().map(|(labels, it)| (labels.clone(), it.load(Relaxed))).collect(),
        Family::Histograms(_) => Vec::new(),
    }
}

fn percentile_ms(sorted: &[Duration], percent: usize) -> f64 {
    percentile(sorted, percent).map_or(0.0, |value| value.as_secs_f64() * 1000.0)
}

/// The smallest value that so many of a hundred are not above: by nearest rank, so that it is one which was measured.
/// `None`: there is no value. The values have to be sorted.
pub fn percentile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let rank = (sorted.len() * percent.min(100)).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let sorted: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!([50, 95, 99].map(|percent| percentile_ms(&sorted, percent)), [100.0, 190.0, 198.0]);
        assert_eq!(percentile_ms(&sorted[..1], 99), 1.0);
        assert_eq!(percentile_ms(&[], 50), 0.0);
        assert_eq!([0, 1, 50, 100, 999].map(|percent| percentile(&[1, 2, 3, 4], percent)), [1, 1, 2, 4, 4].map(Some));
    }
}
