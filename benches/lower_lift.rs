//! What it costs to bring an item into a guest that does nothing with it, as a record and as JSON text that is not parsed.
//!
//! Each call has a fresh instance; `nothing` is the same without an argument worth the name, and what to subtract.
//!
//! `cargo bench -p tapline-benches --bench lower_lift`

use std::{error::Error, fs};

use criterion::{Criterion, criterion_group, criterion_main};
use tapline_benches::{
    bare::{Bare, TapError},
    control::ItemArgument,
    guest_path, items,
    taps::{JSON, WAITING},
};
use tapline_content::Changes;
use tapline_host_core::HostConfig;

#[expect(clippy::panic, reason = "a bench that measures nothing must not look like one that passed")]
fn lower_lift(criterion: &mut Criterion) {
    if let Err(error) = run(criterion) {
        panic!("{error}: run `cargo xtask build-plugins` first");
    }
}

fn run(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    type Answer = (Result<Changes, TapError>,);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let config = HostConfig::default();
    let record = "tapline:content/item-presave@0.1.0";
    let record = Bare::new(&config, &fs::read(guest_path("map-full"))?, record, "item-presave")?;
    let json = Bare::new(&config, &fs::read(guest_path("gate-json"))?, JSON, "idle")?;
    let nothing = Bare::new(&config, &fs::read(guest_path("waiting"))?, WAITING, "idle")?;
    let mut group = criterion.benchmark_group("lower_lift");
    group.bench_function("nothing", |bencher| {
        bencher.to_async(&runtime).iter(async || nothing.call::<(u32,), (u32,)>(|_| Ok((7,))).await);
    });
    for (size, bytes) in items::SIZES {
        let mut item = items::item(bytes)?;
        // A plan that reads nothing and writes nothing.
        item.set_title("0 0 0");
        let item = items::host_item(&item)?;
        let text = serde_json::to_string(&*item)?;
        group.bench_function(format!("record/{size}"), |bencher| {
            bencher
                .to_async(&runtime)
                .iter(async || record.call::<(ItemArgument<'_>,), Answer>(|_| Ok((ItemArgument::new(&item),))).await);
        });
        group.bench_function(format!("text/{size}"), |bencher| {
            bencher.to_async(&runtime).iter(async || json.call::<(&str,), (u32,)>(|_| Ok((text.as_str(),))).await);
        });
    }
    group.finish();
    Ok(())
}

criterion_group!(benches, lower_lift);
criterion_main!(benches);
