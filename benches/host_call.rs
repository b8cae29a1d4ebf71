//! What one call of a host function costs: reading fields through a handle, none of them up to eight.
//!
//! The first eight fields of the plan are small. Two numbers with their difference divided by that of their counts are the
//! price of one crossing, with the name in and the value out.
//!
//! `cargo bench -p tapline-benches --bench host_call`

use std::{error::Error, fs};

use criterion::{Criterion, criterion_group, criterion_main};
use tapline_bench_guests::plan::Plan;
use tapline_benches::{
    bare::{Bare, Handle, TapError},
    guest_path, items,
};
use tapline_host_core::HostConfig;

#[expect(clippy::panic, reason = "a bench that measures nothing must not look like one that passed")]
fn host_call(criterion: &mut Criterion) {
    if let Err(error) = run(criterion) {
        panic!("{error}: run `cargo xtask build-plugins` first");
    }
}

fn run(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let lazy = "tapline:content/item-presave-lazy@0.1.0";
    let bare = Bare::new(&HostConfig::default(), &fs::read(guest_path("map-lazy"))?, lazy, "item-presave")?;
    let mut group = criterion.benchmark_group("host_call");
    for reads in [0, 1, 2, 4, 8] {
        let mut item = items::item(2_400)?;
        item.set_title(Plan::for_item(reads, 0, &item).title());
        let item = items::host_item(&item)?;
        let call = async || bare.call::<(Handle,), (Result<(), TapError>,)>(|state| Ok((state.lend(&item)?,))).await;
        runtime.block_on(call())?.0.0.map_err(wasmtime::Error::from)?;
        group.bench_function(format!("read/{reads}"), |bencher| bencher.to_async(&runtime).iter(call));
    }
    group.finish();
    Ok(())
}

criterion_group!(benches, host_call);
criterion_main!(benches);
