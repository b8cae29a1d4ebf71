//! A loaded plugin, and what a host is told to load.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use tapline_cache::ArtifactKey;
use tapline_limits::{Limits, PartialLimits};
use tapline_metrics::{PluginMetrics, SeriesLease};
use tapline_tap_dispatch::{BreakerSettings, Override, PartialBreaker, PluginName};

use crate::{
    bringing::CodeFailure,
    capability::{GrantValue, Granted},
    code::PluginCode,
    config::HostConfig,
    error::LoadError,
    functions::FunctionPattern,
    log_rate::LogRate,
    manifest::Manifest,
    reuse::Reuse,
    slots::Lane,
    stock::{Keeper, Stock},
};

/// What a host is told to load: a file or bytes, with what the operator says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginSpec {
    /// The operator's name for the plugin. It is what errors, metrics and logs say.
    pub name: PluginName,
    /// Where the component comes from.
    pub source: PluginSource,
    /// Grants by name, with their values.
    pub grants: BTreeMap<String, GrantValue>,
    /// Limits that differ from the host's. What is higher than the host's counts as the host's.
    pub limits: PartialLimits,
    /// The operator's order, by tap. It replaces the author's wishes, field by field.
    pub order: BTreeMap<String, Override>,
    /// Calls of the plugin that may run at the same time, at least 1. None: the host's
    /// [share](crate::HostConfig::plugin_share_percent) of the pool. More than the pool counts as the pool.
    pub max_concurrent_calls: Option<u32>,
    /// The functions that it may import. None: all that its grants give. Checked when it is loaded.
    pub allow_functions: Option<Vec<FunctionPattern>>,
    /// The functions that it may not import, whatever is granted or allowed. Checked when it is loaded.
    pub deny_functions: Vec<FunctionPattern>,
    /// Where its circuit breakers differ from the host's.
    pub breaker: PartialBreaker,
    /// Whether its instances serve several calls. None: each call has a fresh one. Read what [`Reuse`] gives up.
    pub reuse: Option<Reuse>,
    /// Whether instances of it are made ahead. None: each call makes its own.
    pub stock: Option<Stock>,
}

/// Where a component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginSource {
    /// A file, read when the plugin is loaded.
    File(PathBuf),
    /// The bytes themselves.
    Bytes(Arc<[u8]>),
}

impl PluginSpec {
    /// A plugin from a file, with no grants, the host's limits and its author's order.
    #[must_use]
    pub fn file(name: PluginName, path: impl Into<PathBuf>) -> Self {
        Self::new(name, PluginSource::File(path.into()))
    }

    /// A plugin from bytes, with no grants, the host's limits and its author's order.
    #[must_use]
    pub fn bytes(name: PluginName, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::new(name, PluginSource::Bytes(bytes.into()))
    }

    fn new(name: PluginName, source: PluginSource) -> Self {
        Self {
            name,
            source,
            grants: BTreeMap::new(),
            limits: PartialLimits::default(),
            order: BTreeMap::new(),
            max_concurrent_calls: None,
            allow_functions: None,
            deny_functions: Vec::new(),
            breaker: PartialBreaker::default(),
            reuse: None,
            stock: None,
        }
    }

    /// Grants `capability` with `value`.
    #[must_use]
    pub fn grant(mut self, capability: &str, value: impl Into<GrantValue>) -> Self {
        self.grants.insert(capability.to_owned(), value.into());
        self
    }

    /// All of it but where the component comes from, and the order.
    pub(crate) fn without_source(self) -> Self {
        Self { source: PluginSource::Bytes(Arc::default()), order: BTreeMap::new(), ..self }
    }

    /// Replaces the limits that differ from the host's.
    #[must_use]
    pub fn limits(mut self, limits: PartialLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The limits that each call of the plugin has on a host with these settings: of each limit the smaller one.
    ///
    /// # Errors
    ///
    /// The plugin's limits contradict themselves, or name what the whole host has in common.
    pub fn effective_limits(&self, config: &HostConfig) -> Result<Limits, LoadError> {
        // The engine is built with one size of stack. A smaller one for a plugin would be a limit that nothing enforces.
        let host = config.limits.max_stack_size_bytes();
        if let Some(wished) = self.limits.max_stack_size_bytes
            && wished < host
        {
            let setting = "max_stack_size_bytes";
            return Err(LoadError::HostWide { plugin: self.name.clone(), setting, host, wished });
        }
        let wished = self
            .limits
            .apply_to(config.limits)
            .map_err(|source| LoadError::Limits { plugin: self.name.clone(), source })?;
        Ok(wished.smallest(config.limits))
    }

    /// The settings of the plugin's circuit breakers on a host with these settings.
    ///
    /// # Errors
    ///
    /// They cannot work together.
    pub fn effective_breaker(&self, config: &HostConfig) -> Result<BreakerSettings, LoadError> {
        self.breaker.apply_to(config.breaker).map_err(|error| LoadError::Setting {
            plugin: self.name.clone(),
            setting: "breaker",
            message: error.to_string(),
        })
    }
}

/// A loaded plugin: what is the same for all its calls.
#[derive(Debug)]
pub struct Plugin {
    pub(crate) name: PluginName,
    pub(crate) manifest: Manifest,
    pub(crate) code: PluginCode,
    pub(crate) limits: Limits,
    pub(crate) granted: Vec<Granted>,
    pub(crate) grant_names: Vec<String>,
    pub(crate) metrics: PluginMetrics,
    pub(crate) lane: Lane,
    pub(crate) reuse: Option<Reuse>,
    pub(crate) stock: Option<Keeper>,
    /// It was removed, replaced or disabled: none of its instances is kept for another call.
    pub(crate) retired: AtomicBool,
    /// Of what it logs.
    pub(crate) log_rate: LogRate,
    /// Of what the host says about its calls.
    pub(crate) report_rate: LogRate,
    /// What it has counted is shown as long as this version or another one of its name is there: the last calls that run on a
    /// plugin that was removed are still counted, and a plugin that was refused leaves nothing behind.
    pub(crate) _series: SeriesLease,
}

impl Plugin {
    /// The operator's name for it.
    #[must_use]
    pub fn name(&self) -> &PluginName {
        &self.name
    }

    /// What its file says about itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its content, as a key of the cache.
    #[must_use]
    pub fn key(&self) -> &ArtifactKey {
        &self.code.key
    }

    /// Whether its code is in memory. Without, its next call brings it.
    #[must_use]
    pub fn has_code(&self) -> bool {
        self.code.is_here()
    }

    /// Why its code could not be brought, the last time that it was tried. None: it was, or nobody has tried.
    #[must_use]
    pub fn code_failure(&self) -> Option<CodeFailure> {
        self.code.bringing.failure()
    }

    /// The limits of each of its calls.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The names of what the operator granted.
    #[must_use]
    pub fn grant_names(&self) -> &[String] {
        &self.grant_names
    }

    /// Calls of it that may run at the same time.
    #[must_use]
    pub fn max_concurrent_calls(&self) -> usize {
        self.lane.limit()
    }

    /// Whether its instances serve several calls, and how many.
    #[must_use]
    pub fn reuse(&self) -> Option<Reuse> {
        self.reuse
    }

    pub(crate) fn grants(&self) -> &[Granted] {
        &self.granted
    }

    /// The stock, unless it has paused.
    pub(crate) fn stock(&self) -> Option<&Keeper> {
        self.stock.as_ref().filter(|stock| !stock.is_paused())
    }

    /// Shows the size of its file, once it is the version that is called.
    pub(crate) fn show_size(&self) {
        self.metrics.set_artifact_size(self.manifest.size as u64);
    }

    pub(crate) fn metrics(&self) -> &PluginMetrics {
        &self.metrics
    }
}
