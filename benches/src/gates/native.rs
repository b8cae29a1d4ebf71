//! WebAssembly against the same function, native; and processor time.

use std::time::Instant;

use anyhow::Result;
use tapline_bench_guests::teaser;

use super::{Run, host, on_one_thread, serialisation::Case};
use crate::{
    items,
    machine::thread_cpu_nanoseconds,
    measure::{Arm, nanoseconds, take_turns},
    stats,
};

pub(super) fn run(run: &mut Run) -> Result<()> {
    on_one_thread(async {
        let host = &host("gate-lazy").await?;
        let case = &Case::new(2_400)?;
        let item = &items::item(2_400)?;
        // Too short for a clock of its own: the time of many, divided.
        let many = run.scale.pick(100, 100, 2);
        let arms = [
            Arm::new("native", ["whole"], async || {
                let mut items = vec![item.clone(); many];
                let start = Instant::now();
                for item in &mut items {
                    teaser::full(item);
                }
                Ok([nanoseconds(start) / many as f64])
            }),
            Arm::new("wasm", ["whole"], async || Ok([case.typed(host).await?[1]])),
        ];
        let rounds = take_turns(&arms, run.scale.rounds(), run.scale.pick(50, 30, 2)).await?;
        let (native, wasm) = (rounds.medians("native", "whole"), rounds.medians("wasm", "whole"));
        run.micros("p8.native", native)?;
        run.add("p8.wasm-over-native", stats::ratio(wasm, native))?;

        let calls = run.scale.pick(2000, 1000, 10);
        let mut times = Vec::new();
        for _ in 0..run.scale.rounds() {
            let start = thread_cpu_nanoseconds()?;
            for _ in 0..calls {
                host.dispatch(crate::taps::Clocked::<tapline_content::ItemPresave>::new(), &case.item).await?;
            }
            times.push((thread_cpu_nanoseconds()? - start) / f64::from(calls));
        }
        run.micros("p8.cpu", &times)
    })
}
