//! What our layers cost: one `item_view` through the host, against the same component through bare wasmtime.
//!
//! Both arms make a fresh instance, lower the same item, call, lift the same answer and drop the instance. The host's arm
//! adds its queue, limiter, deadline, metrics, the check of the answer, and folding. The arms run in one process, on one
//! thread; compare `host` with `control` of the same group, and with the host that counts nothing for what metrics cost.
//!
//! `cargo bench -p tapline-benches --bench dispatch`

use std::{error::Error, fs};

use criterion::{Criterion, criterion_group, criterion_main};
use tapline_benches::{FULL, LAZY, article, control::Control, host_with, plugin_path};
use tapline_content::ItemView;
use tapline_host_core::HostConfig;
use tokio::runtime::Runtime;

#[expect(clippy::panic, reason = "a bench that measures nothing must not look like one that passed")]
fn dispatch(criterion: &mut Criterion) {
    if let Err(error) = run(criterion) {
        panic!("{error}: run `cargo xtask build-plugins` first");
    }
}

fn run(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let item = article();
    let mut texts = Vec::new();
    for (mode, plugin) in [("full", FULL), ("lazy", LAZY)] {
        let config = HostConfig::default();
        let control = Control::new(&config, &fs::read(plugin_path(plugin))?, mode == "lazy")?;
        let uncounted = HostConfig { enable_metrics: false, ..config.clone() };
        let uncounted = runtime.block_on(host_with(uncounted, plugin))?;
        let host = runtime.block_on(host_with(config, plugin))?;
        let answers = runtime.block_on(host.dispatch(ItemView, &item))?.answers;
        let body = answers.first().ok_or("the host's arm has no answer")?.1.body();
        texts.push(check(&runtime, &control, &body)?);

        let mut group = criterion.benchmark_group(format!("item_view/{mode}"));
        group.bench_function("control", |bencher| {
            bencher.to_async(&runtime).iter(async || control.call(&item).await);
        });
        group.bench_function("host", |bencher| {
            bencher.to_async(&runtime).iter(async || host.dispatch(ItemView, &item).await);
        });
        group.bench_function("host, nothing counted", |bencher| {
            bencher.to_async(&runtime).iter(async || uncounted.dispatch(ItemView, &item).await);
        });
        group.finish();
    }
    if texts.first() != texts.last() {
        return Err("the full and the lazy plugin do not give the same answer".into());
    }
    Ok(())
}

/// Both arms must give the same text, or the comparison means nothing.
fn check(runtime: &Runtime, control: &Control, body: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let texts = runtime.block_on(control.call(&article()))?.texts();
    match texts.iter().find(|text| !body.contains(text.as_str())) {
        None if !texts.is_empty() => Ok(texts),
        _ => Err(format!("the arms differ: {texts:?} and {body}").into()),
    }
}

criterion_group!(benches, dispatch);
criterion_main!(benches);
