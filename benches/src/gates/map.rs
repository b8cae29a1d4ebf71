//! The break-even map: typed full against lazy, by fields read, fields written and size.

use std::{sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use tapline_bench_guests::plan::{self, Plan};
use tapline_content::{Item, ItemPresave};
use tapline_host_core::Host;

use super::{Run, host, on_one_thread};
use crate::{
    items::{self, SIZES},
    measure::{Arm, nanoseconds, take_turns},
    stats,
    taps::Clocked,
};

pub(super) fn run(run: &mut Run) -> Result<()> {
    on_one_thread(async {
        let (full, lazy) = (&host("map-full").await?, &host("map-lazy").await?);
        let (rounds, calls) = (run.scale.pick(7, 5, 1), run.scale.pick(20, 10, 1));
        for (size, bytes) in SIZES {
            run.say(format!("fields read and written, {bytes} bytes"));
            let item = items::item(bytes)?;
            for reads in run.scale.pick((1..=14).collect(), vec![1, 2, 3, 5, 8, 11, 14], vec![1, 14]) {
                for writes in run.scale.pick((0..=10).collect(), vec![0, 1, 2, 5, 10], vec![0, 10]) {
                    let cell = &Cell::new(&item, reads, writes)?;
                    let arms = [
                        Arm::new("full", ["own"], async || cell.call(full).await),
                        Arm::new("lazy", ["own"], async || cell.call(lazy).await),
                    ];
                    let found = take_turns(&arms, rounds, calls).await?;
                    let ratio = stats::ratio(found.medians("full", "own"), found.medians("lazy", "own"));
                    run.add(format!("map.{size}.r{reads}.w{writes}"), ratio)?;
                }
            }
        }
        Ok(())
    })
}

struct Cell {
    item: Arc<Item>,
    oracle: Arc<Item>,
}

impl Cell {
    fn new(item: &tapline_sdk::Item, reads: usize, writes: usize) -> Result<Self> {
        let mut item = item.clone();
        item.set_title(Plan::for_item(reads, writes, &item).title());
        let mut answer = item.clone();
        plan::full(&mut answer).map_err(anyhow::Error::msg)?;
        Ok(Self { item: items::host_item(&item)?, oracle: items::host_item(&answer)? })
    }

    async fn call(&self, host: &Host) -> Result<[f64; 1]> {
        let start = Instant::now();
        let outcome = host.dispatch(Clocked::<ItemPresave>::new(), &self.item).await?;
        let whole = nanoseconds(start);
        let (_, (answer, own)) = outcome.answers.first().with_context(|| format!("{:?}", outcome.failures))?;
        ensure!(**answer == *self.oracle && *own <= whole, "the answer is not that of the native function");
        Ok([*own])
    }
}
