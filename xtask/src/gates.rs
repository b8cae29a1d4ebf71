//! Builds and runs the gates of `benches`, in release mode.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::build_plugins::{self, Request};
use crate::workspace::{self, Workspace};
use crate::{Said, peers};

pub(crate) const HELP: &str = "\
Measures what the project promises about speed and judges it: prints a table and writes target/gates/report.json.
The first run builds in release mode, which takes some minutes. docs/benchmarking.md says what the numbers mean.

Usage: cargo xtask gates [--quick] [--only GATE]... [--peers] [--write] [--from FILE] [--out FILE]

  --quick      within 3 minutes instead of 15
  --only GATE  this part alone: gate1, map, gate2, gate3, layers, dwcp, start, simd, native, triggers; may be repeated
  --peers      measure other ways to extend a program as well; builds for long the first time
  --write      write docs/gates/report.md and its charts as well
  --from FILE  do not measure; show, and with --write write, what FILE says
  --out FILE   where the report goes

Exit codes: 0 every gate is passed, 1 one is not or the run broke, 2 wrong usage.";

pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<()> {
    // The program knows its options; what is wrong with them it says before it measures.
    let mut options: Vec<_> = arguments.raw_args()?.collect();
    let workspace = Workspace::load()?;
    build_plugins::build(&workspace, &Request::default())?;
    if let Some(place) = options.iter().position(|option| option == "--peers") {
        let quick = options.iter().any(|option| option == "--quick");
        options.insert(place + 1, peers::measure(&workspace, quick)?.into());
    }
    let build = ["build", "--release", "--workspace", "--bin", "gates"];
    let artifacts = workspace::build(workspace.cargo().args(build))?;
    let gates = artifacts
        .into_iter()
        .find_map(|artifact| artifact.executable.filter(|file| file.file_stem().is_some_and(|stem| stem == "gates")));
    let mut command = Command::new(gates.context("cargo made no program")?);
    let status = command.args(options).current_dir(&workspace.root).status().context("gates does not start")?;
    if status.success() {
        Ok(())
    } else {
        Err(Said(status.code().and_then(|code| code.try_into().ok()).unwrap_or(1)).into())
    }
}
