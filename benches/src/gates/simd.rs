//! Text with and without vector instructions: the kernel alone, and a whole plugin around it.

use std::{cell::RefCell, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use tapline_bench_guests::text;
use tapline_content::{Item, ItemView};
use tapline_host_core::{Host, engine_config, swap_is_impossible};
use wasmtime::{Config, Engine, Extern, Linker, Module, Store, TypedFunc};

use super::{Run, config, host, on_one_thread, wasm};
use crate::{
    bare::Ours as _,
    items,
    measure::{Arm, nanoseconds, take_turns},
    stats,
};

/// The document: about this many bytes of HTML.
const BYTES: usize = 100_000;
/// How often the kernel runs in one call, so that entering the guest does not weigh in.
const TIMES: u32 = 20;

pub(super) fn run(run: &mut Run) -> Result<()> {
    on_one_thread(async {
        check_builds()?;
        let document = &document();
        kernel(run, document).await?;
        plugin(run, document).await
    })
}

fn document() -> String {
    let line = "<li class=\"entry\">Größe, naïve <b>text</b> – and a little more of it, without any tag at all</li>\n";
    line.repeat(BYTES / line.len())
}

/// A build with vector instructions is refused by an engine without them, and one without is not.
fn check_builds() -> Result<()> {
    let mut settings = Config::new();
    settings.wasm_simd(false).wasm_relaxed_simd(false);
    let engine = Engine::new(&settings).ours()?;
    ensure!(Module::validate(&engine, &wasm("text-kernel")?).is_err(), "`text-kernel` has no vector instructions");
    Module::validate(&engine, &wasm("text-kernel-scalar")?)
        .ours()
        .context("`text-kernel-scalar` has vector instructions")?;
    Ok(())
}

/// The kernel as a core module, with the document in its memory.
struct Kernel {
    store: RefCell<Store<()>>,
    count: TypedFunc<u32, u64>,
    blocks: TypedFunc<u32, u64>,
}

impl Kernel {
    fn new(wasm: &[u8], document: &str) -> wasmtime::Result<Self> {
        let engine = Engine::new(&engine_config(&config(4), false, swap_is_impossible())?)?;
        let module = Module::new(&engine, wasm)?;
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&module)?;
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = linker.instantiate(&mut store, &module)?;
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut store, "_initialize") {
            initialize.call(&mut store, ())?;
        }
        let room = instance.get_typed_func::<u32, u32>(&mut store, "room")?;
        let place = room.call(&mut store, u32::try_from(document.len())?)?;
        let memory = instance.get_export(&mut store, "memory").and_then(Extern::into_memory);
        let memory = memory.ok_or_else(|| wasmtime::Error::msg("no memory"))?;
        memory.write(&mut store, place as usize, document.as_bytes())?;
        let count = instance.get_typed_func(&mut store, "count")?;
        let blocks = instance.get_typed_func(&mut store, "count_blocks")?;
        Ok(Self { store: RefCell::new(store), count, blocks })
    }

    fn time(&self, function: &TypedFunc<u32, u64>, expected: u64) -> Result<[f64; 1]> {
        let mut store = self.store.borrow_mut();
        let start = Instant::now();
        let sum = function.call(&mut *store, TIMES).ours()?;
        let time = nanoseconds(start);
        ensure!(sum == expected * u64::from(TIMES), "the kernel counted {sum}");
        Ok([time])
    }
}

async fn kernel(run: &mut Run, document: &str) -> Result<()> {
    run.say("the kernel");
    let count = text::plain(document);
    let expected = count.tags + count.characters + count.lines;
    let vector = &Kernel::new(&wasm("text-kernel")?, document).ours()?;
    let scalar = &Kernel::new(&wasm("text-kernel-scalar")?, document).ours()?;
    let arms = [
        Arm::new("vector", ["whole"], async || vector.time(&vector.count, expected)),
        Arm::new("scalar", ["whole"], async || scalar.time(&scalar.count, expected)),
        Arm::new("scalar-blocks", ["whole"], async || scalar.time(&scalar.blocks, expected)),
    ];
    let rounds = take_turns(&arms, run.scale.rounds(), run.scale.pick(20, 10, 1)).await?;
    // Against the better of the two ways to do without.
    let scalar = stats::paired(rounds.medians("scalar", "whole"), rounds.medians("scalar-blocks", "whole"), f64::min);
    run.add("simd.kernel", stats::ratio(&scalar, rounds.medians("vector", "whole")))
}

async fn plugin(run: &mut Run, document: &str) -> Result<()> {
    run.say("a whole plugin");
    let (vector, scalar) = (&host("text-plugin").await?, &host("text-plugin-scalar").await?);
    let item = &items::host_item(&tapline_sdk::Item::builder("text").title("Text").field("body", document).build())?;
    let count = text::plain(document);
    let expected =
        &format!("<small>{} tags, {} characters, {} lines</small>", count.tags, count.characters, count.lines);
    let arms = [
        Arm::new("vector", ["whole"], async || view(vector, item, expected).await),
        Arm::new("scalar", ["whole"], async || view(scalar, item, expected).await),
    ];
    let rounds = take_turns(&arms, run.scale.rounds(), run.scale.pick(100, 50, 1)).await?;
    run.add("simd.plugin", stats::ratio(rounds.medians("scalar", "whole"), rounds.medians("vector", "whole")))
}

async fn view(host: &Host, item: &Arc<Item>, expected: &str) -> Result<[f64; 1]> {
    let start = Instant::now();
    let outcome = host.dispatch(ItemView, item).await?;
    let whole = nanoseconds(start);
    let (_, answer) = outcome.answers.first().with_context(|| format!("{:?}", outcome.failures))?;
    let body = answer.body().to_string();
    ensure!(body == expected, "{body} instead of {expected}");
    Ok([whole])
}
