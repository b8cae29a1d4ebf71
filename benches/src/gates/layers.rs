//! What our layers cost: `item_view` through the host, against the same component through bare wasmtime.

use std::{sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use tapline_content::{Item, ItemView};
use tapline_host_core::{Host, HostConfig};

use super::{Run, builder, on_one_thread, read, spec};
use crate::{
    FULL, LAZY, article,
    bare::Ours as _,
    control::Control,
    machine::minor_faults,
    measure::{Arm, nanoseconds, take_turns},
    plugin_path,
    stats::{self, Estimate},
};

pub(super) fn run(run: &mut Run) -> Result<()> {
    on_one_thread(async {
        let item = &article();
        for (name, plugin) in [("full", FULL), ("lazy", LAZY)] {
            let wasm = read(&plugin_path(plugin))?;
            let control = &Control::new(&HostConfig::default(), &wasm, name == "lazy").ours()?;
            let host = &builder(HostConfig::default()).build()?;
            host.load(spec(plugin, wasm.clone())?).await?;
            let uncounted = HostConfig { enable_metrics: false, ..HostConfig::default() };
            let uncounted = &builder(uncounted).build()?;
            uncounted.load(spec(plugin, wasm)?).await?;
            let texts = control.call(item).await.ours()?.texts();
            let body = dispatch(host, item).await?;
            ensure!(texts.iter().all(|text| body.contains(text.as_str())), "{texts:?} and {body}");

            let arms = [
                Arm::new("host", ["whole"], async || Ok([timed(host, item).await?])),
                Arm::new("uncounted", ["whole"], async || Ok([timed(uncounted, item).await?])),
                Arm::new("control", ["whole"], async || {
                    let start = Instant::now();
                    control.call(item).await.ours()?;
                    Ok([nanoseconds(start)])
                }),
            ];
            let rounds = take_turns(&arms, run.scale.pick(41, 15, 1), run.scale.pick(300, 200, 2)).await?;
            let share =
                stats::paired(rounds.medians("host", "whole"), rounds.medians("control", "whole"), |host, bare| {
                    100.0 * (host / bare - 1.0)
                });
            run.add(format!("layers.{name}"), stats::estimate(&share))?;
            let uncounted = rounds.medians("uncounted", "whole");
            let counting = stats::paired(rounds.medians("host", "whole"), uncounted, |counted, not| counted - not);
            run.add(format!("metrics.{name}"), stats::estimate(&counting))?;

            let calls = run.scale.pick(20_000, 5_000, 10);
            let before = minor_faults()?;
            for _ in 0..calls {
                host.dispatch(ItemView, item).await?;
            }
            let faults = minor_faults()? - before;
            run.add(format!("faults.{name}"), Estimate::exact(faults as f64 / f64::from(calls)))?;
        }
        Ok(())
    })
}

/// How long a dispatch takes, in nanoseconds.
async fn timed(host: &Host, item: &Arc<Item>) -> Result<f64> {
    let start = Instant::now();
    let outcome = host.dispatch(ItemView, item).await?;
    let whole = nanoseconds(start);
    ensure!(outcome.answers.len() == 1, "a call failed: {:?}", outcome.failures);
    Ok(whole)
}

async fn dispatch(host: &Host, item: &Arc<Item>) -> Result<String> {
    let outcome = host.dispatch(ItemView, item).await?;
    let (_, answer) = outcome.answers.first().with_context(|| format!("{:?}", outcome.failures))?;
    Ok(answer.body().to_string())
}
