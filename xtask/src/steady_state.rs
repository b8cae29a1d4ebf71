//! Builds and runs the bench that counts what one tap costs the kernel once everything is warm.

use std::process::Command;

use anyhow::Result;

use crate::build_plugins::{self, Request};
use crate::workspace::{self, Workspace};

pub(crate) const HELP: &str = "\
Counts page faults and system calls of one `item_view` on a fresh instance, and prints its p50 and p95 beside those of the
same component through bare wasmtime, in turns, in release mode. System calls are counted by `strace`; without it that column says so.

Usage: cargo xtask steady-state [--calls N]

  --calls N  how many calls are measured, 1000 or more; 20000";

pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<()> {
    // The program knows its options.
    let options: Vec<_> = arguments.raw_args()?.collect();
    let workspace = Workspace::load()?;
    build_plugins::build(&workspace, &Request::default())?;
    workspace::pass_on(Command::new(workspace.bench("steady-state")?).args(options).current_dir(&workspace.root))
}
