//! The configuration file.

mod limits;

use std::{
    collections::BTreeMap,
    fs, io,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    path::Path,
    path::PathBuf,
};

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tapline_host_core::{
    BreakerError, BreakerSettings, FunctionPattern, GrantValue, Optimisation, Override, PagemapScan, PartialBreaker,
    PluginName, PluginSpec, Reuse, Stock,
    limits::{LimitsError, PartialLimits, Profile},
    metrics::Surface,
    read_component,
};
use toml::{Spanned, de::DeTable, de::DeValue};

use super::{error::ConfigError, setting::Secret};
use crate::arguments::LogFormat;
use crate::keys::{keys_of, nearest};

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a table")]
pub(super) struct File {
    pub(super) server: ServerSection,
    pub(super) database: DatabaseSection,
    pub(super) host: HostSection,
    pub(super) cache: CacheSection,
    pub(super) log: LogSection,
    pub(super) telemetry: TelemetrySection,
    pub(super) plugins: BTreeMap<PluginName, PluginSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a table")]
pub(super) struct ServerSection {
    pub(super) listen: Option<String>,
    pub(super) title: Option<String>,
    /// 0: never.
    pub(super) cron_seconds: Option<u64>,
    pub(super) operator_token: Option<Secret>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a table")]
pub(super) struct DatabaseSection {
    pub(super) url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a table")]
pub(super) struct HostSection {
    pub(super) profile: Option<Profile>,
    pub(super) pool_size: Option<NonZeroU32>,
    pub(super) initial_pool_size: Option<NonZeroU32>,
    pub(super) max_waiting: Option<usize>,
    pub(super) max_wait_ms: Option<u64>,
    /// 0: never.
    pub(super) plugin_idle_seconds: Option<u64>,
    pub(super) plugin_directory: Option<PathBuf>,
    pub(super) max_answer_bytes: Option<NonZeroUsize>,
    pub(super) max_handles: Option<usize>,
    pub(super) enable_metrics: Option<bool>,
    pub(super) service: Option<String>,
    #[serde(default, deserialize_with = "surface")]
    pub(super) surface: Option<Surface>,
    pub(super) enable_tracing: Option<bool>,
    pub(super) enable_reuse: Option<bool>,
    pub(super) enable_simd: Option<bool>,
    pub(super) enable_bulk_memory: Option<BulkMemory>,
    pub(super) cold_start_target_ms: Option<NonZeroU64>,
    /// 0: none is slow.
    pub(super) slow_call_ms: Option<u64>,
    pub(super) optimisation: Option<Optimisation>,
    pub(super) parallel_compilation: Option<bool>,
    pub(super) pagemap_scan: Option<PagemapScan>,
    pub(super) plugin_share_percent: Option<NonZeroU32>,
    pub(super) breaker: PartialBreaker,
    pub(super) limits: PartialLimits,
    pub(super) compilation: CompilationSection,
}

fn surface<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Surface>, D::Error> {
    String::deserialize(from)?.parse().map(Some).map_err(serde::de::Error::custom)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a table")]
pub(super) struct CompilationSection {
    pub(super) max_component_bytes: Option<NonZeroU64>,
    pub(super) max_function_bytes: Option<NonZeroU64>,
    pub(super) max_concurrent: Option<NonZeroUsize>,
    pub(super) timeout_ms: Option<NonZeroU64>,
    pub(super) worker: Option<bool>,
    pub(super) max_memory_bytes: Option<NonZeroU64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a table")]
pub(super) struct CacheSection {
    pub(super) directory: Option<PathBuf>,
    pub(super) enable_aot_cache: Option<bool>,
    pub(super) size: Option<NonZeroUsize>,
    pub(super) max_bytes: Option<NonZeroU64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a table")]
pub(super) struct LogSection {
    pub(super) filter: Option<String>,
    pub(super) format: Option<LogFormat>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a table")]
pub(super) struct TelemetrySection {
    pub(super) keep_traces: Option<usize>,
    pub(super) otlp_endpoint: Option<String>,
}

/// Whether plugins may use the instructions that copy and fill memory. They always may.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "bool")]
pub(super) struct BulkMemory;

impl TryFrom<bool> for BulkMemory {
    type Error = &'static str;

    fn try_from(enabled: bool) -> Result<Self, Self::Error> {
        // The compilers have them on: Rust from 1.87, LLVM from 20.
        enabled.then_some(Self).ok_or("bulk memory cannot be off, no current compiler makes plugins without it")
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a table")]
pub(super) struct PluginSection {
    /// None: its file in the plugin directory.
    pub(super) path: Option<PathBuf>,
    enabled: Option<bool>,
    pub(super) grants: BTreeMap<String, GrantValue>,
    pub(super) limits: limits::PluginLimits,
    order: BTreeMap<String, Override>,
    max_concurrent_calls: Option<NonZeroU32>,
    pub(super) breaker: PartialBreaker,
    reuse: Option<Reuse>,
    stock: Option<Stock>,
    allow_functions: Option<Vec<FunctionPattern>>,
    deny_functions: Vec<FunctionPattern>,
}

impl PluginSection {
    pub(super) fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }

    /// `directory`: where its file lies if it has no path of its own.
    pub(super) fn spec(self, name: PluginName, directory: Option<&Path>) -> PluginSpec {
        let path = self.path.unwrap_or_else(|| directory.unwrap_or(Path::new("")).join(format!("{name}.wasm")));
        let mut spec = PluginSpec::file(name, path).limits(self.limits.together());
        spec.grants = self.grants;
        spec.order = self.order;
        spec.max_concurrent_calls = self.max_concurrent_calls.map(NonZeroU32::get);
        spec.breaker = self.breaker;
        spec.reuse = self.reuse;
        spec.stock = self.stock;
        spec.allow_functions = self.allow_functions;
        spec.deny_functions = self.deny_functions;
        spec
    }
}

/// The largest configuration file: a table for each of a thousand plugins.
pub(crate) const MAX_CONFIGURATION: u64 = 4 << 20;

/// A file that was read, and where everything stands in it.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// The lines of all keys, with their tables and dots between.
    pub(super) lines: BTreeMap<String, usize>,
    /// The file as it stands.
    pub(super) values: Value,
}

pub(super) fn read(path: &Path) -> Result<Parsed, ConfigError> {
    let text = read_text(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(path, &text)
}

/// The text of a file. One that another program hands over through a pipe will do, but nobody waits for ever for it, and one that
/// hands over nothing has not said that there is nothing.
fn read_text(path: &Path) -> io::Result<String> {
    let too_large = |size| io::Error::other(format!("it has {size} bytes or more, {MAX_CONFIGURATION} are allowed"));
    let bytes = read_component(path, MAX_CONFIGURATION).map_err(|error| error.map_or_else(|error| error, too_large))?;
    #[cfg(unix)]
    if bytes.is_empty() && std::os::unix::fs::FileTypeExt::is_fifo(&fs::metadata(path)?.file_type()) {
        return Err(io::Error::other("it is a pipe, and nobody writes to it"));
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// `path` is for the errors.
pub(super) fn parse(path: &Path, text: &str) -> Result<Parsed, ConfigError> {
    let place = Place { path, text };
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: place.line(error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    place.check_file(table.get_ref())?;
    let refused = |error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        ConfigError::Value {
            path: path.to_owned(),
            line: place.line(start),
            key: key_at(table.get_ref(), start).unwrap_or_else(|| "the file".to_owned()),
            message: error.message().to_owned(),
        }
    };
    let file: File = toml::from_str(text).map_err(refused)?;
    place.check_paths(table.get_ref(), &file)?;
    place.check_limits(table.get_ref(), &file)?;
    place.check_breakers(table.get_ref(), &file)?;
    let values = toml::from_str(text).map_err(refused)?;
    let mut lines = BTreeMap::new();
    place.lines(table.get_ref(), "", &mut lines);
    Ok(Parsed { file, path: path.to_owned(), lines, values })
}

struct Place<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Place<'_> {
    fn line(&self, offset: usize) -> usize {
        self.text.as_bytes()[..offset.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// Where each key stands.
    fn lines(&self, table: &DeTable<'_>, prefix: &str, lines: &mut BTreeMap<String, usize>) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            if let Some(inner) = value.get_ref().as_table() {
                self.lines(inner, &format!("{key}."), lines);
            }
            lines.insert(key, self.line(name.span().start));
        }
    }

    /// Refuses keys that nothing reads. The types say which they read.
    fn check_file(&self, file: &DeTable<'_>) -> Result<(), ConfigError> {
        self.check(file, "", keys_of::<File>())?;
        let limits = keys_of::<PartialLimits>();
        if let Some(server) = table(file, "server") {
            self.check(server, "server.", keys_of::<ServerSection>())?;
        }
        if let Some(database) = table(file, "database") {
            self.check(database, "database.", keys_of::<DatabaseSection>())?;
        }
        if let Some(cache) = table(file, "cache") {
            self.check(cache, "cache.", keys_of::<CacheSection>())?;
        }
        if let Some(log) = table(file, "log") {
            self.check(log, "log.", keys_of::<LogSection>())?;
        }
        if let Some(telemetry) = table(file, "telemetry") {
            self.check(telemetry, "telemetry.", keys_of::<TelemetrySection>())?;
        }
        if let Some(host) = table(file, "host") {
            self.check(host, "host.", keys_of::<HostSection>())?;
            if let Some(limits_of_host) = table(host, "limits") {
                self.check(limits_of_host, "host.limits.", limits)?;
            }
            if let Some(breaker) = table(host, "breaker") {
                self.check(breaker, "host.breaker.", keys_of::<PartialBreaker>())?;
            }
            if let Some(compilation) = table(host, "compilation") {
                self.check(compilation, "host.compilation.", keys_of::<CompilationSection>())?;
            }
        }
        for (name, plugin) in tables(file, "plugins") {
            let prefix = format!("plugins.{name}.");
            self.check(plugin, &prefix, keys_of::<PluginSection>())?;
            if let Some(limits_of_plugin) = table(plugin, "limits") {
                self.check(limits_of_plugin, &format!("{prefix}limits."), &[&["preset"], limits].concat())?;
            }
            if let Some(breaker) = table(plugin, "breaker") {
                self.check(breaker, &format!("{prefix}breaker."), keys_of::<PartialBreaker>())?;
            }
            if let Some(reuse) = table(plugin, "reuse") {
                self.check(reuse, &format!("{prefix}reuse."), keys_of::<Reuse>())?;
            }
            if let Some(stock) = table(plugin, "stock") {
                self.check(stock, &format!("{prefix}stock."), keys_of::<Stock>())?;
            }
            for (tap, order) in tables(plugin, "order") {
                self.check(order, &format!("{prefix}order.{tap}."), keys_of::<Override>())?;
            }
        }
        Ok(())
    }

    /// Refuses plugins of which nothing says where they lie.
    fn check_paths(&self, table: &DeTable<'_>, file: &File) -> Result<(), ConfigError> {
        let in_directory = file.host.plugin_directory.is_some();
        match file.plugins.iter().find(|(_, plugin)| plugin.path.is_none() && !in_directory) {
            None => Ok(()),
            Some((name, _)) => Err(ConfigError::Value {
                path: self.path.to_owned(),
                line: self.line(offset_of(table, &["plugins", name.as_str()]).unwrap_or_default()),
                key: format!("plugins.{name}"),
                message: "it has no `path`, and there is no `host.plugin_directory` to look in".to_owned(),
            }),
        }
    }

    /// Refuses limits that the host or a plugin would refuse later, when the line is not known any more.
    fn check_limits(&self, table: &DeTable<'_>, file: &File) -> Result<(), ConfigError> {
        let refused = |keys: &[&str], error: LimitsError| {
            let field = match &error {
                LimitsError::OutOfRange { field, .. } => field,
                _ => "fuel_limit",
            };
            let mut keys = [keys, &["limits", field]].concat();
            let offset = offset_of(table, &keys).or_else(|| {
                keys.pop();
                offset_of(table, &keys)
            });
            ConfigError::Value {
                path: self.path.to_owned(),
                line: self.line(offset.unwrap_or_default()),
                key: keys.join("."),
                message: error.to_string(),
            }
        };
        let base = file.host.profile.unwrap_or(Profile::Default).settings().limits;
        let base = file.host.limits.apply_to(base).map_err(|error| refused(&["host"], error))?;
        for (name, plugin) in &file.plugins {
            let limits = plugin.limits.together();
            limits.apply_to(base).map_err(|error| refused(&["plugins", name.as_str()], error))?;
        }
        Ok(())
    }

    /// Refuses circuit breakers that the host would refuse later, when the line is not known any more.
    fn check_breakers(&self, table: &DeTable<'_>, file: &File) -> Result<(), ConfigError> {
        let refused = |keys: &[&str], error: BreakerError| {
            let keys = [keys, &["breaker", error.setting]].concat();
            // What is not given here is refused because of what is.
            let offset = offset_of(table, &keys).or_else(|| offset_of(table, &keys[..keys.len() - 1]));
            ConfigError::Value {
                path: self.path.to_owned(),
                line: self.line(offset.unwrap_or_default()),
                key: keys.join("."),
                message: error.message.to_owned(),
            }
        };
        let base = file.host.breaker.apply_to(BreakerSettings::default()).map_err(|error| refused(&["host"], error))?;
        for (name, plugin) in &file.plugins {
            plugin.breaker.apply_to(base).map_err(|error| refused(&["plugins", name.as_str()], error))?;
        }
        Ok(())
    }

    fn check(&self, table: &DeTable<'_>, prefix: &str, known: &[&str]) -> Result<(), ConfigError> {
        match table.keys().find(|key| !known.contains(&&**key.get_ref())) {
            None => Ok(()),
            Some(key) => Err(ConfigError::UnknownKey {
                path: self.path.to_owned(),
                line: self.line(key.span().start),
                key: format!("{prefix}{}", key.get_ref()),
                nearest: nearest(key.get_ref(), known.iter().copied()).map(|near| format!("{prefix}{near}")),
                known: known.iter().map(|key| format!("`{key}`")).collect(),
            }),
        }
    }
}

/// A table in a table. What is not a table is refused when the file is read as what it should be.
fn table<'a, 'i>(parent: &'a DeTable<'i>, key: &str) -> Option<&'a DeTable<'i>> {
    parent.iter().find(|(name, _)| name.get_ref() == key)?.1.get_ref().as_table()
}

fn tables<'a, 'i>(parent: &'a DeTable<'i>, key: &str) -> Vec<(&'a str, &'a DeTable<'i>)> {
    let all = table(parent, key).into_iter().flatten();
    all.filter_map(|(name, value)| Some((&**name.get_ref(), value.get_ref().as_table()?))).collect()
}

/// Where a key stands.
fn offset_of(table: &DeTable<'_>, keys: &[&str]) -> Option<usize> {
    let (first, rest) = keys.split_first()?;
    let (name, value) = table.iter().find(|(name, _)| name.get_ref() == first)?;
    if rest.is_empty() { Some(name.span().start) } else { offset_of(value.get_ref().as_table()?, rest) }
}

/// The key, with its tables, whose name or value is at `offset`.
fn key_at(table: &DeTable<'_>, offset: usize) -> Option<String> {
    table.iter().find_map(|(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let key = name.get_ref();
        if let Some(inner) = value.get_ref().as_table().and_then(|inner| key_at(inner, offset)) {
            return Some(format!("{key}.{inner}"));
        }
        let here = value.span().contains(&offset) || name.span().contains(&offset);
        here.then(|| key.to_string())
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Expect) {
        let error = parse(Path::new("tapline.toml"), text).unwrap_err();
        let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        expected.assert_eq(&format!("{error}{hint}\n"));
    }

    #[test]
    fn unknown_keys() {
        check(
            "[server]\nlisten = \"x\"\nlisetn = \"y\"\n",
            expect![[r#"
                tapline.toml:3: nothing is called `server.lisetn`
                hint: did you mean `server.listen`?
            "#]],
        );
        check(
            "[sever]\n",
            expect![[r#"
                tapline.toml:1: nothing is called `sever`
                hint: did you mean `server`?
            "#]],
        );
        check(
            "[host.limits]\nmax_memory = 1\n",
            expect![[r#"
                tapline.toml:2: nothing is called `host.limits.max_memory`
                hint: did you mean `host.limits.max_memories`?
            "#]],
        );
        check(
            "[plugins.a]\npath = \"a\"\ngrant = {}\n",
            expect![[r#"
                tapline.toml:3: nothing is called `plugins.a.grant`
                hint: did you mean `plugins.a.grants`?
            "#]],
        );
        check(
            "[plugins.a]\npath = \"a\"\nlimits = { presett = \"tap\" }\n",
            expect![[r#"
                tapline.toml:3: nothing is called `plugins.a.limits.presett`
                hint: did you mean `plugins.a.limits.preset`?
            "#]],
        );
        check(
            "[plugins.a]\npath = \"a\"\n[plugins.a.order.item_view]\nwieght = 1\n",
            expect![[r#"
                tapline.toml:4: nothing is called `plugins.a.order.item_view.wieght`
                hint: did you mean `plugins.a.order.item_view.weight`?
            "#]],
        );
        check(
            "\n\nxyzzy = 1\n",
            expect![[r#"
                tapline.toml:3: nothing is called `xyzzy`
                hint: known are `server`, `database`, `host`, `cache`, `log`, `telemetry`, `plugins`
            "#]],
        );
    }

    #[test]
    fn wrong_values() {
        check(
            "[server]\n\nlisten = 8380\n",
            expect![[r#"
                tapline.toml:3: `server.listen`: invalid type: integer `8380`, expected a string
            "#]],
        );
        check(
            "[server]\ncron_seconds = -1\n",
            expect![[r#"
                tapline.toml:2: `server.cron_seconds`: invalid value: integer `-1`, expected u64
            "#]],
        );
        check(
            "[host]\nprofile = \"develpment\"\n",
            expect![[r#"
                tapline.toml:2: `host.profile`: `develpment` is not a profile, the nearest is `development`
            "#]],
        );
        check(
            "[plugins.a]\npath = \"a\"\nlimits = { preset = \"tab\" }\n",
            expect![[r#"
                tapline.toml:3: `plugins.a.limits.preset`: `tab` is not a preset, the nearest is `tap`
            "#]],
        );
        check(
            "[plugins.a]\npath = \"a\"\n[plugins.a.limits]\nmax_memory_bytes = \"1\"\n",
            expect![[r#"
                tapline.toml:4: `plugins.a.limits.max_memory_bytes`: invalid type: string "1", expected u64
            "#]],
        );
        check(
            "[plugins.a]\nenabled = true\n",
            expect![[r#"
            tapline.toml:1: `plugins.a`: it has no `path`, and there is no `host.plugin_directory` to look in
        "#]],
        );
        check(
            "[plugins.Bad_Name]\npath = \"a\"\n",
            expect![[r#"
                tapline.toml:1: `plugins.Bad_Name`: `Bad_Name` is not the name of a plugin: 'B' at byte 0
            "#]],
        );
        check(
            "[plugins]\na = 1\n",
            expect![[r#"
                tapline.toml:2: `plugins.a`: invalid type: integer `1`, expected a table
            "#]],
        );
        check(
            "server = 1\n",
            expect![[r#"
            tapline.toml:1: `server`: invalid type: integer `1`, expected a table
        "#]],
        );
    }

    #[test]
    fn breakers_and_reuse_that_cannot_work() {
        check(
            "[host.breaker]\nfailures = 0\n",
            expect![[r#"
            tapline.toml:2: `host.breaker.failures`: a breaker opens after 1 failure or more
        "#]],
        );
        check(
            "[host.breaker]\nmax_open_ms = 5000\n[plugins.a]\npath = \"a\"\nbreaker = { first_open_ms = 6000 }\n",
            expect![[r#"
            tapline.toml:5: `plugins.a.breaker.max_open_ms`: it is less than `first_open_ms`
        "#]],
        );
        check(
            "[plugins.a]\npath = \"a\"\nbreaker = { failure = 1 }\n",
            expect![[r#"
                tapline.toml:3: nothing is called `plugins.a.breaker.failure`
                hint: did you mean `plugins.a.breaker.failures`?
            "#]],
        );
        check(
            "[plugins.a]\npath = \"a\"\n[plugins.a.reuse]\nuses = 1\n",
            expect![[r#"
                tapline.toml:4: nothing is called `plugins.a.reuse.uses`
                hint: did you mean `plugins.a.reuse.max_uses`?
            "#]],
        );
        check(
            "[plugins.a]\npath = \"a\"\nmax_concurrent_calls = 0\n",
            expect![[r#"
            tapline.toml:3: `plugins.a.max_concurrent_calls`: invalid value: integer `0`, expected a nonzero u32
        "#]],
        );
    }

    #[test]
    fn limits_that_contradict_themselves() {
        check(
            "[host]\n[host.limits]\nmax_execution_time_ms = 0\n",
            expect![[r#"
            tapline.toml:3: `host.limits.max_execution_time_ms`: `max_execution_time_ms` is 0, it has to be 1 to 86400000
        "#]],
        );
        check(
            "[plugins.a]\npath = \"a\"\nlimits = { fuel_limit = 5 }\n",
            expect![[r#"
            tapline.toml:3: `plugins.a.limits.fuel_limit`: `fuel_limit` is 5, but `enable_fuel_metering` is off
        "#]],
        );
        check(
            "[plugins.a]\npath = \"a\"\n[plugins.a.limits]\nenable_fuel_metering = true\nfuel_limit = 0\n",
            expect![[r#"
            tapline.toml:5: `plugins.a.limits.fuel_limit`: `fuel_limit` is 0, it has to be 1 to 18446744073709551615
        "#]],
        );
    }

    #[test]
    fn not_toml() {
        check(
            "[server\n",
            expect![[r#"
            tapline.toml:1: unclosed table, expected `]`
        "#]],
        );
        check(
            "a = 1\na = 2\n",
            expect![[r#"
            tapline.toml:2: duplicate key
        "#]],
        );
    }
}
