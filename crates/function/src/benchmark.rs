//! How long it takes until a function begins: load artifact and instantiate fresh, and instantiate fresh alone.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use tapline_host_core::metrics::percentile;

use crate::{error::Error, metrics::milliseconds, module::Module, runtime::Runtime};

/// Fewer iterations say nothing about a 99th percentile.
pub const MIN_ITERATIONS: u32 = 100;

/// Average and percentiles of one stage, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Percentiles {
    /// The average.
    pub average_ms: f64,
    /// Half of the samples are at most this.
    pub p50_ms: f64,
    /// 95 of 100 are at most this.
    pub p95_ms: f64,
    /// 99 of 100 are at most this.
    pub p99_ms: f64,
}

/// What a benchmark found. Each stage has figures of its own.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct BenchmarkResults {
    /// How often each stage was measured; *compile* once, when the module was loaded.
    pub iterations: u32,
    /// When it began, in seconds since 1970.
    pub started_at: u64,
    /// When it ended.
    pub ended_at: u64,
    /// The stage *compile*. None: the code was found in the cache.
    pub compile_ms: Option<f64>,
    /// The stage *load artifact*: finding the file of the code, checking and mapping it.
    pub load_artifact: Percentiles,
    /// The stage *instantiate fresh*, with taking a slot of the pool.
    pub instantiate_fresh: Percentiles,
    /// A cold start: hashing the bytes and checking the component, *load artifact*, linking, and *instantiate fresh* together.
    pub cold_start: Percentiles,
    /// A warm start: *instantiate fresh* alone.
    pub warm_start: Percentiles,
    /// The call itself, which is part of neither.
    pub call: Percentiles,
    /// The average cold start over the average warm start.
    pub improvement_factor: f64,
}

impl Runtime {
    /// Measures the stages before a call, and the call. Each iteration loads the compiled code anew and calls on a fresh
    /// instance, then calls again without loading. The times count for [`Runtime::validate_performance`] as well.
    ///
    /// # Errors
    ///
    /// There are less than [`MIN_ITERATIONS`]; the host has no directory for compiled code; the call fails.
    pub async fn benchmark(&self, module: &Module, call: &str, iterations: u32) -> Result<BenchmarkResults, Error> {
        if iterations < MIN_ITERATIONS {
            return Err(Error::TooFewIterations { iterations });
        }
        let (function, arguments) = module.prepare(call)?;
        let started_at = now();
        let (mut loads, mut cold, mut warm, mut calls) = (vec![], vec![], vec![], vec![]);
        for _ in 0..iterations {
            let again = module.functions().load_again().await?;
            let times = again.times();
            let first = module.run_in(&again, again.same(function), &arguments).await?;
            let second = module.run(function, &arguments).await?;
            module.samples().loaded(times);
            module.samples().called(Some(times), first.instantiate);
            module.samples().called(None, second.instantiate);
            loads.extend(times.load_artifact);
            cold.push(times.total + first.instantiate);
            warm.push(second.instantiate);
            calls.push(second.call);
        }
        let (cold_start, warm_start) = (Percentiles::of(&cold), Percentiles::of(&warm));
        Ok(BenchmarkResults {
            iterations,
            started_at,
            ended_at: now(),
            compile_ms: module.times().compile.map(milliseconds),
            load_artifact: Percentiles::of(&loads),
            instantiate_fresh: warm_start,
            cold_start,
            warm_start,
            call: Percentiles::of(&calls),
            improvement_factor: cold_start.average_ms / warm_start.average_ms,
        })
    }
}

impl Percentiles {
    fn of(times: &[Duration]) -> Self {
        let mut sorted: Vec<f64> = times.iter().copied().map(milliseconds).collect();
        sorted.sort_by(f64::total_cmp);
        let of = |percent| percentile(&sorted, percent).unwrap_or_default();
        Self {
            average_ms: sorted.iter().sum::<f64>() / sorted.len().max(1) as f64,
            p50_ms: of(50),
            p95_ms: of(95),
            p99_ms: of(99),
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let times: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        let found = Percentiles::of(&times);
        assert_eq!((found.p50_ms, found.p95_ms, found.p99_ms), (100.0, 190.0, 198.0));
        assert!((found.average_ms - 100.5).abs() < 1e-9);
        assert_eq!(Percentiles::of(&[Duration::from_millis(7)]).p99_ms, 7.0);
    }
}
