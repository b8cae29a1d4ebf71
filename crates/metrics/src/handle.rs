//! Handles whose labels are resolved: what a host records with.
//!
//! A handle of [`Metrics::disabled`](crate::Metrics::disabled) is empty, and recording with it is one comparison.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::histogram::Histogram;
use crate::instrument::Id;
use crate::label::{LogLevel, Outcome};
use crate::registry::Families;

/// What one plugin's handler of one tap records. Cheap to clone; make it once, when the plugin is loaded.
#[derive(Clone, Debug)]
pub struct TapMetrics(Option<Arc<TapSeries>>);

#[derive(Debug)]
struct TapSeries {
    outcomes: [Arc<AtomicU64>; Outcome::ALL.len()],
    duration: Arc<Histogram>,
    breaker_state: Arc<AtomicU64>,
    breaker_openings: Arc<AtomicU64>,
    fuel_used: Arc<AtomicU64>,
    fuel_peak: Arc<AtomicU64>,
}

impl TapMetrics {
    pub(crate) fn new(families: Option<&Families>, plugin: &str, tap: &str) -> Self {
        Self(families.map(|families| {
            Arc::new(TapSeries {
                outcomes: std::array::from_fn(|outcome| {
                    families.number(Id::TapInvocations, &[plugin, tap, Outcome::ALL[outcome].as_str()])
                }),
                duration: families.histogram(Id::TapDuration, &[plugin, tap]),
                breaker_state: families.number(Id::BreakerState, &[plugin, tap]),
                breaker_openings: families.number(Id::BreakerOpenings, &[plugin, tap]),
                fuel_used: families.number(Id::FuelUsed, &[plugin, tap]),
                fuel_peak: families.number(Id::FuelPeak, &[plugin, tap]),
            })
        }))
    }

    /// One call ended. `took` runs from taking an instance to the decoded answer; a call that failed counts too.
    pub fn record(&self, outcome: Outcome, took: Duration) {
        if let Some(series) = &self.0 {
            series.outcomes[outcome as usize].fetch_add(1, Relaxed);
            series.duration.observe(took);
        }
    }

    /// One call used this much fuel.
    pub fn fuel_used(&self, fuel: u64) {
        if let Some(series) = &self.0 {
            series.fuel_used.fetch_add(fuel, Relaxed);
            series.fuel_peak.fetch_max(fuel, Relaxed);
        }
    }

    /// The handler's circuit breaker opened.
    pub fn breaker_opened(&self) {
        if let Some(series) = &self.0 {
            series.breaker_openings.fetch_add(1, Relaxed);
        }
    }

    /// What the handler's circuit breaker does: 0 closed, 1 half-open, 2 open. Set when somebody looks, because a breaker
    /// that is open becomes half-open by the mere passing of time.
    pub fn set_breaker_state(&self, state: u64) {
        if let Some(series) = &self.0 {
            series.breaker_state.store(state, Relaxed);
        }
    }
}

/// What one plugin records, whichever tap it serves. Cheap to clone; make it once, when the plugin is loaded.
#[derive(Clone, Debug)]
pub struct PluginMetrics(Option<Arc<PluginSeries>>);

#[derive(Debug)]
struct PluginSeries {
    instantiate: Arc<Histogram>,
    teardown: Arc<Histogram>,
    reuses: Arc<AtomicU64>,
    stock_hits: Arc<AtomicU64>,
    stock_made: Arc<AtomicU64>,
    memory_peak: Arc<AtomicU64>,
    refused_growths: Arc<AtomicU64>,
    output_dropped: Arc<AtomicU64>,
    log_lines: [Arc<AtomicU64>; LogLevel::ALL.len()],
    log_lines_dropped: Arc<AtomicU64>,
}

impl PluginMetrics {
    pub(crate) fn new(families: Option<&Families>, plugin: &str) -> Self {
        Self(families.map(|families| {
            Arc::new(PluginSeries {
                instantiate: families.histogram(Id::InstantiateDuration, &[plugin]),
                teardown: families.histogram(Id::TeardownDuration, &[plugin]),
                reuses: families.number(Id::InstanceReuses, &[plugin]),
                stock_hits: families.number(Id::StockHits, &[plugin]),
                stock_made: families.number(Id::StockMade, &[plugin]),
                memory_peak: families.number(Id::MemoryPeak, &[plugin]),
                refused_growths: families.number(Id::RefusedGrowths, &[plugin]),
                output_dropped: families.number(Id::GuestOutputDropped, &[plugin]),
                log_lines: std::array::from_fn(|level| {
                    families.number(Id::LogLines, &[plugin, LogLevel::ALL[level].as_str()])
                }),
                log_lines_dropped: families.number(Id::LogLinesDropped, &[plugin]),
            })
        }))
    }

    /// An instance was made.
    pub fn instantiated(&self, took: Duration) {
        if let Some(series) = &self.0 {
            series.instantiate.observe(took);
        }
    }

    /// An instance was dropped.
    pub fn torn_down(&self, took: Duration) {
        if let Some(series) = &self.0 {
            series.teardown.observe(took);
        }
    }

    /// A call runs on an instance that earlier calls have used.
    pub fn instance_reused(&self) {
        if let Some(series) = &self.0 {
            series.reuses.fetch_add(1, Relaxed);
        }
    }

    /// A call runs on an instance that was made ahead.
    pub fn stock_hit(&self) {
        if let Some(series) = &self.0 {
            series.stock_hits.fetch_add(1, Relaxed);
        }
    }

    /// An instance was made ahead.
    pub fn made_ahead(&self, took: Duration) {
        if let Some(series) = &self.0 {
            series.stock_made.fetch_add(1, Relaxed);
            series.instantiate.observe(took);
        }
    }

    /// An instance has had this much linear memory at its peak; the most that was ever reported is kept.
    pub fn memory_peak(&self, bytes: u64) {
        if let Some(series) = &self.0 {
            // A plain read first: nearly every call stays below the peak, and need not own the cache line.
            if series.memory_peak.load(Relaxed) < bytes {
                series.memory_peak.fetch_max(bytes, Relaxed);
            }
        }
    }

    /// This many requests for more memory or table were refused.
    pub fn growths_refused(&self, count: u64) {
        if let Some(series) = &self.0 {
            series.refused_growths.fetch_add(count, Relaxed);
        }
    }

    /// This much of what the guest wrote was thrown away.
    pub fn output_dropped(&self, bytes: u64) {
        if let Some(series) = &self.0 {
            series.output_dropped.fetch_add(bytes, Relaxed);
        }
    }

    /// The guest logged a line.
    pub fn log_line(&self, level: LogLevel) {
        if let Some(series) = &self.0 {
            series.log_lines[level as usize].fetch_add(1, Relaxed);
        }
    }

    /// This many of the guest's log lines were thrown away.
    pub fn log_lines_dropped(&self, count: u64) {
        if let Some(series) = &self.0 {
            series.log_lines_dropped.fetch_add(count, Relaxed);
        }
    }
}

/// What one capability records. Cheap to clone; make it once, when the capability is linked.
#[derive(Clone, Debug)]
pub struct HostCallMetrics(Option<Arc<Histogram>>);

impl HostCallMetrics {
    pub(crate) fn new(families: Option<&Families>, capability: &str) -> Self {
        Self(families.map(|families| families.histogram(Id::HostCallDuration, &[capability])))
    }

    /// One host function ended. `took` includes what it waited for.
    pub fn record(&self, took: Duration) {
        if let Some(histogram) = &self.0 {
            histogram.observe(took);
        }
    }
}
