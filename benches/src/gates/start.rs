//! What it costs to start: an engine, a host, a plugin from disk, 25 of them; and what a call costs that starts nothing.

use std::{collections::BTreeMap, fs, hint::black_box, path::Path, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use tapline_host_core::{
    Host, HostConfig,
    cache::{ArtifactCache, CacheConfig, Source, Wasm},
    engine_config, swap_is_impossible,
};
use tempfile::TempDir;
use wasmtime::{Engine, component::Component};

use super::{Run, builder, config, large, on_all_cores, on_one_thread, read, serialisation::Case, serve, spec, wasm};
use crate::{
    FULL, LAZY,
    bare::{self, Bare, Ours as _},
    machine::resident_bytes,
    measure::nanoseconds,
    plugin_path,
    stats::{self, Estimate},
    taps::{Clock, WAITING},
};

/// The figure of the requirements.
pub(super) const PLUGINS: u8 = 25;

pub(super) fn run(run: &mut Run) -> Result<()> {
    on_all_cores(async {
        engines(run)?;
        loads(run).await?;
        mapped(run, "airssys.load", wasm("gate-lazy")?).await?;
        mapped(run, "airssys.load-1mb", large::component(run.scale.pick(1_000_000, 1_000_000, 50_000), 1)?).await?;
        start(run).await
    })?;
    serve::run(run)?;
    on_one_thread(async { live(run).await })?;
    for (id, plugin) in [("p8.artifact.lazy", LAZY), ("p8.artifact.full", FULL)] {
        let path = plugin_path(plugin);
        let bytes = fs::metadata(&path).with_context(|| path.display().to_string())?.len();
        run.add(id, Estimate::exact(bytes as f64 / 1024.0))?;
    }
    Ok(())
}

fn engines(run: &mut Run) -> Result<()> {
    run.say("engines and hosts");
    let (mut engines, mut hosts) = (Vec::new(), Vec::new());
    for _ in 0..run.scale.pick(100, 30, 1) {
        let settings = engine_config(&HostConfig::default(), false, swap_is_impossible())?;
        let start = Instant::now();
        let engine = Engine::new(&settings).ours()?;
        engines.push(nanoseconds(start));
        drop(engine);

        let start = Instant::now();
        let host = builder(config(100)).capability(Clock::default()).build()?;
        hosts.push(nanoseconds(start));
        drop(host);
    }
    run.millis("airssys.engine", &engines)?;
    run.millis("airssys.host", &hosts)
}

fn kept_in(directory: &TempDir) -> HostConfig {
    HostConfig { cache_directory: Some(directory.path().to_owned()), ..config(100) }
}

async fn loads(run: &mut Run) -> Result<()> {
    run.say("compiled plugins from disk, into a host that runs");
    let small = wasm("gate-lazy")?;
    let large = large::component(run.scale.pick(1_000_000, 1_000_000, 50_000), 1)?;
    let rounds = run.scale.pick(20, 10, 1);
    run.micros("airssys.load", &loaded(&small, run.scale.pick(50, 20, 2), rounds).await?)?;
    run.millis("airssys.load-1mb", &loaded(&large, run.scale.pick(6, 4, 2), rounds).await?)?;

    let directory = tempfile::tempdir()?;
    let small: Arc<[u8]> = small.into();
    let case = Case::new(2_400)?;
    let mut cold = Vec::new();
    for round in 0..=run.scale.pick(200, 50, 1) {
        let start = Instant::now();
        let host = builder(kept_in(&directory)).capability(Clock::default()).build()?;
        host.load(spec("small", Arc::clone(&small))?).await?;
        case.typed(&host).await?;
        // The first one compiles.
        if round > 0 {
            cold.push(nanoseconds(start));
            ensure!(compilations(&host)? == 0, "it was compiled again");
        }
    }
    run.millis("riptide.cold", &cold)
}

/// How long each of many plugins takes to load that were compiled before, in nanoseconds: in each round a new host, and of all
/// but its first plugin the median.
async fn loaded(wasm: &[u8], count: u8, rounds: usize) -> Result<Vec<f64>> {
    let directory = tempfile::tempdir()?;
    let files = variants(wasm, count);
    let mut medians = Vec::new();
    for round in 0..=rounds {
        let host = builder(kept_in(&directory)).capability(Clock::default()).build()?;
        let mut times = Vec::new();
        for (number, file) in files.iter().enumerate() {
            let spec = spec(&format!("plugin-{number}"), Arc::clone(file))?;
            let start = Instant::now();
            host.load(spec).await?;
            times.push(nanoseconds(start));
        }
        // The first one compiles.
        if round > 0 {
            ensure!(compilations(&host)? == 0, "they were compiled again");
            medians.push(stats::median(&times[1..]));
        }
    }
    Ok(medians)
}

/// The cache alone: hashing the bytes, finding the file, checking and mapping it. Beside it, what the engine alone takes to map a
/// file that nobody checks, and then to link it and to make its first instance.
async fn mapped(run: &mut Run, id: &str, wasm: Vec<u8>) -> Result<()> {
    let wasm: Arc<[u8]> = wasm.into();
    let directory = tempfile::tempdir()?;
    let engine = Engine::new(&engine_config(&config(4), false, swap_is_impossible())?).ours()?;
    let linker = bare::link(&engine).ours()?;
    let unchecked = directory.path().join("unchecked");
    let artifact = engine.precompile_component(&wasm).ours()?;
    fs::write(&unchecked, &artifact)?;
    let mut parts = BTreeMap::<_, Vec<f64>>::new();
    let mut add = |part, start| parts.entry(part).or_default().push(nanoseconds(start));
    for round in 0..=run.scale.pick(200, 50, 1) {
        let settings = CacheConfig { directory: Some(directory.path().join("cache")), ..CacheConfig::default() };
        let cache = ArtifactCache::new(&engine, settings);
        let start = Instant::now();
        let loaded = cache.get_or_compile(&wasm)?;
        if round > 0 {
            add("cache", start);
            ensure!(loaded.source == Source::Disk, "it came from {:?}", loaded.source);
        }
        drop((loaded, cache));
        let start = Instant::now();
        black_box(Wasm::new(wasm.clone()));
        add("hash", start);
        let start = Instant::now();
        black_box(blake3::hash(&artifact));
        add("authenticator", start);
        let start = Instant::now();
        let component = map(&engine, &unchecked).ours()?;
        add("engine", start);
        let start = Instant::now();
        let mut store = bare::store(&engine);
        linker.instantiate_pre(&component).ours()?.instantiate_async(&mut store).await.ours()?;
        drop(store);
        add("first", start);
    }
    for (part, times) in parts {
        let id = format!("{id}.{part}");
        if id.contains("1mb") { run.millis(&id, &times) } else { run.micros(&id, &times) }?;
    }
    Ok(())
}

#[expect(unsafe_code, reason = "the control: what nobody checks is mapped by a function that is unsafe")]
fn map(engine: &Engine, file: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file is what this process has just written, in a directory of its own, as `precompile_component` gave it.
    unsafe { Component::deserialize_file(engine, file) }
}

/// A host with 25 plugins that were compiled before.
async fn start(run: &mut Run) -> Result<()> {
    run.say("a host with 25 plugins");
    let directory = tempfile::tempdir()?;
    let files = plugins()?;
    let (mut times, mut compiled, mut resident) = (Vec::new(), 0, 0);
    for round in 0..=run.scale.pick(50, 20, 1) {
        let start = Instant::now();
        let host = builder(kept_in(&directory)).capability(Clock::default()).build()?;
        let load = |(number, file): (usize, &Arc<[u8]>)| {
            let (host, file) = (host.clone(), Arc::clone(file));
            async move { anyhow::Ok(host.load(spec(&format!("plugin-{number}"), file)?).await?) }
        };
        let plugins = try_join_all(files.iter().enumerate().map(load)).await?;
        let time = nanoseconds(start);
        ensure!(plugins.len() == usize::from(PLUGINS) && host.plugins().len() == plugins.len());
        if round > 0 {
            times.push(time);
            compiled += compilations(&host)?;
        }
        resident = resident_bytes()?;
    }
    run.millis("p8.start", &times)?;
    run.add("p8.start.compilations", Estimate::exact(compiled as f64))?;
    run.add("p8.rss", Estimate::exact(resident as f64 / f64::from(1 << 20)))
}

/// The files of [`PLUGINS`] plugins.
pub(super) fn plugins() -> Result<Vec<Arc<[u8]>>> {
    Ok(variants(&read(&plugin_path(LAZY))?, PLUGINS))
}

/// Different files, as far as anybody can tell: each has a section of its own at its end, with a letter or a sign for its name.
fn variants(wasm: &[u8], count: u8) -> Vec<Arc<[u8]>> {
    (0..count).map(|number| [wasm, &[0, 2, 1, b'!' + number]].concat().into()).collect()
}

/// How many plugins a host has compiled.
fn compilations(host: &Host) -> Result<u64> {
    compilations_in(&host.metrics().render()?)
}

/// The same from the text of its metrics.
pub(super) fn compilations_in(text: &str) -> Result<u64> {
    let line = text.lines().find(|line| line.starts_with("tapline_cache_loads_total") && line.contains("\"compiled\""));
    // A counter that never moved has no line.
    line.map_or(Ok(0), |line| line.rsplit(' ').next().unwrap_or_default().parse().context(line.to_owned()))
}

/// An empty call on an instance that lives on, sync and as a fiber.
async fn live(run: &mut Run) -> Result<()> {
    run.say("calls on a live instance");
    let bare = Bare::new(&config(4), &wasm("waiting")?, WAITING, "idle").ours()?;
    let (sync, fiber) = live_rounds(&bare, run.scale.rounds(), run.scale.pick(2000, 1000, 2)).await.ours()?;
    run.micros("airssys.call.sync", &sync[1..])?;
    run.micros("airssys.call.async", &fiber[1..])
}

/// Too short for clocks of their own: the time of many calls, divided. The first round warms up.
async fn live_rounds(bare: &Bare, rounds: usize, calls: u32) -> wasmtime::Result<(Vec<f64>, Vec<f64>)> {
    let (pre, function) = bare.parts();
    let mut store = bare.store();
    let instance = pre.instantiate_async(&mut store).await?;
    let function = instance.get_typed_func::<(u32,), (u32,)>(&mut store, function)?;
    let (mut sync, mut fiber) = (Vec::new(), Vec::new());
    for _ in 0..=rounds {
        let start = Instant::now();
        for number in 0..calls {
            wasmtime::ensure!(function.call(&mut store, (number,))?.0 == number, "another answer");
        }
        sync.push(nanoseconds(start) / f64::from(calls));
        let start = Instant::now();
        for number in 0..calls {
            wasmtime::ensure!(function.call_async(&mut store, (number,)).await?.0 == number, "another answer");
        }
        fiber.push(nanoseconds(start) / f64::from(calls));
    }
    Ok((sync, fiber))
}
