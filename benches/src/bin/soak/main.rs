//! Calls taps for a long time at full concurrency, one in a hundred of them a fault, and checks that nothing is left over.
//!
//! `soak [--taps N | --minutes N]` loads real plugins and some in the text format, warms up with a fifth of the calls (or of
//! the time) and many more faults, and only then begins. At the end it counts. What must hold:
//!
//! - every call ends as its input says: a trap is a trap, a slow call a timeout, a good one is answered;
//! - the counters of the host are the calls that were made, handler by handler and outcome by outcome;
//! - no slot is taken, no page of memory counted, no task alive;
//! - the process has not grown by more than 1 MiB since it was warm.
//!
//! The circuit breaker is off, because a plugin that fails one time in a hundred on purpose would meet it. Ends with 1 when one
//! of these does not hold. `cargo xtask soak` builds the plugins and runs this in release mode.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

mod calls;
mod guest;

use std::{
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    process::{Command, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use calls::{Calls, ONE_FAULT_IN, ONE_FAULT_IN_WHEN_COLD, Tally};
use tapline_host_core::Host;

/// Calls of the long run, without those that warm up.
const DEFAULT_TAPS: u64 = 1_000_000;
/// Instances that are alive at the same time.
const SLOTS: u32 = 100;
/// What the process may grow by after it is warm, in bytes.
const MAX_GROWTH: u64 = 1 << 20;
/// Makes glibc's allocator give memory back, see mallopt(3). By default it keeps the more the larger the blocks are that it
/// has seen, several MiB for each thread, and which thread meets a large answer is chance.
const ALLOCATOR: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_TRIM_THRESHOLD_", "131072")];
/// How often a line says how far it is.
const EVERY: Duration = Duration::from_secs(5);

/// When to stop.
#[derive(Clone, Copy, Debug)]
enum Length {
    Taps(u64),
    Time(Duration),
}

impl Length {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        const USAGE: &str = "usage: soak [--taps N | --minutes N]";
        let Some(option) = arguments.next() else { return Ok(Self::Taps(DEFAULT_TAPS)) };
        let number: u64 = arguments.next().ok_or(USAGE)?.parse()?;
        match (option.as_str(), number, arguments.next()) {
            ("--taps", 1000.., None) => Ok(Self::Taps(number)),
            ("--minutes", 1.., None) => Ok(Self::Time(Duration::from_secs(60 * number))),
            _ => Err(USAGE.into()),
        }
    }

    /// How long to warm up: 400 calls for each slot are what it takes until every one has seen every fault, measured.
    fn warm_up(self, slots: u32) -> Self {
        match self {
            Self::Taps(taps) => Self::Taps((taps / 5).max(400 * u64::from(slots))),
            Self::Time(time) => Self::Time(time / 5),
        }
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let length = match Length::from_arguments(std::env::args().skip(1)) {
        Ok(length) => length,
        Err(error) => {
            eprintln!("error: {error}");
            return Ok(ExitCode::from(2));
        }
    };
    if ALLOCATOR.iter().any(|(name, _)| std::env::var_os(name).is_none()) {
        // It reads them when the process starts.
        let mut again = Command::new(std::env::current_exe()?);
        let status = again.args(std::env::args_os().skip(1)).envs(ALLOCATOR).status()?;
        return Ok(ExitCode::from(status.code().and_then(|code| code.try_into().ok()).unwrap_or(1)));
    }
    let report = soak(length, SLOTS, MAX_GROWTH, |line| println!("{line}"))?;
    println!("{}", report.text);
    Ok(if report.holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a soak came to.
struct Report {
    text: String,
    holds: bool,
}

/// Runs a soak in a runtime of its own, so that the tasks that are left are those of the soak.
fn soak(length: Length, slots: u32, max_growth: u64, mut say: impl FnMut(&str)) -> Result<Report, Box<dyn Error>> {
    guest::quiet_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;
    runtime.block_on(async {
        let started = Instant::now();
        let calls = Arc::new(Calls::new(slots).await?);
        let mut tally = run(&calls, length.warm_up(slots), ONE_FAULT_IN_WHEN_COLD, &mut say).await?;
        calls.fill_stacks(&mut tally).await;
        let warm = resident_bytes()?;
        say(&format!("warm after {} taps, {} of them faults: {}", tally.taps(), tally.faults(), mebibytes(warm)));
        let measured = run(&calls, length, ONE_FAULT_IN, &mut say).await?;
        let end = resident_bytes()?;
        let mut report = Checks::default();
        let (taps, faults) = (measured.taps(), measured.faults());
        report.check("faults among the calls", format!("{faults} of {taps}"), 100 * faults >= taps);
        tally.add(measured);
        report.check("calls that ended otherwise than they should", tally.wrong.len(), tally.wrong.is_empty());
        let differences = differences(&calls.host, &tally)?;
        report.check("counters that differ from the calls", differences.len(), differences.is_empty());
        let pool = calls.host.pool_metrics();
        report.check("calls on instances that were there", pool.pool_hits, pool.pool_hits > 0);
        calls.keep_none().await?;
        let slots = calls.host.slots().0;
        report.check("slots taken", slots, slots == 0);
        let pages = calls.host.memory().usage().current_pages;
        report.check("pages of memory counted", pages, pages == 0);
        let tasks = tasks_left().await;
        report.check("tasks alive", tasks, tasks == 0);
        let grown = end.saturating_sub(warm);
        let growth = format!("{} from {}, {} allowed", mebibytes(grown), mebibytes(warm), mebibytes(max_growth));
        report.check("growth since it was warm", growth, grown <= max_growth);
        let text = format!(
            "\n{}\n{}{}\n{} taps in {:.0} s",
            tally.table(),
            report.text,
            tally.wrong.iter().chain(&differences).fold(String::new(), |text, line| text + "\n" + line),
            tally.taps(),
            started.elapsed().as_secs_f64(),
        );
        Ok(Report { text, holds: report.holds })
    })
}

/// Runs as many workers as keep every slot busy and a queue in front of them, and adds up what each has seen.
async fn run(
    calls: &Arc<Calls>,
    length: Length,
    one_fault_in: u64,
    say: &mut impl FnMut(&str),
) -> Result<Tally, Box<dyn Error>> {
    let next = Arc::new(AtomicU64::new(0));
    let enough = Arc::new(AtomicBool::new(false));
    let taps = Arc::new(AtomicU64::new(0));
    let most = match length {
        Length::Taps(taps) => taps,
        Length::Time(_) => u64::MAX,
    };
    let started = Instant::now();
    let workers: Vec<_> = (0..2 * calls.host.slots().1)
        .map(|_| {
            let (calls, next, enough, taps) =
                (Arc::clone(calls), Arc::clone(&next), Arc::clone(&enough), Arc::clone(&taps));
            tokio::spawn(async move {
                let mut tally = Tally::default();
                while taps.load(Relaxed) < most && !enough.load(Relaxed) {
                    let before = tally.taps();
                    calls.make(next.fetch_add(1, Relaxed), one_fault_in, &mut tally).await;
                    taps.fetch_add(tally.taps() - before, Relaxed);
                }
                tally
            })
        })
        .collect();
    let mut said = Instant::now();
    while workers.iter().any(|worker| !worker.is_finished()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if matches!(length, Length::Time(time) if started.elapsed() >= time) {
            enough.store(true, Relaxed);
        }
        if said.elapsed() >= EVERY {
            said = Instant::now();
            let taps = taps.load(Relaxed);
            let rate = taps as f64 / started.elapsed().as_secs_f64();
            say(&format!("{taps} taps, {rate:.0} in a second, {}", mebibytes(resident_bytes()?)));
        }
    }
    let mut tally = Tally::default();
    for worker in workers {
        tally.add(worker.await?);
    }
    Ok(tally)
}

/// Compares the host's counters with the calls that were made, both ways.
fn differences(host: &Host, tally: &Tally) -> Result<Vec<String>, Box<dyn Error>> {
    let mut counted = BTreeMap::new();
    for line in host.metrics().render()?.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        if series.starts_with("tapline_tap_invocations_total{") && value != "0" {
            counted.insert(series.to_owned(), value.parse()?);
        }
    }
    let made: BTreeMap<String, u64> = tally.series().collect();
    let mut differences = Vec::new();
    for series in counted.keys().chain(made.keys().filter(|series| !counted.contains_key(*series))) {
        let (counter, calls) = (counted.get(series).unwrap_or(&0), made.get(series).unwrap_or(&0));
        if counter != calls {
            differences.push(format!("{series} is {counter}, {calls} calls were made"));
        }
    }
    Ok(differences)
}

/// Tasks that are alive when all that were started have been waited for.
async fn tasks_left() -> usize {
    let metrics = tokio::runtime::Handle::current().metrics();
    // A task that was waited for may still be on its way out, on another thread; and whoever keeps a stock looks once in a
    // second whether its plugin is gone.
    for _ in 0..500 {
        if metrics.num_alive_tasks() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    metrics.num_alive_tasks()
}

#[derive(Debug)]
struct Checks {
    text: String,
    holds: bool,
}

impl Default for Checks {
    fn default() -> Self {
        Self { text: String::new(), holds: true }
    }
}

impl Checks {
    fn check(&mut self, what: &str, value: impl std::fmt::Display, holds: bool) {
        self.holds &= holds;
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{} {what}: {value}", if holds { "ok    " } else { "FAILED" });
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The memory of this process that is in use, from `/proc/self/smaps_rollup`: `statm` counts in batches of each thread.
fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).ok_or("no line says Rss")?;
    Ok(1024 * line.trim().trim_end_matches("kB").trim().parse::<u64>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The short soak of every test run, on fewer slots, so that as few calls warm them all. The bound is what the allocator may
    /// keep by chance when nobody tells it otherwise; a leak of 1 KB for each call is more.
    #[test]
    fn nothing_is_left_after_twenty_thousand_taps() {
        let report = soak(Length::Taps(20_000), 10, 16 << 20, |_| {}).unwrap();
        assert!(report.holds, "{}", report.text);
    }

    #[test]
    fn arguments() {
        let length = |text: &str| Length::from_arguments(text.split_whitespace().map(str::to_owned));
        assert!(matches!(length("").unwrap(), Length::Taps(DEFAULT_TAPS)));
        assert!(matches!(length("--taps 5000").unwrap(), Length::Taps(5000)));
        assert!(matches!(length("--minutes 2").unwrap(), Length::Time(time) if time.as_secs() == 120));
        for wrong in ["--taps", "--taps 0", "--taps x", "--minutes 0", "--hours 1", "--taps 5000 more"] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }
}
