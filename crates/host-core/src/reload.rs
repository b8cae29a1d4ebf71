//! Changing what a host has loaded while it serves: in one step, with the old version draining beside the new one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use tapline_tap_dispatch::{Override, PluginName};

use crate::{
    error::LoadError,
    host::Host,
    load::{self, Loaded},
    plugin::{Plugin, PluginSpec},
    read,
    stages::Stages,
    told::in_full,
};

/// What [`Host::apply`] did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Applied {
    /// Plugins that were not loaded before.
    pub added: Vec<PluginName>,
    /// Plugins with another file or other settings than before.
    pub replaced: Vec<PluginName>,
    /// Plugins for which nothing but the operator's order changed: no call of theirs noticed.
    pub reordered: Vec<PluginName>,
    /// Plugins that are no longer loaded.
    pub removed: Vec<PluginName>,
    /// Plugins that failed their checks.
    pub refused: Vec<Refused>,
}

/// A plugin that [`Host::apply`] refused.
#[derive(Debug)]
#[non_exhaustive]
pub struct Refused {
    /// The plugin.
    pub plugin: PluginName,
    /// Why.
    pub error: Arc<LoadError>,
    /// Whether it was loaded before, and serves on as it was.
    pub serves_on: bool,
    /// Whether it was refused before for the same reason, which is no news.
    pub is_known: bool,
    /// How long until the same file with the same settings is tried again. Zero: with the next [`Host::apply`].
    pub retry_in: Duration,
}

impl Applied {
    /// Whether everything was as it should be already.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        let Self { added, replaced, reordered, removed, refused } = self;
        [added, replaced, reordered, removed].iter().all(|names| names.is_empty()) && refused.is_empty()
    }
}

/// What becomes of one plugin.
enum Step {
    Keep(BTreeMap<String, Override>),
    Take(Box<Loaded>),
    /// `was_removed`: what was loaded imports what the operator does not allow it any more.
    Refuse {
        error: Arc<LoadError>,
        was_removed: bool,
    },
}

impl Host {
    /// Replaces a plugin. The new version is read, checked, compiled and tried beside the old one, which serves meanwhile;
    /// then one step makes it the one that dispatches call. Dispatches that are under way end on the old version, which
    /// goes with the last of them.
    ///
    /// The new version begins with closed circuit breakers, also when it is the same file; one that was disabled stays so.
    /// Reloads run one after another, in the order in which they were asked for, and so the last one stays. To wait does
    /// not make them fail, and a file that was compiled before costs no compilation.
    ///
    /// # Errors
    ///
    /// See [`LoadError`]: there is no plugin of this name, the new version failed its checks, or the order of a tap has no
    /// solution with it. The old version serves on, unless it imports what `spec` does not allow it any more: then it is removed.
    pub async fn replace(&self, spec: PluginSpec) -> Result<Arc<Plugin>, LoadError> {
        let _turn = self.inner.reloading.lock().await;
        let settings = spec.clone().without_source();
        let replace = async {
            let name = spec.name.clone();
            if !self.registry().plugins.contains_key(&name) {
                return Err(LoadError::NotLoaded { plugin: name });
            }
            let loaded = load::load(&self.inner, spec).await?;
            let plugin = Arc::clone(&loaded.plugin);
            let replaced = self.change(&name, |old| *old = Loaded { enabled: old.enabled, ..loaded }).await?;
            if !replaced {
                return Err(LoadError::NotLoaded { plugin: name });
            }
            self.told().forget(&name);
            Ok(plugin)
        };
        match replace.await {
            Ok(plugin) => Ok(plugin),
            Err(error) => {
                let error = self.inner.refused(error);
                if !self.may_stay(&settings) && self.take_away(&settings.name).await {
                    self.told().note(Some(settings.name), in_full(&error), error.hint());
                }
                Err(error)
            }
        }
    }

    /// Takes a plugin out of all taps and keeps it loaded. Calls that run end as they would have. `false`: there is none
    /// of this name.
    ///
    /// # Errors
    ///
    /// The order of a tap has no solution without it. The plugin is then called on.
    pub async fn disable(&self, name: &PluginName) -> Result<bool, LoadError> {
        self.change(name, |loaded| loaded.enabled = false).await
    }

    /// Undoes [`Host::disable`], at once: the plugin was checked when it was loaded. If its code could not be brought, the next
    /// call tries again, also when it was not disabled. `false`: there is none of this name.
    ///
    /// # Errors
    ///
    /// The order of a tap has no solution with it. The plugin then stays disabled.
    pub async fn enable(&self, name: &PluginName) -> Result<bool, LoadError> {
        let enable = |loaded: &mut Loaded| {
            loaded.enabled = true;
            loaded.plugin.code.bringing.forgive();
        };
        self.change(name, enable).await
    }

    /// Whether dispatches call the plugin of this name.
    #[must_use]
    pub fn is_enabled(&self, name: &PluginName) -> bool {
        self.registry().plugins.get(name).is_some_and(|loaded| loaded.enabled)
    }

    /// Replaces the operator's order of a plugin, by tap. Nothing is loaded anew. `false`: there is none of this name.
    ///
    /// # Errors
    ///
    /// The plugin does not implement one of the taps, or the order of a tap has no solution. Everything is then as it was.
    /// Where the orders of several plugins have to change together, use [`Host::apply`].
    pub async fn reorder(&self, name: &PluginName, order: BTreeMap<String, Override>) -> Result<bool, LoadError> {
        if let Some(loaded) = self.registry().plugins.get(name) {
            self.check_order(loaded, &order)?;
        }
        self.change(name, |loaded| loaded.order = order).await
    }

    /// Makes these the plugins that are loaded, in one step: adds, replaces, reorders and removes what it takes. A plugin
    /// with the same bytes and the same settings as before is left alone; if its code could not be brought, its next call
    /// tries again.
    ///
    /// A plugin that fails its checks is in [`Applied::refused`] and changes nothing for the others; if it was loaded
    /// before, the old version serves on with its old settings. It does not where it imports what its new settings do not allow
    /// it any more, a grant that was taken away for example: then it is removed. Disabled plugins stay disabled, also those that
    /// are removed and come again.
    ///
    /// What is refused stands in [`Host::refused_changes`] until it is not. The same file with the same settings is not tried again
    /// before twenty times as long has passed as it took to find that out.
    ///
    /// # Errors
    ///
    /// Two plugins have the same name, or the order of a tap has no solution. Nothing has changed then.
    pub async fn apply(&self, specs: Vec<PluginSpec>) -> Result<Applied, LoadError> {
        let _turn = self.inner.reloading.lock().await;
        match self.apply_now(specs).await {
            Ok(mut applied) => {
                self.told().settle(&mut applied);
                Ok(applied)
            }
            Err(error) => {
                let error = self.inner.refused(error);
                self.note_refused_change(in_full(&error), error.hint());
                Err(error)
            }
        }
    }

    async fn apply_now(&self, specs: Vec<PluginSpec>) -> Result<Applied, LoadError> {
        let mut names = BTreeSet::new();
        if let Some(twice) = specs.iter().find(|spec| !names.insert(&spec.name)) {
            return Err(LoadError::Duplicate { plugin: twice.name.clone() });
        }
        // What is taken away goes first: before anything is compiled, and whatever is wrong with the others.
        let (revoked, others): (Vec<_>, Vec<_>) = specs.into_iter().partition(|spec| !self.may_stay(spec));
        // As when all code is brought: one place to compile in is left to calls, if there are two.
        let places = self.inner.config.compilation.max_concurrent.saturating_sub(1).max(1);
        let prepare = |spec: PluginSpec| async { (spec.name.clone(), self.prepare(spec).await) };
        let specs = revoked.into_iter().chain(others);
        let steps: Vec<_> = stream::iter(specs).map(prepare).buffered(places).collect().await;

        let _guard = self.inner.loading.lock().await;
        let mut before = self.registry().plugins.clone();
        let mut after = BTreeMap::new();
        let mut applied = Applied::default();
        for (name, step) in steps {
            let old = before.remove(&name);
            let kept = match (step, old) {
                (Step::Keep(order), Some(old)) if old.order == order => old,
                (Step::Keep(order), Some(old)) => {
                    applied.reordered.push(name.clone());
                    Arc::new(Loaded { order, ..(*old).clone() })
                }
                (Step::Take(new), Some(old)) => {
                    applied.replaced.push(name.clone());
                    Arc::new(Loaded { enabled: old.enabled, ..*new })
                }
                (Step::Take(new), None) => {
                    applied.added.push(name.clone());
                    Arc::new(Loaded { enabled: !self.told().is_disabled(&name), ..*new })
                }
                (Step::Refuse { error, was_removed }, old) => {
                    let serves_on = old.is_some();
                    if was_removed {
                        applied.removed.push(name.clone());
                    }
                    applied.refused.push(Refused {
                        plugin: name.clone(),
                        error,
                        serves_on,
                        is_known: false,
                        retry_in: Duration::ZERO,
                    });
                    let Some(old) = old else { continue };
                    old
                }
                // It was removed while the others were being prepared.
                (Step::Keep(_), None) => continue,
            };
            after.insert(name, kept);
        }
        applied.removed.extend(before.keys().cloned());
        self.install(after)?;
        let mut told = self.told();
        applied.added.iter().for_each(|name| told.is_there(name));
        before.iter().for_each(|(name, loaded)| told.is_gone(name, loaded.enabled));
        Ok(applied)
    }

    /// Whether the version that is loaded may call what it imports, by these settings. Nothing that is not loaded may not.
    fn may_stay(&self, spec: &PluginSpec) -> bool {
        let registry = self.registry();
        registry.plugins.get(&spec.name).is_none_or(|loaded| load::is_allowed(&self.inner, spec, loaded))
    }

    /// Removes a plugin to which the operator does not allow any more what it imports. `false`: there is none, or the order of a tap
    /// has no solution without it, which says the error.
    async fn take_away(&self, plugin: &PluginName) -> bool {
        match self.unload(plugin).await {
            Ok(was_there) => was_there,
            Err(error) => {
                tracing::error!(%plugin, error = &error as &dyn std::error::Error, "cannot be removed, and serves on");
                false
            }
        }
    }

    /// Everything about one plugin of [`Host::apply`] that may take long.
    async fn prepare(&self, spec: PluginSpec) -> Step {
        let settings = spec.clone().without_source();
        match self.prepare_or_refuse(spec, &settings).await {
            Ok(step) => step,
            Err(error) => {
                let was_removed = !self.may_stay(&settings) && self.take_away(&settings.name).await;
                Step::Refuse { error, was_removed }
            }
        }
    }

    async fn prepare_or_refuse(&self, spec: PluginSpec, settings: &PluginSpec) -> Result<Step, Arc<LoadError>> {
        let refused = |error| Arc::new(self.inner.refused(error));
        let max = self.inner.config.compilation.max_component_bytes;
        let mut stages = Stages::begin();
        let wasm = read::read(&spec.name, &spec.source, max).await.map_err(refused)?;
        if let Some(loaded) = self.registry().plugins.get(&spec.name)
            && *loaded.settings == *settings
            && let Ok(runtime) = self.inner.runtime(loaded.plugin.limits.enable_fuel_metering())
            && runtime.cache.key_of(&wasm) == loaded.plugin.code.key
        {
            // Somebody has it loaded again, and so believes that it can be.
            loaded.plugin.code.bringing.forgive();
            self.check_order(loaded, &spec.order).map_err(refused)?;
            return Ok(Step::Keep(spec.order));
        }
        let (file, tried) = (wasm.visible_name(), PluginSpec { order: spec.order.clone(), ..settings.clone() });
        if let Some(error) = self.told().too_early(&tried, &file) {
            return Err(error);
        }
        // What was compared is what is loaded, whatever happens to the file meanwhile.
        stages.end("read");
        let start = Instant::now();
        let error = match load::load_wasm(&self.inner, spec, wasm, stages).await {
            Ok(loaded) => return Ok(Step::Take(Box::new(loaded))),
            Err(error) => refused(error),
        };
        if !error.is_of_the_moment() {
            self.told().tried(tried, file, Arc::clone(&error), start.elapsed());
        }
        Err(error)
    }

    fn check_order(&self, loaded: &Loaded, order: &BTreeMap<String, Override>) -> Result<(), LoadError> {
        let implements = |tap: &str| loaded.handlers.contains_key(tap);
        load::check_order(&self.inner.taps, &loaded.plugin.name, order, implements)
    }

    /// Changes one plugin of the registry. `false`: there is none of this name.
    async fn change(&self, name: &PluginName, change: impl FnOnce(&mut Loaded)) -> Result<bool, LoadError> {
        let _guard = self.inner.loading.lock().await;
        let mut plugins = self.registry().plugins.clone();
        let Some(loaded) = plugins.get_mut(name) else { return Ok(false) };
        change(Arc::make_mut(loaded));
        self.install(plugins)?;
        Ok(true)
    }
}
