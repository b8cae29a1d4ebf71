//! Serves the documents of this repository through the sample plugins.

mod check;
mod config;
pub(crate) mod pages;
pub(crate) mod server;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::build_plugins::{self, Plugin, Request};
use crate::workspace::{self, Workspace};

pub(crate) const HELP: &str = "\
Builds the sample plugins and the program, imports README.md and docs/ into a fresh SQLite database in target/demo, and
serves them until Ctrl-C.

Usage: cargo xtask demo [--check] [--plugin DIR]... [--listen ADDRESS]

  --check           fetch the list and every page, check that each plugin contributed, print a table and exit
  --plugin DIR      load the plugin in DIR as well; may be repeated
  --listen ADDRESS  where to listen; 127.0.0.1:8380, and with --check a free port";

const ADDRESS: &str = "127.0.0.1:8380";

#[derive(Default)]
struct Options {
    check: bool,
    built: bool,
    plugins: Vec<PathBuf>,
    listen: Option<String>,
}

pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<()> {
    use lexopt::prelude::Long;
    let mut options = Options::default();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("check") => options.check = true,
            Long("plugin") => options.plugins.push(arguments.value()?.into()),
            Long("listen") => options.listen = Some(arguments.value()?.to_string_lossy().into_owned()),
            other => return Err(other.unexpected().into()),
        }
    }
    demo(&Workspace::load()?, options)
}

/// `demo --check` as a step of something larger, which has built the program already: to build it alone would select
/// other features, and compile half of what it stands on once more.
pub(crate) fn check_here(workspace: &Workspace) -> Result<()> {
    demo(workspace, Options { check: true, built: true, ..Options::default() })
}

fn demo(workspace: &Workspace, options: Options) -> Result<()> {
    let mut plugins = build_plugins::build(workspace, &Request { outside: options.plugins, ..Request::default() })?;
    plugins.retain(is_for_this_host);
    let program = if options.built { Program::find(workspace)? } else { Program::build(workspace)? };
    let address = match options.listen {
        Some(address) => address,
        None if options.check => free_address()?,
        None => ADDRESS.to_owned(),
    };
    config::prepare(workspace, &plugins, &address)?;
    if options.check { check::check(&program, &plugins) } else { serve(&program, &plugins, &address) }
}

/// The guests of benches and tests, which have nothing to say to a reader, and one that shows files which the demo has not.
const NOT_FOR_READERS: [&str; 6] = ["attachment", "probe", "probe-lazy", "probe-wasi", "teaser", "teaser-lazy"];

/// Sample plugins for the taps of other hosts are left out. One from outside is loaded in any case, so that its author
/// sees why it is refused.
fn is_for_this_host(plugin: &Plugin) -> bool {
    let for_readers = !NOT_FOR_READERS.contains(&plugin.name.as_str());
    plugin.outside || for_readers && plugin.interfaces.iter().all(|interface| interface.starts_with("tapline:content/"))
}

fn serve(program: &Program<'_>, plugins: &[Plugin], address: &str) -> Result<()> {
    workspace::run(program.command().args(["import", "README.md", "docs"]))?;
    let names: Vec<&str> = plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    println!("\nhttp://{address}/          the items; each page shows what the plugins added to it");
    println!("http://{address}/status    the plugins ({}) and how often each was called", names.join(", "));
    println!("http://{address}/_tapline  the same to look at");
    println!("http://{address}/metrics   the same for Prometheus");
    println!("Ctrl-C ends it.\n");
    become_it(program.command().arg("serve"))
}

/// Puts the program in the place of this one, so that Ctrl-C and `kill` reach it directly and none is left behind.
#[cfg(unix)]
fn become_it(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    Err(command.exec()).with_context(|| format!("`{}` does not start", workspace::spell(command)))
}

#[cfg(not(unix))]
fn become_it(command: &mut Command) -> Result<()> {
    workspace::run(command)
}

/// The `tapline` program with the configuration of the demo.
struct Program<'a> {
    workspace: &'a Workspace,
    executable: PathBuf,
}

impl<'a> Program<'a> {
    fn build(workspace: &'a Workspace) -> Result<Self> {
        Ok(Self { workspace, executable: workspace::tapline(workspace)? })
    }

    /// The program that the last build of the whole workspace made.
    fn find(workspace: &'a Workspace) -> Result<Self> {
        let executable = workspace.target.join("debug/tapline");
        anyhow::ensure!(executable.exists(), "`{}` is missing: cargo build --workspace", executable.display());
        Ok(Self { workspace, executable })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.current_dir(&self.workspace.root).args(["--config", config::FILE]);
        command
    }
}

/// An address that nobody listens on at this moment.
pub(crate) fn free_address() -> Result<String> {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = address.context("no free port on 127.0.0.1")?;
    Ok(address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_of_other_hosts_are_left_out() {
        let plugin = |interface: &str, outside| Plugin {
            name: "x".to_owned(),
            outside,
            core_bytes: 0,
            component_bytes: 0,
            interfaces: vec![interface.to_owned()],
        };
        assert!(is_for_this_host(&plugin("tapline:content/cron@0.1.0", false)));
        assert!(!is_for_this_host(&plugin("acme:shop/discount@1.0.0", false)));
        assert!(is_for_this_host(&plugin("acme:shop/discount@1.0.0", true)));
    }
}
