//! What an instance costs that is made and dropped: the store, the slot of the pool, and clearing what was touched.
//!
//! `untouched` drops the instance at once; `used` calls a function first that dirties its stack and its heap.
//!
//! `cargo bench -p tapline-benches --bench instantiate`

use std::{error::Error, fs};

use criterion::{Criterion, criterion_group, criterion_main};
use tapline_benches::{bare::Bare, guest_path, taps::WAITING};
use tapline_host_core::HostConfig;

#[expect(clippy::panic, reason = "a bench that measures nothing must not look like one that passed")]
fn instantiate(criterion: &mut Criterion) {
    if let Err(error) = run(criterion) {
        panic!("{error}: run `cargo xtask build-plugins` first");
    }
}

fn run(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bare = Bare::new(&HostConfig::default(), &fs::read(guest_path("waiting"))?, WAITING, "run")?;
    let mut group = criterion.benchmark_group("instantiate");
    group.bench_function("untouched", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let mut store = bare.store();
            bare.parts().0.instantiate_async(&mut store).await.map(drop)
        });
    });
    group.bench_function("used", |bencher| {
        bencher.to_async(&runtime).iter(async || bare.call::<(u32,), (u32,)>(|_| Ok((7,))).await);
    });
    group.finish();
    Ok(())
}

criterion_group!(benches, instantiate);
criterion_main!(benches);
