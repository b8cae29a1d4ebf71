//! A loaded plugin, and what a host is told to load.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use tapline_cache::ArtifactKey;
use tapline_limits::{Limits, PartialLimits};
use tapline_metrics::PluginMetrics;
use tapline_tap_dispatch::{Override, PluginName};

use crate::{
    capability::{GrantValue, Granted},
    manifest::Manifest,
};

/// What a host is told to load: a file or bytes, with what the operator says about it.
#[derive(Clone, Debug)]
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
}

/// Where a component comes from.
#[derive(Clone, Debug)]
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
        Self { name, source, grants: BTreeMap::new(), limits: PartialLimits::default(), order: BTreeMap::new() }
    }

    /// Grants `capability` with `value`.
    #[must_use]
    pub fn grant(mut self, capability: &str, value: impl Into<GrantValue>) -> Self {
        self.grants.insert(capability.to_owned(), value.into());
        self
    }

    /// Replaces the limits that differ from the host's.
    #[must_use]
    pub fn limits(mut self, limits: PartialLimits) -> Self {
        self.limits = limits;
        self
    }
}

/// A loaded plugin: what is the same for all its calls.
#[derive(Debug)]
pub struct Plugin {
    pub(crate) name: PluginName,
    pub(crate) manifest: Manifest,
    pub(crate) key: ArtifactKey,
    pub(crate) limits: Limits,
    pub(crate) granted: Vec<Granted>,
    pub(crate) grant_names: Vec<String>,
    pub(crate) order: BTreeMap<String, Override>,
    pub(crate) metrics: PluginMetrics,
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
        &self.key
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

    pub(crate) fn grants(&self) -> &[Granted] {
        &self.granted
    }

    pub(crate) fn metrics(&self) -> &PluginMetrics {
        &self.metrics
    }
}
