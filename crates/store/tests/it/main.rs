//! A store with real files, real databases and real plugins.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod import;
mod open;
mod save;

use std::{path::Path, sync::LazyLock};

use tapline_content::{Field, FormattedText, Header, Item, Reference, Value, register};
use tapline_host_core::{Host, HostConfig, PluginName, PluginSpec};
use tapline_store::Store;
use tempfile::TempDir;

/// A database in a directory of its own.
struct Site {
    directory: TempDir,
    store: Store,
}

impl Site {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&url(&directory.path().join("site.db"))).await.unwrap();
        Self { directory, store }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

/// A host without plugins. One for all tests: it reserves much address space.
fn bare() -> &'static Host {
    static HOST: LazyLock<Host> = LazyLock::new(host);
    &HOST
}

fn host() -> Host {
    let config = HostConfig { pool_size: 10, ..HostConfig::default() };
    register(Host::builder().config(config)).capability(tapline_host_log::Log).build().unwrap()
}

async fn host_with(plugin: &str) -> Host {
    let path = Path::new("../../target/plugins").join(plugin).with_extension("wasm");
    assert!(path.exists(), "{} is missing: run `cargo xtask build-plugins`", path.display());
    let host = host();
    host.load(PluginSpec::file(PluginName::new(plugin).unwrap(), path)).await.unwrap();
    host
}

fn header(id: &str, title: &str) -> Header {
    Header {
        id: id.into(),
        revision: 0,
        kind: "document".into(),
        title: title.into(),
        author: "".into(),
        published: true,
        promoted: false,
        sticky: false,
        created: 0,
        changed: 0,
    }
}

fn item(id: &str, title: &str, fields: impl IntoIterator<Item = (&'static str, Value)>) -> Item {
    let fields = fields.into_iter().map(|(name, value)| Field { name: name.into(), value });
    Item::new(header(id, title), fields).unwrap()
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn every_value() -> Vec<(&'static str, Value)> {
    let reference = |id: &str| Reference { kind: "tag".into(), id: id.into(), label: id.to_uppercase().into() };
    vec![
        ("null", Value::Null),
        ("boolean", Value::Boolean(true)),
        ("integer", Value::Integer(i64::MIN)),
        ("float", Value::Float(0.1)),
        ("text", text("\0 \u{1F980} '\"")),
        ("formatted", Value::Formatted(FormattedText { format: "html".into(), text: "<p>".into() })),
        ("reference", Value::Reference(reference("one"))),
        ("tags", Value::References([reference("a"), reference("b"), reference("a")].into())),
        ("json", Value::Json("{\"a\":[1]}".into())),
    ]
}
