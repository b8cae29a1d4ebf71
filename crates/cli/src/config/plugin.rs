//! What is in force for one plugin.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Map, Value};
use tapline_host_core::{LoadError, PartialBreaker, PluginName, PluginSource, PluginSpec, limits::PartialLimits};

use super::{
    Config,
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
    /// Who switched reuse and the stock on.
    switches: [(&'static str, Option<Value>, Origin); 2],
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
        let switch = |name: &'static str, given: Option<Value>| {
            let origin = if given.is_some() { it.in_file(&format!("{table}.{name}")) } else { Origin::Default };
            (name, given, origin)
        };
        let switches = [
            switch("reuse", spec.reuse.and_then(|reuse| serde_json::to_value(reuse).ok())),
            switch("stock", spec.stock.and_then(|stock| serde_json::to_value(stock).ok())),
        ];
        Self { enabled, spec, settings, wished, switches }
    }

    /// Everything that is in force for the plugin.
    ///
    /// # Errors
    ///
    /// What the plugin is given contradicts itself or the host.
    pub(crate) fn settings(&self, config: &Config) -> Result<Vec<Setting>, LoadError> {
        let mut settings = self.settings.clone();
        self.add_calls(config, &mut settings);
        self.add_breaker(config, &mut settings)?;
        self.add_switches(&mut settings);
        let in_force = fields(self.spec.effective_limits(&config.host)?.into());
        settings.extend(keys_of::<PartialLimits>().iter().map(|limit| {
            let value = in_force.get(*limit).cloned().unwrap_or_default();
            let key = self.key(&format!("limits.{limit}"));
            let of_host = of_host(config, &format!("host.limits.{limit}"));
            match self.wished.get(limit) {
                Some(wished) if wished.value == value => Setting::new(key, value, wished.origin.clone()),
                lowered => Setting { lowered_from: lowered.cloned(), ..Setting::new(key, value, of_host) },
            }
        }));
        Ok(settings)
    }

    fn key(&self, name: &str) -> String {
        format!("plugins.{}.{name}", self.spec.name)
    }

    /// The calls that may run at once: its own number within the pool, or its share.
    fn add_calls(&self, config: &Config, settings: &mut Vec<Setting>) {
        let (key, pool) = (self.key("max_concurrent_calls"), config.host.pool_size);
        match settings.iter_mut().find(|setting| setting.key == key) {
            None => {
                let share = config.host.share_of(pool as usize);
                settings.push(Setting::new(key, share.into(), of_host(config, "host.plugin_share_percent")));
            }
            Some(own) if self.spec.max_concurrent_calls.is_some_and(|calls| calls > pool) => {
                let wished = Lowered { value: own.value.clone(), origin: own.origin.clone() };
                let of_pool = Setting::new(key, pool.into(), of_host(config, "host.pool_size"));
                *own = Setting { lowered_from: Some(wished), ..of_pool };
            }
            Some(_) => {}
        }
    }

    /// What the plugin's circuit breakers have of the host.
    fn add_breaker(&self, config: &Config, settings: &mut Vec<Setting>) -> Result<(), LoadError> {
        // It may contradict what the host has.
        self.spec.effective_breaker(&config.host)?;
        for name in keys_of::<PartialBreaker>() {
            let key = self.key(&format!("breaker.{name}"));
            let host = format!("host.breaker.{name}");
            if let Some(inherited) = config.settings.iter().find(|setting| setting.key == host)
                && settings.iter().all(|own| own.key != key)
            {
                settings.push(Setting::new(key, inherited.value.clone(), of_host(config, &host)));
            }
        }
        Ok(())
    }

    /// Whether there is reuse and a stock, and what they have by default.
    fn add_switches(&self, settings: &mut Vec<Setting>) {
        for (name, given, origin) in &self.switches {
            settings.push(Setting::new(self.key(name), given.is_some().into(), origin.clone()));
            for (field, value) in given.as_ref().and_then(Value::as_object).into_iter().flatten() {
                let key = self.key(&format!("{name}.{field}"));
                if settings.iter().all(|own| own.key != key) {
                    settings.push(Setting::new(key, value.clone(), Origin::Default));
                }
            }
        }
    }

    /// What the file says, but for the limits.
    pub(crate) fn settings_of_file(&self) -> &[Setting] {
        &self.settings
    }
}

/// What the host has, as an origin.
fn of_host(config: &Config, key: &str) -> Origin {
    let setting = config.settings.iter().find(|setting| setting.key == key);
    Origin::Host { host: Box::new(setting.map_or(Origin::Default, |setting| setting.origin.clone())) }
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
