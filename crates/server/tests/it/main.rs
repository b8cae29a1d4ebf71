//! Pages over HTTP, from real plugins and a real database.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as it should be")]

mod actions;
mod clients;
mod hostile;
mod instruments;
mod markup;
mod operators;
mod pages;
mod requests;
mod service;

use std::{cell::RefCell, io, path::Path, sync::LazyLock, time::Duration};

use tapline_content::{Field, FormattedText, Header, Item, Value, register};
use tapline_host_core::{Host, HostConfig, PluginName, PluginSpec, limits::PartialLimits};
use tapline_host_database::{Database, DatabaseConfig};
use tapline_host_log::Log;
use tapline_server::{Server, ServerConfig};
use tapline_store::{Store, StoreConfig, import};
use tapline_telemetry::{Recorder, Traces};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tracing_subscriber::{Layer as _, filter::LevelFilter, prelude::*};

/// The traces of all tests. One subscriber hears of everything, from before there is a site: what it is that a place in the code
/// writes may stay unknown to one that comes later.
fn traces() -> Traces {
    static TRACES: LazyLock<Traces> = LazyLock::new(|| {
        // More than all tests together ask for while one looks at its own.
        let traces = Traces::new(100_000);
        let lines = tracing_subscriber::fmt::layer().json().with_writer(|| OfThread).with_filter(LevelFilter::INFO);
        let recorder = Recorder::new(traces.clone()).layer();
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines).with(recorder)).unwrap();
        traces
    });
    TRACES.clone()
}

thread_local! {
    static LOGGED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes to what this thread has logged. All of a site runs on the thread of its test.
struct OfThread;

impl io::Write for OfThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.with_borrow_mut(|logged| logged.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The warnings of this thread since it was asked for them last, each a document.
fn warnings() -> Vec<serde_json::Value> {
    let text = String::from_utf8(LOGGED.take()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter(|line| line["level"] != "INFO").collect()
}

/// A site that answers at an address of its own.
struct Site {
    directory: TempDir,
    store: Store,
    host: Host,
    address: String,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<std::io::Result<bool>>,
}

struct Answer {
    status: u16,
    body: String,
    headers: ureq::http::HeaderMap,
}

impl From<ureq::http::Response<ureq::Body>> for Answer {
    fn from(mut response: ureq::http::Response<ureq::Body>) -> Self {
        Self {
            status: response.status().as_u16(),
            body: response.body_mut().with_config().limit(64 << 20).read_to_string().unwrap(),
            headers: response.headers().clone(),
        }
    }
}

impl Answer {
    #[track_caller]
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name}")).to_str().unwrap()
    }
}

impl Site {
    async fn new(plugins: &[&str]) -> Self {
        Self::with(plugins, ServerConfig::default(), HostConfig { pool_size: 10, ..HostConfig::default() }).await
    }

    async fn with(plugins: &[&str], server: ServerConfig, config: HostConfig) -> Self {
        Self::on(&StoreConfig::default(), plugins, server, config).await
    }

    async fn on(store: &StoreConfig, plugins: &[&str], server: ServerConfig, config: HostConfig) -> Self {
        traces();
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("site.db").display());
        let store = Store::open_with(&url, store).await.unwrap();
        let database = Database::connect(&url, DatabaseConfig::default()).await.unwrap();
        let host =
            register(Host::builder().config(config)).capability(Log).capability(database.clone()).build().unwrap();
        database.record_with(host.metrics().host_call("database"));
        for plugin in plugins {
            host.load(spec(plugin)).await.unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let server = Server::new(host.clone(), store.clone(), server);
        let served = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            server.serve(listener, stopped).await
        });
        Self { directory, store, host, address, stop: Some(stop), served }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(path, &[]).await
    }

    async fn ask(&self, path: &str, headers: &[(&'static str, &'static str)]) -> Answer {
        self.asking(path, headers).await.unwrap()
    }

    /// The same as a task that runs meanwhile.
    fn asking(&self, path: &str, headers: &[(&'static str, &'static str)]) -> JoinHandle<Answer> {
        let (url, headers) = (format!("{}{path}", self.address), headers.to_vec());
        let fetch = move || {
            let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
            let request =
                headers.into_iter().fold(agent.get(&url), |request, (name, value)| request.header(name, value));
            Answer::from(request.call().unwrap())
        };
        tokio::task::spawn_blocking(fetch)
    }

    /// Sends a form, and follows no redirect.
    async fn post(&self, path: &str, headers: &[(&'static str, &str)], form: &str) -> Answer {
        let (url, form) = (format!("{}{path}", self.address), form.to_owned());
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let send = move || {
            let agent = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().new_agent();
            let mut request = agent.post(&url);
            if headers.iter().all(|(name, _)| *name != "content-type") {
                request = request.header("content-type", "application/x-www-form-urlencoded");
            }
            let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
            Answer::from(request.send(form.as_str()).unwrap())
        };
        tokio::task::spawn_blocking(send).await.unwrap()
    }

    /// Asks the server to end, and says whether everything ended in order.
    async fn stop(&mut self) -> bool {
        self.stop.take().unwrap().send(()).unwrap();
        (&mut self.served).await.unwrap().unwrap()
    }

    async fn save(&self, item: Item) {
        self.store.save(&self.host, item).await.unwrap();
    }

    /// Stores an item as it is: no plugin of the site has a say.
    async fn put(&self, item: Item) {
        let bare = register(Host::builder().config(HostConfig { pool_size: 1, ..HostConfig::default() }));
        self.store.save(&bare.build().unwrap(), item).await.unwrap();
    }

    async fn import(&self, documents: &[(&str, &str)]) {
        let root = self.directory.path().join("tree");
        for (name, text) in documents {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let report = import(&self.store, &self.host, &[root], |_| {}).await;
        assert!(report.bad.is_empty() && report.failures.is_empty(), "{report:?}");
    }
}

fn spec(plugin: &str) -> PluginSpec {
    let path = Path::new("../../target/plugins").join(plugin).with_extension("wasm");
    assert!(path.exists(), "{} is missing: run `cargo xtask build-plugins`", path.display());
    let spec = PluginSpec::file(PluginName::new(plugin).unwrap(), path);
    match plugin {
        "related" => spec.grant("database", "read"),
        // A loop shall end before the patience of whoever runs the tests.
        "probe" => spec.limits(PartialLimits {
            max_execution_time_ms: Some(Duration::from_millis(500).as_millis() as u64),
            ..PartialLimits::default()
        }),
        _ => spec,
    }
}

fn item(id: &str, title: &str, fields: impl IntoIterator<Item = (&'static str, Value)>) -> Item {
    let header = Header {
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
    };
    let fields = fields.into_iter().map(|(name, value)| Field { name: name.into(), value });
    Item::new(header, fields).unwrap()
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn formatted(format: &str, text: &str) -> Value {
    Value::Formatted(FormattedText { format: format.into(), text: text.into() })
}

#[track_caller]
fn has(page: &str, part: &str) {
    assert!(page.contains(part), "no `{part}` in\n{page}");
}

#[track_caller]
fn has_not(page: &str, part: &str) {
    assert!(!page.contains(part), "`{part}` in\n{page}");
}
