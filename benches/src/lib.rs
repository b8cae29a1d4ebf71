//! Benches of the hot paths, each with bare wasmtime as its control.
//!
//! The control calls the same component bytes with the same engine settings, the same arguments and the same types, and
//! nothing else: no limiter, no deadline, no queue, no metrics, no folding. What our layers cost is then a ratio that is
//! taken in one run.
//!
//! `cargo xtask build-plugins` makes the components that the benches call.

pub mod control;

use std::{path::PathBuf, sync::Arc};

use tapline_content::{Field, FormattedText, Header, Item, Reference, Value};
use tapline_host_core::{Host, HostConfig, HostError, LoadError, PluginName, PluginSpec};
use tapline_sdk_testing::sample;

/// The plugin that gets the whole item.
pub const FULL: &str = "teaser";
/// The plugin that gets a handle.
pub const LAZY: &str = "teaser-lazy";

/// The payload of all benches: the sample article, 14 fields, about 2.4 KB as JSON.
///
/// # Panics
///
/// The sample breaks a rule of items.
#[must_use]
#[expect(clippy::expect_used, reason = "the sample is part of this repository")]
pub fn article() -> Arc<Item> {
    let sample = sample::article();
    let from = sample.header();
    let header = Header {
        id: from.id.as_str().into(),
        revision: from.revision,
        kind: from.kind.as_str().into(),
        title: from.title.as_str().into(),
        author: from.author.as_str().into(),
        published: from.published,
        promoted: from.promoted,
        sticky: from.sticky,
        created: from.created,
        changed: from.changed,
    };
    let fields = sample.fields().map(|field| Field { name: field.name.as_str().into(), value: value(&field.value) });
    Arc::new(Item::new(header, fields).expect("the sample is an item"))
}

fn value(value: &tapline_sdk::Value) -> Value {
    use tapline_sdk::Value as From;
    let reference = |from: &tapline_sdk::Reference| Reference {
        kind: from.kind.as_str().into(),
        id: from.id.as_str().into(),
        label: from.label.as_str().into(),
    };
    match value {
        From::Null => Value::Null,
        From::Boolean(answer) => Value::Boolean(*answer),
        From::Integer(number) => Value::Integer(*number),
        From::Float(number) => Value::Float(*number),
        From::Text(text) => Value::Text(text.as_str().into()),
        From::Formatted(from) => {
            Value::Formatted(FormattedText { format: from.format.as_str().into(), text: from.text.as_str().into() })
        }
        From::Reference(from) => Value::Reference(reference(from)),
        From::References(from) => Value::References(from.iter().map(reference).collect()),
        From::Json(text) => Value::Json(text.as_str().into()),
    }
}

/// Where `cargo xtask build-plugins` puts a plugin.
#[must_use]
pub fn plugin_path(plugin: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/plugins")).join(format!("{plugin}.wasm"))
}

/// A host with one plugin.
///
/// # Errors
///
/// The host cannot be built, or the plugin was not built; see [`plugin_path`].
pub async fn host_with(config: HostConfig, plugin: &str) -> Result<Host, Box<dyn std::error::Error>> {
    let host: Result<Host, HostError> = tapline_content::register(Host::builder().config(config)).build();
    let host = host?;
    let loaded: Result<_, LoadError> = host.load(PluginSpec::file(PluginName::new(plugin)?, plugin_path(plugin))).await;
    loaded?;
    Ok(host)
}
