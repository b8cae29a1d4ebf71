//! What a call costs of a function that does nothing: on an instance that lives on, and on a fresh one.
//!
//! `live/sync` and `live/async` are bare wasmtime on one instance; `fresh/bare` makes one for each call, and `fresh/host`
//! is a dispatch.
//!
//! `cargo bench -p tapline-benches --bench execute_function`

use std::{cell::RefCell, error::Error, fs};

use criterion::{Criterion, criterion_group, criterion_main};
use tapline_benches::{
    bare::Bare,
    guest_path,
    taps::{Clock, Idle, WAITING},
};
use tapline_host_core::{Host, HostConfig, PluginName, PluginSpec};

#[expect(clippy::panic, reason = "a bench that measures nothing must not look like one that passed")]
fn execute_function(criterion: &mut Criterion) {
    if let Err(error) = run(criterion) {
        panic!("{error}: run `cargo xtask build-plugins` first");
    }
}

#[expect(clippy::await_holding_refcell_ref, reason = "one thread, one call at a time")]
fn run(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let wasm = fs::read(guest_path("waiting"))?;
    let bare = Bare::new(&HostConfig::default(), &wasm, WAITING, "idle")?;
    let (pre, function) = bare.parts();
    let mut store = bare.store();
    let instance = runtime.block_on(pre.instantiate_async(&mut store))?;
    let function = instance.get_typed_func::<(u32,), (u32,)>(&mut store, function)?;
    let store = RefCell::new(store);
    let host = Host::builder().capability(Clock::default()).tap::<Idle>().build()?;
    runtime.block_on(host.load(PluginSpec::bytes(PluginName::new("waiting")?, wasm)))?;

    let mut group = criterion.benchmark_group("execute_function");
    group.bench_function("live/sync", |bencher| bencher.iter(|| function.call(&mut *store.borrow_mut(), (7,))));
    group.bench_function("live/async", |bencher| {
        bencher.to_async(&runtime).iter(async || function.call_async(&mut *store.borrow_mut(), (7,)).await);
    });
    group.bench_function("fresh/bare", |bencher| {
        bencher.to_async(&runtime).iter(async || bare.call::<(u32,), (u32,)>(|_| Ok((7,))).await);
    });
    group.bench_function("fresh/host", |bencher| {
        bencher.to_async(&runtime).iter(async || host.dispatch(Idle, &7).await);
    });
    group.finish();
    Ok(())
}

criterion_group!(benches, execute_function);
criterion_main!(benches);
