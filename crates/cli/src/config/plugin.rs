//! What is in force for one plugin.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Map, Value};
use tapline_host_core::{
    PluginName, PluginSource, PluginSpec,
    limits::{Limits, PartialLimits},
};

use super::{
    file::PluginSection,
    setting::{Lowered, Origin, Resolver, Setting},
};
use crate::keys::keys_of;

/// One plugin of the file, or of the plugin directory.
#[derive(Clone, Debug)]
pub(crate) struct PluginReport {
    pub(crate) enabled: bool,
    pub(crate) spec: PluginSpec,
    /// What the file says, but for the limits.
    settings: Vec<Setting>,
    /// The limits that it is given, before the host lowers them.
    wished: BTreeMap<&'static str, Lowered>,
}

impl PluginReport {
    /// `file`: all of the file, as it stands. `directory`: the plugin directory.
    pub(super) fn new(
        it: &Resolver,
        name: PluginName,
        plugin: PluginSection,
        file: &Value,
        directory: Option<&Path>,
    ) -> Self {
        let table = format!("plugins.{name}");
        let enabled = plugin.is_enabled();
        let has_path = plugin.path.is_some();
        let mut settings = vec![Setting::new(format!("{table}.enabled"), enabled.into(), Origin::Default)];
        flatten(&file["plugins"][name.as_str()], &table, &mut |key, value| {
            let origin = it.in_file(&key);
            match settings.iter_mut().find(|setting| setting.key == key) {
                Some(setting) => setting.origin = origin,
                None if key.starts_with(&format!("{table}.limits.")) => {}
                None => settings.push(Setting::new(key, value.clone(), origin)),
            }
        });

        let own = format!("{table}.limits");
        let preset = plugin.limits.preset.map(|preset| match it.in_file(&format!("{own}.preset")) {
            Origin::File { file, line } => Origin::Preset { preset: preset.to_string(), file, line },
            other => other,
        });
        let given = fields(plugin.limits.together());
        let wished = keys_of::<PartialLimits>().iter().filter_map(|limit| {
            let value = given.get(*limit)?.clone();
            let origin = match (it.line(&format!("{own}.{limit}")), &preset) {
                (None, Some(preset)) => preset.clone(),
                _ => it.in_file(&format!("{own}.{limit}")),
            };
            Some((*limit, Lowered { value, origin }))
        });
        let wished = wished.collect();
        let spec = plugin.spec(name, directory);
        if let (false, PluginSource::File(path)) = (has_path, &spec.source) {
            let origin = it.origin("host.plugin_directory");
            settings.insert(1, Setting::new(format!("{table}.path"), path.display().to_string().into(), origin));
        }
        Self { enabled, spec, settings, wished }
    }

    /// Everything that is in force for the plugin. `host`: the settings of the host; `limits`: those of the plugin's calls.
    pub(crate) fn settings(&self, host: &[Setting], limits: Limits) -> Vec<Setting> {
        let in_force = fields(limits.into());
        let limits = keys_of::<PartialLimits>().iter().map(|limit| {
            let value = in_force.get(*limit).cloned().unwrap_or_default();
            let key = format!("plugins.{}.limits.{limit}", self.spec.name);
            let of_host = host.iter().find(|setting| setting.key.strip_prefix("host.limits.") == Some(limit));
            let of_host = of_host.map_or(Origin::Default, |setting| setting.origin.clone());
            let of_host = Origin::Host { host: Box::new(of_host) };
            match self.wished.get(limit) {
                Some(wished) if wished.value == value => Setting::new(key, value, wished.origin.clone()),
                lowered => Setting { lowered_from: lowered.cloned(), ..Setting::new(key, value, of_host) },
            }
        });
        self.settings.iter().cloned().chain(limits).collect()
    }

    /// What the file says, but for the limits.
    pub(crate) fn settings_of_file(&self) -> &[Setting] {
        &self.settings
    }
}

/// The limits that are given, by name.
pub(super) fn fields(limits: PartialLimits) -> Map<String, Value> {
    match serde_json::to_value(limits) {
        Ok(Value::Object(fields)) => fields,
        // Plain data is always an object.
        _ => Map::new(),
    }
}

/// Everything in a table that is no table itself.
fn flatten(value: &Value, key: &str, take: &mut impl FnMut(String, &Value)) {
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                flatten(value, &format!("{key}.{name}"), take);
            }
        }
        Value::Null => {}
        value => take(key.to_owned(), value),
    }
}
