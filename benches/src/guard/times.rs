//! What takes time, as ratios within one run: to bare wasmtime, and to the same function native.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use tapline_bench_guests::teaser;
use tapline_content::{ContentTypes, Item, ItemPresave, ItemView};
use tapline_host_core::{Host, HostConfig, PluginName, PluginSpec};

use crate::{
    FULL, LAZY, article,
    bare::Ours as _,
    control::Control,
    guest_path, items,
    machine::thread_cpu_nanoseconds,
    measure::{Arm, Rounds, nanoseconds, take_turns},
    stats,
    taps::Clocked,
};

use super::taps::Worse;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// Rounds that count.
    pub rounds: usize,
    /// Taps of one arm in a round.
    pub calls: usize,
    /// Taps whose processor time is taken together: the kernel adds it up every few milliseconds.
    pub batch: u32,
    /// Starts of one arm in a round. A start compiles.
    pub starts: usize,
}

const WHOLE: &str = "whole";
/// Natively it is too short for a clock of its own.
const NATIVE_CALLS: u32 = 100;

/// Measures all of it; `worse` is done beside each of our own taps.
///
/// # Errors
///
/// A plugin or a guest of the gates is not there, or a call fails.
pub fn measure(plugins: &Path, amount: Amount, worse: Option<Worse>) -> Result<BTreeMap<String, f64>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let mut values = BTreeMap::new();
        for plugin in [FULL, LAZY] {
            taps(plugins, plugin, amount, worse, &mut values).await?;
        }
        starts(plugins, amount, worse, &mut values).await?;
        native(amount, worse, &mut values).await?;
        Ok(values)
    })
}

fn act(worse: Option<Worse>) {
    if let Some(worse) = worse {
        worse.act(&mut Vec::new());
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} is missing: run `cargo xtask build-plugins`", path.display()))
}

async fn host(component: Vec<u8>) -> Result<Host> {
    let host = tapline_content::register(Host::builder().config(HostConfig::default())).build()?;
    host.load(PluginSpec::bytes(PluginName::new("guard")?, component)).await?;
    Ok(host)
}

async fn tap(host: &Host, item: &Arc<Item>, worse: Option<Worse>) -> Result<()> {
    let outcome = host.dispatch(ItemView, item).await?;
    ensure!(outcome.answers.len() == 1, "a tap failed: {:?}", outcome.failures);
    act(worse);
    Ok(())
}

fn ratio(rounds: &Rounds, first: &str, second: &str) -> f64 {
    stats::ratio(rounds.medians(first, WHOLE), rounds.medians(second, WHOLE)).value
}

async fn taps(
    plugins: &Path,
    plugin: &str,
    amount: Amount,
    worse: Option<Worse>,
    values: &mut BTreeMap<String, f64>,
) -> Result<()> {
    let component = read(&plugins.join(plugin).with_extension("wasm"))?;
    let item = &article();
    let control = &Control::new(&HostConfig::default(), &component, plugin == LAZY).ours()?;
    let host = &host(component).await?;
    let arms = [
        Arm::new("ours", [WHOLE], async || {
            let start = Instant::now();
            tap(host, item, worse).await?;
            Ok([nanoseconds(start)])
        }),
        Arm::new("bare", [WHOLE], async || {
            let start = Instant::now();
            let answer = control.call(item).await.ours()?;
            let whole = nanoseconds(start);
            drop(answer);
            Ok([whole])
        }),
    ];
    let rounds = take_turns(&arms, amount.rounds, amount.calls).await?;
    values.insert(format!("tap.{plugin}"), ratio(&rounds, "ours", "bare"));

    let arms = [
        Arm::new("ours", [WHOLE], async || {
            let start = thread_cpu_nanoseconds()?;
            for _ in 0..amount.batch {
                tap(host, item, worse).await?;
            }
            Ok([thread_cpu_nanoseconds()? - start])
        }),
        Arm::new("bare", [WHOLE], async || {
            let start = thread_cpu_nanoseconds()?;
            for _ in 0..amount.batch {
                drop(control.call(item).await.ours()?);
            }
            Ok([thread_cpu_nanoseconds()? - start])
        }),
    ];
    let rounds = take_turns(&arms, amount.rounds, 1).await?;
    values.insert(format!("cpu.{plugin}"), ratio(&rounds, "ours", "bare"));
    Ok(())
}

/// From the bytes of a component to its first answer.
async fn starts(
    plugins: &Path,
    amount: Amount,
    worse: Option<Worse>,
    values: &mut BTreeMap<String, f64>,
) -> Result<()> {
    let component = &read(&plugins.join(FULL).with_extension("wasm"))?;
    let item = &article();
    let arms = [
        Arm::new("ours", [WHOLE], async || {
            let start = Instant::now();
            let host = host(component.clone()).await?;
            tap(&host, item, worse).await?;
            // A start takes as long as a thousand taps.
            (0..1000).for_each(|_| act(worse));
            Ok([nanoseconds(start)])
        }),
        Arm::new("bare", [WHOLE], async || {
            let start = Instant::now();
            let control = Control::new(&HostConfig::default(), &component.clone(), false).ours()?;
            drop(control.call(item).await.ours()?);
            Ok([nanoseconds(start)])
        }),
    ];
    let rounds = take_turns(&arms, amount.rounds, amount.starts).await?;
    let p95 = stats::ratio(rounds.p95("ours", WHOLE), rounds.p95("bare", WHOLE)).value;
    values.insert(format!("cold-start.{FULL}"), p95);
    Ok(())
}

/// The function of gate 1: through a fresh instance, and called.
async fn native(amount: Amount, worse: Option<Worse>, values: &mut BTreeMap<String, f64>) -> Result<()> {
    let native = &items::item(2_400)?;
    let mut oracle = native.clone();
    teaser::full(&mut oracle);
    let (item, oracle) = (&items::host_item(native)?, &items::host_item(&oracle)?);
    let builder = Host::builder().config(HostConfig::default()).capability(ContentTypes).tap::<Clocked<ItemPresave>>();
    let host = &builder.build()?;
    host.load(PluginSpec::bytes(PluginName::new("guard")?, read(&guest_path("gate-full"))?)).await?;
    let arms = [
        Arm::new("wasm", [WHOLE], async || {
            let start = Instant::now();
            let outcome = host.dispatch(Clocked::<ItemPresave>::new(), item).await?;
            act(worse);
            let whole = nanoseconds(start);
            let (_, (answer, _)) = outcome.answers.first().with_context(|| format!("{:?}", outcome.failures))?;
            ensure!(answer == oracle, "the answer is not that of the native function");
            Ok([whole])
        }),
        Arm::new("native", [WHOLE], async || {
            let mut items = vec![native.clone(); NATIVE_CALLS as usize];
            let start = Instant::now();
            for item in &mut items {
                teaser::full(item);
            }
            let whole = nanoseconds(start) / f64::from(NATIVE_CALLS);
            let last = items.last().ok_or_else(|| anyhow!("no item"))?;
            ensure!(items::host_item(last)? == *oracle, "the native function has two answers");
            Ok([whole])
        }),
    ];
    let rounds = take_turns(&arms, amount.rounds, amount.calls.div_ceil(4)).await?;
    values.insert("native.teaser".to_owned(), ratio(&rounds, "wasm", "native"));
    Ok(())
}
