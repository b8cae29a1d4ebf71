//! What a runtime measures by itself, and the targets.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use serde::Serialize;
use tapline_host_core::{LoadTimes, metrics::percentile};

/// Samples that are kept of each stage; the oldest goes first.
const KEPT: usize = 1000;

/// The targets, from the requirements. A cold start is what comes before the first call of a module that was just loaded:
/// the stages *compile* or *load artifact*, and *instantiate fresh*. A warm start is *instantiate fresh* alone.
const COLD_START_MS: f64 = 100.0;
const WARM_START_MS: f64 = 10.0;
const HIT_RATE_PERCENT: f64 = 80.0;
/// Ours, for compiled code of 1 MB of WebAssembly.
const LOAD_ARTIFACT_MS: f64 = 0.5;

/// How the measured times compare with the targets.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PerformanceValidation {
    /// When they were compared, in seconds since 1970.
    pub timestamp: u64,
    /// Each target.
    pub targets: Vec<Target>,
    /// Whether all of them are met. What was never measured is not met.
    pub overall_met: bool,
}

/// One target.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Target {
    /// What is measured, with its stages.
    pub name: &'static str,
    /// What it is to be, with the unit and the direction.
    pub target: String,
    /// What it is, in the same unit. None: nothing was measured.
    pub actual: Option<f64>,
    /// Whether it is met.
    pub met: bool,
}

/// The last samples of each stage.
#[derive(Default)]
pub(crate) struct Samples(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    cold_ms: VecDeque<f64>,
    warm_ms: VecDeque<f64>,
    load_artifact_ms: VecDeque<f64>,
    loads: u64,
    hits: u64,
}

impl Samples {
    /// A module was loaded.
    pub(crate) fn loaded(&self, times: LoadTimes) {
        let mut kept = self.lock();
        kept.loads += 1;
        if let Some(time) = times.load_artifact {
            kept.hits += 1;
            push(&mut kept.load_artifact_ms, milliseconds(time));
        }
    }

    /// A function was called. `loaded`: what loading its module took, for the first call of it.
    pub(crate) fn called(&self, loaded: Option<LoadTimes>, start: Duration) {
        let mut kept = self.lock();
        match loaded {
            Some(times) => {
                let before = times.compile.or(times.load_artifact).unwrap_or_default();
                push(&mut kept.cold_ms, milliseconds(before + start));
            }
            None => push(&mut kept.warm_ms, milliseconds(start)),
        }
    }

    pub(crate) fn validate(&self) -> PerformanceValidation {
        let kept = self.lock();
        let hit_rate = (kept.loads > 0).then(|| 100.0 * kept.hits as f64 / kept.loads as f64);
        let below = |name, limit: f64, samples: &VecDeque<f64>| {
            let actual = p95(samples);
            Target { name, target: format!("< {limit} ms"), actual, met: actual.is_some_and(|actual| actual < limit) }
        };
        let targets = vec![
            below("cold start, compile or load artifact and instantiate fresh, p95", COLD_START_MS, &kept.cold_ms),
            below("warm start, instantiate fresh, p95", WARM_START_MS, &kept.warm_ms),
            Target {
                name: "cache hit rate",
                target: format!("> {HIT_RATE_PERCENT} %"),
                actual: hit_rate,
                met: hit_rate.is_some_and(|rate| rate > HIT_RATE_PERCENT),
            },
            below("load artifact, p95", LOAD_ARTIFACT_MS, &kept.load_artifact_ms),
        ];
        let timestamp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        PerformanceValidation { timestamp, overall_met: targets.iter().all(|target| target.met), targets }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing that can panic leaves the samples half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push(samples: &mut VecDeque<f64>, sample: f64) {
    if samples.len() == KEPT {
        samples.pop_front();
    }
    samples.push_back(sample);
}

fn p95(samples: &VecDeque<f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = samples.iter().copied().collect();
    sorted.sort_by(f64::total_cmp);
    percentile(&sorted, 95)
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_met_or_not() {
        let samples = Samples::default();
        assert!(samples.validate().targets.iter().all(|target| !target.met && target.actual.is_none()));
        let hit = LoadTimes { load_artifact: Some(Duration::from_micros(200)), ..LoadTimes::default() };
        for _ in 0..9 {
            samples.loaded(hit);
        }
        samples.loaded(LoadTimes { compile: Some(Duration::from_millis(99)), ..LoadTimes::default() });
        samples.called(Some(hit), Duration::from_micros(20));
        samples.called(None, Duration::from_micros(20));
        let validation = samples.validate();
        assert!(validation.overall_met, "{validation:?}");
        for _ in 0..10 {
            samples.loaded(LoadTimes { compile: Some(Duration::from_millis(1)), ..LoadTimes::default() });
            samples.called(None, Duration::from_millis(11));
        }
        let met: Vec<bool> = samples.validate().targets.iter().map(|target| target.met).collect();
        assert_eq!(met, [true, false, false, true]);
    }

    #[test]
    fn old_samples_go() {
        let mut samples = VecDeque::new();
        (0..KEPT + 5).for_each(|sample| push(&mut samples, sample as f64));
        assert_eq!((samples.len(), samples[0]), (KEPT, 5.0));
    }
}
