//! Gate 2: 100 requests in parallel, then thousands that are all alive at the same time.

use std::{sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use tapline_content::{Item, ItemPresave};
use tapline_host_core::Host;
use tokio::time::timeout;

use super::{
    PATIENCE, Run, config, host_with, on_all_cores,
    serialisation::{Case, LAZY},
    wasm,
};
use crate::{
    bare::{Bare, Ours as _},
    machine::{peak_resident_bytes, resident_bytes},
    measure::nanoseconds,
    stats::{self, Estimate},
    taps::{Clock, Clocked, Waiting},
};

/// The figure of the source documents.
pub(super) const PARALLEL: usize = 100;

pub(super) fn run(run: &mut Run) -> Result<()> {
    on_all_cores(async {
        let case = Arc::new(Case::new(2_400)?);
        let host = host_with(config(100), "gate-lazy", Clock::default()).await?;
        let bare = Arc::new(Bare::new(&config(100), &wasm("gate-lazy")?, LAZY, "item-presave").ours()?);
        let (mut p95, mut wall, mut control) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=run.scale.pick(100, 40, 1) {
            let times = batch(&host, &case.item, &case.oracle).await?;
            let bare = bare_batch(&bare, &case).await?;
            // The first one warms the pool.
            if round > 0 {
                p95.push(stats::quantile(&times, 0.95));
                wall.push(stats::quantile(&times, 1.0));
                control.push(bare);
            }
        }
        run.millis("gate2.p95", &p95)?;
        run.millis("gate2.batch", &wall)?;
        run.millis("gate2.batch.bare", &control)?;
        drop((host, bare));
        for count in run.scale.pick(vec![1000, 4000], vec![1000, 4000], vec![40]) {
            run.say(format!("{count} alive at once"));
            alive(run, count).await?;
        }
        run.add("gate2.peak", Estimate::exact(peak_resident_bytes()? as f64 / f64::from(1 << 20)))
    })
}

/// One batch: for each request the time from the beginning of the batch to its answer.
async fn batch(host: &Host, item: &Arc<Item>, oracle: &Arc<Item>) -> Result<Vec<f64>> {
    let start = Instant::now();
    let requests: Vec<_> = (0..PARALLEL)
        .map(|_| {
            let (host, item) = (host.clone(), Arc::clone(item));
            tokio::spawn(async move {
                let outcome = host.dispatch(Clocked::<ItemPresave>::new(), &item).await;
                (outcome, nanoseconds(start))
            })
        })
        .collect();
    let mut times = Vec::with_capacity(PARALLEL);
    for request in requests {
        let (outcome, time) = request.await?;
        let outcome = outcome?;
        let (_, (answer, _)) = outcome.answers.first().with_context(|| format!("{:?}", outcome.failures))?;
        ensure!(**answer == **oracle, "the answer is not that of the native function");
        times.push(time);
    }
    Ok(times)
}

/// The same through bare wasmtime: the time until all are done.
async fn bare_batch(bare: &Arc<Bare>, case: &Arc<Case>) -> Result<f64> {
    let start = Instant::now();
    let calls: Vec<_> = (0..PARALLEL)
        .map(|_| {
            let (bare, case) = (Arc::clone(bare), Arc::clone(case));
            tokio::spawn(async move { case.bare_lazy(&bare).await })
        })
        .collect();
    for call in calls {
        call.await??;
    }
    Ok(nanoseconds(start))
}

/// `count` requests that wait inside their guests until the last one has come.
async fn alive(run: &mut Run, count: usize) -> Result<()> {
    let clock = Clock::default();
    // One plugin may not have the whole pool to itself: a third more than it needs.
    let slots = u32::try_from(count + count / 2)?;
    let host = host_with(config(slots), "waiting", clock.clone()).await?;
    host.dispatch(Waiting, &1).await?;
    let before = resident_bytes()?;
    let start = Instant::now();
    let requests: Vec<_> = (0..count)
        .map(|_| {
            let host = host.clone();
            tokio::spawn(async move { host.dispatch(Waiting, &0).await })
        })
        .collect();
    // A deadlock is a failure of the gate, and no hang of the bench.
    let _ = timeout(PATIENCE, clock.all_arrived(count)).await;
    let alive = clock.arrived();
    let resident = resident_bytes()?;
    clock.let_go(count);
    for request in requests {
        let outcome = timeout(PATIENCE, request).await.context("a request did not come back")???;
        ensure!(matches!(outcome.answers[..], [(_, 0)]), "a request failed: {:?}", outcome.failures);
    }
    run.millis(format!("gate2.wall.{count}"), &[nanoseconds(start)])?;
    run.add(format!("gate2.alive.{count}"), Estimate::exact((count - alive) as f64))?;
    let each = resident.saturating_sub(before) as f64 / count as f64;
    run.add(format!("gate2.memory.{count}"), Estimate::exact(each / 1024.0))?;
    Ok(())
}
