//! A site whose plugins are replaced all the time: what `cargo xtask observability` watches.
//!
//! It serves documents through the sample plugins in a directory, with a pool that is too small, and every second loads a new version of
//! one of them, as a rollout does, and the code of another from disk, as a start does. Prints `listening on http://ADDRESS`; ends with SIGTERM or Ctrl-C.
//!
//! `rollout PLUGINS DOCUMENT...`: the directory with the components, and the documents or directories of them.

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tapline_content::register;
use tapline_host_core::{Host, HostConfig, PluginName, PluginSpec, Stock};
use tapline_host_database::{Database, DatabaseConfig};
use tapline_host_log::Log;
use tapline_server::{Server, ServerConfig, SpecSource};
use tapline_store::{Store, import};
use tokio::net::TcpListener;

const PLUGINS: [&str; 6] = ["seo", "reading-time", "related", "house-style", "embargo", "audit-log"];

/// A new version of it is loaded again and again.
const REPLACED: &str = "reading-time";
/// Has instances that are made ahead, and is called with each page.
const STOCKED: &str = "embargo";

/// Less than a page with its plugins takes at once, so that calls wait.
const POOL: u32 = 2;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let plugins = arguments.next().ok_or("usage: rollout PLUGINS DOCUMENT...")?;
    let directory = tempfile::tempdir()?;
    let url = format!("sqlite:{}", directory.path().join("site.db").display());
    let store = Store::open(&url).await?;
    let database = Database::connect(&url, DatabaseConfig::default()).await?;
    let cache_directory = Some(directory.path().join("cache"));
    let config = HostConfig { pool_size: POOL, cache_directory, ..HostConfig::default() };
    let host = register(Host::builder().config(config)).capability(Log).capability(database.clone()).build()?;
    database.record_with(host.metrics().host_call("database"));
    // It logs nothing, and so loses nothing of its log.
    host.metrics().share_log_lines_lost(Arc::default());
    for plugin in PLUGINS {
        host.load(spec(&plugins, plugin)?).await?;
    }
    import(&store, &host, &arguments.collect::<Vec<_>>(), |_| {}).await;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    #[expect(clippy::print_stdout, reason = "whoever started it waits for the address")]
    {
        println!("listening on http://{}", listener.local_addr()?);
    }
    host.metrics().set_process_start(started.elapsed());
    let directory_of_plugins = plugins.clone();
    let specs = SpecSource::new(move |name| {
        spec(&directory_of_plugins, name.as_str()).map(Some).map_err(|error| error.to_string())
    });
    let server = Server::new(host.clone(), store, ServerConfig { specs: Some(specs), ..ServerConfig::default() });
    let replacing = async {
        let mut every = tokio::time::interval(Duration::from_secs(1));
        let functions = host.load_functions(spec(&plugins, STOCKED)?).await?;
        let replaced = std::fs::read(file(&plugins, REPLACED))?;
        for version in 0_u32.. {
            every.tick().await;
            functions.load_again().await?;
            host.unload(&PluginName::new(REPLACED)?).await?;
            // A custom section more: an empty name, and the number of the version.
            let bytes = [&replaced[..], &[0, 5, 0], &version.to_le_bytes()].concat();
            host.load(PluginSpec::bytes(PluginName::new(REPLACED)?, bytes)).await?;
        }
        Ok(())
    };
    tokio::select! {
        served = server.serve(listener, asked_to_end()) => drop(served?),
        ended = replacing => return ended,
    }
    Ok(())
}

fn spec(directory: &Path, plugin: &str) -> Result<PluginSpec, Box<dyn Error>> {
    let spec = PluginSpec::file(PluginName::new(plugin)?, file(directory, plugin));
    Ok(match plugin {
        "related" => spec.grant("database", "read"),
        STOCKED => PluginSpec { stock: Some(Stock { min: 1, max: 1 }), ..spec },
        _ => spec,
    })
}

fn file(directory: &Path, plugin: &str) -> PathBuf {
    directory.join(plugin).with_extension("wasm")
}

#[cfg(unix)]
async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn asked_to_end() {
    let _ = tokio::signal::ctrl_c().await;
}
