//! Calls one tap many times, beside its control, and prints what each call cost: page faults, system calls, time, and our
//! share of it.
//!
//! `steady-state [--calls N]` warms up, then calls each tap through the host and through bare wasmtime in turns of a
//! hundred, so that whatever else the machine does meets both. System calls are counted from outside: it runs itself under
//! `strace`, as `steady-state --traced PLUGIN CALLS`, which leaves the control out.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks through both")]

use std::{env, fs, process::Command, process::ExitCode, time::Instant};

use anyhow::{Result, anyhow, ensure};
use lexopt::prelude::*;
use tapline_benches::{
    FULL, LAZY, article, bare::Ours as _, control::Control, guard::trace, host_with, machine, plugin_path, stats,
};
use tapline_content::ItemView;
use tapline_host_core::{Host, HostConfig};

/// How many calls of one arm follow each other.
const TURN: usize = 100;
/// Fewer, and the start of the program weighs in.
const LEAST: usize = 1000;
const UNDER_STRACE: (u32, u32) = (1000, 5000);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<lexopt::Error>() { 2 } else { 1 })
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = lexopt::Parser::from_env();
    let mut calls = 20_000;
    let mut traced = None;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("calls") => calls = arguments.value()?.parse()?,
            Long("traced") => traced = Some((arguments.value()?.string()?, arguments.value()?.parse::<usize>()?)),
            other => return Err(other.unexpected().into()),
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    if let Some((plugin, calls)) = traced {
        return runtime.block_on(async {
            let host = host(&plugin).await?;
            turn(&host, &mut vec![0.0; calls]).await
        });
    }
    ensure!(calls >= LEAST, "--calls takes {LEAST} or more: the start of the program must not weigh in");
    for plugin in [FULL, LAZY] {
        println!("{}", runtime.block_on(measure(plugin, calls))?);
    }
    Ok(())
}

async fn host(plugin: &str) -> Result<Host> {
    host_with(HostConfig::default(), plugin).await.map_err(|error| anyhow!("{error:#}"))
}

async fn measure(plugin: &str, calls: usize) -> Result<String> {
    let item = article();
    let host = host(plugin).await?;
    let bytes = fs::read(plugin_path(plugin))?;
    let control = Control::new(&HostConfig::default(), &bytes, plugin == LAZY).ours()?;
    // Touched before the count starts: the lists of times are not part of a call.
    let (mut ours, mut bare) = (vec![0.0; calls], vec![0.0; calls]);
    let mut faults = 0;
    for round in 0..1 + calls / TURN {
        // The first round warms up; the next one writes over its times.
        let at = round.saturating_sub(1) * TURN;
        let before = machine::minor_faults()?;
        turn(&host, &mut ours[at..at + TURN]).await?;
        if round > 0 {
            faults += machine::minor_faults()? - before;
        }
        for time in &mut bare[at..at + TURN] {
            let start = Instant::now();
            control.call(&item).await.ours()?;
            *time = start.elapsed().as_secs_f64() * 1e6;
        }
    }
    // Turn by turn: a machine that others share may be twice as slow from one turn to the next.
    let [ours_turns, bare_turns] =
        [&ours, &bare].map(|times| times.chunks_exact(TURN).map(stats::median).collect::<Vec<f64>>());
    let share = stats::ratio(&ours_turns, &bare_turns);
    let [low, share, high] = [share.low, share.value, share.high].map(|ratio| 100.0 * (ratio - 1.0));
    let [[p50, p95], [bare_p50, bare_p95]] =
        [ours, bare].map(|times| [0.5, 0.95].map(|at| stats::quantile(&times, at)));
    let scan = if host.engine_facts().pagemap_scan { "on" } else { "off" };
    let system_calls = match system_calls(plugin)? {
        Ok(count) => format!("{count:.3} system calls for each"),
        Err(reason) => format!("system calls not counted: {reason}"),
    };
    Ok(format!(
        "{plugin}: {calls} calls, p50 {p50:.2} \u{b5}s, p95 {p95:.2} \u{b5}s; bare wasmtime p50 {bare_p50:.2} \u{b5}s, \
         p95 {bare_p95:.2} \u{b5}s; our layers {share:+.1} % ({low:+.1} to {high:+.1}); {faults} page faults, {system_calls}; pagemap scanning {scan}"
    ))
}

/// As many calls as there are places for their times, in microseconds.
async fn turn(host: &Host, times: &mut [f64]) -> Result<()> {
    let item = article();
    for time in times {
        let start = Instant::now();
        let outcome = host.dispatch(ItemView, &item).await?;
        *time = start.elapsed().as_secs_f64() * 1e6;
        ensure!(outcome.answers.len() == 1, "a call failed: {:?}", outcome.failures);
    }
    Ok(())
}

fn system_calls(plugin: &str) -> Result<Result<f64, String>> {
    let program = env::current_exe()?;
    let traced = |calls: u32| {
        let mut command = Command::new(&program);
        command.args(["--traced", plugin, &calls.to_string()]);
        command
    };
    let scratch = tempfile::tempdir()?;
    trace::system_calls(&traced, UNDER_STRACE, scratch.path())
}
