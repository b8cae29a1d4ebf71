//! What a host was told to run and does not, or does not run any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tapline_tap_dispatch::PluginName;

use crate::{
    error::LoadError,
    host::Host,
    plugin::{Plugin, PluginSpec},
    reload::Applied,
    text::causes,
};

/// A change that was asked for and that the host does not follow: what it runs is not what it was told to run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RefusedChange {
    /// The plugin. None: all of them, because nobody can tell what they are to be.
    pub plugin: Option<PluginName>,
    /// What is wrong, with all causes.
    pub reason: String,
    /// What to do, where there is something to do.
    pub hint: Option<String>,
    /// When a change of it was refused for the first time in a row.
    pub since: SystemTime,
}

/// A plugin that was refused is not tried again before twenty times as long has passed as that took: one that keeps the compiler
/// busy until it is stopped would hold up every change of any other.
const PAUSES: u32 = 20;

/// What was tried, and when it may be again.
struct Tried {
    error: Arc<LoadError>,
    /// All but the source.
    spec: PluginSpec,
    file: String,
    not_before: Instant,
}

/// What a host was told and does not follow, or not any more.
#[derive(Default)]
pub(crate) struct Told {
    refused: BTreeMap<Option<PluginName>, RefusedChange>,
    /// What was refused from outside before the plugins were told the last time.
    outside: Option<RefusedChange>,
    tried: BTreeMap<PluginName, Tried>,
    /// Plugins that were disabled when they were removed.
    disabled: BTreeSet<PluginName>,
}

impl Told {
    pub(crate) fn note(&mut self, plugin: Option<PluginName>, reason: String, hint: Option<String>) {
        let outside = self.outside.as_ref().filter(|before| plugin.is_none() && before.reason == reason);
        let since = self.refused.get(&plugin).or(outside).map_or_else(SystemTime::now, |before| before.since);
        self.refused.insert(plugin.clone(), RefusedChange { plugin, reason, hint, since });
    }

    /// All plugins were told anew.
    pub(crate) fn settle(&mut self, applied: &mut Applied) {
        let mut before = std::mem::take(&mut self.refused);
        self.outside = before.remove(&None);
        for refused in &mut applied.refused {
            let (plugin, reason) = (Some(refused.plugin.clone()), in_full(&refused.error));
            if let Some((plugin, before)) = before.remove_entry(&plugin) {
                refused.is_known = before.reason == reason;
                self.refused.insert(plugin, before);
            }
            self.note(plugin, reason, refused.error.hint());
            let tried = self.tried.get(&refused.plugin);
            refused.retry_in =
                tried.map_or(Duration::ZERO, |it| it.not_before.saturating_duration_since(Instant::now()));
        }
        self.tried.retain(|plugin, _| self.refused.contains_key(&Some(plugin.clone())));
    }

    /// This very plugin was refused, and to find that out took so long.
    pub(crate) fn tried(&mut self, spec: PluginSpec, file: String, error: Arc<LoadError>, took: Duration) {
        let not_before = Instant::now() + took * PAUSES;
        self.tried.insert(spec.name.clone(), Tried { error, spec, file, not_before });
    }

    /// Why this very plugin was refused, if it is too early to try again.
    pub(crate) fn too_early(&self, spec: &PluginSpec, file: &str) -> Option<Arc<LoadError>> {
        let tried = self.tried.get(&spec.name)?;
        let is_same = tried.file == file && tried.spec == *spec && Instant::now() < tried.not_before;
        is_same.then(|| Arc::clone(&tried.error))
    }

    /// The plugin is the one that the host was told to have.
    pub(crate) fn forget(&mut self, plugin: &PluginName) {
        self.refused.remove(&Some(plugin.clone()));
        self.tried.remove(plugin);
    }

    pub(crate) fn is_disabled(&self, plugin: &PluginName) -> bool {
        self.disabled.contains(plugin)
    }

    /// It is there again, as whoever brings it wants it.
    pub(crate) fn is_there(&mut self, plugin: &PluginName) {
        self.disabled.remove(plugin);
    }

    pub(crate) fn is_gone(&mut self, plugin: &PluginName, was_enabled: bool) {
        if was_enabled {
            self.disabled.remove(plugin)
        } else {
            self.disabled.insert(plugin.clone())
        };
    }
}

pub(crate) fn in_full(error: &LoadError) -> String {
    causes(error).join(": ")
}

impl Host {
    /// What the host was told by [`Host::apply`] and does not follow, until it does or is told something else. Where plugins are
    /// read from a configuration, that too can be refused: see [`Host::note_refused_change`].
    #[must_use]
    pub fn refused_changes(&self) -> Vec<RefusedChange> {
        self.told().refused.values().cloned().collect()
    }

    /// Notes that nobody can tell which plugins the host is to have, because what says so cannot be used. It stands in
    /// [`Host::refused_changes`] until the next [`Host::apply`].
    pub fn note_refused_change(&self, reason: String, hint: Option<String>) {
        self.told().note(None, reason, hint);
    }

    /// The next [`Host::apply`] tries everything, also what was refused a moment ago: somebody believes that the reason is gone.
    pub fn forgive_refused(&self) {
        self.told().tried.clear();
    }

    /// These were loaded by themselves, as they are now.
    pub(crate) fn told_to_add(&self, plugins: &[Arc<Plugin>]) {
        let mut told = self.told();
        for plugin in plugins {
            told.forget(plugin.name());
            told.is_there(plugin.name());
        }
    }

    /// This one was removed by itself.
    pub(crate) fn told_to_remove(&self, plugin: &PluginName, was_enabled: bool) {
        let mut told = self.told();
        told.forget(plugin);
        told.is_gone(plugin, was_enabled);
    }

    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.inner.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
