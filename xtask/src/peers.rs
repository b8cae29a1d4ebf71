//! Builds and runs `benches/peers`, a workspace of its own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::build_plugins::{self, RUSTFLAGS, Request, TARGET};
use crate::workspace::{self, Workspace};

pub(crate) const HELP: &str = "\
Measures the tap of gate 1 through other ways to extend a program, beside Tapline and bare wasmtime: prints a table and
writes target/peers/report.json. The first run builds a second wasmtime in release mode, which takes long. A peer that does
not build here is named and left out.

Usage: cargo xtask peers [--quick] [--out FILE]

  --quick     fewer rounds
  --out FILE  where the report goes

Exit codes: 0 measured, 1 the run broke, or a peer answers something else than the native function.";

/// The peers that can be left out, as features of the package.
const PEERS: [&str; 4] = ["extism", "mlua", "rhai", "rquickjs"];

pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<()> {
    // The program knows its options.
    let options: Vec<_> = arguments.raw_args()?.collect();
    let workspace = Workspace::load()?;
    build_plugins::build(&workspace, &Request::default())?;
    run(&workspace, options)
}

/// For `gates --peers`, which has built the plugins. The file with what was found.
pub(crate) fn measure(workspace: &Workspace, quick: bool) -> Result<PathBuf> {
    let file = workspace.target.join("peers/report.json");
    let mut options = vec!["--out".into(), file.clone().into()];
    options.extend(quick.then(|| "--quick".into()));
    run(workspace, options)?;
    Ok(file)
}

fn run(workspace: &Workspace, options: Vec<OsString>) -> Result<()> {
    guest(workspace);
    let program = build(workspace)?;
    workspace::pass_on(Command::new(program).args(options).current_dir(&workspace.root))
}

/// Its settings are found from the directory that cargo runs in.
fn cargo(workspace: &Workspace) -> Command {
    let mut cargo = workspace.cargo();
    cargo.current_dir(workspace.root.join("benches/peers"));
    cargo
}

/// The guest of Extism. Without it that peer is missing, which the program says.
fn guest(workspace: &Workspace) {
    let mut command = cargo(workspace);
    command.args(["build", "-p", "tapline-peer-guests", "--target", TARGET, "--profile", "plugin"]);
    if let Err(error) = workspace::run(build_plugins::with_flags(&mut command, RUSTFLAGS)) {
        eprintln!("error: the guest of Extism was not built: {error:#}");
    }
}

/// The program with all peers, or with those that build.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    if let Ok(program) = with(workspace, &PEERS) {
        return Ok(program);
    }
    let mut found = Vec::new();
    for peer in PEERS {
        found.push(peer);
        if let Err(error) = with(workspace, &found) {
            eprintln!("error: the peer `{peer}` does not build here, and is left out: {error:#}");
            found.pop();
        }
    }
    ensure!(!found.is_empty(), "no peer builds here");
    with(workspace, &found)
}

fn with(workspace: &Workspace, peers: &[&str]) -> Result<PathBuf> {
    let mut command = cargo(workspace);
    command.args(["build", "--release", "--no-default-features", "--features", &peers.join(",")]);
    let artifacts = workspace::build(&mut command)?;
    artifacts.into_iter().find_map(|artifact| artifact.executable).context("cargo made no program")
}
