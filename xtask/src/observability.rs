//! Dashboards, alerts and the operator's page, against a host under load.

mod browser;
mod collector;
mod load;
mod prometheus;
mod queries;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use self::load::Load;
use self::prometheus::Prometheus;
use self::queries::Query;
use crate::Usage;
use crate::build_plugins::{self, Request};
use crate::demo::server::Server;
use crate::workspace::{self, Workspace};

pub(crate) const HELP: &str = "\
Runs a host under load, with a plugin that is replaced every second, and looks at it as an operator would. Needs Debian's
`prometheus` for --check and `chromium` for --screenshots as well; says how to install what is missing, and installs nothing.

Usage: cargo xtask observability --check | --screenshots | --traces

  --check        the rules are right and their tests pass; every query of every dashboard and every alert has data, and those of
                 the documents are answered; the operator's page works in a browser, with scripts and without, and no page
                 of somebody else presses its buttons
  --screenshots  write the pictures of docs/images
  --traces       a real collector of OpenTelemetry (`rotel`, from PyPI) receives the trace of a page";

pub(crate) const DEPLOY: &str = "deploy/observability";
/// What `promtool` is asked there: whether the rules are right, and whether their tests pass.
pub(crate) const PROMTOOL: [[&str; 3]; 2] =
    [["check", "config", "prometheus.yml"], ["test", "rules", "rules.test.yml"]];

const IMAGES: &str = "docs/images";
const METRICS: &str = "docs/metrics.md";
const GUIDE: &str = "docs/operations.md";

/// How long until the last query must have data. Rates need two samples, rules one more round.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the operator's page has to draw a line of.
const HISTORY: Duration = Duration::from_secs(20);

pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<()> {
    use lexopt::prelude::Long;
    let (mut check, mut screenshots, mut traces) = (false, false, false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("check") => check = true,
            Long("screenshots") => screenshots = true,
            Long("traces") => traces = true,
            other => return Err(other.unexpected().into()),
        }
    }
    if !check && !screenshots && !traces {
        let usage = "say `--check`, `--screenshots` or `--traces`; `cargo xtask observability --help` says more";
        return Err(Usage(usage.into()).into());
    }
    let workspace = Workspace::load()?;
    if traces {
        build_plugins::build(&workspace, &Request::default())?;
        collector::check(&workspace)?;
    }
    if check || screenshots {
        look(&workspace, check, screenshots)?;
    }
    Ok(())
}

fn look(workspace: &Workspace, check: bool, screenshots: bool) -> Result<()> {
    let chromium = installed("chromium", "chromium")?;
    if check {
        let promtool = installed("promtool", "prometheus")?;
        check_rules(workspace, &promtool)?;
    }
    build_plugins::build(workspace, &Request::default())?;
    let program = host(workspace)?;
    let server = Server::start(Command::new(program).current_dir(&workspace.root).args([
        "target/plugins",
        "README.md",
        "docs",
    ]))?;
    let load = Load::start(&server.address)?;
    if check {
        every_query_has_data(workspace, &server.address)?;
        browser::check(&chromium, &server.address, load.page())?;
    }
    if screenshots {
        std::thread::sleep(HISTORY);
        browser::screenshots(&chromium, &server.address, load.page(), &workspace.root.join(IMAGES))?;
    }
    let pages = load.stop()?;
    server.stop()?;
    println!("observability: all well, over {pages} pages");
    Ok(())
}

/// Prometheus's own word on the rules, and their tests.
pub(crate) fn check_rules(workspace: &Workspace, promtool: &Path) -> Result<()> {
    for arguments in PROMTOOL {
        workspace::run(Command::new(promtool).args(arguments).current_dir(workspace.root.join(DEPLOY)))?;
    }
    Ok(())
}

/// The program of that name in one of the directories of `PATH`.
fn installed(program: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file());
    found.with_context(|| format!("`{program}` is not installed: sudo apt-get install {package}"))
}

/// The example that serves and replaces plugins. Built with the features of the whole workspace, as everything is.
fn host(workspace: &Workspace) -> Result<PathBuf> {
    let artifacts = workspace::build(workspace.cargo().args(["build", "--workspace", "--example", "rollout"]))?;
    workspace::program(artifacts, "rollout")
}

fn every_query_has_data(workspace: &Workspace, address: &str) -> Result<()> {
    let directory = workspace.target.join("observability");
    let prometheus = installed("prometheus", "prometheus")?;
    let prometheus = Prometheus::start(&prometheus, &directory, &workspace.root.join(DEPLOY), address)?;
    let mut queries = queries::of_dashboards(&workspace.root.join(DEPLOY).join("dashboards"))?;
    queries.extend(prometheus.rules()?);
    ensure!(!queries.is_empty(), "there are no queries");
    wait_until_all(&queries, "queries have data", |query| prometheus.has_data(query))?;
    let mut written = queries::of_table(&workspace.root.join(METRICS))?;
    let guide = workspace.root.join(GUIDE);
    let guide = std::fs::read_to_string(&guide).with_context(|| format!("cannot read {}", guide.display()))?;
    written.extend(queries::of_document(GUIDE, &guide));
    wait_until_all(&written, "queries of the documents are answered", |query| prometheus.has_series(query))
}

/// Asks again until all of them are answered, for as long as there is patience.
fn wait_until_all(queries: &[Query], what: &str, is_answered: impl Fn(&Query) -> Result<bool>) -> Result<()> {
    let bar = ProgressBar::new(queries.len() as u64)
        .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").context("a progress bar")?)
        .with_message(what.to_owned());
    let start = Instant::now();
    let mut waiting: Vec<&Query> = queries.iter().collect();
    while !waiting.is_empty() {
        let mut still = Vec::new();
        for query in waiting {
            if !is_answered(query)? {
                still.push(query);
            }
        }
        bar.set_position((queries.len() - still.len()) as u64);
        if start.elapsed() > PATIENCE {
            let list: Vec<String> = still.iter().map(ToString::to_string).collect();
            bail!("nothing from {} queries:\n{}", list.len(), list.join("\n"));
        }
        waiting = still;
        std::thread::sleep(Duration::from_secs(1));
    }
    bar.finish_and_clear();
    println!("observability: {} {what}", queries.len());
    Ok(())
}

/// A program whose output nobody reads but in a log.
fn quiet<'a>(command: &'a mut Command, log: &Path) -> Result<&'a mut Command> {
    let file = std::fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file))
}
