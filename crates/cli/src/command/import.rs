//! `tapline import`

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tapline_host_core::causes;
use tapline_store::{Bad, ImportReport};

use crate::{app::App, progress, table};

pub(crate) async fn run(app: &App, paths: &[PathBuf], report_file: Option<&Path>) -> Result<ExitCode> {
    let bar = progress::bar(0);
    let report = tapline_store::import(&app.store, &app.host, paths, |progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(progress.path.display().to_string());
    })
    .await;
    bar.finish_and_clear();
    if let Some(path) = report_file {
        let text = document(app, &report).to_string();
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    io::stdout().write_all(summary(app, &report).as_bytes())?;
    for bad in &report.bad {
        let error = format!("{}: {}", place(bad), causes(&bad.error).join(": "));
        let hint = bad.error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        writeln!(io::stderr(), "error: {error}{hint}")?;
    }
    if report.not_tried > 0 {
        writeln!(io::stderr(), "error: {} more files were not tried", report.not_tried)?;
    }
    app.store.close().await;
    let good = report.bad.is_empty() && report.not_tried == 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(app: &App, report: &ImportReport) -> String {
    let mut text = format!(
        "{} {}: {} new, {} changed, {} as before; {} could not be imported\n",
        report.items(),
        if report.items() == 1 { "item" } else { "items" },
        report.inserted,
        report.updated,
        report.unchanged,
        report.bad.len()
    );
    let rows: Vec<[String; 4]> = app
        .host
        .metrics()
        .tap_snapshots()
        .into_iter()
        .filter(|snapshot| snapshot.invocations > 0)
        .map(|snapshot| {
            [snapshot.plugin, snapshot.tap, snapshot.invocations.to_string(), snapshot.failures.to_string()]
        })
        .collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table::render(["plugin", "tap", "calls", "failures"], &rows));
    }
    text
}

fn document(app: &App, report: &ImportReport) -> Value {
    let bad: Vec<Value> = report
        .bad
        .iter()
        .map(|bad| {
            json!({
                "path": bad.path.display().to_string(),
                "line": bad.line,
                "error": causes(&bad.error).join(": "),
                "hint": bad.error.hint(),
            })
        })
        .collect();
    let plugins: Vec<Value> = app
        .host
        .metrics()
        .tap_snapshots()
        .into_iter()
        .map(|snapshot| {
            json!({
                "name": snapshot.plugin,
                "tap": snapshot.tap,
                "invocations": snapshot.invocations,
                "failures": snapshot.failures,
            })
        })
        .collect();
    json!({
        "items": report.items(),
        "inserted": report.inserted,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "not_tried": report.not_tried,
        "bad": bad,
        "plugins": plugins,
    })
}

fn place(bad: &Bad) -> String {
    match bad.line {
        Some(line) => format!("{}:{line}", bad.path.display()),
        None => bad.path.display().to_string(),
    }
}
