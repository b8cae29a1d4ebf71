//! What `cargo xtask gates` measures, one module for each part.

mod awaiting;
mod concurrency;
mod dwcp;
mod large;
mod layers;
mod map;
mod native;
mod nested;
mod serialisation;
mod serve;
mod simd;
mod start;
mod stock;
mod stop;
mod triggers;

use std::{fs, future::Future, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use indicatif::ProgressBar;
use tapline_content::{ContentTypes, ItemPresave, ItemView};
use tapline_host_core::{Host, HostBuilder, HostConfig, PluginName, PluginSpec};

use crate::{
    guest_path,
    report::Row,
    stats::{self, Estimate},
    taps::{Clock, Clocked, Idle, Json, Waiting},
};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Within 15 minutes on 2 cores.
    Full,
    /// Within 3 minutes.
    Quick,
    /// Everything once, to see that it works. Its times mean nothing.
    Smoke,
}

impl Scale {
    /// As it stands in a report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Quick => "quick",
            Self::Smoke => "smoke",
        }
    }

    /// One of three.
    #[must_use]
    pub fn pick<T>(self, full: T, quick: T, smoke: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
            Self::Smoke => smoke,
        }
    }

    /// How many rounds count: at least five, so that there is an interval.
    #[must_use]
    pub fn rounds(self) -> usize {
        self.pick(21, 7, 1)
    }
}

/// One part, with the name by which `--only` asks for it.
pub struct Part {
    /// The name.
    pub name: &'static str,
    /// What it measures, in a few words.
    pub about: &'static str,
    run: fn(&mut Run) -> Result<()>,
}

/// All parts, in their order. `triggers` looks at what the others found, and comes last.
pub const PARTS: [Part; 13] = [
    Part { name: "gate1", about: "lazy, projected, typed full and JSON at four sizes", run: serialisation::run },
    Part { name: "map", about: "where lazy pays: fields read and written", run: map::run },
    Part { name: "gate2", about: "100 in parallel, 1000 and 4000 alive at once", run: concurrency::run },
    Part { name: "gate3", about: "guests that await SQL and time", run: awaiting::run },
    Part { name: "layers", about: "what our layers add to bare wasmtime", run: layers::run },
    Part { name: "dwcp", about: "cold and warm starts of 1 MB, cache", run: dwcp::run },
    Part { name: "start", about: "engine, load, start with 25 plugins, live calls", run: start::run },
    Part { name: "nested", about: "a plugin that calls another one", run: nested::run },
    Part { name: "stock", about: "instances made ahead", run: stock::run },
    Part { name: "stop", about: "guests that spin, their neighbours, and what stopping costs", run: stop::run },
    Part { name: "simd", about: "text with and without vector instructions", run: simd::run },
    Part { name: "native", about: "WebAssembly against the same function, native", run: native::run },
    Part { name: "triggers", about: "when to reconsider", run: triggers::run },
];

/// The part of this name.
///
/// # Errors
///
/// There is none; the error names the nearest.
pub fn part(name: &str) -> Result<&'static Part> {
    PARTS.iter().find(|part| part.name == name).with_context(|| {
        let near = |part: &&Part| (strsim::jaro(part.name, name) * 1000.0) as u32;
        let nearest = PARTS.iter().max_by_key(near).map_or("", |part| part.name);
        let all: Vec<_> = PARTS.iter().map(|part| part.name).collect();
        format!("no gate is called `{name}`; did you mean `{nearest}`? There are {}", all.join(", "))
    })
}

/// A run: what is to be measured, and what was found so far.
pub struct Run {
    /// How much.
    pub scale: Scale,
    progress: ProgressBar,
    rows: Vec<Row>,
}

impl Run {
    /// A run that has found nothing yet.
    #[must_use]
    pub fn new(scale: Scale, progress: ProgressBar) -> Self {
        Self { scale, progress, rows: Vec::new() }
    }

    /// Runs one part.
    ///
    /// # Errors
    ///
    /// A guest was not built, an arm answers something else than the oracle, or the system gives out.
    pub fn part(&mut self, part: &Part) -> Result<()> {
        self.progress.set_prefix(part.name);
        self.say(part.about);
        (part.run)(self).with_context(|| format!("`{}` did not finish", part.name))
    }

    /// What was found.
    #[must_use]
    pub fn into_rows(self) -> Vec<Row> {
        self.rows
    }

    fn say(&self, what: impl Into<String>) {
        self.progress.set_message(what.into());
        self.progress.tick();
    }

    #[expect(clippy::print_stderr, reason = "what goes wrong in a run is said beside its progress")]
    fn warn(&self, what: impl std::fmt::Display) {
        self.progress.suspend(|| eprintln!("warning: {what}"));
    }

    fn add(&mut self, id: impl Into<String>, measured: Estimate) -> Result<()> {
        self.rows.push(Row::new(id, measured)?);
        Ok(())
    }

    /// Adds what rounds in nanoseconds say, in microseconds.
    fn micros(&mut self, id: impl Into<String>, rounds: &[f64]) -> Result<()> {
        let id = id.into();
        ensure!(!rounds.is_empty(), "an arm of {id} has no rounds");
        self.add(id, stats::estimate(rounds).scaled(1e-3))
    }

    /// The same in milliseconds.
    fn millis(&mut self, id: impl Into<String>, rounds: &[f64]) -> Result<()> {
        let id = id.into();
        ensure!(!rounds.is_empty(), "an arm of {id} has no rounds");
        self.add(id, stats::estimate(rounds).scaled(1e-6))
    }

    fn value(&self, id: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.id == id).map(|row| row.measured)
    }
}

/// Runs a part on one thread: what is compared shares it.
fn on_one_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Runs a part on all cores, as a server does.
fn on_all_cores<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// Settings with a pool of this size and a queue that refuses nobody: who waits is part of what is measured.
fn config(pool_size: u32) -> HostConfig {
    // One plugin is to fill the pool.
    let whole = HostConfig { plugin_share_percent: 100, ..HostConfig::default() };
    HostConfig { pool_size, max_waiting: 1 << 20, max_wait: PATIENCE, ..whole }
}

/// Longer than anything takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host for the benches' guests: its own taps beside the standard ones.
fn builder(config: HostConfig) -> HostBuilder {
    Host::builder()
        .config(config)
        .capability(ContentTypes)
        .tap::<ItemView>()
        .tap::<Clocked<ItemPresave>>()
        .tap::<Json>()
        .tap::<Waiting>()
        .tap::<Idle>()
}

/// A host with one guest on a small pool.
async fn host(guest: &str) -> Result<Host> {
    host_with(config(4), guest, Clock::default()).await
}

async fn host_with(config: HostConfig, guest: &str, clock: Clock) -> Result<Host> {
    let host = builder(config).capability(clock).build()?;
    host.load(spec(guest, wasm(guest)?)?).await?;
    Ok(host)
}

fn spec(name: &str, wasm: impl Into<Arc<[u8]>>) -> Result<PluginSpec> {
    Ok(PluginSpec::bytes(PluginName::new(name)?, wasm))
}

/// The bytes of a guest.
fn wasm(guest: &str) -> Result<Vec<u8>> {
    read(&guest_path(guest))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} is missing: run `cargo xtask build-plugins`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_gate_is_an_error_with_the_nearest() {
        assert_eq!(part("gate2").unwrap().name, "gate2");
        let error = part("gaet1").err().unwrap().to_string();
        assert!(error.contains("no gate is called `gaet1`; did you mean `gate1`?"), "{error}");
        assert!(part("layer").err().unwrap().to_string().contains("`layers`"));
    }
}
