//! Measures everything that the project promises about speed, and judges it. `cargo xtask gates` builds and runs it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks through both")]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tapline_benches::{
    document,
    gates::{self, PARTS, Part, Run, Scale},
    machine::{self, Machine},
    peers::Peers,
    report::{Report, Row, write_whole},
};
use tapline_host_core::{HostConfig, engine_config, swap_is_impossible};

/// What the command line asks for.
struct Request {
    scale: Scale,
    only: Vec<&'static Part>,
    write: bool,
    from: Option<PathBuf>,
    out: PathBuf,
    documents: PathBuf,
    /// What `benches/peers` found.
    peers: Option<PathBuf>,
}

fn main() -> ExitCode {
    // The server that is measured is this program again: one build, and the code of `tapline` itself.
    if matches!(std::env::args().nth(1).as_deref(), Some("serve" | tapline_cli::COMPILE_WORKER)) {
        return tapline_cli::run();
    }
    let request = match parse(lexopt::Parser::from_env()) {
        Ok(request) => request,
        Err(error) => return fail(&error, 2),
    };
    match run(&request) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error, 1),
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(code)
}

fn parse(mut parser: lexopt::Parser) -> Result<Request> {
    use lexopt::prelude::{Long, ValueExt as _};
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut request = Request {
        scale: Scale::Full,
        only: Vec::new(),
        write: false,
        from: None,
        out: root.join("target/gates/report.json"),
        documents: root.join("docs/gates"),
        peers: None,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("quick") => request.scale = Scale::Quick,
            Long("smoke") => request.scale = Scale::Smoke,
            Long("only") => request.only.push(gates::part(&parser.value()?.string()?)?),
            Long("write") => request.write = true,
            Long("from") => request.from = Some(parser.value()?.into()),
            Long("out") => request.out = parser.value()?.into(),
            Long("documents") => request.documents = parser.value()?.into(),
            Long("peers") => request.peers = Some(parser.value()?.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(request)
}

/// Whether every gate is passed.
fn run(request: &Request) -> Result<bool> {
    // A file that is none is said before anything is measured.
    let peers = request.peers.as_deref().map(Peers::read).transpose()?;
    let report = match &request.from {
        Some(path) => Report::read(path)?,
        None => {
            let report = measure(request)?;
            report.write(&request.out)?;
            report
        }
    };
    print(report.rows());
    if let Some(peers) = &peers {
        peers.fits(&report.machine)?;
        println!("\n{}", peers.markdown());
    }
    if request.from.is_none() {
        println!("\n{} numbers in {}", report.rows().count(), request.out.display());
    }
    if request.write {
        write(&report, peers.as_ref(), &request.documents)?;
    }
    let failed: Vec<_> = report.gates.iter().filter(|row| row.met != Some(true)).map(|row| row.id.as_str()).collect();
    match failed[..] {
        [] => println!("{} of {} gates passed", report.gates.len(), report.gates.len()),
        _ => println!("GATES FAILED: {}", failed.join(", ")),
    }
    Ok(report.passed())
}

fn measure(request: &Request) -> Result<Report> {
    // Before the run adds to the load that it reports.
    let machine = Machine::here(pagemap_scan()?);
    if machine.build != "release" && request.scale != Scale::Smoke {
        bail!("this is a debug build, whose times mean nothing: run `cargo xtask gates`");
    }
    if machine.load > 0.5 {
        eprintln!("warning: the machine's load is {}; what else runs on it will show in the figures", machine.load);
    }
    let parts: Vec<&Part> = if request.only.is_empty() { PARTS.iter().collect() } else { request.only.clone() };
    let progress = ProgressBar::new(parts.len() as u64);
    progress.set_style(ProgressStyle::with_template("{pos}/{len} {elapsed} {prefix}: {msg}")?);
    let mut run = Run::new(request.scale, progress.clone());
    for part in parts {
        run.part(part)?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(Report::new(request.scale.name(), machine, machine::commit(), run.into_rows()))
}

/// Whether engines of this machine find dirty pages by asking the kernel: where it is safe, and where the kernel can.
fn pagemap_scan() -> Result<bool> {
    let config = HostConfig { pool_size: 1, ..HostConfig::default() };
    Ok(swap_is_impossible() && wasmtime::Engine::new(&engine_config(&config, false, true)?).is_ok())
}

fn write(report: &Report, peers: Option<&Peers>, directory: &Path) -> Result<()> {
    if report.machine.build != "release" || report.scale == Scale::Smoke.name() {
        bail!("a {} report of a {} build is no document", report.scale, report.machine.build);
    }
    // All of them are made before the first one is written.
    let mut files = document::files(report)?;
    for (_, text) in files.iter_mut().filter(|(name, _)| name == "report.md") {
        if let Some(peers) = peers {
            text.push_str(&format!("\n## Peers, at the tap of gate 1\n\n{}", peers.markdown()));
        }
    }
    for (name, text) in &files {
        write_whole(&directory.join(name), text).with_context(|| format!("the document {name}"))?;
    }
    println!("{} files in {}", files.len(), directory.display());
    Ok(())
}

/// The numbers as a table. Those of maps and stages are in the report alone.
fn print<'a>(rows: impl Iterator<Item = &'a Row>) {
    for row in rows.filter(|row| !row.id.starts_with("map.") && !row.id.starts_with("stage.")) {
        let interval = row.interval.map_or(String::new(), |[low, high]| format!("{low:.3}–{high:.3}"));
        let verdict = match row.met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "",
        };
        let target = row.target.as_deref().unwrap_or_default();
        println!("{:<32}{:>12.3} {:<16}{interval:<22}{target:<9}{verdict}", row.id, row.measured, row.unit);
    }
}
