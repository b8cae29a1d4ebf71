//! Gate 1: one tap, with the item crossing in every way, at four sizes.

use std::{sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use tapline_bench_guests::teaser;
use tapline_content::{Changes, Field, Item, ItemPresave};
use tapline_host_core::Host;

use super::{Run, config, host, on_one_thread, wasm};
use crate::{
    bare::{Bare, Handle, Ours as _, TapError},
    control::ItemArgument,
    items::{self, SIZES},
    measure::{Arm, Rounds, nanoseconds, take_turns},
    phase_zero::PhaseZero,
    stats,
    taps::{Clocked, JSON, Json},
};

const FULL: &str = "tapline:content/item-presave@0.1.0";
pub(super) const LAZY: &str = "tapline:content/item-presave-lazy@0.1.0";

pub(super) fn run(run: &mut Run) -> Result<()> {
    on_one_thread(async {
        for (size, bytes) in SIZES {
            run.say(format!("an item of {bytes} bytes in every way"));
            one_size(run, size, bytes).await?;
        }
        Ok(())
    })
}

/// What goes in, and what has to come out.
pub(super) struct Case {
    pub(super) item: Arc<Item>,
    pub(super) oracle: Arc<Item>,
}

impl Case {
    pub(super) fn new(bytes: usize) -> Result<Self> {
        let item = items::item(bytes)?;
        let mut answer = item.clone();
        teaser::full(&mut answer);
        Ok(Self { item: items::host_item(&item)?, oracle: items::host_item(&answer)? })
    }

    fn check(&self, answer: &Item) -> Result<()> {
        ensure!(*answer == *self.oracle, "the answer is not that of the native function");
        Ok(())
    }

    /// For bare wasmtime, where nobody puts the answer together.
    fn check_written(&self, written: &[Field]) -> Result<()> {
        let expected = self.oracle.field(teaser::WRITTEN).context("the oracle writes nothing")?;
        ensure!(
            matches!(written, [field] if *field.name == *teaser::WRITTEN && field.value == *expected),
            "{written:?}"
        );
        Ok(())
    }

    /// One dispatch of a typed arm: the tap's own time, and all of it.
    pub(super) async fn typed(&self, host: &Host) -> Result<[f64; 2]> {
        let start = Instant::now();
        let outcome = host.dispatch(Clocked::<ItemPresave>::new(), &self.item).await?;
        let whole = nanoseconds(start);
        let (_, (answer, own)) = outcome.answers.first().with_context(|| format!("{:?}", outcome.failures))?;
        self.check(answer)?;
        Ok([*own, whole])
    }

    async fn json(&self, host: &Host) -> Result<[f64; 5]> {
        let start = Instant::now();
        let outcome = host.dispatch(Json, &self.item).await?;
        let whole = nanoseconds(start);
        let (_, (answer, stages)) = outcome.answers.first().with_context(|| format!("{:?}", outcome.failures))?;
        self.check(answer)?;
        let own = stages.encode + stages.call + stages.decode;
        Ok([own, whole, stages.encode, stages.call, stages.decode])
    }

    async fn bare_full(&self, bare: &Bare) -> Result<[f64; 3]> {
        type Answer = (Result<Changes, TapError>,);
        let argument = |_: &mut _| Ok((ItemArgument::new(&self.item),));
        let ((answer,), _, stages) = bare.call::<(ItemArgument<'_>,), Answer>(argument).await.ours()?;
        self.check_written(&answer.map_err(wasmtime::Error::from).ours()?.set)?;
        Ok([stages.instantiate, stages.call, stages.teardown])
    }

    pub(super) async fn bare_lazy(&self, bare: &Bare) -> Result<[f64; 3]> {
        let ((answer,), written, stages) =
            bare.call::<(Handle,), (Result<(), TapError>,)>(|state| Ok((state.lend(&self.item)?,))).await.ours()?;
        answer.map_err(wasmtime::Error::from).ours()?;
        self.check_written(&written)?;
        Ok([stages.instantiate, stages.call, stages.teardown])
    }

    async fn bare_json(&self, bare: &Bare) -> Result<[f64; 2]> {
        let text = serde_json::to_string(&*self.item)?;
        let ((answer,), _, stages) =
            bare.call::<(&str,), (Result<String, String>,)>(|_| Ok((text.as_str(),))).await.ours()?;
        self.check(&serde_json::from_str(&answer.map_err(anyhow::Error::msg)?)?)?;
        Ok([stages.instantiate, stages.teardown])
    }

    fn phase_zero(&self, module: &PhaseZero) -> Result<[f64; 8]> {
        let (answer, stages) = module.call(&self.item).ours()?;
        self.check(&answer)?;
        Ok([
            stages.own(),
            stages.whole(),
            stages.encode,
            stages.instantiate,
            stages.copy_in,
            stages.call,
            stages.decode,
            stages.teardown,
        ])
    }
}

/// What it costs to hand an argument to a guest that does nothing with it.
struct Entering {
    planned: Arc<Item>,
    full: Bare,
    lazy: Bare,
    json: Bare,
}

impl Entering {
    fn new(bytes: usize) -> Result<Self> {
        // The map's guest with an empty plan: nothing is read, nothing written.
        let mut item = items::item(bytes)?;
        item.set_title("0 0 0");
        Ok(Self {
            planned: items::host_item(&item)?,
            full: Bare::new(&config(4), &wasm("map-full")?, FULL, "item-presave").ours()?,
            lazy: Bare::new(&config(4), &wasm("map-lazy")?, LAZY, "item-presave").ours()?,
            json: Bare::new(&config(4), &wasm("gate-json")?, JSON, "idle").ours()?,
        })
    }

    async fn full(&self) -> Result<[f64; 1]> {
        let argument = |_: &mut _| Ok((ItemArgument::new(&self.planned),));
        let (answer, _, stages) =
            self.full.call::<(ItemArgument<'_>,), (Result<Changes, TapError>,)>(argument).await.ours()?;
        ensure!(answer.0.is_ok_and(|changes| changes.is_empty()), "an empty plan changed something");
        Ok([stages.call])
    }

    async fn lazy(&self) -> Result<[f64; 1]> {
        let (answer, _, stages) = self
            .lazy
            .call::<(Handle,), (Result<(), TapError>,)>(|state| Ok((state.lend(&self.planned)?,)))
            .await
            .ours()?;
        answer.0.map_err(wasmtime::Error::from).ours()?;
        Ok([stages.call])
    }

    async fn json(&self) -> Result<[f64; 1]> {
        let text = serde_json::to_string(&*self.planned)?;
        let (answer, _, stages) = self.json.call::<(&str,), (u32,)>(|_| Ok((text.as_str(),))).await.ours()?;
        ensure!(answer.0 as usize == text.len(), "the guest got {} of {} bytes", answer.0, text.len());
        Ok([stages.call])
    }
}

async fn one_size(run: &mut Run, size: &str, bytes: usize) -> Result<()> {
    let case = &Case::new(bytes)?;
    let (lazy, projected) = (&host("gate-lazy").await?, &host("gate-projected").await?);
    let (full, json) = (&host("gate-full").await?, &host("gate-json").await?);
    let phase_zero = &PhaseZero::new(&wasm("phase-zero")?).ours()?;
    let bare_lazy = &Bare::new(&config(4), &wasm("gate-lazy")?, LAZY, "item-presave").ours()?;
    let bare_full = &Bare::new(&config(4), &wasm("gate-full")?, FULL, "item-presave").ours()?;
    let bare_json = &Bare::new(&config(4), &wasm("gate-json")?, JSON, "run").ours()?;
    let entering = &Entering::new(bytes)?;

    let stages = ["instantiate", "call", "teardown"];
    let arms = [
        Arm::new("lazy", ["own", "whole"], async || case.typed(lazy).await),
        Arm::new("projected", ["own", "whole"], async || case.typed(projected).await),
        Arm::new("full", ["own", "whole"], async || case.typed(full).await),
        Arm::new("json", ["own", "whole", "encode", "call", "decode"], async || case.json(json).await),
        Arm::new(
            "phase-zero",
            ["own", "whole", "encode", "instantiate", "copy-in", "call", "decode", "teardown"],
            async || case.phase_zero(phase_zero),
        ),
        Arm::new("bare-lazy", stages, async || case.bare_lazy(bare_lazy).await),
        Arm::new("bare-full", stages, async || case.bare_full(bare_full).await),
        Arm::new("bare-json", ["instantiate", "teardown"], async || case.bare_json(bare_json).await),
        Arm::new("enter-lazy", ["call"], async || entering.lazy().await),
        Arm::new("enter-full", ["call"], async || entering.full().await),
        Arm::new("enter-json", ["call"], async || entering.json().await),
    ];
    // Together at least the 500 iterations of the source documents.
    let rounds = take_turns(&arms, run.scale.rounds(), run.scale.pick(80, 72, 2)).await?;
    record(run, size, &rounds)
}

fn record(run: &mut Run, size: &str, rounds: &Rounds) -> Result<()> {
    let own = |arm: &str| rounds.medians(arm, "own");
    run.add(format!("gate1.lazy-over-json.{size}"), stats::ratio(own("json"), own("lazy")))?;
    run.add(format!("gate1.lazy-over-full.{size}"), stats::ratio(own("full"), own("lazy")))?;
    for arm in ["lazy", "projected", "full", "json", "phase-zero"] {
        run.micros(format!("gate1.{arm}.{size}.own"), own(arm))?;
        run.micros(format!("gate1.{arm}.{size}.whole"), rounds.medians(arm, "whole"))?;
        run.micros(format!("gate1.{arm}.{size}.p95"), rounds.p95(arm, "whole"))?;
        if arm != "phase-zero" {
            let ratio = stats::ratio(rounds.medians("phase-zero", "whole"), rounds.medians(arm, "whole"));
            run.add(format!("phase0-over-{arm}.{size}"), ratio)?;
        }
    }
    for stage in ["encode", "instantiate", "copy-in", "call", "decode", "teardown"] {
        for (arm, clocks, entering) in [
            ("lazy", "bare-lazy", "enter-lazy"),
            ("full", "bare-full", "enter-full"),
            ("json", "bare-json", "enter-json"),
            ("phase-zero", "phase-zero", "phase-zero"),
        ] {
            let found = match (arm, stage) {
                ("json", "encode" | "call" | "decode") => rounds.medians("json", stage),
                ("lazy" | "full" | "json", "copy-in") => rounds.medians(entering, "call"),
                _ => rounds.medians(clocks, stage),
            };
            // Typed arms have nothing to encode or decode: lowering and lifting are part of the call.
            if !found.is_empty() {
                run.micros(format!("stage.{arm}.{size}.{stage}"), found)?;
            }
        }
    }
    Ok(())
}
