//! Bare wasmtime with one component: the control. A fresh instance for each call, with a clock for each stage.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tapline_content::{Field, Item, Value};
use tapline_host_core::{HostConfig, engine_config, swap_is_impossible};
use wasmtime::{
    Engine, Store, StoreContextMut,
    component::{
        Component, ComponentExportIndex, ComponentNamedList, ComponentType, InstancePre, Lift, Linker, Lower, Resource,
        ResourceTable, ResourceType, WasmList, WasmStr,
    },
};

use crate::measure::nanoseconds;

/// What host functions see.
#[derive(Default)]
pub struct State {
    table: ResourceTable,
    lent: Option<u32>,
}

/// An item that a guest has a handle of, and what the guest wrote on it.
pub struct Lent {
    item: Arc<Item>,
    written: Vec<Field>,
}

/// A handle of it.
pub type Handle = Resource<Lent>;

/// How long the stages of one call took, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Stages {
    /// The store and the instance.
    pub instantiate: f64,
    /// The arguments into the guest's memory, the guest, and its answer out of it.
    pub call: f64,
    /// Dropping all of it.
    pub teardown: f64,
}

/// The error of a tap.
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub struct TapError {
    message: String,
}

impl From<TapError> for wasmtime::Error {
    fn from(error: TapError) -> Self {
        Self::msg(error.message)
    }
}

type Context<'a> = StoreContextMut<'a, State>;

/// wasmtime's errors, as the rest of the benches has them: they are none of the standard library's by themselves.
pub trait Ours<T> {
    /// The same with the other error.
    ///
    /// # Errors
    ///
    /// The same.
    fn ours(self) -> anyhow::Result<T>;
}

impl<T> Ours<T> for wasmtime::Result<T> {
    fn ours(self) -> anyhow::Result<T> {
        self.map_err(|error| anyhow::Error::from_boxed(error.into()))
    }
}

/// Bare wasmtime with one component.
pub struct Bare {
    engine: Engine,
    pre: InstancePre<State>,
    function: ComponentExportIndex,
}

impl Bare {
    /// Compiles the component with the settings of `config`, and finds the function that will be called.
    ///
    /// # Errors
    ///
    /// What wasmtime says.
    pub fn new(config: &HostConfig, component: &[u8], interface: &str, function: &str) -> wasmtime::Result<Self> {
        Self::linked(config, component, interface, function, |_| Ok(()))
    }

    /// [`Bare::new`] with a clock that waits, so that each call needs a fiber.
    ///
    /// # Errors
    ///
    /// What wasmtime says.
    pub fn waiting(config: &HostConfig, component: &[u8], interface: &str, function: &str) -> wasmtime::Result<Self> {
        Self::linked(config, component, interface, function, |linker| {
            linker.allow_shadowing(true);
            let mut clock = linker.instance("tapline:bench/clock@0.1.0")?;
            clock.func_wrap_async("wait", |_: Context<'_>, (milliseconds,): (u32,)| {
                Box::new(async move {
                    tokio::time::sleep(Duration::from_millis(milliseconds.into())).await;
                    Ok(())
                })
            })
        })
    }

    fn linked(
        config: &HostConfig,
        component: &[u8],
        interface: &str,
        function: &str,
        more: impl FnOnce(&mut Linker<State>) -> wasmtime::Result<()>,
    ) -> wasmtime::Result<Self> {
        let settings = engine_config(config, false, swap_is_impossible()).map_err(wasmtime::Error::new)?;
        let engine = Engine::new(&settings)?;
        let component = Component::new(&engine, component)?;
        let function = component
            .get_export_index(None, interface)
            .and_then(|instance| component.get_export_index(Some(&instance), function))
            .ok_or_else(|| wasmtime::Error::msg(format!("the component has no {function} in {interface}")))?;
        let mut linker = link(&engine)?;
        more(&mut linker)?;
        let pre = linker.instantiate_pre(&component)?;
        Ok(Self { engine, pre, function })
    }

    /// One call on a fresh instance. `argument` makes what is lowered; what it keeps in the state is left there.
    ///
    /// # Errors
    ///
    /// What wasmtime or the guest says.
    pub async fn call<P, R>(
        &self,
        argument: impl FnOnce(&mut State) -> wasmtime::Result<P>,
    ) -> wasmtime::Result<(R, Vec<Field>, Stages)>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let start = Instant::now();
        let mut store = self.store();
        let instance = self.pre.instantiate_async(&mut store).await?;
        let instantiate = nanoseconds(start);

        let start = Instant::now();
        let argument = argument(store.data_mut())?;
        let function = instance.get_typed_func::<P, R>(&mut store, &self.function)?;
        let answer = function.call_async(&mut store, argument).await?;
        let call = nanoseconds(start);

        let start = Instant::now();
        let written = store.data_mut().take_written();
        drop(store);
        Ok((answer, written, Stages { instantiate, call, teardown: nanoseconds(start) }))
    }

    /// A store in which nobody stops a guest.
    pub fn store(&self) -> Store<State> {
        store(&self.engine)
    }

    /// What instances are made from, and the function in them.
    #[must_use]
    pub fn parts(&self) -> (&InstancePre<State>, &ComponentExportIndex) {
        (&self.pre, &self.function)
    }
}

impl State {
    /// Lends an item to the guest.
    ///
    /// # Errors
    ///
    /// The table is full.
    pub fn lend(&mut self, item: &Arc<Item>) -> wasmtime::Result<Handle> {
        let handle = self.table.push(Lent { item: Arc::clone(item), written: Vec::new() })?;
        self.lent = Some(handle.rep());
        Ok(Resource::new_borrow(handle.rep()))
    }

    fn take_written(&mut self) -> Vec<Field> {
        let lent = self.lent.and_then(|rep| self.table.get_mut(&Handle::new_borrow(rep)).ok());
        lent.map(|lent| std::mem::take(&mut lent.written)).unwrap_or_default()
    }

    fn item(&self, handle: &Handle) -> wasmtime::Result<&Item> {
        Ok(&self.table.get(handle)?.item)
    }
}

/// Why a change was refused: never, here.
#[derive(ComponentType, Lower)]
#[component(variant)]
#[expect(dead_code, reason = "the type of an error that the control does not make")]
enum ChangeError {
    #[component(name = "read-only")]
    ReadOnly,
    #[component(name = "not-declared")]
    NotDeclared,
    #[component(name = "invalid")]
    Invalid(String),
}

/// A store in which nobody stops a guest.
pub(crate) fn store(engine: &Engine) -> Store<State> {
    let mut store = Store::new(engine, State::default());
    // Compiled code counts epochs, as it does for the host; here nobody advances them.
    store.set_epoch_deadline(u64::MAX / 2);
    store
}

/// What guests import.
pub(crate) fn link(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    let mut diagnostics = linker.instance("tapline:host/diagnostics@0.1.0")?;
    diagnostics.func_wrap("panicked", |_: Context<'_>, _: (WasmStr, WasmStr, u32, u32)| Ok(()))?;
    diagnostics.func_wrap("output", |_: Context<'_>, _: (u32, WasmList<u8>)| Ok(()))?;
    let mut types = linker.instance("tapline:content/types@0.1.0")?;
    types.resource("item-handle", ResourceType::host::<Lent>(), |_, _| Ok(()))?;
    types.func_wrap("[method]item-handle.title", |store: Context<'_>, (handle,): (Handle,)| {
        Ok((Arc::clone(&store.data().item(&handle)?.header().title),))
    })?;
    types.func_wrap("[method]item-handle.field", |store: Context<'_>, (handle, name): (Handle, WasmStr)| {
        Ok((store.data().item(&handle)?.field(&name.to_str(&store)?).cloned(),))
    })?;
    types.func_wrap("[method]item-handle.text", |store: Context<'_>, (handle, name): (Handle, WasmStr)| {
        let item = store.data().item(&handle)?;
        Ok((item.field(&name.to_str(&store)?).and_then(Value::text).cloned(),))
    })?;
    types.func_wrap(
        "[method]item-handle.set-field",
        |mut store: Context<'_>, (handle, name, value): (Handle, Arc<str>, Value)| {
            store.data_mut().table.get_mut(&handle)?.written.push(Field { name, value });
            Ok((Ok::<(), ChangeError>(()),))
        },
    )?;
    let mut clock = linker.instance("tapline:bench/clock@0.1.0")?;
    clock.func_wrap("wait", |_: Context<'_>, _: (u32,)| Ok(()))?;
    Ok(linker)
}
