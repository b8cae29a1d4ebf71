//! The standard taps through a real host, with plugins that `cargo xtask build-plugins` made.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod crossing;
mod hostile;

use std::{path::PathBuf, sync::Arc};

use tapline_content::{Field, FormattedText, Header, Item, Reference, Value};
use tapline_host_core::{BreakerSettings, Host, HostConfig, PluginName, PluginSpec};

/// The plugins that implement every tap: one in full form, one through handles.
const PROBES: [&str; 2] = ["probe", "probe-lazy"];

fn bytes(plugin: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/plugins/{plugin}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask build-plugins`", path.display()))
}

/// With the default limits: what is to fail by another limit has time enough for it, however busy the machine is.
fn host() -> Host {
    // Some plugins fail here more often in a row than a circuit breaker lets them.
    let config = HostConfig { pool_size: 8, breaker: BreakerSettings::OFF, ..HostConfig::default() };
    let builder = tapline_content::register(Host::builder().config(config));
    builder.capability(tapline_host_log::Log).build().unwrap()
}

async fn host_with(plugin: &str) -> Host {
    let host = host();
    host.load(PluginSpec::bytes(name(plugin), bytes(plugin))).await.unwrap();
    host
}

fn name(plugin: &str) -> PluginName {
    PluginName::new(plugin).unwrap()
}

/// An item with a field of each kind, and `command` in the field `do`.
fn item(command: &str) -> Arc<Item> {
    let reference = |id: &str| Reference { kind: "tag".into(), id: id.into(), label: id.to_uppercase().into() };
    let fields = [
        ("do", Value::Text(command.into())),
        ("gone", Value::Null),
        ("flag", Value::Boolean(true)),
        ("views", Value::Integer(-7)),
        ("rating", Value::Float(4.5)),
        ("body", Value::Formatted(FormattedText { format: "markdown".into(), text: "**b** & <i>".into() })),
        ("category", Value::Reference(reference("c"))),
        ("tags", Value::References([reference("a"), reference("b")].into())),
        ("extra", Value::Json(r#"{"a":[1,2]}"#.into())),
    ];
    let fields = fields.map(|(name, value)| Field { name: name.into(), value });
    Arc::new(Item::new(header(), fields).unwrap())
}

fn header() -> Header {
    Header {
        id: "readme".into(),
        revision: 3,
        kind: "document".into(),
        title: "Über Ärger 🦀".into(),
        author: "Ada".into(),
        published: true,
        promoted: false,
        sticky: true,
        created: -1,
        changed: 1_700_000_000,
    }
}
