//! The configuration file.

mod limits;

use std::{collections::BTreeMap, fs, path::Path, path::PathBuf};

use serde::Deserialize;
use tapline_host_core::{
    GrantValue, Override, PluginName, PluginSource, PluginSpec,
    limits::{LimitsError, PartialLimits, Profile},
};
use toml::{Spanned, de::DeTable, de::DeValue};

use super::error::ConfigError;
use crate::keys::{keys_of, nearest};

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a table")]
pub(super) struct File {
    pub(super) server: ServerSection,
    pub(super) database: DatabaseSection,
    pub(super) host: HostSection,
    pub(super) cache: CacheSection,
    pub(super) plugins: BTreeMap<PluginName, PluginSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a table")]
pub(super) struct ServerSection {
    pub(super) listen: Option<String>,
    pub(super) title: Option<String>,
    /// 0: never.
    pub(super) cron_seconds: u64,
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
    pub(super) pool_size: Option<u32>,
    pub(super) max_answer_bytes: Option<usize>,
    pub(super) limits: PartialLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a table")]
pub(super) struct CacheSection {
    pub(super) directory: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "a table")]
pub(super) struct PluginSection {
    path: PathBuf,
    #[serde(default = "yes")]
    pub(super) enabled: bool,
    #[serde(default)]
    grants: BTreeMap<String, GrantValue>,
    #[serde(default)]
    limits: limits::PluginLimits,
    #[serde(default)]
    order: BTreeMap<String, Override>,
}

fn yes() -> bool {
    true
}

impl PluginSection {
    pub(super) fn spec(self, name: PluginName) -> PluginSpec {
        PluginSpec {
            name,
            source: PluginSource::File(self.path),
            grants: self.grants,
            limits: self.limits.together(),
            order: self.order,
        }
    }
}

pub(super) fn read(path: &Path) -> Result<File, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(path, &text)
}

/// `path` is for the errors.
pub(super) fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
    let place = Place { path, text };
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: place.line(error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    place.check_file(table.get_ref())?;
    let file: File = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        ConfigError::Value {
            path: path.to_owned(),
            line: place.line(start),
            key: key_at(table.get_ref(), start).unwrap_or_else(|| "the file".to_owned()),
            message: error.message().to_owned(),
        }
    })?;
    place.check_limits(table.get_ref(), &file)?;
    Ok(file)
}

struct Place<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Place<'_> {
    fn line(&self, offset: usize) -> usize {
        self.text.as_bytes()[..offset.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
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
        if let Some(host) = table(file, "host") {
            self.check(host, "host.", keys_of::<HostSection>())?;
            if let Some(limits_of_host) = table(host, "limits") {
                self.check(limits_of_host, "host.limits.", limits)?;
            }
        }
        for (name, plugin) in tables(file, "plugins") {
            let prefix = format!("plugins.{name}.");
            self.check(plugin, &prefix, keys_of::<PluginSection>())?;
            if let Some(limits_of_plugin) = table(plugin, "limits") {
                self.check(limits_of_plugin, &format!("{prefix}limits."), &[&["preset"], limits].concat())?;
            }
            for (tap, order) in tables(plugin, "order") {
                self.check(order, &format!("{prefix}order.{tap}."), keys_of::<Override>())?;
            }
        }
        Ok(())
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
                hint: known are `server`, `database`, `host`, `cache`, `plugins`
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
            tapline.toml:1: `plugins.a`: missing field `path`
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
