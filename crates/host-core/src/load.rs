//! Loading: everything that is checked before a plugin may answer a dispatch.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
};

use tapline_cache::Source;
use tapline_limits::Limits;
use tapline_metrics::CacheLevel;
use tapline_tap_dispatch::{BreakerSettings, Contract, Placement, PluginName, TapName};
use tokio::time::{Instant, timeout_at};
use wasmtime::component::{Component, InstancePre};

use crate::{
    breaker::HandlerBreaker,
    call::{Call, Handler},
    capability::{Capability, Granted},
    compile::{Compilation, compile, read_component},
    engine::{MEMORIES_PER_COMPONENT, TABLES_PER_COMPONENT},
    error::{Fault, LoadError},
    functions,
    host::{Inner, Resolved},
    manifest::Manifest,
    nesting::Enclosing,
    plugin::{Plugin, PluginSource, PluginSpec},
    reuse,
    runtime::Runtime,
    slots::Lane,
    stages::Stages,
    state::CallState,
    tap::{Interface, TapKind},
};

/// A plugin with its handlers.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) plugin: Arc<Plugin>,
    /// By tap, with the author's wishes for the order.
    handlers: BTreeMap<&'static str, (Arc<Handler>, Placement)>,
}

impl Loaded {
    pub(crate) fn handlers(&self) -> impl Iterator<Item = &Arc<Handler>> {
        self.handlers.values().map(|(handler, _)| handler)
    }
}

/// Reads, checks and compiles one plugin, and tries it.
pub(crate) async fn load(host: &Inner, spec: PluginSpec) -> Result<Loaded, LoadError> {
    let name = spec.name.clone();
    let mut stages = Stages::begin();
    let metrics = host.metrics.plugin(name.as_ref());
    let bytes = read(&name, &spec.source, host.config.compilation.max_component_bytes).await?;
    stages.end("read");
    metrics.set_artifact_size(bytes.len() as u64);
    let manifest = Manifest::read(&name, &bytes)?;
    let granted = check_grants(&host.capabilities, &spec)?;
    functions::check(&spec, &manifest)?;
    check_imports(&host.capabilities, &spec, &manifest)?;
    let limits = spec.effective_limits(&host.config)?;
    let breaker = spec.effective_breaker(&host.config)?;
    let lane = Lane::new(&host.config, &spec)?;
    reuse::check(&host.config, &host.capabilities, &spec)?;
    check_size(&name, &manifest, &limits, &host.config.compilation)?;
    let kinds = find_taps(&host.taps, &name, &manifest)?;

    let runtime = Arc::clone(host.runtime(limits.enable_fuel_metering()).map_err(|error| LoadError::Engine {
        plugin: name.clone(),
        source: wasmtime::Error::msg(error.to_string()),
    })?);
    stages.end("check");
    let artifact = compile(host, &runtime, &name, bytes).await?;
    stages.end(if artifact.source == Source::Compiled { "compile" } else { "find compiled" });
    let level = match artifact.source {
        Source::Memory => CacheLevel::Memory,
        Source::Disk => CacheLevel::Disk,
        _ => CacheLevel::Compiled,
    };
    host.metrics.cache_loaded(level);
    if level == CacheLevel::Compiled {
        host.metrics.compiled(artifact.took);
    }

    let plugin = Arc::new(Plugin {
        name: name.clone(),
        manifest,
        key: artifact.key,
        limits,
        granted,
        grant_names: spec.grants.keys().cloned().collect(),
        order: spec.order,
        metrics,
        lane,
        reuse: spec.reuse,
        retired: AtomicBool::new(false),
    });
    let pre = pre_instantiate(&runtime, &name, &artifact.component)?;
    stages.end("link");
    let mut handlers = BTreeMap::new();
    for (tap, kind, interface) in kinds {
        let handler = handler(host, &plugin, &runtime, &artifact.component, &pre, (tap, kind, interface), breaker)?;
        let record = plugin.manifest.record(kind.name, kind.interfaces[interface].mode);
        let placement = record.map(|record| Placement::from(&record.placement)).unwrap_or_default();
        probe(&handler, kind, interface).await?;
        if handlers.is_empty() {
            warm(&handler, host.config.initial_pool_size).await?;
        }
        handlers.insert(kind.name, (handler, placement));
    }
    stages.end("instantiate");
    plugin.metrics.started(stages.took(), level);
    stages.judge(&name, host.config.cold_start_target);
    Ok(Loaded { plugin, handlers })
}

/// The bytes of a component that is not too large to be looked at.
async fn read(name: &PluginName, source: &PluginSource, max: u64) -> Result<Arc<[u8]>, LoadError> {
    let too_large = |needs| LoadError::TooLarge { plugin: name.clone(), what: "bytes", needs, limit: max };
    match source {
        PluginSource::Bytes(bytes) if bytes.len() as u64 > max => Err(too_large(bytes.len() as u64)),
        PluginSource::Bytes(bytes) => Ok(Arc::clone(bytes)),
        PluginSource::File(path) => {
            let file = path.clone();
            let read = tokio::task::spawn_blocking(move || read_component(&file, max)).await;
            read.map_err(|error| LoadError::Engine { plugin: name.clone(), source: error.into() })?.map_err(|refused| {
                match refused {
                    Ok(size) => too_large(size),
                    Err(source) => LoadError::Read { plugin: name.clone(), path: path.clone(), source },
                }
            })
        }
    }
}

/// The handlers of each tap of the host, in the order of its taps. `None`: no plugin implements the tap.
pub(crate) fn resolve(
    taps: &[(Contract, TapKind)],
    plugins: &BTreeMap<PluginName, Loaded>,
) -> Result<Vec<Option<Resolved>>, LoadError> {
    let mut resolved = Vec::new();
    for (contract, kind) in taps {
        let mut wishes = Vec::new();
        for (name, loaded) in plugins {
            if let Some((_, placement)) = loaded.handlers.get(kind.name) {
                let placement = match loaded.plugin.order.get(kind.name) {
                    Some(operator) => operator.apply_to(placement.clone()),
                    None => placement.clone(),
                };
                wishes.push((name.clone(), placement));
            }
        }
        if wishes.is_empty() {
            resolved.push(None);
            continue;
        }
        let order = tapline_tap_dispatch::resolve(contract.tap(), wishes)?;
        let handlers = order
            .plugins()
            .iter()
            .filter_map(|name| plugins.get(name)?.handlers.get(kind.name))
            .map(|(handler, _)| Arc::clone(handler))
            .collect();
        resolved.push(Some(Resolved { order, handlers }));
    }
    Ok(resolved)
}

fn check_grants(capabilities: &[Box<dyn Capability>], spec: &PluginSpec) -> Result<Vec<Granted>, LoadError> {
    let mut granted = Vec::new();
    for (grant, value) in &spec.grants {
        let capability = capabilities.iter().find(|capability| capability.grant_name() == Some(grant));
        let Some((capability, grant)) = capability.and_then(|found| Some((found, found.grant_name()?))) else {
            return Err(LoadError::UnknownGrant {
                plugin: spec.name.clone(),
                grant: grant.clone(),
                known: capabilities.iter().filter_map(|known| Some(known.grant_name()?.to_owned())).collect(),
            });
        };
        match capability.grant(spec.name.as_ref(), value) {
            Ok(ready) => granted.push(ready),
            Err(message) => return Err(LoadError::BadGrant { plugin: spec.name.clone(), grant, message }),
        }
    }
    Ok(granted)
}

fn check_imports(
    capabilities: &[Box<dyn Capability>],
    spec: &PluginSpec,
    manifest: &Manifest,
) -> Result<(), LoadError> {
    for interface in &manifest.imports {
        let offered = capabilities.iter().find(|known| known.offers(interface));
        let Some(capability) = offered else {
            let base = interface.split('@').next();
            let mut known = capabilities.iter().flat_map(|known| known.interfaces().iter());
            return Err(LoadError::UnknownImport {
                plugin: spec.name.clone(),
                interface: interface.clone(),
                nearest: known.find(|known| known.split('@').next() == base).map(|known| (*known).to_owned()),
            });
        };
        if let Some(grant) = capability.grant_name()
            && !spec.grants.contains_key(grant)
            && manifest.calls(interface)
        {
            return Err(LoadError::NotGranted {
                plugin: spec.name.clone(),
                interface: interface.clone(),
                grant,
                example: capability.grant_example(),
            });
        }
    }
    Ok(())
}

fn check_size(
    name: &PluginName,
    manifest: &Manifest,
    limits: &Limits,
    compilation: &Compilation,
) -> Result<(), LoadError> {
    const PAGE: u64 = 64 << 10;
    // The compiler follows each of them. A plugin has one for each interface that it exports.
    const MAX_NESTED_COMPONENTS: u64 = 1000;
    let needs = [
        ("functions", manifest.functions, u64::from(limits.max_functions())),
        ("bytes in one function", manifest.largest_function, compilation.max_function_bytes),
        ("instances", manifest.instances, u64::from(limits.max_instances())),
        ("nested components", manifest.components, MAX_NESTED_COMPONENTS),
        ("memories", manifest.memories, u64::from(limits.max_memories().min(MEMORIES_PER_COMPONENT))),
        ("tables", manifest.tables, u64::from(TABLES_PER_COMPONENT)),
        ("bytes of memory", manifest.memory_pages.saturating_mul(PAGE), limits.max_memory_bytes()),
        ("table elements", manifest.table_elements, u64::from(limits.max_table_elements())),
    ];
    match needs.into_iter().find(|(_, needs, limit)| needs > limit) {
        Some((what, needs, limit)) => Err(LoadError::TooLarge { plugin: name.clone(), what, needs, limit }),
        None => Ok(()),
    }
}

/// The taps that a component exports, each with the index of the interface through which it does.
fn find_taps(
    taps: &[(Contract, TapKind)],
    name: &PluginName,
    manifest: &Manifest,
) -> Result<Vec<(TapName, TapKind, usize)>, LoadError> {
    let mut found = Vec::new();
    for (contract, kind) in taps {
        let tap = contract.tap();
        let mut interfaces = (0..kind.interfaces.len()).filter(|index| exports(manifest, kind.interfaces[*index].name));
        let Some(interface) = interfaces.next() else { continue };
        if let Some(second) = interfaces.next() {
            return Err(LoadError::TapTwice {
                plugin: name.clone(),
                tap: tap.clone(),
                interfaces: [kind.interfaces[interface].name, kind.interfaces[second].name],
            });
        }
        found.push((tap.clone(), *kind, interface));
    }
    if found.is_empty() {
        return Err(LoadError::NoTap { plugin: name.clone(), exports: manifest.exports.clone() });
    }
    Ok(found)
}

fn exports(manifest: &Manifest, interface: &str) -> bool {
    manifest.exports.iter().any(|export| export == interface)
}

fn pre_instantiate(
    runtime: &Runtime,
    name: &PluginName,
    component: &Component,
) -> Result<InstancePre<CallState>, LoadError> {
    runtime.linker.instantiate_pre(component).map_err(|source| LoadError::Engine { plugin: name.clone(), source })
}

fn handler(
    host: &Inner,
    plugin: &Arc<Plugin>,
    runtime: &Arc<Runtime>,
    component: &Component,
    pre: &InstancePre<CallState>,
    (tap, kind, interface): (TapName, TapKind, usize),
    breaker: BreakerSettings,
) -> Result<Arc<Handler>, LoadError> {
    let Interface { name, function, mode } = kind.interfaces[interface];
    let function = component
        .get_export_index(None, name)
        .and_then(|instance| component.get_export_index(Some(&instance), function))
        .ok_or_else(|| LoadError::Signature {
            plugin: plugin.name.clone(),
            interface: name.to_owned(),
            source: wasmtime::Error::msg(format!("it has no function `{function}`")),
        })?;
    Ok(Arc::new(Handler {
        plugin: Arc::clone(plugin),
        runtime: Arc::clone(runtime),
        pre: pre.clone(),
        function,
        interface,
        fields: plugin.manifest.record(kind.name, mode).and_then(|record| sorted(record.fields.clone()?)),
        metrics: host.metrics.tap(plugin.name.as_ref(), tap.as_ref()),
        breaker: HandlerBreaker::new(breaker),
        tap,
    }))
}

/// Sorted, so that a call finds a name without looking at all.
fn sorted(mut fields: Vec<String>) -> Option<Vec<String>> {
    fields.sort();
    Some(fields)
}

/// Makes one instance, under the plugin's own limits, to see that it starts and that the signature is right. Nothing
/// of the author's tap runs.
async fn probe(handler: &Arc<Handler>, kind: TapKind, interface: usize) -> Result<(), LoadError> {
    let name = handler.plugin.name();
    let failed = |source| LoadError::Probe { plugin: name.clone(), source: Box::new(source) };
    let slot = handler.runtime.slots.take(&handler.plugin).await.map_err(|fault| failed(handler.error(fault)))?;
    let limit = handler.plugin.limits.max_execution_time();
    let deadline = Instant::now() + limit;
    let mut call = Call::new(handler, deadline, handler.plugin.limits);
    let starting = Enclosing::new(Enclosing::current(), deadline).run(call.instantiate(handler));
    let checked = match timeout_at(deadline, starting).await {
        Ok(Ok(())) => call.check(kind.check).map_err(|source| LoadError::Signature {
            plugin: name.clone(),
            interface: kind.interfaces[interface].name.to_owned(),
            source,
        }),
        Ok(Err(error)) => Err(failed(error)),
        Err(_elapsed) => Err(failed(handler.error(Fault::TimedOut { limit }))),
    };
    drop(call);
    drop(slot);
    checked
}

/// Makes as many instances as the slots of the pool are to be warm for: all alive at once, so that each has a slot of its
/// own, which keeps the plugin's memory for the next one. Takes free slots only: calls come first.
async fn warm(handler: &Arc<Handler>, instances: u32) -> Result<(), LoadError> {
    let failed = |source| LoadError::Probe { plugin: handler.plugin.name().clone(), source: Box::new(source) };
    let limit = handler.plugin.limits.max_execution_time();
    let deadline = Instant::now() + limit;
    let mut alive = Vec::new();
    // One was made by the probe: its slot is warm, and is the first that is taken again.
    while instances > 1 && alive.len() < instances as usize {
        let Some(slot) = handler.runtime.slots.try_take(&handler.plugin) else { break };
        let mut call = Call::new(handler, deadline, handler.plugin.limits);
        let starting = Enclosing::new(Enclosing::current(), deadline).run(call.instantiate(handler));
        match timeout_at(deadline, starting).await {
            Ok(made) => made.map_err(failed)?,
            Err(_elapsed) => return Err(failed(handler.error(Fault::TimedOut { limit }))),
        }
        // The instance goes before its slot does.
        alive.push((call, slot));
    }
    Ok(())
}
