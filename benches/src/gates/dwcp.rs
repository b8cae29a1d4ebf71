//! The protocol of the DWCP document: cold and warm starts with a module of 1 MB, the cache, 100 at once, containers.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use tapline_host_core::{
    Host, HostConfig,
    cache::{ArtifactCache, CacheConfig},
    engine_config, swap_is_impossible,
};
use wasmtime::Engine;

use super::{Run, builder, concurrency::PARALLEL, config, large, on_all_cores, spec};
use crate::{
    bare::Ours as _,
    measure::nanoseconds,
    stats::{self, Estimate, Random},
    taps::Idle,
};

/// How long that document says a container takes to start, in milliseconds.
const CONTAINERS: [f64; 3] = [1200.0, 800.0, 600.0];

pub(super) fn run(run: &mut Run) -> Result<()> {
    on_all_cores(async {
        let directory = tempfile::tempdir()?;
        let wasm: Arc<[u8]> = large::component(run.scale.pick(1_000_000, 1_000_000, 50_000), 1)?.into();
        run.say("compiling a module of 1 MB");
        let start = Instant::now();
        cold_host(directory.path(), &wasm).await?;
        run.millis("dwcp.compile", &[nanoseconds(start)])?;

        let cold = cold(run, directory.path(), &wasm).await?;
        for (name, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
            run.add(format!("dwcp.cold.{name}"), milliseconds(&cold, share))?;
        }
        let host = cold_host(directory.path(), &wasm).await?;
        let warm = warm(run, &host).await?;
        for (name, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
            run.add(format!("dwcp.warm.{name}"), milliseconds(&warm, share))?;
        }
        let cold_p50 = stats::median(&cold);
        run.add("dwcp.improvement", Estimate::exact(cold_p50 / stats::median(&warm)))?;
        for container in CONTAINERS {
            run.add(format!("dwcp.containers.{container}"), Estimate::exact(container * 1e6 / cold_p50))?;
        }
        concurrent(run, &host).await?;
        hit_rate(run)
    })
}

fn milliseconds(times: &[f64], share: f64) -> Estimate {
    Estimate::exact(stats::quantile(times, share) * 1e-6)
}

async fn cold_host(directory: &Path, wasm: &Arc<[u8]>) -> Result<Host> {
    let config = HostConfig { cache_directory: Some(directory.to_owned()), ..config(100) };
    let host = builder(config).capability(crate::taps::Clock::default()).build()?;
    host.load(spec("large", Arc::clone(wasm))?).await?;
    Ok(host)
}

/// Everything that a restart costs but the process: a new host, the plugin from disk, the first call.
async fn cold(run: &mut Run, directory: &Path, wasm: &Arc<[u8]>) -> Result<Vec<f64>> {
    let times = run.scale.pick(1000, 200, 2);
    run.say(format!("{times} cold starts: host, load artifact, first call"));
    let mut cold = Vec::new();
    for _ in 0..times {
        let start = Instant::now();
        let host = cold_host(directory, wasm).await?;
        call(&host, 7).await?;
        cold.push(nanoseconds(start));
    }
    Ok(cold)
}

async fn call(host: &Host, number: u32) -> Result<()> {
    let outcome = host.dispatch(Idle, &number).await?;
    let answered = outcome.answers.first().map(|(_, answer)| *answer);
    ensure!(answered == Some(number), "{answered:?} instead of {number}: {:?}", outcome.failures);
    Ok(())
}

async fn warm(run: &mut Run, host: &Host) -> Result<Vec<f64>> {
    let times = run.scale.pick(10_000, 10_000, 5);
    run.say(format!("{times} warm starts: instantiate fresh, call"));
    let mut warm = Vec::with_capacity(times as usize);
    for number in 0..times {
        let start = Instant::now();
        call(host, number).await?;
        warm.push(nanoseconds(start));
    }
    Ok(warm)
}

async fn concurrent(run: &mut Run, host: &Host) -> Result<()> {
    let mut p95 = Vec::new();
    for _ in 0..run.scale.pick(20, 10, 1) {
        let start = Instant::now();
        let calls: Vec<_> = (0..PARALLEL as u32)
            .map(|number| {
                let host = host.clone();
                tokio::spawn(async move { call(&host, number).await.map(|()| nanoseconds(start)) })
            })
            .collect();
        let mut times = Vec::new();
        for call in calls {
            times.push(call.await.context("a call panicked")??);
        }
        p95.push(stats::quantile(&times, 0.95));
    }
    run.millis("dwcp.concurrent", &p95)
}

fn hit_rate(run: &mut Run) -> Result<()> {
    let (modules, loads) = run.scale.pick((1000, 10_000), (1000, 10_000), (10, 100));
    run.say(format!("{loads} loads of {modules} modules"));
    let settings = engine_config(&config(4), false, swap_is_impossible())?;
    let cache = ArtifactCache::new(&Engine::new(&settings).ours()?, CacheConfig::default());
    let wasm = (0..modules).map(|seed| large::component(300, seed)).collect::<Result<Vec<_>>>()?;
    let mut random = Random::new(38);
    for _ in 0..loads {
        cache.get_or_compile(&wasm[random.below(wasm.len())])?;
    }
    let statistics = cache.statistics();
    ensure!(statistics.hits() + statistics.misses == loads, "{statistics:?}");
    run.add("dwcp.hit-rate", Estimate::exact(100.0 * statistics.hits() as f64 / loads as f64))
}
