//! What an engine and a host cost before any plugin is loaded: the settings, the pool's address space, the linker.
//!
//! `engine` is bare wasmtime with the host's settings, `host` is all of a host; the difference is ours.
//!
//! `cargo bench -p tapline-benches --bench engine_creation`

use criterion::{Criterion, criterion_group, criterion_main};
use tapline_content::register;
use tapline_host_core::{Host, HostConfig, engine_config, swap_is_impossible};
use wasmtime::Engine;

fn engine_creation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("engine_creation");
    group.bench_function("engine", |bencher| {
        bencher.iter_with_large_drop(|| {
            engine_config(&HostConfig::default(), false, swap_is_impossible()).map(|config| Engine::new(&config))
        });
    });
    group.bench_function("host", |bencher| bencher.iter_with_large_drop(|| register(Host::builder()).build()));
    group.finish();
}

criterion_group!(benches, engine_creation);
criterion_main!(benches);
