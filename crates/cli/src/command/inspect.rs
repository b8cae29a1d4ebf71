//! `tapline inspect`

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tapline_host_core::{Capability, Manifest, PluginName, TapRecord, read_component};
use tapline_host_wasi::{Clocks, Files, Network, Random, Standard};

use crate::{report::Hint, table};

/// More than any host compiles, and little enough to be read.
const MAX_BYTES: u64 = 1 << 30;

/// The size of a page of WebAssembly memory, in bytes.
const PAGE: u64 = tapline_host_core::limits::PAGE_BYTES;

pub(crate) fn run(file: &Path, as_json: bool) -> Result<ExitCode> {
    let bytes = match read_component(file, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(Ok(size)) => bail!("{} has {size} bytes or more, {MAX_BYTES} are allowed in a plugin", file.display()),
        Err(Err(error)) => {
            return Err(error).with_context(|| Hint {
                message: format!("cannot read {}", file.display()),
                hint: "give the .wasm file of a plugin".to_owned(),
            });
        }
    };
    let manifest = Manifest::read(&name(file)?, &bytes)?;
    let text = if as_json { format!("{:#}\n", document(&manifest)) } else { page(file, &manifest) };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// A name for errors: the file's, as far as it can be the name of a plugin.
fn name(file: &Path) -> Result<PluginName> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let name: String = stem.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect();
    Ok(PluginName::new(&name).or_else(|_| PluginName::new("plugin"))?)
}

/// An exported interface of a tap, and what the author said about it.
struct Tap<'a> {
    name: String,
    mode: &'static str,
    interface: &'a str,
    record: Option<&'a TapRecord>,
}

/// The taps of a component. The interface of a tap has the tap's name, its lazy twin the same with `-lazy`: that is a
/// rule of the contract, and for a tap of somebody else's host the best guess.
fn taps(manifest: &Manifest) -> Vec<Tap<'_>> {
    let tap = |interface: &'_ String| {
        let base = interface.rsplit('/').next().unwrap_or(interface).split('@').next().unwrap_or_default();
        let (base, mode) = base.strip_suffix("-lazy").map_or((base, "full"), |base| (base, "lazy"));
        (base.replace('-', "_"), mode)
    };
    let taps = manifest.exports.iter().map(|interface| {
        let (name, mode) = tap(interface);
        let record = manifest.record(&name, mode);
        Tap { name, mode, interface, record }
    });
    taps.collect()
}

/// The interfaces of Tapline that this program offers, with the grants that they need. [`Manifest`] is read without a host, so the
/// host cannot be asked; a test compares.
const OFFERED: [(&str, Option<&str>); 4] = [
    ("tapline:host/diagnostics@0.1.0", None),
    ("tapline:host/log@0.1.0", None),
    ("tapline:content/types@0.1.0", None),
    ("tapline:host/database@0.1.0", Some("database")),
];

/// `None`: this program does not offer the interface. `Some(None)`: the plugin needs no grant for it.
fn grant(manifest: &Manifest, interface: &str) -> Option<Option<&'static str>> {
    let network = Network::default();
    let wasi: [&dyn Capability; 5] = [&Standard, &Files, &network, &Clocks, &Random];
    let listed = OFFERED.iter().find(|(offered, _)| *offered == interface).map(|(_, grant)| *grant);
    let found = listed.or_else(|| wasi.iter().find(|one| one.offers(interface)).map(|one| one.grant_name()));
    found.map(|grant| grant.filter(|_| manifest.calls(interface)))
}

fn page(file: &Path, manifest: &Manifest) -> String {
    let mut text = format!("{}\n", file.display());
    // Writing into a string does not fail.
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "  {label:8} {value}");
    };
    if let Some(record) = manifest.taps.first() {
        line("package", format!("{} {}", record.plugin, record.version));
        line("sdk", record.sdk.clone());
    }
    line("size", format!("{} bytes ({})", manifest.size, table::size(manifest.size as u64)));
    line("code", format!("{} functions", manifest.functions));
    line(
        "memory",
        format!("{} at start, in {} memories", table::size(manifest.memory_pages * PAGE), manifest.memories),
    );
    line("tables", format!("{} elements at start, in {} tables", manifest.table_elements, manifest.tables));
    text.push_str("\ntaps\n");
    let rows: Vec<[String; 4]> = taps(manifest)
        .into_iter()
        .map(|tap| {
            let fields = tap.record.and_then(|record| record.fields.as_ref());
            let fields = fields.map_or_else(|| "all".to_owned(), |fields| fields.join(", "));
            [tap.name, tap.mode.to_owned(), order(tap.record), fields]
        })
        .collect();
    text.push_str(&table::render(["tap", "mode", "order", "fields"], &rows));
    text.push_str("\nimports\n");
    let rows: Vec<[String; 2]> = manifest
        .imports
        .iter()
        .map(|interface| {
            let needs = match grant(manifest, interface) {
                Some(None) => "no grant".to_owned(),
                Some(Some(name)) => format!("the grant `{name}`"),
                None => "what this program does not offer".to_owned(),
            };
            [interface.clone(), needs]
        })
        .collect();
    text.push_str(&table::render(["interface", "needs"], &rows));
    text
}

fn order(record: Option<&TapRecord>) -> String {
    let Some(placement) = record.map(|record| &record.placement) else { return "weight 0".to_owned() };
    let mut parts = vec![format!("weight {}", placement.weight)];
    parts.extend(placement.first.then(|| "first".to_owned()));
    parts.extend(placement.last.then(|| "last".to_owned()));
    parts.extend(placement.before.iter().map(|other| format!("before {other}")));
    parts.extend(placement.after.iter().map(|other| format!("after {other}")));
    parts.join(", ")
}

fn document(manifest: &Manifest) -> Value {
    let taps: Vec<Value> = taps(manifest)
        .into_iter()
        .map(|tap| json!({ "tap": tap.name, "mode": tap.mode, "interface": tap.interface, "record": tap.record }))
        .collect();
    let imports: Vec<Value> = manifest
        .imports
        .iter()
        .map(|interface| {
            let grant = grant(manifest, interface);
            json!({ "interface": interface, "offered": grant.is_some(), "grant": grant.flatten() })
        })
        .collect();
    let record = manifest.taps.first();
    json!({
        "package": record.map(|record| &record.plugin),
        "version": record.map(|record| &record.version),
        "sdk": record.map(|record| &record.sdk),
        "size_bytes": manifest.size,
        "functions": manifest.functions,
        "memories": manifest.memories,
        "memory_pages": manifest.memory_pages,
        "tables": manifest.tables,
        "table_elements": manifest.table_elements,
        "taps": taps,
        "imports": imports,
        "imported_functions": manifest.imported_functions,
    })
}

#[cfg(test)]
mod tests {
    use tapline_content::ContentTypes;
    use tapline_host_database::{Database, DatabaseConfig};
    use tapline_host_log::Log;
    use tapline_store::Store;

    use super::*;

    #[tokio::test]
    async fn what_is_offered_is_what_the_host_gets() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("a.db").display());
        let _store = Store::open(&url).await.unwrap();
        let database = Database::connect(&url, DatabaseConfig::default()).await.unwrap();
        let capabilities: [&dyn Capability; 3] = [&Log, &ContentTypes, &database];
        let mut offered: Vec<_> = capabilities
            .iter()
            .flat_map(|one| one.interfaces().iter().map(|interface| (*interface, one.grant_name())))
            .chain([("tapline:host/diagnostics@0.1.0", None)])
            .collect();
        let mut listed = OFFERED.to_vec();
        offered.sort();
        listed.sort();
        assert_eq!(listed, offered);
    }
}
