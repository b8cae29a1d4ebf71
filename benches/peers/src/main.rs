//! The tap of gate 1 through other ways to extend a program, beside Tapline and bare wasmtime.
//!
//! `tapline-peers [--quick] [--out FILE]`: all do the same work on the same item of 2.4 KB, and every answer is compared with
//! that of the native function. They take turns; what is measured goes from the item that the host has to the item that it
//! gets back. A peer that is not there is named and left out.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks through both")]

mod ours;
mod way;

#[cfg(feature = "extism")]
mod extism;
#[cfg(feature = "mlua")]
mod lua;
#[cfg(feature = "rquickjs")]
mod quickjs;
#[cfg(feature = "rhai")]
mod rhai;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use tapline_bench_guests::teaser;
use tapline_benches::{
    items, machine,
    measure::{Arm, take_turns},
    peers::{Missing, Peer, Peers, SANDBOX, SCHEMA, WHOLE},
};
use tapline_content::Item;

use crate::{ours::Ours, way::Way};

const CLOCKS: [&str; 2] = [WHOLE, SANDBOX];
/// The payload of gate 1.
const BYTES: usize = 2_400;

/// What goes in, and what has to come out.
struct Case {
    native: tapline_sdk::Item,
    item: Arc<Item>,
    oracle: Arc<Item>,
}

impl Case {
    fn new() -> Result<Self> {
        let native = items::item(BYTES)?;
        let mut answer = native.clone();
        teaser::full(&mut answer);
        Ok(Self { item: items::host_item(&native)?, oracle: items::host_item(&answer)?, native })
    }

    fn check(&self, answer: &Item) -> Result<()> {
        ensure!(*answer == *self.oracle, "the answer is not that of the native function");
        Ok(())
    }
}

type Ways = Result<Vec<Way>>;

/// The ways of a peer, if this program was built with it.
macro_rules! ways {
    ($feature:literal, $module:ident) => {{
        #[cfg(feature = $feature)]
        let ways: fn() -> Ways = $module::ways;
        #[cfg(not(feature = $feature))]
        let ways: fn() -> Ways = || bail!("left out of this build");
        ($feature, ways)
    }};
}

/// Every peer that is there, and why the others are not.
fn peers() -> (Vec<Way>, Vec<Missing>) {
    let all = [ways!("extism", extism), ways!("mlua", lua), ways!("rhai", rhai), ways!("rquickjs", quickjs)];
    let (mut there, mut missing) = (vec![ours::native()], Vec::new());
    for (peer, ways) in all {
        match ways() {
            Ok(ways) => there.extend(ways),
            Err(error) => missing.push(Missing { peer: peer.to_owned(), reason: format!("{error:#}") }),
        }
    }
    (there, missing)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut quick = false;
    let mut out = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/peers/report.json"));
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--quick") => quick = true,
            Some("--out") => out = arguments.next().context("--out takes a file")?.into(),
            _ => bail!("usage: tapline-peers [--quick] [--out FILE]"),
        }
    }
    let (rounds, calls) = if quick { (7, 40) } else { (21, 200) };
    let report = measure(if quick { "quick" } else { "full" }, rounds, calls)?;
    for missing in &report.missing {
        eprintln!("error: the peer `{}` is missing: {}", missing.peer, missing.reason);
    }
    report.write(&out)?;
    print!("{}", report.markdown());
    println!("\nwritten to {}", out.display());
    Ok(())
}

fn measure(scale: &str, rounds: usize, calls: usize) -> Result<Peers> {
    let case = Case::new()?;
    let (ways, missing) = peers();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (rounds, pagemap_scan) = runtime.block_on(async {
        let ours = Ours::new().await?;
        let mut arms = ours.arms(&case);
        arms.extend(ways.iter().map(|way| Arm::new(way.name, CLOCKS, async || way.call(&case))));
        Ok::<_, anyhow::Error>((take_turns(&arms, rounds, calls).await?, ours.pagemap_scan()))
    })?;
    let abouts = Ours::about().into_iter().chain(ways.into_iter().map(|way| way.about));
    Ok(Peers {
        schema: SCHEMA,
        scale: scale.to_owned(),
        machine: machine::Machine::here(pagemap_scan),
        commit: machine::commit(),
        item_bytes: serde_json::to_vec(&*case.item)?.len(),
        peers: abouts.map(|about| Peer::new(about, &rounds)).collect::<Result<_>>()?,
        missing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_of_this_build_answers_as_the_native_function() {
        let report = measure("smoke", 1, 2).unwrap();
        let built =
            [cfg!(feature = "extism"), cfg!(feature = "mlua"), cfg!(feature = "rhai"), cfg!(feature = "rquickjs")];
        let left_out = built.iter().filter(|built| !**built).count();
        assert_eq!(report.missing.len(), left_out, "{:?}", report.missing);
        assert!(report.peers.iter().all(|peer| peer.whole > 0.0), "{:?}", report.peers);
    }

    #[test]
    fn another_answer_is_an_error() {
        let case = Case::new().unwrap();
        let idle = Way::new("idle", "none", true, "gives back what it got", |case| {
            Ok(way::Clock::start().stop(case.item.clone()))
        });
        assert_eq!(idle.call(&case).unwrap_err().to_string(), "the answer is not that of the native function");
    }
}
