//! Plugins that reach for more than they were granted.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod ambient;
mod cancelled;
mod connecting;
mod directories;
mod file_streams;
mod guests;
mod loading;
mod raw_paths;
mod refused;
mod sizes;
mod streams;

use std::{path::PathBuf, sync::Arc};

use serde_json::{Value as Json, json};
use tapline_content::{Field, Header, Item, ItemView, Value};
use tapline_host_core::{BreakerSettings, Fault, Host, HostConfig, PluginName, PluginSpec};
use tempfile::TempDir;

fn component(plugin: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/plugins/{plugin}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask build-plugins`", path.display()))
}

fn name(plugin: &str) -> PluginName {
    PluginName::new(plugin).unwrap()
}

fn config() -> HostConfig {
    // Some plugins fail here more often in a row than a circuit breaker lets them.
    HostConfig { pool_size: 4, breaker: BreakerSettings::OFF, ..HostConfig::default() }
}

fn host() -> Host {
    let builder = tapline_content::register(Host::builder().config(config()));
    tapline_host_wasi::register(builder).build().unwrap()
}

/// A directory with a secret, and in it the directory that is granted.
struct Place {
    outside: TempDir,
}

impl Place {
    fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir(outside.path().join("data")).unwrap();
        std::fs::write(outside.path().join("secret"), "the secret").unwrap();
        Self { outside }
    }

    fn data(&self) -> PathBuf {
        self.outside.path().join("data")
    }

    /// Everything outside of what is granted is as it was.
    #[track_caller]
    fn check_outside(&self) {
        let entries = std::fs::read_dir(self.outside.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["data", "secret"]);
        assert_eq!(std::fs::read_to_string(self.outside.path().join("secret")).unwrap(), "the secret");
    }

    fn grant(&self, access: &str) -> Json {
        json!({ "directories": [{ "path": self.data(), "at": "/data", "access": access }] })
    }

    /// The same with a limit.
    fn grant_with(&self, access: &str, limit: &str, value: u64) -> Json {
        let mut grant = self.grant(access);
        grant[limit] = value.into();
        grant
    }
}

/// A host with the probe, which may use the clock, and files as granted.
async fn probe(files: Json) -> Host {
    let host = host();
    host.load(probe_spec(files)).await.unwrap();
    host
}

fn probe_spec(files: Json) -> PluginSpec {
    PluginSpec::bytes(name("probe-wasi"), component("probe-wasi"))
        .grant("files", files)
        .grant("clocks", true)
        .grant("random", true)
}

fn item(field: &str, value: &str) -> Arc<Item> {
    let header = Header {
        id: "a".into(),
        revision: 1,
        kind: "document".into(),
        title: "A".into(),
        author: "Ada".into(),
        published: true,
        promoted: false,
        sticky: false,
        created: 0,
        changed: 0,
    };
    Arc::new(Item::new(header, [Field { name: field.into(), value: Value::Text(value.into()) }]).unwrap())
}

/// What came of each command of one call.
async fn answers(host: &Host, commands: &[&str]) -> Vec<String> {
    let outcome = host.dispatch(ItemView, &item("do", &commands.join("\n"))).await.unwrap();
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert_eq!(host.slots().0, 0);
    let body = outcome.answers[0].1.body().to_owned();
    let text = body.strip_prefix("<pre>").and_then(|rest| rest.strip_suffix("</pre>")).unwrap_or(&body);
    text.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Runs the commands in one call, and compares what came of each.
async fn check(host: &Host, commands: &[(&str, &str)]) {
    let (asked, expected): (Vec<&str>, Vec<&str>) = commands.iter().copied().unzip();
    let found = answers(host, &asked).await;
    let lines = |answers: &[&str]| asked.iter().zip(answers).map(|(a, b)| format!("{a} -> {b}")).collect::<Vec<_>>();
    assert_eq!(lines(&found.iter().map(String::as_str).collect::<Vec<_>>()), lines(&expected));
}

/// The fault of a call with these commands.
async fn fault(host: &Host, commands: &str) -> Fault {
    let outcome = host.dispatch(ItemView, &item("do", commands)).await.unwrap();
    let error = outcome.failures.into_iter().next().unwrap_or_else(|| panic!("`{commands}` did no harm"));
    assert_eq!((error.plugin.as_str(), error.tap.as_ref()), ("probe-wasi", "item_view"));
    assert_eq!((host.slots().0, host.memory().usage().current_pages), (0, 0));
    error.fault
}
