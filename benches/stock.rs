//! What a stock of instances saves the caller, and what it costs where there is no time to spare.
//!
//! `caller/alone` is bare wasmtime's call on an instance that is there, and nothing else: no making, no dropping. `caller/fresh`
//! and `caller/stock` are a dispatch as its caller waits for it, without and with a stock; between two dispatches the stock
//! has time. The quotient of `stock` and `alone` is the promise: at most 1.5.
//!
//! `saturated/fresh` and `saturated/stock` are 64 tasks on two threads that never pause, per dispatch: the stock must not cost
//! throughput.
//!
//! `cargo bench --bench stock`

use std::{
    error::Error,
    fs,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tapline_benches::{LAZY, article, control::Control, plugin_path};
use tapline_content::ItemView;
use tapline_host_core::{Host, HostConfig, PluginName, PluginSpec, Stock};

/// Tasks that dispatch at the same time: more than run, and fewer than the pool has slots.
const TASKS: u64 = 64;

const ARMS: [(&str, Option<Stock>); 2] = [("fresh", None), ("stock", Some(Stock { min: 4, max: 8 }))];

#[expect(clippy::panic, reason = "a bench that measures nothing must not look like one that passed")]
fn stock(criterion: &mut Criterion) {
    if let Err(error) = caller(criterion).and_then(|()| saturated(criterion)) {
        panic!("{error}: run `cargo xtask build-plugins` first");
    }
}

async fn host(stock: Option<Stock>) -> Result<Host, Box<dyn Error>> {
    let host = tapline_content::register(Host::builder().config(HostConfig::default())).build()?;
    let spec = PluginSpec::file(PluginName::new(LAZY)?, plugin_path(LAZY));
    host.load(PluginSpec { stock, ..spec }).await?;
    Ok(host)
}

fn caller(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let item = article();
    let wasm = fs::read(plugin_path(LAZY))?;
    let control = Control::new(&HostConfig::default(), &wasm, true)?;
    let mut group = criterion.benchmark_group("caller");
    group.bench_function("alone", |bencher| {
        bencher.to_async(&runtime).iter_custom(async |rounds| {
            let mut alone = Duration::ZERO;
            for _ in 0..rounds {
                alone += control.call_alone(&item).await.unwrap_or_default();
            }
            alone
        });
    });
    for (name, stock) in ARMS {
        let host = runtime.block_on(host(stock))?;
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter_custom(async |rounds| {
                let mut waited = Duration::ZERO;
                for _ in 0..rounds {
                    let start = Instant::now();
                    let answers = host.dispatch(ItemView, &item).await;
                    waited += start.elapsed();
                    drop(answers);
                    // What keeps the stock has its turn, as it has in a program that waits for something.
                    for _ in 0..4 {
                        tokio::task::yield_now().await;
                    }
                }
                waited
            });
        });
        let pool = host.pool_metrics();
        // A test run makes one call, for which there is no stock yet.
        if stock.is_some() && pool.pool_misses > 100 && pool.pool_hits < pool.pool_misses {
            return Err(format!("the stock was empty most of the time: {pool:?}").into());
        }
    }
    group.finish();
    Ok(())
}

fn saturated(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let item = article();
    let mut group = criterion.benchmark_group("saturated");
    group.throughput(Throughput::Elements(TASKS));
    for (name, stock) in ARMS {
        let host = runtime.block_on(host(stock))?;
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let start = Instant::now();
                runtime.block_on(async {
                    let tasks: Vec<_> = (0..TASKS)
                        .map(|_| {
                            let (host, item) = (host.clone(), item.clone());
                            tokio::spawn(async move {
                                for _ in 0..rounds {
                                    let _ = host.dispatch(ItemView, &item).await;
                                    tokio::task::yield_now().await;
                                }
                            })
                        })
                        .collect();
                    for task in tasks {
                        let _ = task.await;
                    }
                });
                start.elapsed()
            });
        });
    }
    group.finish();
    Ok(())
}

criterion_group!(benches, stock);
criterion_main!(benches);
