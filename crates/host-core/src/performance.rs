//! Targets for what comes before a call, and how what was measured compares with them.

use std::time::SystemTime;

use serde::Serialize;
use tapline_metrics::Stage;

use crate::host::Host;

/// The targets of the source documents, whose cold start is all that comes before the first call of a plugin that was just
/// loaded: the stages *compile* or *load artifact*, and *instantiate fresh*. A warm start is *instantiate fresh* alone.
const COLD_START_MS: f64 = 100.0;
const WARM_START_MS: f64 = 10.0;
const HIT_RATE_PERCENT: f64 = 80.0;
/// Ours: compiled code of 1 MB of WebAssembly; an instance that is there; a program with 25 plugins.
const LOAD_ARTIFACT_MS: f64 = 0.5;
const TAKE_FROM_STOCK_US: f64 = 0.5;
const PROCESS_START_MS: f64 = 10.0;

/// What was measured. None: nothing was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// The 95th percentile of cold starts: compile or load artifact, and instantiate fresh.
    pub cold_start_p95_ms: Option<f64>,
    /// The 95th percentile of warm starts: instantiate fresh.
    pub warm_start_p95_ms: Option<f64>,
    /// How many of a hundred found compiled code.
    pub hit_rate_percent: Option<f64>,
    /// The 95th percentile of the stage load artifact.
    pub load_artifact_p95_ms: Option<f64>,
    /// The median of the stage take from stock. A host without a stock has none, and no such target.
    pub take_from_stock_p50_us: Option<f64>,
    /// The stage process start. Where nobody tells a host when its program began there is no such target.
    pub process_start_ms: Option<f64>,
}

/// How the measured times compare with the targets.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PerformanceValidation {
    /// When they were compared, in seconds since 1970.
    pub timestamp: u64,
    /// Each target.
    pub targets: Vec<Target>,
    /// Whether all of them are met that were measured, of which there is one. A host that has just started has measured few.
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
    /// Whether it is met. What was never measured is not.
    pub met: bool,
}

impl Target {
    fn new(name: &'static str, target: String, actual: Option<f64>, is_met: impl FnOnce(f64) -> bool) -> Self {
        Self { name, target, actual, met: actual.is_some_and(is_met) }
    }

    fn below(name: &'static str, limit: f64, unit: &str, actual: Option<f64>) -> Self {
        Self::new(name, format!("< {limit} {unit}"), actual, |actual| actual < limit)
    }

    fn at_most(name: &'static str, limit: f64, unit: &str, actual: Option<f64>) -> Self {
        Self::new(name, format!("<= {limit} {unit}"), actual, |actual| actual <= limit)
    }
}

impl PerformanceValidation {
    /// Compares these figures with the targets, now.
    #[must_use]
    pub fn of(measured: &Measured) -> Self {
        let Measured { cold_start_p95_ms, warm_start_p95_ms, hit_rate_percent, load_artifact_p95_ms, .. } = *measured;
        let cold = "cold start, compile or load artifact and instantiate fresh, p95";
        let hit_rate = format!("> {HIT_RATE_PERCENT} %");
        let mut targets = vec![
            Target::below(cold, COLD_START_MS, "ms", cold_start_p95_ms),
            Target::below("warm start, instantiate fresh, p95", WARM_START_MS, "ms", warm_start_p95_ms),
            Target::new("cache hit rate", hit_rate, hit_rate_percent, |rate| rate > HIT_RATE_PERCENT),
            Target::at_most("load artifact, p95", LOAD_ARTIFACT_MS, "ms", load_artifact_p95_ms),
        ];
        for (name, limit, unit, actual) in [
            ("take from stock, p50", TAKE_FROM_STOCK_US, "µs", measured.take_from_stock_p50_us),
            ("process start", PROCESS_START_MS, "ms", measured.process_start_ms),
        ] {
            targets.extend(actual.map(|_| Target::at_most(name, limit, unit, actual)));
        }
        let timestamp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut measured = targets.iter().filter(|target| target.actual.is_some()).peekable();
        let overall_met = measured.peek().is_some() && measured.all(|target| target.met);
        Self { timestamp, overall_met, targets }
    }
}

impl Host {
    /// Compares what the host has measured since it was built with the targets. Percentiles are exact to a bucket of the
    /// histograms, but for that of cold starts (compile or load artifact, instantiate fresh), which is of the last 1000.
    #[must_use]
    pub fn validate_performance(&self) -> PerformanceValidation {
        let Some(runtime) = self.runtime_metrics() else { return PerformanceValidation::of(&Measured::default()) };
        let stages = self.metrics().stages();
        let measured = |stage| stages.iter().find(|it| it.stage == stage && it.count > 0);
        PerformanceValidation::of(&Measured {
            cold_start_p95_ms: (runtime.cold_starts > 0).then_some(runtime.p95_cold_start_ms),
            warm_start_p95_ms: measured(Stage::InstantiateFresh).map(|it| it.p95_ms),
            hit_rate_percent: (runtime.cold_starts > 0).then_some(100.0 * runtime.cache_hit_rate),
            load_artifact_p95_ms: measured(Stage::LoadArtifact).map(|it| it.p95_ms),
            take_from_stock_p50_us: measured(Stage::TakeFromStock).map(|it| 1000.0 * it.p50_ms),
            process_start_ms: measured(Stage::ProcessStart).map(|it| it.p95_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_met_or_not() {
        let of = |measured: &Measured| {
            let validation = PerformanceValidation::of(measured);
            let missed = validation.targets.iter().any(|target| target.actual.is_some() && !target.met);
            let measured = validation.targets.iter().any(|target| target.actual.is_some());
            assert_eq!(validation.overall_met, measured && !missed);
            validation.targets.iter().map(|target| (target.target.clone(), target.met)).collect::<Vec<_>>()
        };
        let shown = |targets: &[(&str, bool)]| -> Vec<(String, bool)> {
            targets.iter().map(|(target, met)| ((*target).to_owned(), *met)).collect()
        };
        let nothing = [("< 100 ms", false), ("< 10 ms", false), ("> 80 %", false), ("<= 0.5 ms", false)];
        assert_eq!(of(&Measured::default()), shown(&nothing), "what was never measured is not met");
        let good = Measured {
            cold_start_p95_ms: Some(99.9),
            warm_start_p95_ms: Some(9.9),
            hit_rate_percent: Some(80.1),
            load_artifact_p95_ms: Some(0.5),
            take_from_stock_p50_us: Some(0.5),
            process_start_ms: Some(10.0),
        };
        assert!(of(&good).iter().all(|(_, met)| *met) && of(&good).len() == 6);
        let bad = Measured {
            cold_start_p95_ms: Some(100.0),
            warm_start_p95_ms: Some(10.0),
            hit_rate_percent: Some(80.0),
            load_artifact_p95_ms: Some(0.51),
            take_from_stock_p50_us: Some(0.51),
            process_start_ms: Some(10.1),
        };
        assert!(of(&bad).iter().all(|(_, met)| !met));
    }
}
