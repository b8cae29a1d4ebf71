//! Calls one tap many times, beside its control, and prints what each call cost: page faults, time, and our share of it.
//!
//! `steady-state PLUGIN CALLS` warms up, then calls the tap through the host and through bare wasmtime in turns of a
//! hundred, so that whatever else the machine does meets both. The number of system calls is counted from outside, by
//! `cargo xtask steady-state`, which runs it under `strace -c` with different CALLS and divides the difference;
//! `steady-state PLUGIN CALLS --host-only` leaves the control out for that.

#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::{error::Error, fs, time::Instant};

use tapline_benches::{LAZY, article, control::Control, host_with, plugin_path};
use tapline_content::ItemView;
use tapline_host_core::HostConfig;

/// How many calls of one arm follow each other.
const TURN: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: steady-state PLUGIN CALLS [--host-only]";
    let plugin = arguments.next().ok_or(usage)?;
    let calls: usize = arguments.next().ok_or(usage)?.parse()?;
    let both = arguments.next().is_none();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let item = article();
        let config = HostConfig::default();
        let control = Control::new(&config, &fs::read(plugin_path(&plugin))?, plugin == LAZY)?;
        let host = host_with(config, &plugin).await?;
        // Touched before the count starts: the lists of times are not part of a call.
        let (mut ours, mut bare) = (vec![0_u64; calls], vec![0_u64; if both { calls } else { 0 }]);
        let mut faults = 0;
        for round in 0..1 + calls / TURN {
            // The first round warms up; the next one writes over its times.
            let at = round.saturating_sub(1) * TURN;
            let before = if both { minor_faults()? } else { 0 };
            for time in &mut ours[at..at + TURN] {
                let start = Instant::now();
                let outcome = host.dispatch(ItemView, &item).await?;
                *time = nanoseconds(start);
                if outcome.answers.len() != 1 {
                    return Err(format!("a call failed: {:?}", outcome.failures).into());
                }
            }
            if both && round > 0 {
                faults += minor_faults()? - before;
            }
            if both {
                for time in &mut bare[at..at + TURN] {
                    let start = Instant::now();
                    control.call(&item).await?;
                    *time = nanoseconds(start);
                }
            }
        }
        let (ours, bare) = (Quantiles::of(ours), Quantiles::of(bare));
        print!("{plugin}: {calls} calls, p50 {} ns, p95 {} ns", ours.p50, ours.p95);
        if both {
            print!(", {faults} page faults");
            let share = 100.0 * (ours.p50 as f64 / bare.p50 as f64 - 1.0);
            print!(", bare wasmtime p50 {} ns, p95 {} ns, our layers {share:+.1} %", bare.p50, bare.p95);
        }
        println!(", pagemap scanning {}", if host.engine_facts().pagemap_scan { "on" } else { "off" });
        Ok(())
    })
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

struct Quantiles {
    p50: u64,
    p95: u64,
}

impl Quantiles {
    fn of(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| times.get(times.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default();
        Self { p50: at(50), p95: at(95) }
    }
}

/// Page faults of this process that needed no disk, from `/proc/self/stat`.
fn minor_faults() -> Result<u64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name of the program stands in parentheses and may hold spaces; the tenth field is the eighth behind it.
    let behind = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?.1;
    Ok(behind.split_whitespace().nth(7).ok_or("/proc/self/stat is too short")?.parse()?)
}
