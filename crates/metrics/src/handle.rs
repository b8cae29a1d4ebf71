//! Handles whose labels are resolved: what a host records with.
//!
//! A handle of [`Metrics::disabled`](crate::Metrics::disabled) is empty, and recording with it is one comparison.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::histogram::Histogram;
use crate::instrument::Id;
use crate::label::{CacheLevel, LogLevel, Outcome};
use crate::registry::Families;

/// What one plugin's handler of one tap records. Cheap to clone; make it once, when the plugin is loaded.
#[derive(Clone, Debug)]
pub struct TapMetrics(Option<Arc<TapSeries>>);

#[derive(Debug)]
struct TapSeries {
    outcomes: [Arc<AtomicU64>; Outcome::ALL.len()],
    duration: Arc<Histogram>,
    cpu: Arc<Histogram>,
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
                cpu: families.histogram(Id::TapCpu, &[plugin, tap]),
                breaker_state: families.number(Id::BreakerState, &[plugin, tap]),
                breaker_openings: families.number(Id::BreakerOpenings, &[plugin, tap]),
                fuel_used: families.number(Id::FuelUsed, &[plugin, tap]),
                fuel_peak: families.number(Id::FuelPeak, &[plugin, tap]),
            })
        }))
    }

    /// Whether anything is recorded. A host asks before it reads a clock only for the sake of metrics.
    pub fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// One call was running for so long, what it waited left out.
    pub fn ran(&self, cpu: Duration) {
        if let Some(series) = &self.0 {
            series.cpu.observe(cpu);
        }
    }

    /// One call ended that had an instance. `took` runs from taking it to the decoded answer; a call that failed counts too.
    pub fn record(&self, outcome: Outcome, took: Duration) {
        if let Some(series) = &self.0 {
            series.outcomes[outcome as usize].fetch_add(1, Relaxed);
            series.duration.observe(took);
        }
    }

    /// One call ended before it had an instance. It is counted and has no time: what it waited was no work of the plugin.
    pub fn refused(&self, outcome: Outcome) {
        if let Some(series) = &self.0 {
            series.outcomes[outcome as usize].fetch_add(1, Relaxed);
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
#[derive(Clone)]
pub struct PluginMetrics(Option<Arc<PluginSeries>>);

struct PluginSeries {
    name: String,
    /// For the series of capabilities that nobody has named when the plugin was loaded.
    families: Arc<Families>,
    /// By capability.
    refusals: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    instantiate: Arc<Histogram>,
    teardown: Arc<Histogram>,
    reuses: Arc<AtomicU64>,
    startup: Arc<Histogram>,
    last_startup: Arc<AtomicU64>,
    last_startup_of_any: Arc<AtomicU64>,
    cold_starts: Arc<ColdStarts>,
    compiled: Arc<AtomicU64>,
    artifact_size: Arc<AtomicU64>,
    epoch_yields: Arc<AtomicU64>,
    stock_hits: Arc<AtomicU64>,
    /// That of all plugins.
    stock_take: Arc<Histogram>,
    stock_made: Arc<AtomicU64>,
    memory_peak: Arc<AtomicU64>,
    refused_growths: Arc<AtomicU64>,
    output_dropped: Arc<AtomicU64>,
    log_lines: [Arc<AtomicU64>; LogLevel::ALL.len()],
    log_lines_dropped: Arc<AtomicU64>,
}

impl PluginSeries {
    fn refusals_of(&self, capability: &str) -> Arc<AtomicU64> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = refusals.get(capability) {
            return Arc::clone(known);
        }
        let made = self.families.number(Id::HostCallRefusals, &[&self.name, capability]);
        refusals.insert(capability.to_owned(), Arc::clone(&made));
        made
    }
}

/// Without the figures of all plugins.
impl fmt::Debug for PluginMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PluginMetrics").field(&self.0.as_ref().map(|series| &series.name)).finish()
    }
}

impl PluginMetrics {
    pub(crate) fn new(families: Option<&Arc<Families>>, cold_starts: &Arc<ColdStarts>, plugin: &str) -> Self {
        Self(families.map(|families| {
            Arc::new(PluginSeries {
                name: plugin.to_owned(),
                families: Arc::clone(families),
                refusals: Mutex::default(),
                startup: families.module_histogram(Id::Startup, plugin),
                last_startup: families.module_number(Id::StartupMs, plugin),
                last_startup_of_any: families.number(Id::RiptideColdStart, &[]),
                cold_starts: Arc::clone(cold_starts),
                compiled: families.module_number(Id::WasmCacheMisses, plugin),
                artifact_size: families.module_number(Id::ArtifactSize, plugin),
                epoch_yields: families.number(Id::EpochYields, &[plugin]),
                instantiate: families.histogram(Id::InstantiateDuration, &[plugin]),
                teardown: families.histogram(Id::TeardownDuration, &[plugin]),
                reuses: families.number(Id::InstanceReuses, &[plugin]),
                stock_hits: families.number(Id::StockHits, &[plugin]),
                stock_take: families.histogram(Id::StockTakeDuration, &[]),
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

    /// The plugin was started: from its bytes to an instance that could be called. Its code came from `level`.
    pub fn started(&self, took: Duration, level: CacheLevel) {
        if let Some(series) = &self.0 {
            series.startup.observe(took);
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            series.last_startup.store(nanos, Relaxed);
            series.last_startup_of_any.store(nanos, Relaxed);
            series.cold_starts.push(took);
            if level == CacheLevel::Compiled {
                series.compiled.fetch_add(1, Relaxed);
            }
        }
    }

    /// The size of the plugin's file.
    pub fn set_artifact_size(&self, bytes: u64) {
        if let Some(series) = &self.0 {
            series.artifact_size.store(bytes, Relaxed);
        }
    }

    /// The guest had run for a tick of the clock, and others had their turn.
    pub fn epoch_yielded(&self) {
        if let Some(series) = &self.0 {
            series.epoch_yields.fetch_add(1, Relaxed);
        }
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

    /// A call runs on an instance that was made ahead, and had it after so long.
    pub fn taken_from_stock(&self, took: Duration) {
        if let Some(series) = &self.0 {
            series.stock_hits.fetch_add(1, Relaxed);
            series.stock_take.observe(took);
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

    /// The plugin is granted this capability: what that refuses stands at 0 until it moves.
    pub fn may_refuse(&self, capability: &str) {
        if let Some(series) = &self.0 {
            series.refusals_of(capability);
        }
    }

    /// A host function of this capability refused what the guest asked for. Takes a lock of the plugin alone.
    pub fn host_call_refused(&self, capability: &'static str) {
        if let Some(series) = &self.0 {
            series.refusals_of(capability).fetch_add(1, Relaxed);
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
pub struct HostCallMetrics(Option<(Arc<Histogram>, Arc<AtomicU64>)>);

impl HostCallMetrics {
    pub(crate) fn new(families: Option<&Families>, capability: &str) -> Self {
        Self(families.map(|families| {
            let duration = families.histogram(Id::HostCallDuration, &[capability]);
            (duration, families.number(Id::HostCallBytes, &[capability]))
        }))
    }

    /// One host function ended. `took` includes what it waited for.
    pub fn record(&self, took: Duration) {
        if let Some((duration, _)) = &self.0 {
            duration.observe(took);
        }
    }

    /// One host function gave the guest this much.
    pub fn answered(&self, bytes: u64) {
        if let Some((_, sum)) = &self.0 {
            sum.fetch_add(bytes, Relaxed);
        }
    }
}

/// What the requests of one route record. Cheap to clone. A route is a pattern that the program has, such as
/// `/item/{id}`, never the address that a visitor asked for.
#[derive(Clone, Debug)]
pub struct RouteMetrics(Option<(Arc<AtomicU64>, Arc<AtomicU64>)>);

impl RouteMetrics {
    pub(crate) fn new(families: Option<&Families>, route: &str) -> Self {
        Self(families.map(|families| {
            let requests = families.service_number(Id::HttpRequests, Some(route));
            (requests, families.service_number(Id::ProcessCpu, Some(route)))
        }))
    }

    /// Whether anything is recorded. A server asks before it reads a clock only for the sake of metrics.
    pub fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// One request was answered, with so much CPU time.
    pub fn answered(&self, cpu: Duration) {
        if let Some((requests, cpu_nanos)) = &self.0 {
            requests.fetch_add(1, Relaxed);
            cpu_nanos.fetch_add(u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        }
    }
}

/// The last starts of plugins, each with its time, for percentiles that are exact. A start is rare and takes
/// milliseconds, so that a lock costs nothing.
#[derive(Debug, Default)]
pub(crate) struct ColdStarts(Mutex<VecDeque<Duration>>);

impl ColdStarts {
    /// As many as one protocol of DWCP measures.
    const KEPT: usize = 1000;

    fn push(&self, took: Duration) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == Self::KEPT {
            kept.pop_front();
        }
        kept.push_back(took);
    }

    /// Sorted.
    pub(crate) fn sorted(&self) -> Vec<Duration> {
        let mut sorted: Vec<_> = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        sorted.sort_unstable();
        sorted
    }
}
