//! Loading: everything that is checked before a plugin may answer a dispatch.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
};

use tapline_cache::{Loaded as Artifact, Wasm};
use tapline_limits::Limits;
use tapline_tap_dispatch::{BreakerSettings, Contract, Override, Placement, PluginName, TapName};

use crate::{
    ahead::{ReadPlugin, ReadPlugins},
    breaker::HandlerBreaker,
    call::Handler,
    capability::{Capability, GrantValue, Granted},
    code::{self, PluginCode},
    compile::Compilation,
    config::HostConfig,
    engine::TABLES_PER_COMPONENT,
    error::LoadError,
    functions,
    host::{Inner, Resolved},
    log_rate::LogRate,
    manifest::Manifest,
    nesting::Enclosing,
    plugin::{Plugin, PluginSpec},
    read, reuse,
    runtime::Runtime,
    slots::Lane,
    stages::Stages,
    stock::{self, Keeper},
    tap::TapKind,
};

/// A plugin with its handlers.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) plugin: Arc<Plugin>,
    /// The operator's order, by tap.
    pub(crate) order: BTreeMap<String, Override>,
    /// Everything else that the operator said, but for the source: a spec that says the same changes nothing.
    pub(crate) settings: Arc<PluginSpec>,
    /// Whether dispatches call it.
    pub(crate) enabled: bool,
    /// By tap, with the author's wishes for the order.
    pub(crate) handlers: BTreeMap<&'static str, (Arc<Handler>, Placement)>,
}

impl Loaded {
    pub(crate) fn handlers(&self) -> impl Iterator<Item = &Arc<Handler>> {
        self.handlers.values().map(|(handler, _)| handler)
    }
}

/// A component that has been read and checked, and of which nothing is compiled.
pub(crate) struct Checked {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) breaker: BreakerSettings,
    taps: Vec<(TapName, TapKind, usize)>,
}

/// A plugin that was checked, with its code if the cache has it, and what that took.
type Prepared = (Loaded, Option<Artifact>, Stages);

/// Reads, checks and compiles one plugin, and tries it.
pub(crate) async fn load(host: &Arc<Inner>, spec: PluginSpec) -> Result<Loaded, LoadError> {
    let (name, at_once, host) = (spec.name.clone(), read::is_small(&spec.source), Arc::clone(host));
    let prepare = move || {
        let mut stages = Stages::begin();
        let wasm = read::read_now(&spec.name, &spec.source, host.config.compilation.max_component_bytes)?;
        stages.end("read");
        prepare_now(&host, spec, wasm, at_once, stages)
    };
    finish(read::apart(&name, at_once, prepare).await?).await
}

/// [`load`] for what was read from the source before.
pub(crate) async fn load_wasm(
    host: &Arc<Inner>,
    spec: PluginSpec,
    wasm: Wasm,
    stages: Stages,
) -> Result<Loaded, LoadError> {
    let (name, at_once, host) = (spec.name.clone(), read::is_small(&spec.source), Arc::clone(host));
    finish(read::apart(&name, at_once, move || prepare_now(&host, spec, wasm, at_once, stages)).await?).await
}

fn prepare_now(
    host: &Arc<Inner>,
    spec: PluginSpec,
    wasm: Wasm,
    at_once: bool,
    mut stages: Stages,
) -> Result<Prepared, LoadError> {
    let manifest = Manifest::read(&spec.name, wasm.bytes())?;
    let loaded = check_plugin(host, spec, wasm, manifest)?;
    stages.end("check");
    // Here and not where it is needed, so that one thread does it all.
    let artifact = loaded.plugin.code.find(read::mapped(at_once));
    Ok((loaded, artifact, stages))
}

async fn finish((loaded, artifact, stages): Prepared) -> Result<Loaded, LoadError> {
    // A plugin has at least one: any of them will do.
    if let Some(handler) = loaded.handlers().next() {
        code::bring_now(handler, artifact, stages, Enclosing::current()).await?;
    }
    Ok(loaded)
}

/// Reads and checks one plugin: everything that can be known without its code, which the first call brings.
pub(crate) async fn load_lazily(host: &Arc<Inner>, spec: PluginSpec) -> Result<Loaded, LoadError> {
    let (host, plugin) = (Arc::clone(host), spec.name.clone());
    read::apart(&plugin, read::is_small(&spec.source), move || load_lazily_now(&host, spec)).await
}

/// [`load_lazily`] for plugins that were read before. The answers are in their order. Blocks.
pub(crate) fn load_read_lazily(host: &Arc<Inner>, plugins: ReadPlugins) -> Vec<Result<Loaded, LoadError>> {
    plugins.0.into_iter().map(|(spec, read)| load_read(host, spec, read?)).collect()
}

fn load_lazily_now(host: &Arc<Inner>, spec: PluginSpec) -> Result<Loaded, LoadError> {
    let read = ReadPlugin::read(&spec, host.config.compilation.max_component_bytes)?;
    load_read(host, spec, read)
}

fn load_read(host: &Arc<Inner>, spec: PluginSpec, read: ReadPlugin) -> Result<Loaded, LoadError> {
    let ReadPlugin { wasm, manifest, mut stages } = read;
    // Whoever read it may have known another limit.
    let (needs, limit) = (wasm.bytes().len() as u64, host.config.compilation.max_component_bytes);
    if needs > limit {
        return Err(LoadError::TooLarge { plugin: spec.name, what: "bytes", needs, limit });
    }
    stages.skip();
    let loaded = check_plugin(host, spec, wasm, manifest)?;
    stages.end("check");
    loaded.plugin.code.begun(stages);
    Ok(loaded)
}

fn check_plugin(host: &Arc<Inner>, mut spec: PluginSpec, wasm: Wasm, manifest: Manifest) -> Result<Loaded, LoadError> {
    let find = |manifest: &Manifest| find_taps(&host.taps, &spec.name, manifest);
    let Checked { plugin, runtime, breaker, taps } = check(host, &spec, wasm, manifest, find)?;
    let mut handlers = BTreeMap::new();
    for (index, (tap, kind, interface)) in taps.into_iter().enumerate() {
        let record = plugin.manifest.record(kind.name, kind.interfaces[interface].mode);
        let placement = record.map(|record| Placement::from(&record.placement)).unwrap_or_default();
        let handler = Arc::new(Handler {
            plugin: Arc::clone(&plugin),
            runtime: Arc::clone(&runtime),
            index,
            interface,
            fields: record.and_then(|record| sorted(record.fields.clone()?)),
            metrics: host.metrics.tap(plugin.name.as_ref(), tap.as_ref()),
            breaker: HandlerBreaker::new(breaker),
            tap,
        });
        handlers.insert(kind.name, (handler, placement));
    }
    check_order(&host.taps, &plugin.name, &spec.order, |tap| handlers.contains_key(tap))?;
    let order = std::mem::take(&mut spec.order);
    Ok(Loaded { plugin, order, settings: Arc::new(spec.without_source()), enabled: true, handlers })
}

/// Checks one component. `find` says through which of its exports it will be called.
pub(crate) fn check(
    host: &Arc<Inner>,
    spec: &PluginSpec,
    wasm: Wasm,
    manifest: Manifest,
    find: impl FnOnce(&Manifest) -> Result<Vec<(TapName, TapKind, usize)>, LoadError>,
) -> Result<Checked, LoadError> {
    let name = spec.name.clone();
    let granted = check_grants(&host.config, &host.capabilities, spec)?;
    functions::check(spec, &manifest)?;
    check_imports(&host.capabilities, spec, &manifest)?;
    let limits = spec.effective_limits(&host.config)?;
    let breaker = spec.effective_breaker(&host.config)?;
    let lane = Lane::new(&host.config, spec)?;
    reuse::check(&host.config, &host.capabilities, spec)?;
    stock::check(&host.config, spec)?;
    check_size(&name, &manifest, &limits, &host.config.compilation)?;
    let taps = find(&manifest)?;
    let runtime = host
        .runtime(limits.enable_fuel_metering())
        .map_err(|error| LoadError::Engine { plugin: name.clone(), source: wasmtime::Error::msg(error.to_string()) })?;
    let kinds = taps.iter().map(|(_, kind, interface)| (*kind, *interface)).collect();
    // Before there is a series: if the plugin is refused, they go with it.
    let series = host.metrics.lease(name.as_ref());
    let plugin = Arc::new(Plugin {
        manifest,
        code: PluginCode::new(host, runtime, spec.source.clone(), wasm, kinds),
        limits,
        granted,
        grant_names: spec.grants.keys().cloned().collect(),
        metrics: host.metrics.plugin(name.as_ref()),
        name,
        lane,
        reuse: spec.reuse,
        stock: spec.stock.map(Keeper::new),
        retired: AtomicBool::new(false),
        log_rate: LogRate::default(),
        report_rate: LogRate::default(),
        _series: series,
    });
    plugin.grant_names.iter().for_each(|grant| plugin.metrics.may_refuse(grant));
    Ok(Checked { plugin, runtime: Arc::clone(runtime), breaker, taps })
}

/// What is in one of them and not, as it is, in the other: by name, the old one before the new one.
pub(crate) fn changed<'a>(
    before: &'a BTreeMap<PluginName, Arc<Loaded>>,
    after: &'a BTreeMap<PluginName, Arc<Loaded>>,
) -> Vec<&'a Arc<Loaded>> {
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    let mut changed = Vec::new();
    loop {
        let first = match (before.peek(), after.peek()) {
            (Some((old, _)), Some((new, _))) => old.cmp(new),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return changed,
        };
        let old = if first.is_le() { before.next() } else { None };
        let new = if first.is_ge() { after.next() } else { None };
        match (old, new) {
            (Some((_, old)), Some((_, new))) if Arc::ptr_eq(old, new) => {}
            _ => changed.extend(old.into_iter().chain(new).map(|(_, loaded)| loaded)),
        }
    }
}

/// The handlers of each tap of the host, in the order of its taps. `None`: no plugin implements the tap. A tap that none of
/// the plugins implements that have changed stays as it was before.
pub(crate) fn resolve(
    taps: &[(Contract, TapKind)],
    plugins: &BTreeMap<PluginName, Arc<Loaded>>,
    before: &[Option<Arc<Resolved>>],
    changed: &[&Arc<Loaded>],
) -> Result<Vec<Option<Arc<Resolved>>>, LoadError> {
    let mut resolved = Vec::with_capacity(taps.len());
    for (index, (contract, kind)) in taps.iter().enumerate() {
        if let Some(as_before) = before.get(index)
            && !changed.iter().any(|loaded| loaded.handlers.contains_key(kind.name))
        {
            resolved.push(as_before.clone());
            continue;
        }
        let mut wishes = Vec::new();
        for (name, loaded) in plugins.iter().filter(|(_, loaded)| loaded.enabled) {
            if let Some((_, placement)) = loaded.handlers.get(kind.name) {
                let placement = match loaded.order.get(kind.name) {
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
        resolved.push(Some(Arc::new(Resolved { order, handlers })));
    }
    Ok(resolved)
}

fn check_grants(
    config: &HostConfig,
    capabilities: &[Box<dyn Capability>],
    spec: &PluginSpec,
) -> Result<Vec<Granted>, LoadError> {
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
        if let Some((false, setting)) = capability.reaches(value).map(|reach| config.access(reach)) {
            return Err(LoadError::AccessOff { plugin: spec.name.clone(), grant, setting });
        }
        match capability.grant(spec.name.as_ref(), value) {
            Ok(ready) => granted.push(ready),
            Err(message) => return Err(LoadError::BadGrant { plugin: spec.name.clone(), grant, message }),
        }
    }
    Ok(granted)
}

/// Refuses an order in taps that the plugin does not implement: it would have no effect.
pub(crate) fn check_order(
    taps: &[(Contract, TapKind)],
    plugin: &PluginName,
    order: &BTreeMap<String, Override>,
    implements: impl Fn(&str) -> bool,
) -> Result<(), LoadError> {
    let Some(tap) = order.keys().find(|tap| !implements(tap)) else { return Ok(()) };
    let (plugin, tap) = (plugin.clone(), tap.clone());
    let known: Vec<&str> = taps.iter().map(|(_, kind)| kind.name).collect();
    let is_known = known.contains(&tap.as_str());
    let known = known.into_iter().filter(|tap| !is_known || implements(tap)).map(str::to_owned).collect();
    Err(match is_known {
        true => LoadError::OrderOfOtherTap { plugin, tap, implemented: known },
        false => LoadError::UnknownTap { plugin, tap, known },
    })
}

/// Whether a plugin that is loaded may call what it imports, by these new settings of it. A grant that is `false` now and was not
/// is one that was taken away.
pub(crate) fn is_allowed(host: &Inner, settings: &PluginSpec, loaded: &Loaded) -> bool {
    let manifest = &loaded.plugin.manifest;
    let is_off = |settings: &PluginSpec, grant: &str| settings.grants.get(grant) == Some(&GrantValue::Bool(false));
    let was_taken_away = |interface: &String| {
        let grant = host.capabilities.iter().find(|known| known.offers(interface)).and_then(|known| known.grant_name());
        grant.is_some_and(|grant| is_off(settings, grant) && !is_off(&loaded.settings, grant))
            && manifest.calls(interface)
    };
    functions::check(settings, manifest).is_ok()
        && check_imports(&host.capabilities, settings, manifest).is_ok()
        && !manifest.imports.iter().any(was_taken_away)
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
    // What a call takes beside its memory, and how long it takes to make an instance, which nothing interrupts: a plugin
    // with 10 000 functions keeps a third of a megabyte, and compilers write each byte of memory once.
    const MAX_STATE_BYTES: u64 = 4 << 20;
    const MAX_SEGMENTS: u64 = 100_000;
    let needs = [
        ("functions", manifest.functions, u64::from(limits.max_functions())),
        ("bytes in one function", manifest.largest_function, compilation.max_function_bytes),
        ("instances", manifest.instances, u64::from(limits.max_instances())),
        ("nested components", manifest.components, MAX_NESTED_COMPONENTS),
        ("memories", manifest.memories, u64::from(limits.max_memories())),
        ("tables", manifest.tables, u64::from(TABLES_PER_COMPONENT)),
        ("bytes of memory", manifest.memory_pages.saturating_mul(PAGE), limits.max_memory_bytes()),
        ("table elements", manifest.table_elements, u64::from(limits.max_table_elements())),
        ("bytes beside its memory", manifest.state_bytes, MAX_STATE_BYTES),
        ("segments", manifest.segments, MAX_SEGMENTS),
        ("bytes of data", manifest.segment_bytes, limits.max_memory_bytes()),
        ("elements of segments", manifest.segment_elements, u64::from(limits.max_table_elements())),
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

/// Sorted, so that a call finds a name without looking at all.
fn sorted(mut fields: Vec<String>) -> Option<Vec<String>> {
    fields.sort();
    Some(fields)
}
