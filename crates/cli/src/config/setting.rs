//! Effective values, each with where it comes from.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use tapline_host_core::limits::Profile;

use super::{error::ConfigError, plugin::PluginReport};

/// Who said so. A later variant is stronger than an earlier one; a plugin's limits are the exception, they only lower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Origin {
    /// Nobody.
    Default,
    /// The profile of the host.
    Profile {
        /// Its name.
        profile: Profile,
    },
    /// The configuration file.
    File {
        /// As it was named.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// The environment.
    Variable {
        /// The variable.
        variable: &'static str,
    },
    /// The command line.
    Flag {
        /// With its dashes.
        flag: &'static str,
    },
    /// For a limit of a plugin: what the host has, for this reason.
    Host {
        /// Who said so of the host.
        host: Box<Origin>,
    },
    /// For a limit of a plugin: its preset.
    Preset {
        /// The name of the preset.
        preset: String,
        /// The file in which the plugin is given the preset.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Profile { profile } => write!(f, "profile {profile}"),
            Self::File { file, line } => write!(f, "{}:{line}", file.display()),
            Self::Variable { variable } => write!(f, "variable {variable}"),
            Self::Flag { flag } => write!(f, "flag {flag}"),
            Self::Host { host } => write!(f, "the host's, {host}"),
            Self::Preset { preset, file, line } => write!(f, "preset {preset}, {}:{line}", file.display()),
        }
    }
}

/// One effective value.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Setting {
    /// As in the file, with its tables.
    pub(crate) key: String,
    /// `null`: none.
    pub(crate) value: Value,
    /// Who said so.
    pub(crate) origin: Origin,
    /// For a limit of a plugin that the host has lowered: what the plugin was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lowered_from: Option<Lowered>,
}

impl Setting {
    pub(super) fn new(key: impl Into<String>, value: Value, origin: Origin) -> Self {
        Self { key: key.into(), value, origin, lowered_from: None }
    }
}

/// What was wished for, and not granted.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Lowered {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// Like `` `host.pool_size` = 10 (default) ``, for errors.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` = {} ({})", self.key, text(&self.value), self.origin)
    }
}

/// A value for people: JSON without the quotes of a string.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Something that nobody may read out of an error, a log or `tapline config`. Not empty.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Secret(String);

impl Secret {
    /// The secret itself.
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

impl TryFrom<String> for Secret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.trim().is_empty() { Err("a secret that is empty keeps nobody out") } else { Ok(Self(text)) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(set)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(set)")
    }
}

/// A value from the environment, with the variable.
pub(super) type Given<T> = (&'static str, T);

/// Decides each setting, in the one order: default, profile, file, environment, flag. What comes later wins.
pub(super) struct Resolver {
    file: PathBuf,
    pub(super) lines: BTreeMap<String, usize>,
    profile: Profile,
    pub(super) settings: Vec<Setting>,
}

impl Resolver {
    /// `lines` says where the keys of the file stand.
    pub(super) fn new(file: PathBuf, lines: BTreeMap<String, usize>, profile: Profile) -> Self {
        Self { file, lines, profile, settings: Vec::new() }
    }

    /// The line in which a key of the file stands.
    pub(super) fn line(&self, key: &str) -> Option<usize> {
        self.lines.get(key).copied()
    }

    /// Where a key of the file stands.
    pub(super) fn in_file(&self, key: &str) -> Origin {
        let line = self.line(key).unwrap_or_default();
        Origin::File { file: self.file.clone(), line }
    }

    /// A setting, with what holds where nobody says anything.
    pub(super) fn setting<T: Serialize + PartialEq>(&mut self, key: &'static str, default: T) -> Choice<'_, T> {
        Choice { resolver: self, key, value: default, origin: Origin::Default }
    }

    /// The setting of this key, which has been decided.
    pub(super) fn decided(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }

    /// The profile as an origin.
    pub(super) fn of_profile(&self) -> Origin {
        Origin::Profile { profile: self.profile }
    }

    /// Two decided settings that cannot hold together.
    pub(super) fn contradiction(&self, one: &str, other: &str, hint: &'static str) -> ConfigError {
        ConfigError::Contradiction { one: self.in_force(one), other: self.in_force(other), hint }
    }

    /// A decided setting that cannot hold.
    pub(super) fn refused(&self, key: &str, message: &str) -> ConfigError {
        ConfigError::Refused { setting: self.in_force(key), message: message.to_owned() }
    }

    fn in_force(&self, key: &str) -> Box<Setting> {
        let unknown = || Setting::new(key, Value::Null, Origin::Default);
        Box::new(self.decided(key).cloned().unwrap_or_else(unknown))
    }

    /// Refuses grants that the profile of the host does not have.
    pub(super) fn check_profile(&self, profile: Profile, plugins: &[PluginReport]) -> Result<(), ConfigError> {
        let settings = profile.settings();
        let forbidden = [("network", settings.network_access), ("files", settings.filesystem_access)];
        let forbidden: Vec<&str> = forbidden.iter().filter(|(_, allowed)| !allowed).map(|(grant, _)| *grant).collect();
        for plugin in plugins.iter().filter(|plugin| plugin.enabled) {
            // `files = false` is no access.
            let is_forbidden = |grant: &str, value: &Value| forbidden.contains(&grant) && *value != Value::Bool(false);
            let mut grants = plugin.spec.grants.iter();
            let Some((grant, value)) = grants.find(|(grant, value)| is_forbidden(grant, value)) else { continue };
            let key = format!("plugins.{}.grants.{grant}", plugin.spec.name);
            let origin = self.in_file(&key);
            return Err(ConfigError::Contradiction {
                one: Box::new(Setting::new(key, value.clone(), origin)),
                other: Box::new(Setting::new("host.profile", profile.as_str().into(), self.origin("host.profile"))),
                hint: "take the grant away, or choose another profile: in this one no plugin gets it",
            });
        }
        Ok(())
    }

    /// Refuses a plugin that is reused where the host reuses none.
    pub(super) fn check_reuse(&self, enabled: bool, plugins: &[PluginReport]) -> Result<(), ConfigError> {
        let mut reused = plugins.iter().filter(|plugin| plugin.enabled && plugin.spec.reuse.is_some());
        match reused.next() {
            Some(plugin) if !enabled => {
                let key = format!("plugins.{}.reuse", plugin.spec.name);
                let origin = self.in_file(&key);
                Err(ConfigError::Contradiction {
                    one: Box::new(Setting::new(key, true.into(), origin)),
                    other: Box::new(Setting::new("host.enable_reuse", false.into(), self.origin("host.enable_reuse"))),
                    hint: "take the table of the plugin away, or let the host reuse instances",
                })
            }
            _ => Ok(()),
        }
    }

    /// Where the value of this key comes from.
    pub(super) fn origin(&self, key: &str) -> Origin {
        self.decided(key).map_or(Origin::Default, |setting| setting.origin.clone())
    }
}

/// A setting that is being decided: the layers in their order, then [`Choice::decide`].
#[must_use]
pub(super) struct Choice<'a, T> {
    resolver: &'a mut Resolver,
    key: &'static str,
    value: T,
    origin: Origin,
}

impl<T: Serialize + PartialEq> Choice<'_, T> {
    /// What the profile says. It says something where that differs from the default.
    pub(super) fn profile(mut self, value: T) -> Self {
        if value != self.value {
            self.value = value;
            self.origin = self.resolver.of_profile();
        }
        self
    }

    /// What follows from another setting, which has been decided.
    pub(super) fn implied(mut self, value: Option<T>, by: &str) -> Self {
        if let Some(value) = value {
            self.value = value;
            self.origin = self.resolver.origin(by);
        }
        self
    }

    /// What the file says.
    pub(super) fn file(mut self, value: Option<T>) -> Self {
        if let Some(value) = value {
            self.value = value;
            self.origin = self.resolver.in_file(self.key);
        }
        self
    }

    /// What a variable says.
    pub(super) fn variable(mut self, given: Option<Given<T>>) -> Self {
        if let Some((variable, value)) = given {
            self.value = value;
            self.origin = Origin::Variable { variable };
        }
        self
    }

    /// What a flag says.
    pub(super) fn flag(mut self, flag: &'static str, value: Option<T>) -> Self {
        if let Some(value) = value {
            self.value = value;
            self.origin = Origin::Flag { flag };
        }
        self
    }

    /// The value, of which note is taken.
    pub(super) fn decide(self) -> T {
        let value = serde_json::to_value(&self.value).unwrap_or_default();
        self.resolver.settings.push(Setting::new(self.key, value, self.origin));
        self.value
    }
}
