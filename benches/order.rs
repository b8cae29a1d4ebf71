//! What it costs to find the order of a tap's handlers, once for each load: by weight alone, and with a chain of wishes.
//!
//! In `chain` each plugin wants to stand behind the next one in the natural order, so that all of them move.
//!
//! `cargo bench -p tapline-benches --bench order`

use std::error::Error;

use criterion::{Criterion, criterion_group, criterion_main};
use tapline_tap_dispatch::{Placement, PluginName, TapName, resolve};

#[expect(clippy::panic, reason = "a bench that measures nothing must not look like one that passed")]
fn order(criterion: &mut Criterion) {
    if let Err(error) = run(criterion) {
        panic!("{error}");
    }
}

fn run(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let tap = TapName::new("item_view")?;
    let mut group = criterion.benchmark_group("order");
    for count in [10_u32, 100] {
        let plugins = |after: fn(u32) -> Vec<String>| {
            let plugin = |number| {
                let placement = Placement { weight: (number % 7) as i32, after: after(number), ..Placement::default() };
                Ok((PluginName::new(&format!("plugin-{number:03}"))?, placement))
            };
            (0..count).map(plugin).collect::<Result<Vec<_>, Box<dyn Error>>>()
        };
        for (name, wishes) in [
            ("weights", plugins(|_| Vec::new())?),
            ("chain", plugins(|number| vec![format!("plugin-{:03}", number + 1)])?),
        ] {
            resolve(&tap, wishes.clone())?;
            group.bench_function(format!("{name}/{count}"), |bencher| bencher.iter(|| resolve(&tap, wishes.clone())));
        }
    }
    group.finish();
    Ok(())
}

criterion_group!(benches, order);
criterion_main!(benches);
