//! The control of `item_view`: the sample plugins through bare wasmtime.

use std::{sync::Arc, time::Duration};

use tapline_content::{Field, Header, Item};
use tapline_host_core::HostConfig;
use wasmtime::component::{ComponentType, Lift, Lower};

use crate::bare::{Bare, Handle, TapError};

/// An item as it crosses, borrowed.
#[derive(ComponentType, Lower)]
#[component(record)]
pub struct ItemArgument<'a> {
    header: &'a Header,
    fields: Vec<&'a Field>,
}

impl<'a> ItemArgument<'a> {
    /// The whole item.
    #[must_use]
    pub fn new(item: &'a Item) -> Self {
        Self { header: item.header(), fields: item.fields().iter().collect() }
    }
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

type Answer = (Result<Rendered, TapError>,);

/// Bare wasmtime with a plugin that implements `item_view`.
pub struct Control {
    bare: Bare,
    lazy: bool,
}

impl Control {
    /// Compiles the component with the settings of `config`.
    ///
    /// # Errors
    ///
    /// What wasmtime says.
    pub fn new(config: &HostConfig, component: &[u8], lazy: bool) -> wasmtime::Result<Self> {
        let interface = if lazy { "tapline:content/item-view-lazy@0.1.0" } else { "tapline:content/item-view@0.1.0" };
        Ok(Self { bare: Bare::new(config, component, interface, "item-view")?, lazy })
    }

    /// One call on a fresh instance.
    ///
    /// # Errors
    ///
    /// What wasmtime or the guest says.
    pub async fn call(&self, item: &Arc<Item>) -> wasmtime::Result<Answered> {
        let ((answer,), ..) = if self.lazy {
            self.bare.call::<(Handle,), Answer>(|state| Ok((state.lend(item)?,))).await?
        } else {
            self.bare.call::<(ItemArgument<'_>,), Answer>(|_| Ok((ItemArgument::new(item),))).await?
        };
        Ok(Answered(answer?))
    }

    /// The time that the call itself took, of one call on a fresh instance: arguments, guest and answer.
    ///
    /// # Errors
    ///
    /// What wasmtime or the guest says.
    pub async fn call_alone(&self, item: &Arc<Item>) -> wasmtime::Result<Duration> {
        let ((answer,), _, stages) = if self.lazy {
            self.bare.call::<(Handle,), Answer>(|state| Ok((state.lend(item)?,))).await?
        } else {
            self.bare.call::<(ItemArgument<'_>,), Answer>(|_| Ok((ItemArgument::new(item),))).await?
        };
        answer?;
        Ok(Duration::from_nanos(stages.call as u64))
    }
}
