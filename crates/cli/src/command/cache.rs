//! `tapline cache`

use std::{
    collections::BTreeMap,
    io::{self, Write},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tapline_host_core::{
    PluginSource, PluginSpec,
    cache::{CacheDirectory, DirectoryContents, DirectoryEntry, Fingerprint, Useless, Wasm},
    code_fingerprints, escape, read_component,
};

use crate::{
    arguments::{CacheAction, Global},
    config::Config,
    report::Hint,
    table,
};

/// A file is damaged.
const DAMAGED: u8 = 1;

/// What is printed, and with which status the program ends.
struct Done {
    text: String,
    code: ExitCode,
}

impl From<String> for Done {
    fn from(text: String) -> Self {
        Self { text, code: ExitCode::SUCCESS }
    }
}

pub(crate) fn run(global: &Global, action: &CacheAction) -> Result<ExitCode> {
    let config = Config::read(global, std::env::vars_os())?;
    let path = config.host.cache_directory.as_ref().with_context(|| Hint {
        message: "no directory for compiled plugins is in use".to_owned(),
        hint: "set `directory` in [cache], or TAPLINE_CACHE_DIRECTORY, and do not switch `enable_aot_cache` off"
            .to_owned(),
    })?;
    let engines = code_fingerprints(&config.host)?;
    if !path.exists() {
        // To look makes no directory.
        let (config, nothing) = (&config, DirectoryContents::default());
        let text = match action {
            CacheAction::List { json: true } => list(config, nothing, &engines, true).text,
            CacheAction::Stats { json: true } => stats(config, &nothing, &engines, true).text,
            _ => format!("{} does not exist yet: nothing was compiled\n", escape(&path.display().to_string())),
        };
        io::stdout().write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let directory = CacheDirectory::open(path, config.host.cache_size, config.host.cache_max_bytes)?;
    let done = match action {
        CacheAction::List { json } => directory.contents().map(|found| list(&config, found, &engines, *json)),
        CacheAction::Stats { json } => directory.contents().map(|found| stats(&config, &found, &engines, *json)),
        CacheAction::Verify => verify(&directory),
        CacheAction::Prune => prune(&directory, &engines),
        CacheAction::Clear => directory.clear().map(|removed| format!("removed {}\n", amount(&removed)).into()),
    };
    let Done { text, code } = done.with_context(|| format!("cannot read {}, or not write to it", path.display()))?;
    io::stdout().write_all(text.as_bytes())?;
    Ok(code)
}

fn list(config: &Config, contents: DirectoryContents, engines: &[Fingerprint], as_json: bool) -> Done {
    let entries = contents.entries;
    let plugins = plugins_by_name(&config.plugins, config.host.compilation.max_component_bytes);
    let plugins = |entry: &DirectoryEntry| plugins.get(&entry.name).map(Vec::as_slice).unwrap_or_default();
    if as_json {
        let entries: Vec<Value> = entries
            .iter()
            .map(|entry| {
                json!({
                    "name": entry.name,
                    "plugins": plugins(entry),
                    "engine": entry.fingerprint.to_string(),
                    "is_for_this_configuration": engines.contains(&entry.fingerprint),
                    "bytes": entry.bytes,
                    "created_unix": entry.created.map(unix),
                    "last_used_unix": unix(entry.last_used),
                })
            })
            .collect();
        return format!("{:#}\n", Value::from(entries)).into();
    }
    if entries.is_empty() {
        return "nothing is compiled\n".to_owned().into();
    }
    let now = SystemTime::now();
    let rows: Vec<[String; 6]> = entries
        .iter()
        .map(|entry| {
            let plugins = plugins(entry);
            [
                if plugins.is_empty() { "-".to_owned() } else { plugins.join(", ") },
                if engines.contains(&entry.fingerprint) { "this" } else { "other" }.to_owned(),
                table::size(entry.bytes),
                entry.created.map_or_else(|| "-".to_owned(), |created| age(now, created)),
                age(now, entry.last_used),
                entry.name.clone(),
            ]
        })
        .collect();
    table::render(["plugin", "engine", "size", "created", "used", "component"], &rows).into()
}

fn stats(config: &Config, contents: &DirectoryContents, engines: &[Fingerprint], as_json: bool) -> Done {
    let entries = &contents.entries;
    let ours = || entries.iter().filter(|entry| engines.contains(&entry.fingerprint));
    let bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
    let plugins = plugins_by_name(&config.plugins, config.host.compilation.max_component_bytes);
    let compiled = plugins.iter().filter(|(name, _)| ours().any(|entry| entry.name == **name));
    let compiled: usize = compiled.map(|(_, plugins)| plugins.len()).sum();
    let (host, all) = (&config.host, config.plugins.len());
    if as_json {
        let document = json!({
            "entries": entries.len(),
            "max_entries": host.cache_size,
            "bytes": bytes,
            "max_bytes": host.cache_max_bytes,
            "for_this_configuration": ours().count(),
            "leftovers": contents.leftovers.len(),
            "plugins": all,
            "plugins_compiled": compiled,
        });
        return format!("{document:#}\n").into();
    }
    let row = |what: &str, how_much: String| [what.to_owned(), how_much];
    let rows = [
        row("entries", format!("{} of at most {}", entries.len(), host.cache_size)),
        row("size", format!("{} of at most {}", table::size(bytes), table::size(host.cache_max_bytes))),
        row("for this engine", ours().count().to_string()),
        row("for other engines", (entries.len() - ours().count()).to_string()),
        row("being written, or left half written", contents.leftovers.len().to_string()),
        row("plugins that need no compilation", format!("{compiled} of {all}")),
    ];
    table::render(["what", "how much"], &rows).into()
}

fn verify(directory: &CacheDirectory) -> io::Result<Done> {
    let entries = directory.contents()?.entries;
    let mut damaged = Vec::new();
    for entry in &entries {
        if let Err(error) = directory.verify(entry) {
            damaged.push(format!("{} (engine {}): {error}\n", entry.name, entry.fingerprint));
        }
    }
    if damaged.is_empty() {
        return Ok(format!("checked {}, all are as they were written\n", amount(&entries)).into());
    }
    let count = format!(
        "checked {}, {} damaged or foreign: `tapline cache prune` removes them\n",
        amount(&entries),
        damaged.len()
    );
    Ok(Done { text: damaged.concat() + &count, code: ExitCode::from(DAMAGED) })
}

fn prune(directory: &CacheDirectory, engines: &[Fingerprint]) -> io::Result<Done> {
    let removed = directory.prune(engines)?;
    let entries: Vec<DirectoryEntry> = removed.iter().map(|(entry, _)| entry.clone()).collect();
    let count = |why: Useless| removed.iter().filter(|(_, other)| *other == why).count();
    Ok(format!(
        "removed {}: {} for other engines, {} damaged or foreign, {} for want of room\n",
        amount(&entries),
        count(Useless::OtherEngine),
        count(Useless::Damaged),
        count(Useless::NoRoom),
    )
    .into())
}

/// The plugins of the configuration by the visible names of their components. Those that cannot be read have none.
fn plugins_by_name(plugins: &[PluginSpec], max_bytes: u64) -> BTreeMap<String, Vec<String>> {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for plugin in plugins {
        if let PluginSource::File(path) = &plugin.source
            && let Ok(bytes) = read_component(path, max_bytes)
        {
            names.entry(Wasm::new(bytes).visible_name()).or_default().push(plugin.name.to_string());
        }
    }
    names
}

fn amount(entries: &[DirectoryEntry]) -> String {
    let bytes = entries.iter().map(|entry| entry.bytes).sum();
    let word = if entries.len() == 1 { "entry" } else { "entries" };
    format!("{} {word} ({})", entries.len(), table::size(bytes))
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// How long ago, in the largest unit of which there are two.
fn age(now: SystemTime, then: SystemTime) -> String {
    let Ok(age) = now.duration_since(then) else { return "in the future".to_owned() };
    let (count, unit) = match age.as_secs() {
        seconds @ 0..120 => (seconds, "s"),
        seconds @ 120..7_200 => (seconds / 60, "min"),
        seconds @ 7_200..172_800 => (seconds / 3600, "h"),
        seconds => (seconds / 86_400, "days"),
    };
    format!("{count} {unit} ago")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ages() {
        let now = SystemTime::now();
        let ages =
            [0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(|age_s| age(now, now - Duration::from_secs(age_s)));
        let expected = ["0 s ago", "119 s ago", "2 min ago", "119 min ago", "2 h ago", "47 h ago", "2 days ago"];
        assert_eq!(ages, expected);
        assert_eq!(age(now, now + Duration::from_secs(9)), "in the future");
    }
}
