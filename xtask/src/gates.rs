//! Builds and runs the gates of `benches`, in release mode.

use std::process::Command;

use anyhow::Result;

use crate::build_plugins::{self, Request};
use crate::peers;
use crate::workspace::{self, Workspace};

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
    workspace::pass_on(Command::new(workspace.bench("gates")?).args(options).current_dir(&workspace.root))
}
