//! All instruments of one host.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use crate::handle::{HostCallMetrics, PluginMetrics, TapMetrics};
use crate::histogram::Histogram;
use crate::instrument::Id;
use crate::label::{CacheLevel, CompilationRefused, Outcome};
use crate::registry::{Families, Family};

/// The `Content-Type` of [`Metrics::render`]: OpenMetrics 1.0, which every Prometheus from 2.5 on asks for.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All instruments of one host. Cheap to clone: the clones share the figures.
///
/// Label values are the names of plugins, taps and capabilities that the host has loaded. Nothing that a guest or a
/// visitor says may become one: each new value is a new series that stays until the process ends.
#[derive(Clone, Debug)]
pub struct Metrics(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    families: Arc<Families>,
    queue_wait: Arc<Histogram>,
    compile: Arc<Histogram>,
    pool_slots: Arc<AtomicU64>,
    pool_slots_in_use: Arc<AtomicU64>,
    pool_slots_idle: Arc<AtomicU64>,
    plugins_loaded: Arc<AtomicU64>,
    cache_loads: [Arc<AtomicU64>; CacheLevel::ALL.len()],
    compilations_refused: [Arc<AtomicU64>; CompilationRefused::ALL.len()],
}

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
    /// Time of all calls together, in seconds.
    pub total_seconds: f64,
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
    /// Time that calls waited for a slot of the pool, all together.
    pub waited_seconds: f64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Instruments that all stand at 0.
    pub fn new() -> Self {
        let families = Arc::new(Families::new());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::clone(&families)));
        Self(Some(Arc::new(Inner {
            registry,
            queue_wait: families.histogram(Id::QueueWaitDuration, &[]),
            compile: families.histogram(Id::CompileDuration, &[]),
            pool_slots: families.number(Id::PoolSlots, &[]),
            pool_slots_in_use: families.number(Id::PoolSlotsInUse, &[]),
            pool_slots_idle: families.number(Id::PoolSlotsIdle, &[]),
            plugins_loaded: families.number(Id::PluginsLoaded, &[]),
            cache_loads: std::array::from_fn(|level| {
                families.number(Id::CacheLoads, &[CacheLevel::ALL[level].as_str()])
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
        PluginMetrics::new(self.families(), plugin)
    }

    /// The handle of one capability.
    pub fn host_call(&self, capability: &str) -> HostCallMetrics {
        HostCallMetrics::new(self.families(), capability)
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

    /// A plugin was not compiled because of a limit.
    pub fn compilation_refused(&self, reason: CompilationRefused) {
        if let Some(inner) = &self.0 {
            inner.compilations_refused[reason as usize].fetch_add(1, Relaxed);
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

    /// The text for `/metrics`, to be served as [`CONTENT_TYPE`]. Its length grows with plugins times taps: about
    /// 6 KB for each pair.
    ///
    /// # Errors
    /// Only if the encoder fails, which it does not do when it writes to memory.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        match &self.0 {
            Some(inner) => text::encode(&mut out, &inner.registry)?,
            None => text::encode_eof(&mut out)?,
        }
        Ok(out)
    }

    /// What each handler has done, ordered by plugin and tap. Read from the instruments while others record, so that
    /// a call that ends at this moment may be in `invocations` and not yet in `total_seconds`.
    pub fn tap_snapshots(&self) -> Vec<TapSnapshot> {
        let Some(families) = self.families() else {
            return Vec::new();
        };
        let mut counts: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
        if let Family::Numbers(series) = &*families.family(Id::TapInvocations) {
            for (labels, number) in series {
                let [plugin, tap, outcome] = labels.as_slice() else {
                    continue;
                };
                let number = number.load(Relaxed);
                let (invocations, failures) = counts.entry((plugin.clone(), tap.clone())).or_default();
                *invocations += number;
                if outcome != Outcome::Ok.as_str() {
                    *failures += number;
                }
            }
        }
        let snapshot = |((plugin, tap), (invocations, failures)): ((String, String), _)| {
            let total_seconds = families.histogram(Id::TapDuration, &[&plugin, &tap]).sum_seconds();
            TapSnapshot { plugin, tap, invocations, failures, total_seconds }
        };
        counts.into_iter().map(snapshot).collect()
    }

    /// How calls came to their instances. Read while others record, so that an instance that is made at this moment may be
    /// in one of the figures and not yet in another.
    pub fn pool_counts(&self) -> PoolCounts {
        let Some(inner) = &self.0 else { return PoolCounts::default() };
        let sum = |id| match &*inner.families.family(id) {
            Family::Numbers(series) => series.values().map(|number| number.load(Relaxed)).sum(),
            Family::Histograms(series) => series.values().map(|histogram| histogram.count()).sum::<u64>(),
        };
        PoolCounts {
            taken: sum(Id::StockHits) + sum(Id::InstanceReuses),
            made: sum(Id::InstantiateDuration),
            made_ahead: sum(Id::StockMade),
            waited_seconds: inner.queue_wait.sum_seconds(),
        }
    }

    fn families(&self) -> Option<&Families> {
        self.0.as_ref().map(|inner| &*inner.families)
    }
}
