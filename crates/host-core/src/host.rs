//! The host: plugins in, dispatches out.

use std::{
    any::TypeId,
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, atomic::Ordering::Relaxed},
    time::Duration,
};

use serde::Serialize;
use tapline_cache::{DiskState, Statistics};
use tapline_limits::{Limits, MemoryTracker, PAGE_BYTES};
use tapline_metrics::{Metrics, RuntimeMetrics};
use tapline_tap_dispatch::{Contract, Order, PluginName};

use crate::{
    ahead::ReadPlugins,
    breaker::BreakerStatus,
    call::Handler,
    capability::Capability,
    compile::Compilations,
    config::HostConfig,
    diagnostics::Diagnostics,
    dispatch::{Fold, Handlers},
    engine::EngineFacts,
    error::{CallError, HostError, LoadError},
    exported::{self, Functions},
    load,
    plugin::{Plugin, PluginSpec},
    pressure::Pressure,
    profile::Profile,
    read,
    runtime::Runtime,
    slots::Slots,
    stock,
    tap::{Tap, TapKind},
    told::Told,
    trace,
};

/// Loads plugins and calls their taps. Cheap to clone; all clones are the same host.
#[derive(Clone)]
pub struct Host {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: HostConfig,
    pub(crate) capabilities: Vec<Box<dyn Capability>>,
    pub(crate) taps: Vec<(Contract, TapKind)>,
    pub(crate) metrics: Metrics,
    pub(crate) compilations: Compilations,
    memory: MemoryTracker,
    plain: Arc<Runtime>,
    /// Made when the first plugin with fuel is loaded: fuel needs code of its own, and so an engine of its own.
    fuelled: OnceLock<Arc<Runtime>>,
    registry: RwLock<Arc<Registry>>,
    /// Held while the registry is rebuilt, so that two loads do not lose each other's plugin.
    pub(crate) loading: tokio::sync::Mutex<()>,
    /// Held for all of a reload, so that of two the one that was asked for later is the one that stays.
    pub(crate) reloading: tokio::sync::Mutex<()>,
    pub(crate) told: Mutex<Told>,
}

/// What is loaded. Never changed: a load makes a new one.
#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) plugins: BTreeMap<PluginName, Arc<load::Loaded>>,
    /// One for each tap of the host, in the same order.
    pub(crate) taps: Vec<Option<Arc<Resolved>>>,
}

impl Registry {
    /// Whether dispatches call this very plugin.
    fn calls(&self, plugin: &Arc<Plugin>) -> bool {
        self.plugins.get(plugin.name()).is_some_and(|loaded| loaded.enabled && Arc::ptr_eq(&loaded.plugin, plugin))
    }
}

/// One tap with its handlers in their order.
pub(crate) struct Resolved {
    pub(crate) order: Order,
    pub(crate) handlers: Arc<[Arc<Handler>]>,
}

/// What the pool has done. A "VM" is an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PoolMetrics {
    /// Instances that can exist at the same time.
    pub pool_size: usize,
    /// Instances that serve a call now.
    pub active_vms: usize,
    /// Instances that wait for a call: of a stock, or for their next use.
    pub idle_vms: usize,
    /// Calls that found an instance which was there already.
    pub pool_hits: u64,
    /// Calls that made their instance.
    pub pool_misses: u64,
    /// How long a call waited for a slot of the pool, in milliseconds, on average of all that asked for one: also of those that
    /// did not have to wait, and of those that waited in vain.
    pub average_wait_ms: f64,
}

/// Sets up a [`Host`].
#[derive(Default)]
pub struct HostBuilder {
    config: HostConfig,
    capabilities: Vec<Box<dyn Capability>>,
    taps: Vec<TapKind>,
    profile: Option<Profile>,
    pressure: Pressure,
}

impl HostBuilder {
    /// Where to ask whether memory is short.
    #[cfg(test)]
    pub(crate) fn pressure(mut self, pressure: Pressure) -> Self {
        self.pressure = pressure;
        self
    }

    /// Replaces the settings.
    #[must_use]
    pub fn config(mut self, config: HostConfig) -> Self {
        self.config = config;
        self
    }

    /// Offers a group of host functions to plugins.
    #[must_use]
    pub fn capability(mut self, capability: impl Capability) -> Self {
        self.capabilities.push(Box::new(capability));
        self
    }

    /// Adds an extension point.
    #[must_use]
    pub fn tap<T: Tap>(mut self) -> Self {
        self.taps.push(TapKind::of::<T>());
        self
    }

    /// Samples what plugins do from now on. Costs some microseconds for each guest that runs, a thousand times a second; without it,
    /// nothing.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = Some(profile);
        self
    }

    /// Builds the host. Reserves the address space of the pool, and starts the thread that is the clock.
    ///
    /// # Errors
    ///
    /// A setting is impossible, a name is taken twice, or the system does not have the address space.
    pub fn build(mut self) -> Result<Host, HostError> {
        self.capabilities.insert(0, Box::new(Diagnostics));
        let mut taps: Vec<(Contract, TapKind)> = Vec::new();
        for kind in self.taps {
            if taps.iter().any(|(_, other)| other.name == kind.name) {
                return Err(HostError::OfferedTwice { name: kind.name.to_owned() });
            }
            taps.push((kind.contract()?, kind));
        }
        refuse_doubles(&self.capabilities)?;
        let deployment = self.config.deployment.clone();
        let metrics = if self.config.enable_metrics { Metrics::of(deployment) } else { Metrics::disabled() };
        metrics.set_build_info(env!("CARGO_PKG_VERSION"), tapline_cache::WASMTIME_VERSION);
        metrics.set_pool_slots(u64::from(self.config.pool_size));
        let memory = MemoryTracker::default();
        let slots = Arc::new(Slots::new(&self.config, self.pressure, metrics.clone()));
        let (memory_of_plain, profile) = (memory.clone(), self.profile);
        let plain = Runtime::new(&self.config, false, &self.capabilities, memory_of_plain, slots, profile)?;
        let plain = Arc::new(plain);
        Ok(Host {
            inner: Arc::new(Inner {
                compilations: Compilations::new(&self.config.compilation),
                config: self.config,
                capabilities: self.capabilities,
                taps,
                metrics,
                memory,
                plain,
                fuelled: OnceLock::new(),
                registry: RwLock::default(),
                loading: tokio::sync::Mutex::default(),
                reloading: tokio::sync::Mutex::default(),
                told: Mutex::default(),
            }),
        })
    }
}

fn refuse_doubles(capabilities: &[Box<dyn Capability>]) -> Result<(), HostError> {
    let interfaces = capabilities.iter().flat_map(|capability| capability.interfaces().iter().copied());
    let grants = capabilities.iter().filter_map(|capability| capability.grant_name());
    let mut seen = std::collections::HashSet::new();
    match interfaces.chain(grants).find(|name| !seen.insert(*name)) {
        Some(name) => Err(HostError::OfferedTwice { name: name.to_owned() }),
        None => Ok(()),
    }
}

impl Host {
    /// Starts to set up a host.
    #[must_use]
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    /// Loads one plugin: reads and checks the file, compiles it or takes it from the cache, makes one instance to see
    /// that it starts and that its functions have the right signatures, and puts it into the order of its taps.
    ///
    /// A failure leaves the host as it was.
    ///
    /// # Errors
    ///
    /// See [`LoadError`]; each names the plugin, and most have a hint.
    pub async fn load(&self, spec: PluginSpec) -> Result<Arc<Plugin>, LoadError> {
        let load = async {
            self.refuse_duplicate(&spec)?;
            // Compiling may take long; nobody who loads or unloads another plugin waits for it.
            self.add_one(load::load(&self.inner, spec).await?).await
        };
        load.await.map_err(|error| self.inner.refused(error))
    }

    /// Loads one plugin without its code: reads and checks the file, and puts it into the order of its taps. Its code is
    /// brought by [`Host::bring_all`] or by its first call, which waits for that, for no longer than it may run or, where that
    /// is longer, wait for a slot; then it has its whole time. Bringing goes on when that call is gone. Those that come
    /// meanwhile wait in the same lines as for a slot. Who cannot wait gets [`Fault::NoCodeYet`](crate::Fault::NoCodeYet).
    ///
    /// A plugin that does not compile, or does not start, fails its calls with
    /// [`Fault::NotLoaded`](crate::Fault::NotLoaded), and is not tried with each of them: for a second after the first
    /// failure, twice as long after each further one and at most a minute, calls fail at once.
    /// [`Plugin::code_failure`] says so. Loading it again and [`Host::enable`] end that.
    ///
    /// # Errors
    ///
    /// As [`Host::load`], but for what only the code shows.
    pub async fn load_lazily(&self, spec: PluginSpec) -> Result<Arc<Plugin>, LoadError> {
        let load = async {
            self.refuse_duplicate(&spec)?;
            self.add_one(load::load_lazily(&self.inner, spec).await?).await
        };
        load.await.map_err(|error| self.inner.refused(error))
    }

    /// [`Host::load_lazily`] for many plugins, which a start does faster than one after the other: all of them or none.
    ///
    /// # Errors
    ///
    /// All that is wrong with any of them, in their order.
    pub async fn load_all_lazily(&self, specs: Vec<PluginSpec>) -> Result<Vec<Arc<Plugin>>, Vec<LoadError>> {
        let Some(first) = specs.first().map(|spec| spec.name.clone()) else { return Ok(Vec::new()) };
        let max = self.inner.config.compilation.max_component_bytes;
        let read = read::apart(&first, false, move || Ok(ReadPlugins::read(specs, max))).await;
        self.load_read_lazily(read.map_err(|error| vec![self.inner.refused(error)])?).await
    }

    /// [`Host::load_all_lazily`] for plugins that were read while the host was built.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn load_read_lazily(&self, plugins: ReadPlugins) -> Result<Vec<Arc<Plugin>>, Vec<LoadError>> {
        let Some(first) = plugins.0.first().map(|(spec, _)| spec.name.clone()) else { return Ok(Vec::new()) };
        let mut errors: Vec<_> = plugins.0.iter().filter_map(|(spec, _)| self.refuse_duplicate(spec).err()).collect();
        let mut loaded = Vec::with_capacity(plugins.0.len());
        // A grant may open a directory, on a disk that does not answer.
        let inner = Arc::clone(&self.inner);
        let checked = read::apart(&first, false, move || Ok(load::load_read_lazily(&inner, plugins))).await;
        for plugin in checked.map_err(|error| vec![self.inner.refused(error)])? {
            match plugin {
                Ok(plugin) => loaded.push(plugin),
                Err(error) => errors.push(error),
            }
        }
        let added = match errors.is_empty() {
            true => self.add(loaded).await.map_err(|error| vec![error]),
            false => Err(errors),
        };
        added.map_err(|errors| errors.into_iter().map(|error| self.inner.refused(error)).collect())
    }

    async fn add_one(&self, loaded: load::Loaded) -> Result<Arc<Plugin>, LoadError> {
        let plugin = Arc::clone(&loaded.plugin);
        self.add(vec![loaded]).await?;
        Ok(plugin)
    }

    fn refuse_duplicate(&self, spec: &PluginSpec) -> Result<(), LoadError> {
        match self.registry().plugins.contains_key(&spec.name) {
            true => Err(LoadError::Duplicate { plugin: spec.name.clone() }),
            false => Ok(()),
        }
    }

    /// In one step: the order of the taps is found once, however many there are.
    async fn add(&self, loaded: Vec<load::Loaded>) -> Result<Vec<Arc<Plugin>>, LoadError> {
        let _guard = self.inner.loading.lock().await;
        let mut plugins = self.registry().plugins.clone();
        let mut added = Vec::with_capacity(loaded.len());
        for loaded in loaded {
            let plugin = Arc::clone(&loaded.plugin);
            if plugins.insert(plugin.name.clone(), Arc::new(loaded)).is_some() {
                return Err(LoadError::Duplicate { plugin: plugin.name.clone() });
            }
            added.push(plugin);
        }
        self.install(plugins)?;
        self.told_to_add(&added);
        Ok(added)
    }

    /// Takes a plugin out. Calls that run end as they would have; new dispatches do not see it. Its series leave the metrics
    /// with the last call, and with the last [`Plugin`] that somebody holds. `false`: there was none of this name.
    ///
    /// # Errors
    ///
    /// The order of a tap has no solution without it. The plugin then stays.
    pub async fn unload(&self, name: &PluginName) -> Result<bool, LoadError> {
        let _guard = self.inner.loading.lock().await;
        let mut plugins = self.registry().plugins.clone();
        let Some(gone) = plugins.remove(name) else { return Ok(false) };
        self.install(plugins)?;
        self.told_to_remove(name, gone.enabled);
        Ok(true)
    }

    /// Loads a component for its exported functions, whatever they are: it becomes no part of any tap, and
    /// [`Host::plugins`] does not list it. What it may import and use is decided as for a plugin.
    ///
    /// # Errors
    ///
    /// See [`LoadError`]; among them that it exports no function.
    pub async fn load_functions(&self, spec: PluginSpec) -> Result<Functions, LoadError> {
        exported::load(self, spec).await.map_err(|error| self.inner.refused(error))
    }

    /// Makes these what dispatches see from now on, in one step. Calls that run on what was before end as they would have.
    /// With `loading` held.
    ///
    /// # Errors
    ///
    /// The order of a tap has no solution. Everything is as it was.
    pub(crate) fn install(&self, plugins: BTreeMap<PluginName, Arc<load::Loaded>>) -> Result<(), LoadError> {
        let before = self.registry();
        let changed = load::changed(&before.plugins, &plugins);
        let taps = load::resolve(&self.inner.taps, &plugins, &before.taps, &changed)?;
        self.inner.metrics.set_plugins_loaded(plugins.len() as u64);
        let changed: Vec<_> = changed.into_iter().cloned().collect();
        let installed = Arc::new(Registry { plugins, taps });
        *self.inner.registry.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&installed);
        let (called, gone): (Vec<_>, Vec<_>) = changed.iter().partition(|loaded| installed.calls(&loaded.plugin));
        for loaded in called {
            loaded.plugin.retired.store(false, Relaxed);
            loaded.plugin.show_size();
            // Any of them makes the same instances.
            loaded.handlers().take(1).for_each(stock::keep);
        }
        for gone in gone {
            self.inner.plain.slots.retire(&gone.plugin);
            // A breaker that is gone is not open.
            gone.handlers().for_each(|handler| handler.metrics.set_breaker_state(0));
        }
        Ok(())
    }

    pub(crate) fn slots_of_host(&self) -> &Slots {
        &self.inner.plain.slots
    }

    pub(crate) fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.inner.registry.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Calls every handler of a tap, each on fresh memory and under its own limits, and folds the answers.
    ///
    /// Handlers that do not feed each other run at the same time. A plugin that loops, traps or answers nonsense costs
    /// its own answer; what that does to the dispatch is the tap's failure policy.
    ///
    /// A dispatch sees the plugins that are loaded at the moment of this call, each in one version, until it ends; what is
    /// loaded, replaced or removed meanwhile counts for those that begin later. A dispatch that a host function makes in
    /// the middle of a call is one of its own and begins then: once a plugin is removed, nothing calls it any more but the
    /// dispatches that were under way.
    ///
    /// # Errors
    ///
    /// A handler failed and the tap's failure policy is `Fail`.
    pub fn dispatch<'a, T: Tap>(
        &self,
        _tap: T,
        input: <T::Policy as Fold<T>>::Input<'a>,
    ) -> impl Future<Output = Result<<T::Policy as Fold<T>>::Outcome, CallError>> + Send + use<'a, T> {
        <T::Policy as Fold<T>>::fold(self.dispatched::<T>(None), input)
    }

    /// [`Host::dispatch`] with limits for this dispatch: each handler has the smaller of these and its plugin's own. For
    /// a page that is already late, or a visitor who is trusted less than others.
    ///
    /// Time, memory and table elements count; fuel only for a plugin that is metered, and the size of the stack is the
    /// engine's. A handler that runs into a limit of this dispatch fails as if it were its plugin's, but its circuit
    /// breaker does not hear of it. Instances that earlier calls have used take no part.
    ///
    /// # Errors
    ///
    /// As [`Host::dispatch`].
    pub fn dispatch_within<'a, T: Tap>(
        &self,
        _tap: T,
        input: <T::Policy as Fold<T>>::Input<'a>,
        limits: Limits,
    ) -> impl Future<Output = Result<<T::Policy as Fold<T>>::Outcome, CallError>> + Send + use<'a, T> {
        <T::Policy as Fold<T>>::fold(self.dispatched::<T>(Some(limits)), input)
    }

    fn dispatched<T: Tap>(&self, limits: Option<Limits>) -> Handlers {
        let list = self.handlers(TypeId::of::<T>()).unwrap_or_default();
        let span = trace::dispatch(T::NAME, list.len());
        Handlers { list, limits, span }
    }

    /// A host has few taps: looking through them costs less than hashing a name. Nothing but the handlers is cloned.
    fn handlers(&self, tap: TypeId) -> Option<Arc<[Arc<Handler>]>> {
        let index = self.inner.taps.iter().position(|(_, kind)| kind.of == tap)?;
        let registry = self.inner.registry.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&registry.taps.get(index)?.as_ref()?.handlers))
    }

    /// What is loaded, by name, disabled plugins included.
    #[must_use]
    pub fn plugins(&self) -> Vec<Arc<Plugin>> {
        self.registry().plugins.values().map(|loaded| Arc::clone(&loaded.plugin)).collect()
    }

    /// The taps of this host, with their policies.
    pub fn taps(&self) -> impl Iterator<Item = &Contract> {
        self.inner.taps.iter().map(|(contract, _)| contract)
    }

    /// The handlers of a tap in their order, with the reasons. `None`: this host has no tap of that name, or no
    /// plugin implements it.
    #[must_use]
    pub fn order(&self, tap: &str) -> Option<Order> {
        let index = self.inner.taps.iter().position(|(_, kind)| kind.name == tap)?;
        Some(self.registry().taps.get(index)?.as_ref()?.order.clone())
    }

    /// The instruments, which `/metrics` renders.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        let slots = &self.inner.plain.slots;
        self.inner.metrics.set_pool_slots_in_use(slots.in_use() as u64);
        self.inner.metrics.set_pool_slots_idle(slots.idle() as u64);
        let memory = self.inner.memory.usage();
        self.inner.metrics.set_memory(memory.current_pages, memory.peak_pages, memory.refused_growths);
        let kept: u64 = self.runtimes().map(|runtime| runtime.kept_bytes()).sum();
        self.inner.metrics.set_pool_resident(kept.saturating_add(memory.current_pages.saturating_mul(PAGE_BYTES)));
        for handler in self.registry().plugins.values().flat_map(|loaded| loaded.handlers()) {
            handler.metrics.set_breaker_state(handler.breaker.status(handler).gauge());
        }
        &self.inner.metrics
    }

    fn runtimes(&self) -> impl Iterator<Item = &Arc<Runtime>> {
        std::iter::once(&self.inner.plain).chain(self.inner.fuelled.get())
    }

    /// What the host has done as a whole: the same figures as in [`Host::metrics`]. `None`: nothing is recorded.
    #[must_use]
    pub fn runtime_metrics(&self) -> Option<RuntimeMetrics> {
        self.metrics().runtime_metrics()
    }

    /// What the caches of compiled plugins have done: one for each engine, of which there are two where a plugin has fuel.
    #[must_use]
    pub fn caches(&self) -> Vec<Statistics> {
        self.runtimes().map(|runtime| runtime.cache.statistics()).collect()
    }

    /// Whether compiled plugins are kept on disk: the same directory for all engines.
    #[must_use]
    pub fn disk_state(&self) -> DiskState {
        self.inner.plain.cache.disk_state()
    }

    /// Whether new calls are refused, because the host stops.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.inner.plain.slots.is_closed()
    }

    /// The circuit breakers of all handlers, by plugin and tap. Each belongs to one load of its plugin: loading it again
    /// begins with closed ones.
    #[must_use]
    pub fn breakers(&self) -> Vec<BreakerStatus> {
        let registry = self.registry();
        let handlers = registry.plugins.values().flat_map(|loaded| loaded.handlers());
        handlers.map(|handler| handler.breaker.status(handler)).collect()
    }

    /// Memory of all instances that are alive.
    #[must_use]
    pub fn memory(&self) -> &MemoryTracker {
        &self.inner.memory
    }

    /// How the engine was built.
    #[must_use]
    pub fn engine_facts(&self) -> &EngineFacts {
        &self.inner.plain.facts
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &HostConfig {
        &self.inner.config
    }

    /// Instances that are alive, those that wait for their next use included, and how many may be.
    #[must_use]
    pub fn slots(&self) -> (usize, usize) {
        let slots = &self.inner.plain.slots;
        (slots.in_use(), slots.limit())
    }

    /// What the pool has done since the host started. Zero where [`HostConfig::enable_metrics`] is off, but for the
    /// instances that there are now.
    #[must_use]
    pub fn pool_metrics(&self) -> PoolMetrics {
        let slots = &self.inner.plain.slots;
        let idle_vms = slots.idle();
        let counts = self.inner.metrics.pool_counts();
        let (pool_hits, pool_misses) = (counts.taken, counts.made.saturating_sub(counts.made_ahead));
        // A call that waited and is running still is counted among those that waited alone.
        let asked = (pool_hits + pool_misses + counts.overloaded).max(counts.waits);
        let average_wait_ms = if asked == 0 { 0.0 } else { 1000.0 * counts.waited_seconds / asked as f64 };
        let active_vms = slots.in_use().saturating_sub(idle_vms);
        PoolMetrics { pool_size: slots.limit(), active_vms, idle_vms, pool_hits, pool_misses, average_wait_ms }
    }

    /// Refuses new calls and waits for those that run, for at most `bound`. `false`: some were still running. They are cut
    /// off with [`Fault::ShuttingDown`](crate::Fault::ShuttingDown): a guest that loops at the next tick of the epoch clock,
    /// and one that waits in a host function at once, as soon as whoever made the call polls it.
    pub async fn shut_down(&self, bound: Duration) -> bool {
        let slots = &self.inner.plain.slots;
        slots.close();
        let drained = tokio::time::timeout(bound, slots.drained()).await.is_ok();
        if !drained {
            slots.cut_off();
        }
        drained
    }
}

/// An instance that waits for its next use knows its handler, which knows the slots that it waits in.
impl Drop for Inner {
    fn drop(&mut self) {
        self.plain.slots.keep_none();
    }
}

impl Inner {
    /// Counts a load that was refused, and makes its error fit to be shown.
    pub(crate) fn refused(&self, error: LoadError) -> LoadError {
        self.metrics.load_refused(error.reason());
        if let Some(reason) = error.compilation_refused() {
            self.metrics.compilation_refused(reason);
        }
        error.made_readable()
    }

    /// The engine for plugins with fuel, or the one for plugins without.
    pub(crate) fn runtime(&self, fuel: bool) -> Result<&Arc<Runtime>, HostError> {
        if !fuel {
            return Ok(&self.plain);
        }
        if let Some(runtime) = self.fuelled.get() {
            return Ok(runtime);
        }
        let (memory, slots) = (self.memory.clone(), Arc::clone(&self.plain.slots));
        let profile = self.plain.profile.clone();
        let runtime = Runtime::new(&self.config, true, &self.capabilities, memory, slots, profile)?;
        Ok(self.fuelled.get_or_init(|| Arc::new(runtime)))
    }
}
