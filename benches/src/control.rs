//! The control: the same components through bare wasmtime.

use std::sync::Arc;

use tapline_content::{Field, Header, Item, Value};
use tapline_host_core::{HostConfig, engine_config, swap_is_impossible};
use wasmtime::{
    Engine, Store, StoreContextMut,
    component::{
        Component, ComponentExportIndex, ComponentType, InstancePre, Lift, Linker, Lower, Resource, ResourceTable,
        ResourceType, WasmList, WasmStr,
    },
};

/// An item as it crosses, borrowed.
#[derive(ComponentType, Lower)]
#[component(record)]
struct ItemArgument<'a> {
    header: &'a Header,
    fields: Vec<&'a Field>,
}

/// An answer of `item_view`, lifted and not looked at.
pub struct Answered(Rendered);

impl Answered {
    /// The text in it.
    #[must_use]
    pub fn texts(self) -> Vec<String> {
        let nodes = self.0.nodes.into_iter();
        nodes.filter_map(|node| if let Node::Text(text) = node { Some(text) } else { None }).collect()
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
#[expect(dead_code, reason = "lifted for its cost")]
struct Rendered {
    head: Vec<Head>,
    nodes: Vec<Node>,
    roots: Vec<u32>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
#[expect(dead_code, reason = "lifted for its cost")]
struct Element {
    tag: String,
    attributes: Vec<(String, String)>,
    children: Vec<u32>,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
#[expect(dead_code, reason = "lifted for its cost")]
enum Node {
    #[component(name = "element")]
    Element(Element),
    #[component(name = "text")]
    Text(String),
    #[component(name = "markup")]
    Markup(String),
}

#[derive(ComponentType, Lift)]
#[component(variant)]
#[expect(dead_code, reason = "lifted for its cost")]
enum Head {
    #[component(name = "meta")]
    Meta((String, String)),
    #[component(name = "property")]
    Property((String, String)),
    #[component(name = "json-ld")]
    JsonLd(String),
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct TapError {
    message: String,
}

type Answer = (Result<Rendered, TapError>,);

struct State {
    table: ResourceTable,
}

type Context<'a> = StoreContextMut<'a, State>;
type Handle = Resource<Arc<Item>>;

/// Bare wasmtime with one component.
pub struct Control {
    engine: Engine,
    pre: InstancePre<State>,
    function: ComponentExportIndex,
    lazy: bool,
}

impl Control {
    /// Compiles the component with the settings of `config`.
    ///
    /// # Errors
    ///
    /// What wasmtime says.
    pub fn new(config: &HostConfig, component: &[u8], lazy: bool) -> wasmtime::Result<Self> {
        let settings = engine_config(config, false, swap_is_impossible()).map_err(wasmtime::Error::new)?;
        let engine = Engine::new(&settings)?;
        let component = Component::new(&engine, component)?;
        let interface = if lazy { "tapline:content/item-view-lazy@0.1.0" } else { "tapline:content/item-view@0.1.0" };
        let function = component
            .get_export_index(None, interface)
            .and_then(|instance| component.get_export_index(Some(&instance), "item-view"))
            .ok_or_else(|| wasmtime::Error::msg("the component has no item-view"))?;
        let pre = link(&engine)?.instantiate_pre(&component)?;
        Ok(Self { engine, pre, function, lazy })
    }

    /// One call on a fresh instance.
    ///
    /// # Errors
    ///
    /// What wasmtime or the guest says.
    pub async fn call(&self, item: &Arc<Item>) -> wasmtime::Result<Answered> {
        let mut store = Store::new(&self.engine, State { table: ResourceTable::new() });
        // Compiled code counts epochs, as it does for the host; here nobody stops it.
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = self.pre.instantiate_async(&mut store).await?;
        let (answer,) = if self.lazy {
            let handle: Handle = store.data_mut().table.push(Arc::clone(item))?;
            let function = instance.get_typed_func::<(Handle,), Answer>(&mut store, &self.function)?;
            function.call_async(&mut store, (Resource::new_borrow(handle.rep()),)).await?
        } else {
            let argument = ItemArgument { header: item.header(), fields: item.fields().iter().collect() };
            let function = instance.get_typed_func::<(ItemArgument<'_>,), Answer>(&mut store, &self.function)?;
            function.call_async(&mut store, (argument,)).await?
        };
        answer.map(Answered).map_err(|error| wasmtime::Error::msg(error.message))
    }
}

fn link(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    let mut diagnostics = linker.instance("tapline:host/diagnostics@0.1.0")?;
    diagnostics.func_wrap("panicked", |_: Context<'_>, _: (WasmStr, WasmStr, u32, u32)| Ok(()))?;
    diagnostics.func_wrap("output", |_: Context<'_>, _: (u32, WasmList<u8>)| Ok(()))?;
    let mut types = linker.instance("tapline:content/types@0.1.0")?;
    types.resource("item-handle", ResourceType::host::<Arc<Item>>(), |_, _| Ok(()))?;
    types.func_wrap("[method]item-handle.title", |store: Context<'_>, (handle,): (Handle,)| {
        Ok((Arc::clone(&store.data().table.get(&handle)?.header().title),))
    })?;
    types.func_wrap("[method]item-handle.field", |store: Context<'_>, (handle, name): (Handle, WasmStr)| {
        let item = store.data().table.get(&handle)?;
        Ok((item.field(&name.to_str(&store)?).cloned(),))
    })?;
    types.func_wrap("[method]item-handle.text", |store: Context<'_>, (handle, name): (Handle, WasmStr)| {
        let item = store.data().table.get(&handle)?;
        Ok((item.field(&name.to_str(&store)?).and_then(Value::text).cloned(),))
    })?;
    Ok(linker)
}
