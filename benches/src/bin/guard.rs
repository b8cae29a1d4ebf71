//! Compares what must not get worse with a baseline. `cargo xtask guard` builds and runs it.
//!
//! `guard taps …` and `guard times …` are what it runs itself, under tools that count and in another profile.

#![expect(clippy::print_stderr, reason = "a command line tool talks through it")]

use std::{
    alloc::System,
    collections::BTreeMap,
    ffi::OsString,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde::de::DeserializeOwned;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tapline_benches::{
    FULL, LAZY,
    guard::{
        self, KINDS, Kind,
        baseline::{Baseline, Place},
        comment,
        compare::{Comparison, Measured},
        sizes,
        taps::{self, Counted, Load, Worse},
        times::{self, Amount},
        trace,
    },
    report::write_whole,
};
use tapline_host_core::Host;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Those that were made, and those that were moved: each takes the allocator's time.
fn allocations() -> u64 {
    let stats = ALLOCATOR.stats();
    (stats.allocations + stats.reallocations) as u64
}

/// Valgrind makes a tap fifty times as long; each has nearly the same number of instructions.
const UNDER_VALGRIND: u32 = 300;
const UNDER_STRACE: (u32, u32) = (500, 2500);
const COUNTED: u32 = 2000;
const SMOKE: Amount = Amount { rounds: 2, calls: 10, batch: 200, starts: 1 };
const WHOLE: Amount = Amount { rounds: 21, calls: 500, batch: 1000, starts: 5 };

/// What the command line asks for.
struct Request {
    against: Option<PathBuf>,
    write: Option<PathBuf>,
    kinds: Vec<&'static Kind>,
    /// The same program in release mode.
    timed_by: PathBuf,
    plugins: PathBuf,
    comment: PathBuf,
    worse: Option<Worse>,
    smoke: bool,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let done = match arguments.peek().and_then(|first| first.to_str()) {
        Some("taps") => taps_of_a_child(lexopt::Parser::from_args(arguments.skip(1))),
        Some("times") => times_of_a_child(lexopt::Parser::from_args(arguments.skip(1))),
        _ => parse(lexopt::Parser::from_args(arguments)).and_then(|request| run(&request)),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<lexopt::Error>() { 2 } else { 1 })
        }
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Request> {
    use lexopt::prelude::{Long, ValueExt as _};
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut request = Request {
        against: None,
        write: None,
        kinds: Vec::new(),
        timed_by: std::env::current_exe()?,
        plugins: root.join("target/plugins"),
        comment: root.join("target/guard/comment.md"),
        worse: None,
        smoke: false,
    };
    let mut counts = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("against") => request.against = Some(parser.value()?.into()),
            Long("write") => request.write = Some(parser.value()?.into()),
            Long("counts") => counts = true,
            Long("only") => request.kinds.push(guard::by_name(&parser.value()?.string()?)?),
            Long("timed-by") => request.timed_by = parser.value()?.into(),
            Long("plugins") => request.plugins = parser.value()?.into(),
            Long("comment") => request.comment = parser.value()?.into(),
            Long("worse") => request.worse = Some(Worse::named(&parser.value()?.string()?)?),
            Long("smoke") => request.smoke = true,
            other => return Err(other.unexpected().into()),
        }
    }
    if request.kinds.is_empty() {
        request.kinds = KINDS.iter().filter(|kind| kind.counted || !counts).collect();
    }
    if request.against.is_none() && request.write.is_none() {
        return Err(
            lexopt::Error::from("nothing to do: --against BASELINE.json, --write BASELINE.json, or both").into()
        );
    }
    Ok(request)
}

/// Whether nothing got worse.
fn run(request: &Request) -> Result<bool> {
    // What is wrong with the baseline is said before anything is measured.
    let baseline = match &request.against {
        Some(path) => {
            let baseline = Baseline::read(path)?;
            baseline.fits(&Place::here(false), path)?;
            Some(baseline)
        }
        None => None,
    };
    let measured = measure(request)?;
    for (kind, reason) in &measured.skipped {
        say(&format!("not measured: {kind}, because {reason}"));
    }
    let place = Place::here(Host::builder().build()?.engine_facts().pagemap_scan);
    let mut good = true;
    if let Some(baseline) = &baseline {
        let comparison = Comparison::new(baseline, &place, &measured, &request.kinds);
        let text = comment::markdown(&comparison, &measured);
        write_whole(&request.comment, &text)?;
        say(&format!("{text}\nwritten to {}", request.comment.display()));
        let worse = comparison.worse();
        good = worse.is_empty();
        if !good {
            let ids: Vec<_> = worse.iter().map(|row| row.id.as_str()).collect();
            eprintln!("error: worse than the baseline: {}", ids.join(", "));
        }
    }
    if let Some(path) = &request.write {
        Baseline::new(place, measured.values).write(path)?;
        say(&format!("baseline written to {}", path.display()));
    }
    Ok(good)
}

/// Who reads may stop doing so: the exit status still says what was found.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// All that is asked for.
fn measure(request: &Request) -> Result<Measured> {
    let wants = |names: &[&str]| request.kinds.iter().any(|kind| names.contains(&kind.name));
    let scratch = tempfile::tempdir().context("no place for the output of tools")?;
    let this = std::env::current_exe()?;
    let mut measured = Measured::default();
    if wants(&["artifact", "compiled"]) {
        measured.values.extend(sizes::measure(&request.plugins)?);
    }
    for plugin in [FULL, LAZY] {
        if wants(&["faults", "allocations"]) {
            let counted: Counted = answer(taps_command(&this, request, plugin, COUNTED, false))?;
            measured.values.extend(counted.values(plugin));
        }
        let program = |calls, small| taps_command(&this, request, plugin, calls, small);
        let mut count = |kind: &'static str, count: Result<f64, String>| match count {
            Ok(count) => drop(measured.values.insert(format!("{kind}.{plugin}"), count)),
            Err(reason) => drop(measured.skipped.insert(kind, reason)),
        };
        if wants(&["system-calls"]) {
            let calls = trace::system_calls(&|calls| program(calls, false), UNDER_STRACE, scratch.path())?;
            count("system-calls", calls);
        }
        if wants(&["instructions"]) {
            let program = program(UNDER_VALGRIND, true);
            count("instructions", trace::instructions(&program, UNDER_VALGRIND, scratch.path())?);
        }
    }
    if wants(&["resident"]) {
        let counted: Counted = answer(taps_command(&request.timed_by, request, FULL, COUNTED, false))?;
        measured.values.insert("resident".to_owned(), counted.resident);
    }
    if wants(&["cold-start", "tap", "cpu", "native"]) {
        let mut command = Command::new(&request.timed_by);
        command.arg("times").arg("--plugins").arg(&request.plugins).args(worse(request));
        command.args(request.smoke.then_some("--smoke"));
        measured.values.extend(answer::<BTreeMap<String, f64>>(command)?);
    }
    // One run measures several kinds at once.
    measured.values.retain(|id, _| guard::kind(id).is_some_and(|kind| wants(&[kind.name])));
    Ok(measured)
}

fn taps_command(program: &Path, request: &Request, plugin: &str, calls: u32, small: bool) -> Command {
    let mut command = Command::new(program);
    command.arg("taps").arg("--plugins").arg(&request.plugins).args(worse(request));
    command.args(small.then_some("--small")).arg(plugin).arg(calls.to_string());
    command
}

fn worse(request: &Request) -> Vec<OsString> {
    request.worse.map_or_else(Vec::new, |worse| vec!["--worse".into(), worse.name().into()])
}

/// What a run of this program says.
fn answer<T: DeserializeOwned>(mut command: Command) -> Result<T> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("{program} does not start"))?;
    ensure!(output.status.success(), "{program} failed ({})", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("{program} answered no JSON"))
}

fn taps_of_a_child(mut parser: lexopt::Parser) -> Result<bool> {
    use lexopt::prelude::{Long, Value, ValueExt as _};
    let mut load = Load { plugin: FULL.to_owned(), calls: COUNTED, small: false, worse: None };
    let (mut plugins, mut values) = (PathBuf::new(), 0);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("plugins") => plugins = parser.value()?.into(),
            Long("small") => load.small = true,
            Long("worse") => load.worse = Some(Worse::named(&parser.value()?.string()?)?),
            Value(plugin) if values == 0 => (load.plugin, values) = (plugin.string()?, 1),
            Value(calls) if values == 1 => (load.calls, values) = (calls.parse()?, 2),
            other => return Err(other.unexpected().into()),
        }
    }
    say(&serde_json::to_string(&taps::run(&plugins, &load, allocations)?)?);
    Ok(true)
}

fn times_of_a_child(mut parser: lexopt::Parser) -> Result<bool> {
    use lexopt::prelude::{Long, ValueExt as _};
    let (mut plugins, mut amount, mut worse) = (PathBuf::new(), WHOLE, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("plugins") => plugins = parser.value()?.into(),
            Long("smoke") => amount = SMOKE,
            Long("worse") => worse = Some(Worse::named(&parser.value()?.string()?)?),
            other => return Err(other.unexpected().into()),
        }
    }
    say(&serde_json::to_string(&times::measure(&plugins, amount, worse)?)?);
    Ok(true)
}
