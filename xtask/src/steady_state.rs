//! What one tap costs the kernel once everything is warm: page faults and system calls.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::build_plugins::{self, Request};
use crate::table;
use crate::workspace::{self, Workspace};

pub(crate) const HELP: &str = "\
Counts page faults and system calls of one `item_view` on a fresh instance, and prints its p50 and p95 beside those of the
same component through bare wasmtime, in turns, in release mode. System calls are counted by `strace`; without it that column says so.

Usage: cargo xtask steady-state [--calls N]

  --calls N  how many calls are measured; 20000";

const PLUGINS: [&str; 2] = ["teaser", "teaser-lazy"];

pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<()> {
    use lexopt::prelude::{Long, ValueExt as _};
    let mut calls: u32 = 20_000;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("calls") => calls = arguments.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    ensure!(calls >= 1000, "--calls takes 1000 or more: the start of the program must not weigh in");
    let workspace = Workspace::load()?;
    build_plugins::build(&workspace, &Request::default())?;
    let build = ["build", "--release", "-p", "tapline-benches", "--bin", "steady-state"];
    let artifacts = workspace::build(workspace.cargo().args(build))?;
    let executable = artifacts.into_iter().find_map(|artifact| artifact.executable);
    let executable = executable.context("cargo made no program")?;

    let mut rows = vec![["plugin", "system calls per tap", "measured"].map(str::to_owned).to_vec()];
    for plugin in PLUGINS {
        let run = |calls: u32| [plugin.to_owned(), calls.to_string()];
        let line = output(Command::new(&executable).args(run(calls)))?;
        let traced = |calls: u32| strace(&workspace, Command::new(&executable).args(run(calls)).arg("--host-only"));
        // Two lengths: what the start costs is in both, and falls out of the difference.
        let per_tap = match (traced(1000)?, traced(5000)?) {
            (Some(few), Some(many)) => format!("{:.3}", (many as f64 - few as f64) / 4000.0),
            _ => "not counted: strace is not installed".to_owned(),
        };
        let measured = line.trim().split_once(": ").map_or("", |(_, rest)| rest).to_owned();
        rows.push(vec![plugin.to_owned(), per_tap, measured]);
    }
    println!("{}", table::render(&rows));
    Ok(())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "`{}` failed ({})", workspace::spell(command), output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// The system calls of the program's first thread, which runs all taps. `None`: there is no strace.
fn strace(workspace: &Workspace, command: &Command) -> Result<Option<u64>> {
    let summary = workspace.target.join("strace.txt");
    let mut strace = Command::new("strace");
    strace.arg("-c").arg("-o").arg(&summary).arg(command.get_program()).args(command.get_args());
    match strace.stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("strace does not start"),
        Ok(status) => {
            ensure!(status.success(), "`{}` failed ({status})", workspace::spell(&strace));
            total(&std::fs::read_to_string(&summary)?).context("the summary of strace has no total").map(Some)
        }
    }
}

/// The number of calls in the last line of `strace -c`: percent, seconds, microseconds for each, calls.
fn total(summary: &str) -> Option<u64> {
    let line = summary.lines().rfind(|line| line.trim_end().ends_with("total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_total_is_in_the_last_line() {
        let summary = "% time     seconds  usecs/call     calls    errors syscall\n\
                       ------ ----------- ----------- --------- --------- ----------------\n \
                       60.00    0.000600           0     12000           ioctl\n\
                       ------ ----------- ----------- --------- --------- ----------------\n\
                       100.00    0.001000           0     12345         2 total\n";
        assert_eq!(total(summary), Some(12_345));
        assert_eq!(total("nothing"), None);
    }
}
