//! What a runtime measures by itself, exactly: the last samples of each stage.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tapline_host_core::{LoadTimes, Measured, PerformanceValidation, metrics::percentile};

/// Samples that are kept of each stage; the oldest goes first.
const KEPT: usize = 1000;

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
        kept.hits += u64::from(times.compile.is_none());
        if let Some(time) = times.load_artifact {
            push(&mut kept.load_artifact_ms, milliseconds(time));
        }
    }

    /// A function was called. `loaded`: what loading its module took, for the first call of it.
    pub(crate) fn called(&self, loaded: Option<LoadTimes>, start: Duration) {
        let mut kept = self.lock();
        match loaded {
            Some(times) => {
                push(&mut kept.cold_ms, milliseconds(times.total + start));
            }
            None => push(&mut kept.warm_ms, milliseconds(start)),
        }
    }

    pub(crate) fn validate(&self) -> PerformanceValidation {
        let kept = self.lock();
        PerformanceValidation::of(&Measured {
            cold_start_p95_ms: p95(&kept.cold_ms),
            warm_start_p95_ms: p95(&kept.warm_ms),
            hit_rate_percent: (kept.loads > 0).then(|| 100.0 * kept.hits as f64 / kept.loads as f64),
            load_artifact_p95_ms: p95(&kept.load_artifact_ms),
            ..Measured::default()
        })
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
