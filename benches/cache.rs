//! What it costs to find a compiled component in memory: hashing the bytes, and one lookup.
//!
//! The cache trusts no name, so that every load hashes the file: compare the two sizes.
//!
//! `cargo bench -p tapline-benches --bench cache`

use std::error::Error;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tapline_host_core::{
    HostConfig,
    cache::{ArtifactCache, CacheConfig},
    engine_config, swap_is_impossible,
};
use wasmtime::Engine;

#[expect(clippy::panic, reason = "a bench that measures nothing must not look like one that passed")]
fn cache(criterion: &mut Criterion) {
    if let Err(error) = run(criterion) {
        panic!("{error}");
    }
}

fn run(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let engine = Engine::new(&engine_config(&HostConfig::default(), false, swap_is_impossible())?)?;
    let cache = ArtifactCache::new(&engine, CacheConfig::default());
    let mut group = criterion.benchmark_group("cache");
    for (name, bytes) in [("30k", 30_000), ("1m", 1_000_000)] {
        let filler = "x".repeat(bytes);
        let wasm = wat::parse_str(format!(r#"(component (core module (memory 20) (data (i32.const 0) "{filler}")))"#))?;
        cache.get_or_compile(&wasm)?;
        group.throughput(Throughput::Bytes(wasm.len() as u64));
        group.bench_function(format!("hit/{name}"), |bencher| bencher.iter(|| cache.get_or_compile(&wasm)));
    }
    group.finish();
    Ok(())
}

criterion_group!(benches, cache);
criterion_main!(benches);
