//! What the peers stand beside: the same function native, bare wasmtime as the limit, and Tapline.

use std::{fs, time::Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use tapline_bench_guests::teaser;
use tapline_benches::{
    bare::{Bare, Handle, Ours as _, TapError},
    control::ItemArgument,
    guest_path, items,
    measure::{Arm, nanoseconds},
    peers::About,
    taps::Clocked,
};
use tapline_content::{Changes, ContentTypes, Field, ItemPresave};
use tapline_host_core::{Host, HostConfig, PluginName, PluginSpec};

use crate::{
    CLOCKS, Case,
    way::{Done, Way},
};

const FULL: &str = "tapline:content/item-presave@0.1.0";
const LAZY: &str = "tapline:content/item-presave-lazy@0.1.0";

/// The function itself, on a copy of the item.
pub(crate) fn native() -> Way {
    let call = |case: &Case| {
        let start = Instant::now();
        let mut item = case.native.clone();
        teaser::full(&mut item);
        Ok(Done { whole: nanoseconds(start), sandbox: 0.0, answer: items::host_item(&item)? })
    };
    Way::new("native", "Rust", false, "the function itself, on a copy of the item; no sandbox", call)
}

/// Bare wasmtime and Tapline, each with the whole item and with a handle.
pub(crate) struct Ours {
    bare: [Bare; 2],
    hosts: [Host; 2],
}

impl Ours {
    pub(crate) async fn new() -> Result<Self> {
        let config = || HostConfig { pool_size: 4, ..HostConfig::default() };
        let bare = |guest: &str, interface: &str| -> Result<Bare> {
            Bare::new(&config(), &wasm(guest)?, interface, "item-presave").ours()
        };
        let host = async |guest: &str| -> Result<Host> {
            let builder = Host::builder().config(config()).capability(ContentTypes);
            let host = builder.tap::<Clocked<ItemPresave>>().build()?;
            host.load(PluginSpec::bytes(PluginName::new(guest)?, wasm(guest)?)).await?;
            Ok(host)
        };
        Ok(Self {
            bare: [bare("gate-full", FULL)?, bare("gate-lazy", LAZY)?],
            hosts: [host("gate-full").await?, host("gate-lazy").await?],
        })
    }

    pub(crate) fn pagemap_scan(&self) -> bool {
        self.hosts.iter().all(|host| host.engine_facts().pagemap_scan)
    }

    pub(crate) fn about() -> [About; 4] {
        let wasmtime = format!("wasmtime {}", tapline_host_core::cache::WASMTIME_VERSION);
        let about = |id, system: &str, how| About::new(id, system, true, how);
        [
            about("bare-full", &wasmtime, "an instance for each call; typed values, the whole item crosses"),
            about("bare-lazy", &wasmtime, "an instance for each call; typed values, a handle crosses"),
            about("tapline-full", "Tapline", "an instance for each call; typed values, the whole item crosses"),
            about("tapline-lazy", "Tapline", "an instance for each call; typed values, a handle crosses"),
        ]
    }

    pub(crate) fn arms<'a>(&'a self, case: &'a Case) -> Vec<Arm<'a>> {
        let ([bare_full, bare_lazy], [full, lazy]) = (&self.bare, &self.hosts);
        vec![
            Arm::new("bare-full", CLOCKS, async || bare_full_call(bare_full, case).await),
            Arm::new("bare-lazy", CLOCKS, async || bare_lazy_call(bare_lazy, case).await),
            Arm::new("tapline-full", CLOCKS, async || dispatch(full, case).await),
            Arm::new("tapline-lazy", CLOCKS, async || dispatch(lazy, case).await),
        ]
    }
}

fn wasm(guest: &str) -> Result<Vec<u8>> {
    let path = guest_path(guest);
    fs::read(&path).with_context(|| format!("{} is missing: run `cargo xtask build-plugins`", path.display()))
}

async fn dispatch(host: &Host, case: &Case) -> Result<[f64; 2]> {
    let start = Instant::now();
    let outcome = host.dispatch(Clocked::<ItemPresave>::new(), &case.item).await?;
    let whole = nanoseconds(start);
    let (_, (answer, own)) = outcome.answers.first().with_context(|| format!("{:?}", outcome.failures))?;
    case.check(answer)?;
    Ok([whole, whole - own])
}

async fn bare_full_call(bare: &Bare, case: &Case) -> Result<[f64; 2]> {
    type Answer = (Result<Changes, TapError>,);
    let argument = |_: &mut _| Ok((ItemArgument::new(&case.item),));
    let ((answer,), _, stages) = bare.call::<(ItemArgument<'_>,), Answer>(argument).await.ours()?;
    check_written(case, &answer.map_err(|error| anyhow!("{error:?}"))?.set)?;
    let sandbox = stages.instantiate + stages.teardown;
    Ok([sandbox + stages.call, sandbox])
}

async fn bare_lazy_call(bare: &Bare, case: &Case) -> Result<[f64; 2]> {
    type Answer = (Result<(), TapError>,);
    let ((answer,), written, stages) =
        bare.call::<(Handle,), Answer>(|state| Ok((state.lend(&case.item)?,))).await.ours()?;
    answer.map_err(|error| anyhow!("{error:?}"))?;
    check_written(case, &written)?;
    let sandbox = stages.instantiate + stages.teardown;
    Ok([sandbox + stages.call, sandbox])
}

/// For bare wasmtime, where nobody puts the answer together.
fn check_written(case: &Case, written: &[Field]) -> Result<()> {
    let expected = case.oracle.field(teaser::WRITTEN).context("the oracle writes nothing")?;
    ensure!(matches!(written, [field] if *field.name == *teaser::WRITTEN && field.value == *expected), "{written:?}");
    Ok(())
}
