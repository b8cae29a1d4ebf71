//! What a stock of instances saves whoever calls, and what it costs where there is no time to spare.

use std::{sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use tapline_content::{Item, ItemView};
use tapline_host_core::{Host, HostConfig, Stock};
use tokio::task::{JoinSet, yield_now};

use super::{Run, builder, on_all_cores, on_one_thread, read, spec, wasm};
use crate::{
    LAZY, article,
    bare::Ours as _,
    control::Control,
    measure::{Arm, nanoseconds, take_turns},
    plugin_path, stats,
    taps::{Clock, Entered},
};

const STOCK: Stock = Stock { min: 4, max: 8 };

pub(super) fn run(run: &mut Run) -> Result<()> {
    on_one_thread(async {
        waits(run).await?;
        caller(run).await
    })?;
    on_all_cores(async { saturated(run).await })
}

async fn host(plugin: &str, wasm: Vec<u8>, stock: Option<Stock>) -> Result<Host> {
    let host = builder(HostConfig::default()).tap::<Entered>().capability(Clock::default()).build()?;
    let mut spec = spec(plugin, wasm)?;
    spec.stock = stock;
    host.load(spec).await?;
    Ok(host)
}

/// What keeps the stock has its turn, as it has in a program that waits for something.
async fn pause() {
    for _ in 0..4 {
        yield_now().await;
    }
}

/// A stock that was empty most of the time would have measured nothing.
fn check_hits(run: &Run, host: &Host) -> Result<()> {
    let pool = host.pool_metrics();
    // A smoke run makes so few calls that the stock does not know the demand yet.
    let is_empty = pool.pool_hits < pool.pool_misses && run.scale.pick(true, true, false);
    ensure!(!is_empty, "the stock was empty most of the time: {pool:?}");
    Ok(())
}

/// From the dispatch to an instance that can be entered.
async fn waits(run: &mut Run) -> Result<()> {
    run.say("the wait for an instance, from a stock and fresh");
    let fresh = &host("waiting", wasm("waiting")?, None).await?;
    let stock = &host("waiting", wasm("waiting")?, Some(STOCK)).await?;
    let wait = async |host: &Host| {
        let start = Instant::now();
        let outcome = host.dispatch(Entered, &1).await?;
        let (_, entered) = outcome.answers.first().with_context(|| format!("{:?}", outcome.failures))?;
        let waited = entered.duration_since(start).as_nanos() as f64;
        pause().await;
        Ok([waited])
    };
    let arms = [
        Arm::new("fresh", ["wait"], async || wait(fresh).await),
        Arm::new("stock", ["wait"], async || wait(stock).await),
    ];
    let rounds = take_turns(&arms, run.scale.rounds(), run.scale.pick(2000, 1000, 2)).await?;
    check_hits(run, stock)?;
    run.micros("stock.wait", rounds.medians("stock", "wait"))?;
    run.micros("stock.wait.fresh", rounds.medians("fresh", "wait"))
}

/// A whole `item_view`, as whoever dispatches it waits for it, over the call alone on an instance that is there.
async fn caller(run: &mut Run) -> Result<()> {
    run.say("item_view with a stock, and the call alone");
    let item = &article();
    let plugin = read(&plugin_path(LAZY))?;
    let control = &Control::new(&HostConfig::default(), &plugin, true).ours()?;
    let fresh = &host(LAZY, plugin.clone(), None).await?;
    let stock = &host(LAZY, plugin, Some(STOCK)).await?;
    let arms = [
        Arm::new("alone", ["call"], async || Ok([control.call_alone(item).await.ours()?.as_nanos() as f64])),
        Arm::new("fresh", ["call"], async || Ok([view(fresh, item).await?])),
        Arm::new("stock", ["call"], async || {
            let took = view(stock, item).await?;
            pause().await;
            Ok([took])
        }),
    ];
    let rounds = take_turns(&arms, run.scale.rounds(), run.scale.pick(500, 300, 2)).await?;
    check_hits(run, stock)?;
    let alone = rounds.medians("alone", "call");
    run.add("stock.caller", stats::ratio(rounds.medians("stock", "call"), alone))?;
    run.add("stock.caller.fresh", stats::ratio(rounds.medians("fresh", "call"), alone))
}

async fn view(host: &Host, item: &Arc<Item>) -> Result<f64> {
    let start = Instant::now();
    let outcome = host.dispatch(ItemView, item).await?;
    let took = nanoseconds(start);
    ensure!(outcome.answers.len() == 1, "a call failed: {:?}", outcome.failures);
    Ok(took)
}

/// Tasks that never pause, more of them than run at once: how long they take with a stock, over how long without.
async fn saturated(run: &mut Run) -> Result<()> {
    const TASKS: usize = 64;
    run.say("as much as goes, with a stock and without");
    let item = &article();
    let plugin = read(&plugin_path(LAZY))?;
    let hosts = [host(LAZY, plugin.clone(), None).await?, host(LAZY, plugin, Some(STOCK)).await?];
    let calls = run.scale.pick(300, 200, 1);
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=run.scale.rounds() {
        for place in 0..hosts.len() {
            let arm = (place + round) % hosts.len();
            let start = Instant::now();
            let mut tasks = JoinSet::new();
            for _ in 0..TASKS {
                let (host, item) = (hosts[arm].clone(), Arc::clone(item));
                tasks.spawn(async move {
                    for _ in 0..calls {
                        view(&host, &item).await?;
                        yield_now().await;
                    }
                    anyhow::Ok(())
                });
            }
            while let Some(ended) = tasks.join_next().await {
                ended??;
            }
            if round > 0 {
                times[arm].push(nanoseconds(start));
            }
        }
    }
    run.add("stock.saturated", stats::ratio(&times[1], &times[0]))
}
