//! What loading one plugin costs, by where its code comes from: the compiler, a file, memory.
//!
//! `compile`, `disk` and `memory` are the cache alone; `host` is a load from memory with all its checks, the trial instance
//! and the way into the order of its tap, and the unload after it.
//!
//! `cargo bench -p tapline-benches --bench load_component`

use std::{error::Error, fs};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tapline_benches::{LAZY, plugin_path};
use tapline_content::register;
use tapline_host_core::{
    Host, HostConfig, PluginName, PluginSpec,
    cache::{ArtifactCache, CacheConfig},
    engine_config, swap_is_impossible,
};
use wasmtime::Engine;

#[expect(clippy::panic, reason = "a bench that measures nothing must not look like one that passed")]
fn load_component(criterion: &mut Criterion) {
    if let Err(error) = run(criterion) {
        panic!("{error}: run `cargo xtask build-plugins` first");
    }
}

fn run(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let wasm = fs::read(plugin_path(LAZY))?;
    let engine = Engine::new(&engine_config(&HostConfig::default(), false, swap_is_impossible())?)?;
    let directory = tempfile::tempdir()?;
    let in_memory = || ArtifactCache::new(&engine, CacheConfig::default());
    let on_disk = || {
        let directory = Some(directory.path().to_owned());
        ArtifactCache::new(&engine, CacheConfig { directory, ..CacheConfig::default() })
    };
    on_disk().get_or_compile(&wasm)?;
    let warm = in_memory();
    warm.get_or_compile(&wasm)?;

    let mut group = criterion.benchmark_group("load_component");
    group.sample_size(20);
    group.bench_function("compile", |bencher| {
        bencher.iter_batched(in_memory, |cache| cache.get_or_compile(&wasm), BatchSize::SmallInput);
    });
    group.bench_function("disk", |bencher| {
        bencher.iter_batched(on_disk, |cache| cache.get_or_compile(&wasm), BatchSize::SmallInput);
    });
    group.bench_function("memory", |bencher| bencher.iter(|| warm.get_or_compile(&wasm)));

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let host = register(Host::builder()).build()?;
    let name = PluginName::new(LAZY)?;
    let spec = PluginSpec::bytes(name.clone(), wasm.clone());
    runtime.block_on(async {
        host.load(spec.clone()).await?;
        host.unload(&name).await
    })?;
    group.bench_function("host", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let loaded = host.load(spec.clone()).await;
            (loaded, host.unload(&name).await)
        });
    });
    group.finish();
    Ok(())
}

criterion_group!(benches, load_component);
criterion_main!(benches);
