//! A plugin's code: brought when it is needed, and given up when nobody calls the plugin.

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    task::Poll,
};

use tapline_cache::{ArtifactKey, Loaded, Source, Wasm};
use tapline_metrics::CacheLevel;
use tokio::time::Instant;
use wasmtime::component::InstancePre;

use crate::{
    bringing::Bringing,
    call::{Call, Handler},
    compile,
    dispatch::within,
    error::{CallError, Fault, LoadError},
    host::Inner,
    nesting::Enclosing,
    plugin::{Plugin, PluginSource},
    read,
    runtime::Runtime,
    stages::Stages,
    state::{CallState, panic_message},
    stock::Keeper,
    tap::{Interface, TapKind},
    typed::CodeFunction,
};

/// What calls need of a plugin's code. Whoever has it keeps the code alive.
pub(crate) struct Code {
    pub(crate) pre: InstancePre<CallState>,
    /// The functions of the plugin's taps, in the order of [`PluginCode::taps`].
    pub(crate) functions: Vec<CodeFunction>,
}

impl Code {
    pub(crate) fn function(&self, index: usize) -> wasmtime::Result<&CodeFunction> {
        self.functions.get(index).ok_or_else(|| wasmtime::Error::msg("the code has no such function"))
    }
}

/// Where a plugin's code is, or comes from.
pub(crate) struct PluginCode {
    ready: RwLock<Option<Arc<Code>>>,
    pub(crate) key: ArtifactKey,
    /// The taps that the plugin implements, each with the index of the interface through which it does.
    pub(crate) taps: Vec<(TapKind, usize)>,
    runtime: Arc<Runtime>,
    source: PluginSource,
    /// What was read and hashed, until there is code made from it.
    wasm: Mutex<Option<Wasm>>,
    /// What reading and checking took, until the code is brought for the first time.
    stages: Mutex<Option<Stages>>,
    /// An instance was made and its functions have the right signatures. That holds for all code of this key.
    checked: AtomicBool,
    pub(crate) bringing: Bringing,
    /// The code was asked for since somebody looked last.
    used: AtomicBool,
    /// How often in a row somebody looked and it was not.
    quiet: AtomicU32,
    /// Nobody has called the plugin for so long that nothing is made ahead for it.
    resting: AtomicBool,
    host: Weak<Inner>,
}

impl PluginCode {
    pub(crate) fn new(
        host: &Arc<Inner>,
        runtime: &Arc<Runtime>,
        source: PluginSource,
        wasm: Wasm,
        taps: Vec<(TapKind, usize)>,
    ) -> Self {
        Self {
            ready: RwLock::default(),
            key: runtime.cache.key_of(&wasm),
            taps,
            runtime: Arc::clone(runtime),
            source,
            wasm: Mutex::new(Some(wasm)),
            stages: Mutex::default(),
            checked: AtomicBool::new(false),
            bringing: Bringing::default(),
            used: AtomicBool::new(true),
            quiet: AtomicU32::new(0),
            resting: AtomicBool::new(false),
            host: Arc::downgrade(host),
        }
    }

    /// The code is brought later, and what was done for it so far is part of that.
    pub(crate) fn begun(&self, stages: Stages) {
        *self.stages.lock().unwrap_or_else(PoisonError::into_inner) = Some(stages);
    }

    /// The stages so far: those of [`PluginCode::begun`] for whoever comes first, and none for others.
    pub(crate) fn stages(&self) -> Stages {
        let begun = self.stages.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut stages = begun.unwrap_or_else(Stages::begin);
        stages.skip();
        stages
    }

    /// The compiled component, if the cache has it. Maps a file of at most `max_bytes`.
    pub(crate) fn find(&self, max_bytes: u64) -> Option<Loaded> {
        self.runtime.cache.find_within(self.key, max_bytes)
    }

    /// The code, if it is here.
    pub(crate) fn get(&self) -> Option<Arc<Code>> {
        // Written once in a while, and read by every call: most calls leave the cache line as it is.
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
            self.resting.store(false, Relaxed);
        }
        self.peek()
    }

    /// The code, if it is here, for somebody who is no caller: the plugin is as idle as before.
    pub(crate) fn peek(&self) -> Option<Arc<Code>> {
        self.ready.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn is_here(&self) -> bool {
        self.ready.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// An error with which the code could not be brought: counted, and fit to be shown.
    pub(crate) fn refused(&self, error: LoadError) -> LoadError {
        match self.host.upgrade() {
            Some(host) => host.refused(error),
            None => error.made_readable(),
        }
    }

    /// Here it is. What was read is no longer needed.
    pub(crate) fn put(&self, code: Arc<Code>) {
        self.set(Some(code));
        self.wasm.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn set(&self, code: Option<Arc<Code>>) {
        let before = std::mem::replace(&mut *self.ready.write().unwrap_or_else(PoisonError::into_inner), code);
        // Unmapping takes a while, in which nobody has to wait for the lock.
        drop(before);
    }

    /// Whether nobody has asked for the code in so many looks in a row, this one included.
    pub(crate) fn look(&self, enough: u32) -> bool {
        if self.used.swap(false, Relaxed) {
            self.quiet.store(0, Relaxed);
            self.resting.store(false, Relaxed);
            return false;
        }
        self.quiet.fetch_add(1, Relaxed) + 1 >= enough
    }

    /// From now on nothing is made ahead for the plugin, until somebody calls it.
    pub(crate) fn rest(&self) {
        self.resting.store(true, Relaxed);
    }

    /// Whether nobody has called the plugin for so long that it rests.
    pub(crate) fn is_resting(&self) -> bool {
        self.resting.load(Relaxed)
    }

    /// Lets the code go, if it can be mapped again: without its file the next call would have to compile, and a directory may
    /// be full, or have made room for others. Calls that run keep it until they end. `false`: there was none to be let go.
    pub(crate) fn give_up(&self) -> bool {
        if !self.is_here() || !self.runtime.cache.is_on_disk(&self.key) {
            return false;
        }
        self.set(None);
        self.runtime.cache.forget(&self.key);
        true
    }
}

impl fmt::Debug for PluginCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginCode").field("key", &self.key).field("is_here", &self.is_here()).finish_non_exhaustive()
    }
}

/// Brings the code of the handler's plugin from the cache or the compiler, and tries it. For a plugin that nobody else knows
/// yet, or by the one task that does so. `artifact`: what was found before. `around`: the call that has a slot while it waits
/// for this.
pub(crate) async fn bring_now(
    handler: &Arc<Handler>,
    artifact: Option<Loaded>,
    mut stages: Stages,
    around: Option<Enclosing>,
) -> Result<Arc<Code>, LoadError> {
    let (plugin, runtime) = (&handler.plugin, &handler.runtime);
    let (name, code) = (plugin.name(), &plugin.code);
    let gone = || LoadError::Engine { plugin: name.clone(), source: wasmtime::Error::msg("the host is gone") };
    let host = code.host.upgrade().ok_or_else(gone)?;
    let (pre, artifact) = link(&host, plugin, runtime, artifact, &mut stages).await?;
    let component = pre.component();
    let function = |(kind, interface): &(TapKind, usize)| {
        let Interface { name: interface, function, .. } = kind.interfaces[*interface];
        component
            .get_export_index(None, interface)
            .and_then(|instance| component.get_export_index(Some(&instance), function))
            .map(CodeFunction::new)
            .ok_or_else(|| LoadError::Signature {
                plugin: name.clone(),
                interface: interface.to_owned(),
                source: wasmtime::Error::msg(format!("it has no function `{function}`")),
            })
    };
    let functions = code.taps.iter().map(function).collect::<Result<_, _>>()?;
    let ready = Arc::new(Code { pre, functions });
    if !code.checked.load(Relaxed) {
        probe(handler, &ready, around, &mut stages).await?;
        warm(handler, &ready, around, host.config.initial_pool_size).await?;
        code.checked.store(true, Relaxed);
        stages.end("instantiate fresh");
    }
    plugin.metrics().started(stages.took(), level(&artifact));
    stages.judge(name, host.config.cold_start_target);
    code.put(Arc::clone(&ready));
    plugin.stock.iter().for_each(Keeper::look_again);
    Ok(ready)
}

/// The plugin's component, compiled and with what it imports. Beside it, where it came from.
pub(crate) async fn link(
    host: &Inner,
    plugin: &Arc<Plugin>,
    runtime: &Arc<Runtime>,
    artifact: Option<Loaded>,
    stages: &mut Stages,
) -> Result<(InstancePre<CallState>, Loaded), LoadError> {
    let artifact = match artifact {
        Some(artifact) => artifact,
        None => find_or_compile(host, plugin, runtime).await?,
    };
    let level = level(&artifact);
    host.metrics.cache_loaded(level);
    // Without the wait for a place to compile in, for a thread, or for another process.
    match level {
        CacheLevel::Compiled => {
            stages.end_with("compile", artifact.work);
            host.metrics.compiled(artifact.work);
        }
        CacheLevel::Disk => {
            stages.end_with("load artifact", artifact.work);
            host.metrics.artifact_loaded(artifact.work);
        }
        // It was in memory.
        _ => stages.skip(),
    }
    let pre = runtime
        .linker
        .instantiate_pre(&artifact.component)
        .map_err(|source| LoadError::Engine { plugin: plugin.name().clone(), source })?;
    stages.end("link");
    Ok((pre, artifact))
}

fn level(artifact: &Loaded) -> CacheLevel {
    match artifact.source {
        Source::Memory => CacheLevel::Memory,
        Source::Disk => CacheLevel::Disk,
        _ => CacheLevel::Compiled,
    }
}

/// The compiled component: from the cache, else from the compiler.
async fn find_or_compile(host: &Inner, plugin: &Arc<Plugin>, runtime: &Arc<Runtime>) -> Result<Loaded, LoadError> {
    let (name, code) = (plugin.name(), &plugin.code);
    let finding = Arc::clone(plugin);
    if let Some(found) = read::apart(name, false, move || Ok(finding.code.find(u64::MAX))).await? {
        return Ok(found);
    }
    let kept = code.wasm.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let wasm = match kept {
        Some(wasm) => wasm,
        // It was compiled before, and has left memory and directory since.
        None => read::read(name, &code.source, host.config.compilation.max_component_bytes).await?,
    };
    if runtime.cache.key_of(&wasm) != code.key {
        return Err(LoadError::Changed { plugin: name.clone() });
    }
    compile::compile(host, runtime, name, wasm).await
}

/// Makes one instance, under the plugin's own limits, to see that it starts and that its signatures are right. Nothing of
/// the author's taps runs.
async fn probe(
    handler: &Arc<Handler>,
    code: &Arc<Code>,
    around: Option<Enclosing>,
    stages: &mut Stages,
) -> Result<(), LoadError> {
    let plugin = &handler.plugin;
    let failed = |source| LoadError::Probe { plugin: plugin.name().clone(), source: Box::new(source) };
    let slots = &handler.runtime.slots;
    let slot = match around {
        // Somebody who has a slot already must not wait for another.
        Some(_) => slots.take_now(plugin),
        None => slots.take(plugin).await,
    };
    let slot = slot.map_err(|fault| failed(handler.error(fault)))?;
    stages.skip();
    let deadline = Instant::now() + plugin.limits.max_execution_time();
    let mut call = Call::new(handler, Arc::clone(code), deadline, plugin.limits);
    let started = start(&mut call, handler, around, deadline).await.map_err(failed);
    let checked = started.and_then(|()| {
        plugin.code.taps.iter().enumerate().try_for_each(|(index, (kind, interface))| {
            call.check(index, *interface, kind.check).map_err(|source| LoadError::Signature {
                plugin: plugin.name().clone(),
                interface: kind.interfaces[*interface].name.to_owned(),
                source,
            })
        })
    });
    // What it used is no call's.
    call.set_aside();
    drop(call);
    drop(slot);
    checked
}

/// Makes the instance of a call before there is a call. As in a dispatch, a host function that panics costs this plugin alone.
pub(crate) async fn start(
    call: &mut Call,
    handler: &Handler,
    around: Option<Enclosing>,
    deadline: Instant,
) -> Result<(), CallError> {
    let mut starting = pin!(Enclosing::new(around, deadline).run(call.instantiate()));
    let started = within(&handler.runtime.slots, Some(deadline), |context| {
        catch_unwind(AssertUnwindSafe(|| starting.as_mut().poll(context))).unwrap_or_else(|panic| {
            Poll::Ready(Err(handler.error(Fault::HostPanicked { message: panic_message(&*panic) })))
        })
    });
    let limit = handler.plugin.limits.max_execution_time();
    started.await.unwrap_or_else(|cut| Err(handler.error(cut.fault(limit))))
}

/// Makes as many instances as the slots of the pool are to be warm for: all alive at once, so that each has a slot of its
/// own, which keeps the plugin's memory for the next one. Takes free slots only: calls come first.
async fn warm(
    handler: &Arc<Handler>,
    code: &Arc<Code>,
    around: Option<Enclosing>,
    instances: u32,
) -> Result<(), LoadError> {
    let failed = |source| LoadError::Probe { plugin: handler.plugin.name().clone(), source: Box::new(source) };
    let deadline = Instant::now() + handler.plugin.limits.max_execution_time();
    let mut alive = Vec::new();
    // One was made by the probe: its slot is warm, and is the first that is taken again.
    while instances > 1 && alive.len() < instances as usize {
        let Some(slot) = handler.runtime.slots.try_take(&handler.plugin) else { break };
        let mut call = Call::new(handler, Arc::clone(code), deadline, handler.plugin.limits);
        start(&mut call, handler, around, deadline).await.map_err(failed)?;
        call.set_aside();
        // The instance goes before its slot does.
        alive.push((call, slot));
    }
    Ok(())
}
