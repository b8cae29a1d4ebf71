//! Builds and runs the soak of `benches`, in release mode.

use std::process::Command;

use anyhow::Result;

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
    workspace::pass_on(Command::new(workspace.bench("soak")?).args(options).current_dir(&workspace.root))
}
