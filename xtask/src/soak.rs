//! Builds and runs the soak of `benches`, in release mode.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::Said;
use crate::build_plugins::{self, Request};
use crate::workspace::{self, Workspace};

pub(crate) const HELP: &str = "\
Calls taps at full concurrency, one in a hundred a fault, and checks that nothing is left over: memory, slots, tasks; and
that the counters add up to the calls. A million taps without an option. A short one is part of `cargo xtask test`.

Usage: cargo xtask soak [--minutes N | --taps N]

  --minutes N  for so long, after a fifth of it to warm up
  --taps N     so many calls, after a fifth of them to warm up

Exit codes: 0 all of it holds, 1 something does not, 2 wrong usage.";

pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<()> {
    // The program knows its options; what is wrong with them it says before it begins.
    let options: Vec<_> = arguments.raw_args()?.collect();
    let workspace = Workspace::load()?;
    build_plugins::build(&workspace, &Request::default())?;
    let build = ["build", "--release", "--workspace", "--bin", "soak"];
    let artifacts = workspace::build(workspace.cargo().args(build))?;
    let soak = artifacts
        .into_iter()
        .find_map(|artifact| artifact.executable.filter(|file| file.file_stem().is_some_and(|stem| stem == "soak")));
    let mut command = Command::new(soak.context("cargo made no program")?);
    let status = command.args(options).current_dir(&workspace.root).status().context("soak does not start")?;
    match status.code() {
        Some(0) => Ok(()),
        code => Err(Said(code.and_then(|code| code.try_into().ok()).unwrap_or(1)).into()),
    }
}
