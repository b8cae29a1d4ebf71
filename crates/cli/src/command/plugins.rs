//! `tapline plugins`

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Result, bail};
use tapline_host_core::cache::DiskState;

use crate::{app::App, report::Hint, table};

pub(crate) fn run(app: &App) -> Result<ExitCode> {
    let rows: Vec<[String; 5]> = app
        .host
        .plugins()
        .iter()
        .map(|plugin| {
            let name = plugin.name();
            let taps = app.host.taps().filter(|tap| {
                let order = app.host.order(tap.tap().as_str());
                order.is_some_and(|order| order.plugins().contains(name))
            });
            let taps: Vec<&str> = taps.map(|tap| tap.tap().as_str()).collect();
            let record = plugin.manifest().taps.first();
            [
                name.to_string(),
                record.map_or_else(|| "-".to_owned(), |record| record.version.clone()),
                taps.join(", "),
                if plugin.grant_names().is_empty() { "-".to_owned() } else { plugin.grant_names().join(", ") },
                table::size(plugin.manifest().size as u64),
            ]
        })
        .collect();
    let text = if rows.is_empty() {
        "no plugins are configured\n".to_owned()
    } else {
        table::render(["plugin", "version", "taps", "grants", "size"], &rows)
    };
    io::stdout().write_all(text.as_bytes())?;
    // Who runs this before an upgrade counts on it that the next start compiles nothing.
    let failed: u64 = app.host.caches().iter().map(|cache| cache.failed_writes).sum();
    if matches!(app.host.disk_state(), DiskState::Unusable { .. }) || failed > 0 {
        bail!(Hint {
            message: "compiled plugins were not kept, and the next start compiles them again".to_owned(),
            hint: "the log says why; `tapline cache stats` says how much room there is".to_owned(),
        });
    }
    Ok(ExitCode::SUCCESS)
}
