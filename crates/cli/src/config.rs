//! The configuration: a file, over it the environment, over that the flags.

mod environment;
mod error;
mod file;

use std::{path::Path, time::Duration};

use tapline_host_core::{
    HostConfig, PluginSpec,
    limits::{PartialLimits, Profile},
};

pub(crate) use error::ConfigError;

use crate::arguments::Global;

/// The file that is read when no other is named.
const DEFAULT_FILE: &str = "tapline.toml";
const DEFAULT_LISTEN: &str = "127.0.0.1:8380";
const DEFAULT_DATABASE: &str = "sqlite:tapline.db";
/// A plugin that cleans the body of an item hands all of it back: this leaves room for an item of 5 MB, and is far
/// below the memory that a call may use.
const DEFAULT_MAX_ANSWER_BYTES: usize = 16 << 20;
const DEFAULT_LOG: &str = "info";
const DEBUG_LOG: &str = "debug";

/// What the program works with.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: String,
    pub(crate) title: Option<String>,
    pub(crate) cron: Option<Duration>,
    pub(crate) database: String,
    pub(crate) host: HostConfig,
    pub(crate) plugins: Vec<PluginSpec>,
    pub(crate) log: String,
}

impl Config {
    /// Reads the file and puts environment and flags over it. `environment` looks up a variable.
    pub(crate) fn read(global: &Global, environment: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let file = match &global.config {
            Some(path) => file::read(path)?,
            None if Path::new(DEFAULT_FILE).exists() => file::read(Path::new(DEFAULT_FILE))?,
            None => file::File::default(),
        };
        let environment = environment::Environment::read(environment)?;
        Self::merge(global, file, environment)
    }

    fn merge(global: &Global, file: file::File, environment: environment::Environment) -> Result<Self, ConfigError> {
        let profile = file.host.profile.unwrap_or(Profile::Default).settings();
        let pool_size = environment.pool_size.or(file.host.pool_size);
        let limits = file.host.limits.apply_to(profile.limits).and_then(|limits| {
            PartialLimits {
                max_memory_bytes: environment.max_memory_bytes,
                max_execution_time_ms: environment.max_execution_time_ms,
                ..PartialLimits::default()
            }
            .apply_to(limits)
        });
        let cache_directory = environment.cache_directory.or(file.cache.directory);
        let cache_directory = match (environment.enable_aot_cache, cache_directory) {
            (Some(false), _) => None,
            (Some(true), None) => return Err(ConfigError::NoCacheDirectory),
            (_, directory) => directory,
        };
        let host = HostConfig {
            pool_size: pool_size.unwrap_or(u32::try_from(profile.pool_size).unwrap_or(u32::MAX)),
            cache_size: profile.cache_size,
            max_answer_bytes: file.host.max_answer_bytes.unwrap_or(DEFAULT_MAX_ANSWER_BYTES),
            limits: limits.map_err(ConfigError::Limits)?,
            cache_directory,
            enable_metrics: environment.enable_metrics.unwrap_or(true),
            ..HostConfig::default()
        };
        let log = if profile.enable_tracing { DEBUG_LOG } else { DEFAULT_LOG };
        let text = |flag: &Option<String>, file: Option<String>, default: &str| {
            flag.clone().or(file).unwrap_or_else(|| default.to_owned())
        };
        let plugins = file.plugins.into_iter().filter(|(_, plugin)| plugin.enabled);
        Ok(Self {
            listen: text(&global.listen, file.server.listen, DEFAULT_LISTEN),
            title: file.server.title,
            cron: Some(Duration::from_secs(file.server.cron_seconds)).filter(|every| !every.is_zero()),
            database: text(&global.database, file.database.url, DEFAULT_DATABASE),
            host,
            plugins: plugins.map(|(name, plugin)| plugin.spec(name)).collect(),
            log: text(&global.log, None, log),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, environment: &[(&str, &str)], global: Global) -> Result<Config, ConfigError> {
        let lookup =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let file = file::parse(Path::new("tapline.toml"), file)?;
        Config::merge(&global, file, environment::Environment::read(lookup)?)
    }

    #[test]
    fn flags_beat_the_environment_and_that_beats_the_file() {
        let file = "[server]\nlisten = \"a:1\"\n[database]\nurl = \"sqlite:file.db\"\n[host]\npool_size = 5\n\
                    [host.limits]\nmax_execution_time_ms = 1000\nmax_table_elements = 7\n[cache]\ndirectory = \"file\"\n";
        let environment = [
            ("TAPLINE_WASM_MAX_POOL_SIZE", "8"),
            ("TAPLINE_WASM_TIMEOUT_SECS", "30"),
            ("TAPLINE_WASM_MEMORY_LIMIT_MB", "256"),
            ("TAPLINE_WASM_MEMORY_LIMIT_PAGES", "4096"),
            ("TAPLINE_WASM_ENABLE_METRICS", "false"),
            ("TAPLINE_CACHE_DIRECTORY", "environment"),
        ];
        let global = Global { listen: Some("b:2".to_owned()), ..Global::default() };
        let config = read(file, &environment, global).unwrap();
        assert_eq!(config.listen, "b:2");
        assert_eq!(config.database, "sqlite:file.db");
        assert_eq!(config.host.pool_size, 8);
        assert_eq!(config.host.limits.max_execution_time(), Duration::from_secs(30));
        assert_eq!(config.host.limits.max_memory_bytes(), 256 << 20);
        assert_eq!(config.host.limits.max_table_elements(), 7);
        assert!(!config.host.enable_metrics);
        assert_eq!(config.host.cache_directory.as_deref(), Some(Path::new("environment")));

        let config = read(file, &[("TAPLINE_WASM_ENABLE_AOT_CACHE", "false")], Global::default()).unwrap();
        assert_eq!(config.host.cache_directory, None);
        assert_eq!(config.listen, "a:1");
    }

    #[test]
    fn defaults_and_profiles() {
        let config = read("", &[], Global::default()).unwrap();
        assert_eq!((config.listen.as_str(), config.database.as_str()), (DEFAULT_LISTEN, DEFAULT_DATABASE));
        assert_eq!((config.host.pool_size, config.log.as_str()), (100, "info"));
        let config = read("[host]\nprofile = \"development\"", &[], Global::default()).unwrap();
        assert_eq!((config.host.pool_size, config.log.as_str()), (10, "debug"));
        assert_eq!(config.host.limits.max_execution_time(), Duration::from_secs(300));
    }

    #[test]
    fn plugins() {
        let file = "[plugins.a]\npath = \"a.wasm\"\ngrants = { database = \"read\" }\n\
                    [plugins.a.limits]\npreset = \"untrusted\"\nmax_memory_bytes = 1000000\n\
                    [plugins.a.order.item_view]\nweight = 5\nafter = [\"b\"]\n\
                    [plugins.b]\npath = \"b.wasm\"\nenabled = false\n";
        let config = read(file, &[], Global::default()).unwrap();
        let [plugin] = &config.plugins[..] else { panic!("{:?}", config.plugins) };
        assert_eq!(plugin.name.as_str(), "a");
        assert_eq!(plugin.grants["database"], "read");
        assert_eq!(plugin.limits.max_memory_bytes, Some(1_000_000));
        assert_eq!(plugin.limits.max_execution_time_ms, Some(5000));
        assert_eq!(plugin.limits.enable_fuel_metering, Some(true));
        assert_eq!(plugin.order["item_view"].weight, Some(5));
    }

    #[test]
    fn environment_errors() {
        let error = |environment: &[(&str, &str)]| read("", environment, Global::default()).unwrap_err().to_string();
        expect_test::expect![[r#"
            `TAPLINE_WASM_MAX_POOL_SIZE` is `many`, not a whole number from 1
            `TAPLINE_WASM_ENABLE_METRICS` is `yes`, not true or false
            `TAPLINE_WASM_MEMORY_LIMIT_MB` says 268435456 bytes and `TAPLINE_WASM_MEMORY_LIMIT_PAGES` says 65536
            the compiled plugins have no directory to be kept in
            the limits are refused
        "#]]
        .assert_eq(&format!(
            "{}\n{}\n{}\n{}\n{}\n",
            error(&[("TAPLINE_WASM_MAX_POOL_SIZE", "many")]),
            error(&[("TAPLINE_WASM_ENABLE_METRICS", "yes")]),
            error(&[("TAPLINE_WASM_MEMORY_LIMIT_MB", "256"), ("TAPLINE_WASM_MEMORY_LIMIT_PAGES", "1")]),
            error(&[("TAPLINE_WASM_ENABLE_AOT_CACHE", "true")]),
            error(&[("TAPLINE_WASM_MEMORY_LIMIT_PAGES", "99999999")]),
        ));
    }
}
