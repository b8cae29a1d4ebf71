//! All instruments of one host.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use crate::handle::{ColdStarts, HostCallMetrics, PluginMetrics, RouteMetrics, TapMetrics};
use crate::histogram::Histogram;
use crate::instrument::Id;
use crate::label::{CacheLevel, CompilationRefused, Deployment, LoadRefused, Outcome};
use crate::process;
use crate::registry::{Families, Family, SeriesLease};
use crate::text::{TextFormat, older};

/// The route of what fits no pattern, and of the CPU time that no request took.
const OTHER: &str = "other";

/// All instruments of one host. Cheap to clone: the clones share the figures.
///
/// Label values are the names of plugins, taps and capabilities that the host has loaded. Nothing that a guest or a
/// visitor says may become one: each new value is a new series. Those of a plugin stay as long as it has a [`SeriesLease`], or
/// until the process ends where it never had one.
#[derive(Clone, Debug)]
pub struct Metrics(pub(crate) Option<Arc<Inner>>);

#[derive(Debug)]
pub(crate) struct Inner {
    registry: Registry,
    pub(crate) families: Arc<Families>,
    pub(crate) cold_starts: Arc<ColdStarts>,
    pub(crate) started: SystemTime,
    queue_wait: Arc<Histogram>,
    compile: Arc<Histogram>,
    load_artifact: Arc<Histogram>,
    pool_slots: Arc<AtomicU64>,
    pool_slots_in_use: Arc<AtomicU64>,
    pool_slots_idle: Arc<AtomicU64>,
    pool_resident: Arc<AtomicU64>,
    memory_pages: Arc<AtomicU64>,
    memory_peak_pages: Arc<AtomicU64>,
    refused_growths: Arc<AtomicU64>,
    plugins_loaded: Arc<AtomicU64>,
    cache_loads: [Arc<AtomicU64>; CacheLevel::ALL.len()],
    loads_refused: [Arc<AtomicU64>; LoadRefused::ALL.len()],
    compilations_refused: [Arc<AtomicU64>; CompilationRefused::ALL.len()],
}

/// How calls came to their instances since the host started, for all plugins together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PoolCounts {
    /// Calls that ran on an instance which was there already: made ahead, or used before.
    pub taken: u64,
    /// Instances that were made.
    pub made: u64,
    /// Those of them that were made ahead.
    pub made_ahead: u64,
    /// Calls that waited for a slot of the pool, those that waited in vain included.
    pub waits: u64,
    /// The time of all those waits together.
    pub waited_seconds: f64,
    /// Calls that found no slot or no code in time, and those for which there was no place to wait.
    pub overloaded: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Instruments that all stand at 0, of a host that is deployed as by default.
    pub fn new() -> Self {
        Self::of(Deployment::default())
    }

    /// Instruments that all stand at 0.
    pub fn of(deployment: Deployment) -> Self {
        let families = Arc::new(Families::new(deployment));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::clone(&families)));
        Self(Some(Arc::new(Inner {
            registry,
            queue_wait: families.histogram(Id::QueueWaitDuration, &[]),
            compile: families.histogram(Id::CompileDuration, &[]),
            load_artifact: families.histogram(Id::LoadArtifactDuration, &[]),
            pool_slots: families.number(Id::PoolSlots, &[]),
            pool_slots_in_use: families.number(Id::PoolSlotsInUse, &[]),
            pool_slots_idle: families.number(Id::PoolSlotsIdle, &[]),
            pool_resident: families.number(Id::PoolResident, &[]),
            memory_pages: families.number(Id::RiptidePages, &[]),
            memory_peak_pages: families.number(Id::RiptidePeakPages, &[]),
            refused_growths: families.number(Id::RiptideGrowFailed, &[]),
            cold_starts: Arc::default(),
            started: SystemTime::now(),
            plugins_loaded: families.number(Id::PluginsLoaded, &[]),
            cache_loads: std::array::from_fn(|level| {
                families.number(Id::CacheLoads, &[CacheLevel::ALL[level].as_str()])
            }),
            loads_refused: std::array::from_fn(|reason| {
                families.number(Id::LoadsRefused, &[LoadRefused::ALL[reason].as_str()])
            }),
            compilations_refused: std::array::from_fn(|reason| {
                families.number(Id::CompilationsRefused, &[CompilationRefused::ALL[reason].as_str()])
            }),
            families,
        })))
    }

    /// Records nothing: every handle is empty, [`Metrics::render`] shows no instrument.
    pub fn disabled() -> Self {
        Self(None)
    }

    /// Whether anything is recorded. A host asks before it reads a clock only for the sake of metrics.
    pub fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// The handle of one plugin's handler of one tap. Asking again gives a handle to the same figures, so that a
    /// plugin that is loaded anew goes on counting where it was.
    pub fn tap(&self, plugin: &str, tap: &str) -> TapMetrics {
        TapMetrics::new(self.families(), plugin, tap)
    }

    /// The handle of one plugin.
    pub fn plugin(&self, plugin: &str) -> PluginMetrics {
        let none = Arc::default();
        let families = self.0.as_ref().map(|inner| &inner.families);
        PluginMetrics::new(families, self.0.as_ref().map_or(&none, |inner| &inner.cold_starts), plugin)
    }

    /// Keeps the series of one plugin: to be had before its handles are made, and as long as they are used.
    pub fn lease(&self, plugin: &str) -> SeriesLease {
        SeriesLease::new(self.0.as_ref().map(|inner| Arc::clone(&inner.families)), plugin)
    }

    /// The handle of one capability.
    pub fn host_call(&self, capability: &str) -> HostCallMetrics {
        HostCallMetrics::new(self.families(), capability)
    }

    /// The handle of one route of a server: a pattern that the program has. `None`: what fits no pattern.
    pub fn route(&self, route: Option<&str>) -> RouteMetrics {
        RouteMetrics::new(self.families(), route.unwrap_or(OTHER))
    }

    /// A call waited this long for a slot of the pool. One that found a slot free did not wait, and is not counted.
    pub fn queue_waited(&self, waited: Duration) {
        if let Some(inner) = &self.0 {
            inner.queue_wait.observe(waited);
        }
    }

    /// How many instances can exist at the same time.
    pub fn set_pool_slots(&self, slots: u64) {
        if let Some(inner) = &self.0 {
            inner.pool_slots.store(slots, Relaxed);
        }
    }

    /// This many instances are alive. Set when somebody looks, so that a call pays nothing for it.
    pub fn set_pool_slots_in_use(&self, slots: u64) {
        if let Some(inner) = &self.0 {
            inner.pool_slots_in_use.store(slots, Relaxed);
        }
    }

    /// This many of the instances that are alive wait for their next use. Set when somebody looks.
    pub fn set_pool_slots_idle(&self, slots: u64) {
        if let Some(inner) = &self.0 {
            inner.pool_slots_idle.store(slots, Relaxed);
        }
    }

    /// The pool has this much memory in RAM, with what its free slots keep. Set when somebody looks.
    pub fn set_pool_resident(&self, bytes: u64) {
        if let Some(inner) = &self.0 {
            inner.pool_resident.store(bytes, Relaxed);
        }
    }

    /// The linear memory of all instances, now and at its peak, in pages of 64 KiB, and how often a guest was refused
    /// more. Set when somebody looks.
    pub fn set_memory(&self, current_pages: u64, peak_pages: u64, refused_growths: u64) {
        if let Some(inner) = &self.0 {
            inner.memory_pages.store(current_pages, Relaxed);
            inner.memory_peak_pages.store(peak_pages, Relaxed);
            inner.refused_growths.store(refused_growths, Relaxed);
        }
    }

    /// A compiled plugin was asked for and came from `level`.
    pub fn cache_loaded(&self, level: CacheLevel) {
        if let Some(inner) = &self.0 {
            inner.cache_loads[level as usize].fetch_add(1, Relaxed);
        }
    }

    /// A plugin was compiled.
    pub fn compiled(&self, took: Duration) {
        if let Some(inner) = &self.0 {
            inner.compile.observe(took);
        }
    }

    /// A plugin's compiled code was found on disk, checked and mapped.
    pub fn artifact_loaded(&self, took: Duration) {
        if let Some(inner) = &self.0 {
            inner.load_artifact.observe(took);
        }
    }

    /// How long the program took from its start until it did what it is for. To be told once.
    pub fn set_process_start(&self, took: Duration) {
        if let Some(families) = self.families() {
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            families.number(Id::ProcessStartDuration, &[]).store(nanos, Relaxed);
        }
    }

    /// A plugin was refused when it was loaded, or when its code was brought.
    pub fn load_refused(&self, reason: LoadRefused) {
        if let Some(inner) = &self.0 {
            inner.loads_refused[reason as usize].fetch_add(1, Relaxed);
        }
    }

    /// A plugin was not compiled because of a limit.
    pub fn compilation_refused(&self, reason: CompilationRefused) {
        if let Some(inner) = &self.0 {
            inner.compilations_refused[reason as usize].fetch_add(1, Relaxed);
        }
    }

    /// Whether the host can do its work: 0 ready, 1 degraded, 2 unready. Set when somebody looks.
    pub fn set_health(&self, health: u64) {
        if let Some(families) = self.families() {
            families.number(Id::Health, &[]).store(health, Relaxed);
        }
    }

    /// Lines of the log that were thrown away: whoever writes it goes on counting in this number.
    pub fn share_log_lines_lost(&self, lost: Arc<AtomicU64>) {
        if let Some(families) = self.families() {
            families.share(Id::LogLinesLost, lost);
        }
    }

    /// How many plugins are loaded now.
    pub fn set_plugins_loaded(&self, plugins: u64) {
        if let Some(inner) = &self.0 {
            inner.plugins_loaded.store(plugins, Relaxed);
        }
    }

    /// Which program this is: its own version and the engine's. To be told once, at start.
    pub fn set_build_info(&self, version: &str, wasmtime: &str) {
        if let Some(families) = self.families() {
            families.number(Id::BuildInfo, &[version, wasmtime]).store(1, Relaxed);
        }
    }

    /// The text for `/metrics` in the form of OpenMetrics; see [`Metrics::render_as`].
    ///
    /// # Errors
    /// As there.
    pub fn render(&self) -> Result<String, fmt::Error> {
        self.render_as(TextFormat::OpenMetrics)
    }

    /// The text for `/metrics`, to be served with the content type of its format. Its length grows with
    /// plugins and taps: about 18 KB for each plugin with one tap, which the test `five_hundred_plugins` of the server bounds.
    ///
    /// # Errors
    /// Only if the encoder fails, which it does not do when it writes to memory.
    pub fn render_as(&self, format: TextFormat) -> Result<String, fmt::Error> {
        let mut out = String::new();
        match &self.0 {
            Some(inner) => {
                inner.ask_the_system();
                text::encode(&mut out, &inner.registry)?;
            }
            None => text::encode_eof(&mut out)?,
        }
        Ok(match format {
            TextFormat::OpenMetrics => out,
            TextFormat::Prometheus => older(&out),
        })
    }

    /// How calls came to their instances. Read while others record, so that an instance that is made at this moment may be
    /// in one of the figures and not yet in another.
    pub fn pool_counts(&self) -> PoolCounts {
        let Some(inner) = &self.0 else { return PoolCounts::default() };
        let sum = |id| match &*inner.families.family(id) {
            Family::Numbers(series) => series.values().map(|number| number.load(Relaxed)).sum(),
            Family::Histograms(series) => series.values().map(|histogram| histogram.counts().count()).sum::<u64>(),
        };
        PoolCounts {
            taken: sum(Id::StockHits) + sum(Id::InstanceReuses),
            made: sum(Id::InstantiateDuration),
            made_ahead: sum(Id::StockMade),
            waits: inner.queue_wait.counts().count(),
            waited_seconds: inner.queue_wait.counts().sum(1e9),
            overloaded: inner.families.ended_with(Outcome::Overloaded),
        }
    }

    pub(crate) fn families(&self) -> Option<&Families> {
        self.0.as_ref().map(|inner| &*inner.families)
    }
}

impl Inner {
    /// Memory and CPU time of the process, as they are now.
    fn ask_the_system(&self) {
        if let Some(resident) = process::resident_bytes() {
            self.families.service_number(Id::Rss, None).store(resident, Relaxed);
        }
        let rest = self.families.service_number(Id::ProcessCpu, Some(OTHER));
        let mut of_routes = 0_u64;
        if let Family::Numbers(series) = &*self.families.family(Id::ProcessCpu) {
            let routes = series.iter().filter(|(labels, _)| labels.last().is_none_or(|route| route != OTHER));
            of_routes = routes.map(|(_, nanos)| nanos.load(Relaxed)).sum();
        }
        let all = u64::try_from(process::cpu_time().as_nanos()).unwrap_or(u64::MAX);
        // A counter never falls, also when a request that was counted had not been seen by the system's clock.
        rest.fetch_max(all.saturating_sub(of_routes), Relaxed);
    }
}
