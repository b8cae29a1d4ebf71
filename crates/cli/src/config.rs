//! The configuration: defaults, over them a profile, the file, the environment, and the flags.

mod check;
mod directory;
mod environment;
mod error;
mod file;
mod place;
mod plugin;
mod setting;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    path::{Path, PathBuf},
    time::Duration,
};

use tapline_host_core::{
    BreakerSettings, Compilation, CompileWorker, DEFAULT_COMPILE_MEMORY_BYTES, HostConfig, PartialBreaker, PluginSpec,
    limits::{Limits, PartialLimits, Profile},
    metrics::{Deployment, Surface},
};
use tapline_server::ServerConfig;

pub(crate) use self::{
    check::LOG_FILTERS,
    directory::files as plugin_files,
    error::ConfigError,
    file::MAX_CONFIGURATION,
    plugin::PluginReport,
    setting::{Origin, Secret, Setting, text},
};
use self::{environment::Environment, file::Parsed, setting::Resolver};
use crate::{
    arguments::{Global, LogFormat, WORKER},
    keys::keys_of,
};

/// The file that is read when no other is named.
pub(crate) const DEFAULT_FILE: &str = "tapline.toml";
const DEFAULT_LISTEN: &str = "127.0.0.1:8380";
const DEFAULT_DATABASE: &str = "sqlite:tapline.db";
/// A plugin that cleans the body of an item hands all of it back: this leaves room for an item of 5 MB, and is far
/// below the memory that a call may use.
const DEFAULT_MAX_ANSWER_BYTES: usize = 16 << 20;
const DEFAULT_LOG: &str = "info";
const DEBUG_LOG: &str = "debug";
/// Enough to find a request that somebody has just complained about.
const DEFAULT_KEEP_TRACES: usize = 100;

/// What the program works with.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
    pub(crate) listen: String,
    pub(crate) title: String,
    pub(crate) cron: Option<Duration>,
    pub(crate) operator_token: Option<Secret>,
    /// After this time without a call a plugin gives up its instances and its code.
    pub(crate) idle_after: Option<Duration>,
    pub(crate) database: String,
    pub(crate) host: HostConfig,
    /// Every `NAME.wasm` in it is a plugin.
    pub(crate) plugin_directory: Option<PathBuf>,
    pub(crate) plugins: Vec<PluginSpec>,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
    /// Traces of requests that `serve` keeps.
    pub(crate) keep_traces: usize,
    /// Where `serve` sends traces.
    pub(crate) otlp_endpoint: Option<String>,
    /// All of the above but the plugins, with where it comes from.
    pub(crate) settings: Vec<Setting>,
    /// All plugins of the file and of the plugin directory, also those that are switched off.
    pub(crate) reports: Vec<PluginReport>,
    /// Where the keys of the file stand.
    lines: BTreeMap<String, usize>,
}

impl Config {
    /// Reads the file and the plugin directory, and puts environment and flags over them.
    pub(crate) fn read(
        global: &Global,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let (config, refused) = Self::read_what_fits(global, variables)?;
        refused.into_iter().next().map_or(Ok(config), Err)
    }

    /// The same without the plugins of the plugin directory that cannot be used, and why each of them cannot.
    pub(crate) fn read_what_fits(
        global: &Global,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(Self, Vec<ConfigError>), ConfigError> {
        let environment = Environment::read(variables)?;
        let named = global.config.as_ref().or(environment.config.as_ref());
        let mut parsed = match named {
            Some(path) => file::read(path)?,
            None if Path::new(DEFAULT_FILE).exists() => file::read(Path::new(DEFAULT_FILE))?,
            None => Parsed::default(),
        };
        let refused = directory::add(&mut parsed)?;
        Ok((Self::merge(global, parsed, environment)?, refused))
    }

    /// The same from the text of a file, without flags. Looks into no directory.
    pub(crate) fn parse(text: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let variables = environment::VARIABLES.into_iter().filter_map(|name| Some((name, environment(name)?)));
        let environment = Environment::read(variables)?;
        Self::merge(&Global::default(), file::parse(Path::new(DEFAULT_FILE), text)?, environment)
    }

    fn merge(global: &Global, parsed: Parsed, environment: Environment) -> Result<Self, ConfigError> {
        let Parsed { mut file, path, lines, values } = parsed;
        let profile = file.host.profile.unwrap_or_default();
        let mut it = Resolver::new(path.clone(), lines, profile);
        let mut server = file.server;
        let listen = it
            .setting("server.listen", DEFAULT_LISTEN.to_owned())
            .file(server.listen.take())
            .variable(environment.listen.clone())
            .flag("--listen", global.listen.clone())
            .decide();
        check::listen(&it, &listen)?;
        let title = it.setting("server.title", ServerConfig::default().title).file(server.title).decide();
        let cron = it.setting("server.cron_seconds", 0).file(server.cron_seconds).decide();
        let operator_token = it
            .setting("server.operator_token", None)
            .file(server.operator_token.map(Some))
            .variable(environment.operator_token.clone().map(|(name, token)| (name, Some(token))))
            .decide();
        let database = it
            .setting("database.url", DEFAULT_DATABASE.to_owned())
            .file(file.database.url)
            .variable(environment.database.clone())
            .flag("--database", global.database.clone())
            .decide();
        it.setting("host.profile", Profile::Default).file(file.host.profile).decide();
        let enable_tracing = it
            .setting("host.enable_tracing", false)
            .profile(profile.settings().enable_tracing)
            .file(file.host.enable_tracing)
            .decide();
        let log = it
            .setting("log.filter", DEFAULT_LOG.to_owned())
            .implied(enable_tracing.then(|| DEBUG_LOG.to_owned()), "host.enable_tracing")
            .file(file.log.filter)
            .variable(environment.log.clone())
            .flag("--log", global.log.clone())
            .decide();
        check::log(&it, &log)?;
        let log_format = it
            .setting("log.format", LogFormat::default())
            .file(file.log.format)
            .variable(environment.log_format)
            .flag("--log-format", global.log_format)
            .decide();
        let keep_traces =
            it.setting("telemetry.keep_traces", DEFAULT_KEEP_TRACES).file(file.telemetry.keep_traces).decide();
        let otlp_endpoint = it
            .setting("telemetry.otlp_endpoint", None)
            .file(file.telemetry.otlp_endpoint.map(Some))
            .variable(environment.otlp_endpoint.clone().map(|(name, endpoint)| (name, Some(endpoint))))
            .decide();
        let idle = it.setting("host.plugin_idle_seconds", 0).file(file.host.plugin_idle_seconds).decide();
        let plugin_directory =
            it.setting("host.plugin_directory", None).file(file.host.plugin_directory.take().map(Some)).decide();
        let host = decide_host(&mut it, profile, file.host, file.cache, &environment)?;
        check::host(&it, &host)?;
        let report = |(name, plugin)| PluginReport::new(&it, name, plugin, &values, plugin_directory.as_deref());
        let reports: Vec<PluginReport> = file.plugins.into_iter().map(report).collect();
        it.check_profile(profile, &reports)?;
        it.check_reuse(host.enable_reuse, &reports)?;
        let plugins = reports.iter().filter(|plugin| plugin.enabled).map(|plugin| plugin.spec.clone());
        Ok(Self {
            file: Some(path).filter(|path| !path.as_os_str().is_empty()),
            listen,
            title,
            cron: Some(Duration::from_secs(cron)).filter(|every| !every.is_zero()),
            operator_token,
            idle_after: Some(Duration::from_secs(idle)).filter(|after| !after.is_zero()),
            database,
            host,
            plugin_directory,
            plugins: plugins.collect(),
            log,
            log_format,
            keep_traces,
            otlp_endpoint,
            settings: it.settings,
            reports,
            lines: it.lines,
        })
    }
}

fn decide_host(
    it: &mut Resolver,
    profile: Profile,
    file: file::HostSection,
    cache: file::CacheSection,
    environment: &Environment,
) -> Result<HostConfig, ConfigError> {
    let base = profile.settings();
    let default = HostConfig::default();
    let pool_size = it
        .setting("host.pool_size", default.pool_size)
        .profile(u32::try_from(base.pool_size).unwrap_or(u32::MAX))
        .file(file.pool_size.map(NonZeroU32::get))
        .variable(environment.max_pool_size)
        .decide();
    let initial_pool_size = it
        .setting("host.initial_pool_size", default.initial_pool_size)
        .file(file.initial_pool_size.map(NonZeroU32::get))
        .variable(environment.initial_pool_size)
        .decide();
    if initial_pool_size > pool_size {
        return Err(it.contradiction("host.initial_pool_size", "host.pool_size", "no more can be made than fit"));
    }
    let max_waiting = it.setting("host.max_waiting", default.max_waiting).file(file.max_waiting).decide();
    let max_wait = it.setting("host.max_wait_ms", milliseconds(default.max_wait)).file(file.max_wait_ms).decide();
    let max_answer_bytes = it
        .setting("host.max_answer_bytes", DEFAULT_MAX_ANSWER_BYTES)
        .file(file.max_answer_bytes.map(NonZeroUsize::get))
        .decide();
    let max_handles = it.setting("host.max_handles", default.max_handles).file(file.max_handles).decide();
    let enable_metrics = it
        .setting("host.enable_metrics", default.enable_metrics)
        .file(file.enable_metrics)
        .variable(environment.enable_metrics)
        .decide();
    let service = it.setting("host.service", default.deployment.service).file(file.service).decide();
    let surface =
        it.setting("host.surface", default.deployment.surface.as_str()).file(file.surface.map(Surface::as_str));
    let surface = surface.decide().parse().unwrap_or(default.deployment.surface);
    let enable_reuse = it
        .setting("host.enable_reuse", default.enable_reuse)
        .file(file.enable_reuse)
        .variable(environment.enable_reuse)
        .decide();
    let enable_simd = it
        .setting("host.enable_simd", default.enable_simd)
        .file(file.enable_simd)
        .variable(environment.enable_simd)
        .decide();
    it.setting("host.enable_bulk_memory", true).file(file.enable_bulk_memory.map(|_| true)).decide();
    let cold_start_target = it
        .setting("host.cold_start_target_ms", default.cold_start_target.map(milliseconds))
        .file(file.cold_start_target_ms.map(|target| Some(target.get())))
        .variable(environment.cold_start_target_ms.map(|(name, target)| (name, Some(target))))
        .decide();
    let slow_call =
        it.setting("host.slow_call_ms", default.slow_call.map_or(0, milliseconds)).file(file.slow_call_ms).decide();
    let optimisation = it.setting("host.optimisation", default.optimisation).file(file.optimisation).decide();
    let parallel_compilation =
        it.setting("host.parallel_compilation", default.parallel_compilation).file(file.parallel_compilation).decide();
    let pagemap_scan = it.setting("host.pagemap_scan", default.pagemap_scan).file(file.pagemap_scan).decide();
    let plugin_share_percent = it
        .setting("host.plugin_share_percent", default.plugin_share_percent)
        .file(file.plugin_share_percent.map(NonZeroU32::get))
        .decide();
    let breaker = decide_breaker(it, &file.breaker);
    let limits = decide_limits(it, base.limits, profile == Profile::Secure, file.limits, environment)?;
    let compilation = decide_compilation(it, &file.compilation)?;
    let (cache_size, cache_max_bytes, cache_directory) = decide_cache(it, base.cache_size, cache, environment)?;
    Ok(HostConfig {
        pool_size,
        initial_pool_size,
        max_waiting,
        max_wait: Duration::from_millis(max_wait),
        plugin_share_percent,
        breaker,
        limits,
        max_answer_bytes,
        max_handles,
        cache_size,
        cache_max_bytes,
        cache_directory,
        network_access: base.network_access,
        filesystem_access: base.filesystem_access,
        enable_metrics,
        deployment: Deployment { surface, service },
        enable_reuse,
        cold_start_target: cold_start_target.map(Duration::from_millis),
        slow_call: Some(Duration::from_millis(slow_call)).filter(|slow| !slow.is_zero()),
        enable_simd,
        compilation,
        optimisation,
        parallel_compilation,
        pagemap_scan,
    })
}

fn decide_breaker(it: &mut Resolver, file: &PartialBreaker) -> BreakerSettings {
    let default = BreakerSettings::default();
    let enabled = it.setting("host.breaker.enabled", default.enabled).file(file.enabled).decide();
    let failures = it.setting("host.breaker.failures", default.failures).file(file.failures).decide();
    let first_open =
        it.setting("host.breaker.first_open_ms", milliseconds(default.first_open)).file(file.first_open_ms).decide();
    let max_open =
        it.setting("host.breaker.max_open_ms", milliseconds(default.max_open)).file(file.max_open_ms).decide();
    let (first_open, max_open) = (Duration::from_millis(first_open), Duration::from_millis(max_open));
    BreakerSettings { enabled, failures, first_open, max_open }
}

fn decide_limits(
    it: &mut Resolver,
    profile: Limits,
    is_bound: bool,
    file: PartialLimits,
    environment: &Environment,
) -> Result<Limits, ConfigError> {
    let (memory, time) = (environment.max_memory_bytes, environment.max_execution_time_ms);
    let variables = PartialLimits {
        max_memory_bytes: memory.map(|(_, bytes)| bytes),
        max_execution_time_ms: time.map(|(_, time)| time),
        ..PartialLimits::default()
    };
    let limits = file.apply_to(profile).and_then(|limits| variables.apply_to(limits)).map_err(ConfigError::Limits)?;
    let [in_force, file, of_profile, default] =
        [limits.into(), file, profile.into(), Limits::default().into()].map(plugin::fields);
    for name in keys_of::<PartialLimits>() {
        let key = format!("host.limits.{name}");
        let variable = match *name {
            "max_memory_bytes" => memory.map(|(variable, _)| variable),
            "max_execution_time_ms" => time.map(|(variable, _)| variable),
            _ => None,
        };
        let value = in_force.get(*name);
        let origin = if let Some(variable) = variable {
            Origin::Variable { variable }
        } else if file.contains_key(*name) {
            it.in_file(&key)
        } else if value == of_profile.get(*name) && value != default.get(*name) {
            it.of_profile()
        } else {
            Origin::Default
        };
        it.settings.push(Setting::new(key, value.cloned().unwrap_or_default(), origin));
    }
    // What a profile is chosen for is not raised by the way.
    if is_bound {
        let bounded = plugin::fields(limits.smallest(profile).into());
        if let Some(name) = keys_of::<PartialLimits>().iter().find(|name| in_force.get(**name) != bounded.get(**name)) {
            let key = format!("host.limits.{name}");
            return Err(it.contradiction(
                &key,
                "host.profile",
                "lower it, or choose another profile: this one allows less",
            ));
        }
    }
    Ok(limits)
}

fn decide_compilation(it: &mut Resolver, file: &file::CompilationSection) -> Result<Compilation, ConfigError> {
    let default = Compilation::default();
    let max_component_bytes = it
        .setting("host.compilation.max_component_bytes", default.max_component_bytes)
        .file(file.max_component_bytes.map(NonZeroU64::get))
        .decide();
    let max_function_bytes = it
        .setting("host.compilation.max_function_bytes", default.max_function_bytes)
        .file(file.max_function_bytes.map(NonZeroU64::get))
        .decide();
    let max_concurrent = it
        .setting("host.compilation.max_concurrent", default.max_concurrent)
        .file(file.max_concurrent.map(NonZeroUsize::get))
        .decide();
    let timeout = it
        .setting("host.compilation.timeout_ms", milliseconds(default.timeout))
        .file(file.timeout_ms.map(NonZeroU64::get))
        .decide();
    // Unlike the library, this program can start itself, and its plugins can come from anybody.
    let worker = it.setting("host.compilation.worker", true).file(file.worker).decide();
    let max_memory_bytes = it
        .setting("host.compilation.max_memory_bytes", DEFAULT_COMPILE_MEMORY_BYTES)
        .file(file.max_memory_bytes.map(NonZeroU64::get))
        .decide();
    if !worker && file.max_memory_bytes.is_some() {
        return Err(it.contradiction(
            "host.compilation.max_memory_bytes",
            "host.compilation.worker",
            "only the memory of a worker can be bounded: take the one away, or switch the other on",
        ));
    }
    let worker = match worker {
        true => Some(CompileWorker {
            max_memory_bytes,
            ..CompileWorker::this_program(&[WORKER]).map_err(ConfigError::NoProgram)?
        }),
        false => None,
    };
    let timeout = Duration::from_millis(timeout);
    Ok(Compilation { max_component_bytes, max_function_bytes, max_concurrent, timeout, worker })
}

fn decide_cache(
    it: &mut Resolver,
    profile: usize,
    file: file::CacheSection,
    environment: &Environment,
) -> Result<(usize, u64, Option<PathBuf>), ConfigError> {
    let size = it
        .setting("cache.size", HostConfig::default().cache_size)
        .profile(profile)
        .file(file.size.map(NonZeroUsize::get))
        .decide();
    let max_bytes = it
        .setting("cache.max_bytes", HostConfig::default().cache_max_bytes)
        .file(file.max_bytes.map(NonZeroU64::get))
        .decide();
    let directory = it
        .setting("cache.directory", None)
        .file(file.directory.map(Some))
        .variable(environment.cache_directory.clone().map(|(name, directory)| (name, Some(directory))))
        .decide();
    let enabled = it
        .setting("cache.enable_aot_cache", directory.is_some())
        .file(file.enable_aot_cache)
        .variable(environment.enable_aot_cache)
        .decide();
    match (enabled, directory) {
        (true, None) => Err(it.contradiction(
            "cache.enable_aot_cache",
            "cache.directory",
            "set `directory` in [cache], or TAPLINE_CACHE_DIRECTORY",
        )),
        (true, directory) => Ok((size, max_bytes, directory)),
        (false, _) => Ok((size, max_bytes, None)),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tapline_host_core::{Reuse, Stock};

    use super::*;

    fn read(file: &str, environment: &[(&str, &str)], global: Global) -> Result<Config, ConfigError> {
        let file = file::parse(Path::new("tapline.toml"), file)?;
        Config::merge(&global, file, Environment::read(environment.iter().copied())?)
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
    fn breakers_shares_reuse_and_stock() {
        let file = "[host]\nplugin_share_percent = 50\nbreaker = { failures = 3, max_open_ms = 9000 }\n\
                    [plugins.a]\npath = \"a.wasm\"\nmax_concurrent_calls = 7\nbreaker = { enabled = false }\n\
                    [plugins.a.reuse]\nmax_uses = 20\n";
        let config = read(file, &[], Global::default()).unwrap();
        let (breaker, second) = (config.host.breaker, Duration::from_secs(1));
        assert_eq!((breaker.failures, breaker.first_open, breaker.max_open), (3, second, 9 * second));
        assert_eq!(config.host.plugin_share_percent, 50);
        let plugin = &config.plugins[0];
        assert_eq!((plugin.max_concurrent_calls, plugin.breaker.enabled), (Some(7), Some(false)));
        assert_eq!(plugin.reuse, Some(Reuse { max_uses: 20, with_user_data: false }));
        let defaults = read("[plugins.a]\npath = \"a.wasm\"\nreuse = {}\n", &[], Global::default()).unwrap();
        assert_eq!(defaults.plugins[0].reuse, Some(Reuse::default()));
        assert_eq!(defaults.host.breaker, BreakerSettings::default());

        let stock = read("[plugins.a]\npath = \"a.wasm\"\nstock = { max = 4 }\n", &[], Global::default()).unwrap();
        assert_eq!(stock.plugins[0].stock, Some(Stock { min: 1, max: 4 }));
        let unknown = "[plugins.a]\npath = \"a.wasm\"\n[plugins.a.stock]\nmaximum = 4\n";
        let unknown = read(unknown, &[], Global::default()).unwrap_err().to_string();
        assert_eq!(unknown, "tapline.toml:4: nothing is called `plugins.a.stock.maximum`");

        let off = read(file, &[("TAPLINE_WASM_ENABLE_REUSE", "false")], Global::default()).unwrap_err().to_string();
        assert!(off.contains("plugins.a.reuse") && off.contains("TAPLINE_WASM_ENABLE_REUSE"), "{off}");
    }

    #[test]
    fn environment_errors() {
        let error = |environment: &[(&str, &str)]| read("", environment, Global::default()).unwrap_err().to_string();
        expect_test::expect![[r#"
            `TAPLINE_WASM_MAX_POOL_SIZE` is `many`, not a whole number from 1
            `TAPLINE_WASM_ENABLE_METRICS` is `yes`, not true or false
            `TAPLINE_WASM_MEMORY_LIMIT_MB` says 268435456 bytes and `TAPLINE_WASM_MEMORY_LIMIT_PAGES` says 65536
            `cache.enable_aot_cache` = true (variable TAPLINE_WASM_ENABLE_AOT_CACHE) contradicts `cache.directory` = - (default)
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

    #[test]
    fn every_variable_beats_its_key() {
        let file = "[host]\npool_size = 50\ninitial_pool_size = 5\nenable_simd = true\nenable_reuse = true\n\
                    enable_metrics = true\ncold_start_target_ms = 500\n[cache]\ndirectory = \"a\"\n\
                    enable_aot_cache = true\n[host.limits]\nmax_memory_bytes = 1000000\nmax_execution_time_ms = 9\n";
        let config = read(file, &[], Global::default()).unwrap();
        assert_eq!((config.host.pool_size, config.host.initial_pool_size), (50, 5));
        assert!(config.host.enable_simd && config.host.enable_reuse && config.host.enable_metrics);
        assert_eq!(config.host.cold_start_target, Some(Duration::from_millis(500)));
        assert_eq!(config.host.cache_directory.as_deref(), Some(Path::new("a")));
        let from: Vec<&Setting> = config.settings.iter().filter(|it| it.origin != Origin::Default).collect();
        assert!(from.iter().all(|it| matches!(it.origin, Origin::File { .. })), "{from:?}");
        assert_eq!(from.len(), 10);

        let environment = [
            ("TAPLINE_WASM_MAX_POOL_SIZE", "8"),
            ("TAPLINE_WASM_INITIAL_POOL_SIZE", "2"),
            ("TAPLINE_WASM_MEMORY_LIMIT_PAGES", "4096"),
            ("TAPLINE_WASM_ENABLE_SIMD", "false"),
            ("TAPLINE_WASM_ENABLE_AOT_CACHE", "false"),
            ("TAPLINE_WASM_ENABLE_REUSE", "false"),
            ("TAPLINE_WASM_ENABLE_METRICS", "false"),
            ("TAPLINE_WASM_COLD_START_TARGET_MS", "15"),
            ("TAPLINE_WASM_TIMEOUT_SECS", "30"),
        ];
        let config = read(file, &environment, Global::default()).unwrap();
        assert_eq!((config.host.pool_size, config.host.initial_pool_size), (8, 2));
        assert_eq!(config.host.limits.max_memory_bytes(), 256 << 20);
        assert_eq!(config.host.limits.max_execution_time(), Duration::from_secs(30));
        assert!(!config.host.enable_simd && !config.host.enable_reuse && !config.host.enable_metrics);
        assert_eq!(config.host.cold_start_target, Some(Duration::from_millis(15)));
        assert_eq!(config.host.cache_directory, None);
        let from = config.settings.iter().filter(|it| matches!(it.origin, Origin::Variable { .. }));
        assert_eq!(from.count(), environment.len());
    }

    #[test]
    fn keys_without_a_variable() {
        let file = "[host]\nmax_waiting = 1\nmax_wait_ms = 2\nmax_answer_bytes = 3\nmax_handles = 4\n\
                    optimisation = \"speed-and-size\"\nparallel_compilation = false\npagemap_scan = \"off\"\n\
                    enable_bulk_memory = true\nenable_tracing = true\nplugin_idle_seconds = 12\nslow_call_ms = 13\n[cache]\nsize = 5\nmax_bytes = 11\n\
                    [log]\nformat = \"json\"\n[telemetry]\nkeep_traces = 12\notlp_endpoint = \"http://a:4318\"\n[host.compilation]\nmax_component_bytes = 6\nmax_function_bytes = 7\n\
                    max_concurrent = 8\ntimeout_ms = 9\nmax_memory_bytes = 10\n";
        let config = read(file, &[], Global::default()).unwrap();
        let host = &config.host;
        assert_eq!((host.max_waiting, host.max_wait), (1, Duration::from_millis(2)));
        assert_eq!((host.max_answer_bytes, host.max_handles, host.cache_size), (3, 4, 5));
        assert_eq!((host.cache_max_bytes, config.idle_after), (11, Some(Duration::from_secs(12))));
        assert_eq!(host.optimisation, tapline_host_core::Optimisation::SpeedAndSize);
        assert_eq!(host.pagemap_scan, tapline_host_core::PagemapScan::Off);
        assert!(!host.parallel_compilation);
        assert_eq!(host.slow_call, Some(Duration::from_millis(13)));
        assert_eq!((config.log.as_str(), config.log_format), ("debug", LogFormat::Json));
        assert_eq!((config.keep_traces, config.otlp_endpoint.as_deref()), (12, Some("http://a:4318")));
        let Compilation { max_component_bytes, max_function_bytes, max_concurrent, timeout, worker } =
            &host.compilation;
        assert_eq!((*max_component_bytes, *max_function_bytes, *max_concurrent), (6, 7, 8));
        assert_eq!(*timeout, Duration::from_millis(9));
        assert_eq!(worker.as_ref().unwrap().max_memory_bytes, 10);
        let never = read("[host]\nslow_call_ms = 0\n", &[], Global::default()).unwrap();
        assert_eq!(never.host.slow_call, None);
        let config = read("[host.compilation]\nworker = false\n", &[], Global::default()).unwrap();
        assert!(config.host.compilation.worker.is_none());
    }

    #[test]
    fn contradictions() {
        let error = |file: &str, environment: &[(&str, &str)]| {
            let error = read(file, environment, Global::default()).unwrap_err();
            format!("{error}\nhint: {}\n", error.hint().unwrap_or_default())
        };
        let grant = "[host]\nprofile = \"secure\"\n[plugins.a]\npath = \"a\"\n[plugins.a.grants]\n";
        let errors = [
            error("[host]\nprofile = \"development\"", &[("TAPLINE_WASM_INITIAL_POOL_SIZE", "11")]),
            error("[cache]\nenable_aot_cache = true", &[]),
            error("[host.compilation]\nworker = false\nmax_memory_bytes = 1", &[]),
            error(&format!("{grant}network = [\"example.org:443\"]"), &[]),
            error(&format!("{grant}files = true"), &[]),
            error("[host]\nprofile = \"secure\"\n[host.limits]\nmax_memory_bytes = 1073741824", &[]),
            error("[host]\nprofile = \"secure\"\n[host.limits]\nenable_fuel_metering = false", &[]),
            error("[host]\nprofile = \"secure\"", &[("TAPLINE_WASM_TIMEOUT_SECS", "300")]),
        ];
        expect_test::expect![[r#"
            `host.initial_pool_size` = 11 (variable TAPLINE_WASM_INITIAL_POOL_SIZE) contradicts `host.pool_size` = 10 (profile development)
            hint: no more can be made than fit
            `cache.enable_aot_cache` = true (tapline.toml:2) contradicts `cache.directory` = - (default)
            hint: set `directory` in [cache], or TAPLINE_CACHE_DIRECTORY
            `host.compilation.max_memory_bytes` = 1 (tapline.toml:3) contradicts `host.compilation.worker` = false (tapline.toml:2)
            hint: only the memory of a worker can be bounded: take the one away, or switch the other on
            `plugins.a.grants.network` = ["example.org:443"] (tapline.toml:6) contradicts `host.profile` = secure (tapline.toml:2)
            hint: take the grant away, or choose another profile: in this one no plugin gets it
            `plugins.a.grants.files` = true (tapline.toml:6) contradicts `host.profile` = secure (tapline.toml:2)
            hint: take the grant away, or choose another profile: in this one no plugin gets it
            `host.limits.max_memory_bytes` = 1073741824 (tapline.toml:4) contradicts `host.profile` = secure (tapline.toml:2)
            hint: lower it, or choose another profile: this one allows less
            `host.limits.enable_fuel_metering` = false (tapline.toml:4) contradicts `host.profile` = secure (tapline.toml:2)
            hint: lower it, or choose another profile: this one allows less
            `host.limits.max_execution_time_ms` = 300000 (variable TAPLINE_WASM_TIMEOUT_SECS) contradicts `host.profile` = secure (tapline.toml:2)
            hint: lower it, or choose another profile: this one allows less
        "#]]
        .assert_eq(&errors.concat());
        let off = format!("{grant}files = true\n").replace("path = \"a\"", "path = \"a\"\nenabled = false");
        assert!(read(&off, &[], Global::default()).is_ok(), "a plugin that is switched off gets nothing anyway");
        let none = format!("{grant}files = false\n");
        assert!(read(&none, &[], Global::default()).is_ok(), "what is not granted is not forbidden");
    }

    #[test]
    fn variables_that_nobody_reads() {
        let error = read("", &[("TAPLINE_WASM_TIMEOUT_SEC", "30")], Global::default()).unwrap_err();
        assert_eq!(error.to_string(), "no variable is called `TAPLINE_WASM_TIMEOUT_SEC`");
        assert_eq!(error.hint().unwrap(), "did you mean `TAPLINE_WASM_TIMEOUT_SECS`?");
        let error = read("", &[("TAPLINE_XYZZY_PLUGH_FROTZ", "30")], Global::default()).unwrap_err();
        assert!(error.hint().unwrap().starts_with("known are TAPLINE_CONFIG, "), "{error}");
    }
}
