//! Functions that are called by their names, with arguments that are known only at run time: no tap, no order, no fold.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tapline_cache::{DiskState, Source};
use tapline_tap_dispatch::{OnFailure, TapName};
use wasmtime::{
    Engine,
    component::{
        Component, ComponentExportIndex, Val,
        types::{ComponentFunc, ComponentItem},
    },
};

use crate::{
    breaker::HandlerBreaker,
    call::{Call, Handler},
    code::{self, Code},
    dispatch::{self, Collect},
    error::{CallError, LoadError, NotOnDisk},
    host::Host,
    load::{self, Checked},
    manifest::Manifest,
    observe::Used,
    plugin::{Plugin, PluginSpec},
    read,
    stages::Stages,
    tap::{Interface, Signature, Tap},
    typed::CodeFunction,
};

/// Most functions that a component may export to be loaded for them: the host keeps something for each.
pub const MAX_FUNCTIONS: usize = 10_000;

/// The exported functions of one component. Made by [`Host::load_functions`]; dropping it unloads them.
///
/// Each call runs as a plugin's does: in a slot of the same pool, on a fresh instance, in a store that the same constructor
/// made, under the same limits and deadline.
pub struct Functions {
    host: Host,
    plugin: Arc<Plugin>,
    list: Vec<Function>,
    spec: PluginSpec,
    times: LoadTimes,
}

/// One exported function.
#[derive(Clone)]
pub struct Function {
    name: String,
    ty: ComponentFunc,
    handler: Arc<Handler>,
}

/// How long a load took, and its stages. One that did not happen has none: code that was in memory was neither compiled nor
/// loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoadTimes {
    /// The stage *compile*, with the worker process around it.
    pub compile: Option<Duration>,
    /// The stage *load artifact*: finding the file of the code, checking and mapping it.
    pub load_artifact: Option<Duration>,
    /// All of the load: hashing the bytes and checking the component as well, one of these stages, and linking; with whatever was
    /// waited for.
    pub total: Duration,
}

/// What a call came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answered {
    /// What the function returned. WebAssembly has functions without a result, and the component model none with two.
    pub results: Vec<Val>,
    /// From the request to an instance that is ready: taking a slot, with the wait for one, and instantiating.
    pub start: Duration,
    /// The function itself, with its arguments and results.
    pub call: Duration,
    /// The fuel that the call used. None: it is not metered.
    pub fuel: Option<u64>,
    /// The most memory that the instance had, in bytes.
    pub peak_memory_bytes: u64,
}

impl Function {
    /// The name: `f` for a function of the component itself, `a:b/c@1.0.0#f` for one of an interface.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it takes and returns.
    #[must_use]
    pub fn ty(&self) -> &ComponentFunc {
        &self.ty
    }
}

impl Functions {
    /// The component.
    #[must_use]
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// All of them, by name.
    #[must_use]
    pub fn list(&self) -> &[Function] {
        &self.list
    }

    /// How long loading took.
    #[must_use]
    pub fn times(&self) -> LoadTimes {
        self.times
    }

    /// Calls one of these functions.
    ///
    /// The engine compares the arguments with the types of the function, and says `BadAnswer` where they differ, as of
    /// everything that crosses: whoever takes arguments from people checks them first and says it better.
    ///
    /// # Errors
    ///
    /// What ended the call; the error names the tap `function`.
    pub async fn call(&self, function: &Function, arguments: &[Val]) -> Result<Answered, CallError> {
        let asked = Instant::now();
        let (mut answered, entered) = dispatch::run::<Invoke>(&function.handler, arguments, None, None).await?;
        answered.start = entered - asked;
        Ok(answered)
    }

    /// Loads the same component anew, its code from the file in the host's directory, as the next start of the program will.
    /// The functions are in the same order.
    ///
    /// # Errors
    ///
    /// See [`Host::load_functions`]; and [`LoadError::NotOnDisk`] where the code would come from anywhere else.
    pub async fn load_again(&self) -> Result<Self, LoadError> {
        let missing = |why| Err(LoadError::NotOnDisk { plugin: self.plugin.name.clone(), why });
        match self.host.disk_state() {
            DiskState::Ready { .. } => {}
            DiskState::Unusable { reason, .. } => return missing(NotOnDisk::Unusable(reason)),
            _ => return missing(NotOnDisk::NoDirectory),
        }
        let key = self.plugin.key();
        if let Some(function) = self.list.first() {
            let cache = &function.handler.runtime.cache;
            if !cache.is_on_disk(key) {
                return missing(NotOnDisk::Gone);
            }
            cache.forget(key);
        }
        let again = self.host.load_functions(self.spec.clone()).await?;
        match again.times {
            LoadTimes { load_artifact: Some(_), .. } => Ok(again),
            LoadTimes { compile: Some(_), .. } => missing(NotOnDisk::Refused),
            _ => missing(NotOnDisk::InMemory),
        }
    }

    /// The same function of a component that [`Functions::load_again`] loaded anew.
    #[must_use]
    pub fn same<'a>(&'a self, function: &'a Function) -> &'a Function {
        self.list.get(function.handler.index).unwrap_or(function)
    }
}

pub(crate) async fn load(host: &Host, spec: PluginSpec) -> Result<Functions, LoadError> {
    let begun = Instant::now();
    let (loading, inner) = (spec.clone(), Arc::clone(&host.inner));
    let at_once = read::is_small(&spec.source);
    let check = move || {
        let wasm = read::read_now(&loading.name, &loading.source, inner.config.compilation.max_component_bytes)?;
        let manifest = Manifest::read(&loading.name, wasm.bytes())?;
        let checked = load::check(&inner, &loading, wasm, manifest, |_| Ok(Vec::new()))?;
        let artifact = checked.plugin.code.find(read::mapped(at_once));
        Ok((checked, artifact))
    };
    let (checked, artifact) = read::apart(&spec.name, at_once, check).await?;
    let mut stages = Stages::begin();
    let Checked { plugin, runtime, breaker, .. } = &checked;
    let (pre, artifact) = code::link(&host.inner, plugin, runtime, artifact, &mut stages).await?;
    let mut found = exported(&artifact.component, &runtime.engine);
    // Where a function is in this list is where it is in the code.
    found.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    if found.is_empty() {
        return Err(LoadError::NoFunction { plugin: plugin.name.clone(), exports: plugin.manifest.exports.clone() });
    }
    if found.len() > MAX_FUNCTIONS {
        let (needs, limit) = (found.len() as u64, MAX_FUNCTIONS as u64);
        return Err(LoadError::TooLarge { plugin: plugin.name.clone(), what: "exported functions", needs, limit });
    }
    let tap = TapName::new(Invoke::NAME)
        .map_err(|error| LoadError::Engine { plugin: plugin.name.clone(), source: error.into() })?;
    let metrics = host.inner.metrics.tap(plugin.name.as_ref(), tap.as_ref());
    let functions = found.iter().map(|(.., function)| CodeFunction::new(*function)).collect();
    plugin.code.put(Arc::new(Code { pre, functions }));
    let list = found.into_iter().enumerate().map(|(index, (name, ty, _))| {
        let handler = Handler {
            plugin: Arc::clone(plugin),
            tap: tap.clone(),
            runtime: Arc::clone(runtime),
            index,
            interface: 0,
            fields: None,
            metrics: metrics.clone(),
            breaker: HandlerBreaker::new(*breaker),
        };
        Function { name, ty, handler: Arc::new(handler) }
    });
    let list = list.collect();
    plugin.show_size();
    let of = |source| (artifact.source == source).then_some(artifact.work);
    let (compile, load_artifact) = (of(Source::Compiled), of(Source::Disk));
    let times = LoadTimes { compile, load_artifact, total: begun.elapsed() };
    Ok(Functions { host: host.clone(), plugin: Arc::clone(plugin), list, spec, times })
}

/// The functions of the component and of the instances that it exports. It reads types, and runs nothing.
fn exported(component: &Component, engine: &Engine) -> Vec<(String, ComponentFunc, ComponentExportIndex)> {
    let mut found = Vec::new();
    for (name, export) in component.component_type().exports(engine) {
        match export.ty {
            ComponentItem::ComponentFunc(ty) => {
                found.extend(component.get_export_index(None, name).map(|index| (name.to_owned(), ty, index)));
            }
            ComponentItem::ComponentInstance(instance) => {
                let Some(within) = component.get_export_index(None, name) else { continue };
                for (function, export) in instance.exports(engine) {
                    if let ComponentItem::ComponentFunc(ty) = export.ty
                        && let Some(index) = component.get_export_index(Some(&within), function)
                    {
                        found.push((format!("{name}#{function}"), ty, index));
                    }
                }
            }
            _ => {}
        }
        // One more than is allowed is enough to refuse it.
        if found.len() > MAX_FUNCTIONS {
            break;
        }
    }
    found
}

/// To the path of a dispatch, a call by name is a tap that nobody dispatches: slots, store, deadline and record are the same.
struct Invoke;

impl Tap for Invoke {
    const NAME: &'static str = "function";
    const INTERFACES: &'static [Interface] = &[];
    const ON_FAILURE: Option<OnFailure> = Some(OnFailure::Fail);
    type Policy = Collect;
    type Input = [Val];
    type Answer = (Answered, Instant);

    fn check(_: usize, _: &mut Signature<'_>) -> wasmtime::Result<()> {
        Ok(())
    }

    async fn call(call: &mut Call, arguments: &[Val]) -> Result<(Answered, Instant), CallError> {
        let entered = Instant::now();
        let results = call.invoke_dynamic(arguments).await?;
        let took = entered.elapsed();
        let Used { fuel, peak_memory_bytes, .. } = call.used();
        Ok((Answered { results, start: Duration::ZERO, call: took, fuel, peak_memory_bytes }, entered))
    }
}
