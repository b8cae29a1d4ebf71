//! Builds and runs the guard of `benches`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::build_plugins::{self, Request};
use crate::workspace::{self, Workspace};

pub(crate) const HELP: &str = "\
Compares what must not get worse with a baseline, and writes target/guard/comment.md for a pull request.
docs/benchmarking.md says what is measured and where two runs can be compared.

Usage: cargo xtask guard [--against FILE] [--write FILE] [--counts] [--only KIND]...

  --against FILE  the baseline; benches/baseline.json holds the counts of the last commit
  --write FILE    writes what was measured as a new baseline
  --counts        sizes, page faults, system calls, allocations and instructions: no time, and no build in release mode
  --only KIND     this alone: artifact, compiled, faults, system-calls, allocations, instructions, resident, cold-start
                  (compile, load artifact, first tap), tap, cpu, native; may be repeated

Exit codes: 0 nothing got worse, 1 something did or the run broke, 2 wrong usage.";

const BASELINE: &str = "benches/baseline.json";

pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<()> {
    // The program knows its options; what is wrong with them it says before it measures.
    let options: Vec<_> = arguments.raw_args()?.collect();
    let workspace = Workspace::load()?;
    build_plugins::build(&workspace, &Request::default())?;
    let mut command = Command::new(counter(&workspace)?);
    if !options.iter().any(|option| option == "--counts") {
        command.arg("--timed-by").arg(workspace.bench("guard")?);
    }
    workspace::pass_on(command.args(options).current_dir(&workspace.root))
}

/// The counts, against those that are committed.
pub(crate) fn counts(workspace: &Workspace) -> Result<()> {
    let path = workspace.root.join(BASELINE);
    let baseline = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    // What is wrong with the file, the program says.
    let arch = serde_json::from_str::<Value>(&baseline).map(|baseline| workspace::text(&baseline["place"]["arch"]));
    if let Ok(arch) = arch
        && !arch.is_empty()
        && arch != std::env::consts::ARCH
    {
        println!("nothing to compare: {BASELINE} is of {arch}, and this is {}", std::env::consts::ARCH);
        return Ok(());
    }
    let mut command = Command::new(counter(workspace)?);
    workspace::pass_on(command.args(["--counts", "--against"]).arg(path).current_dir(&workspace.root))
}

/// The program as the tests have it: with their selection of packages, so that nothing is built for it.
fn counter(workspace: &Workspace) -> Result<PathBuf> {
    let build = ["test", "--workspace", "--test", "it", "--no-run"];
    workspace::program(workspace::build(workspace.cargo().args(build))?, "guard")
}
