//! Host and store, put together as the configuration says.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tapline_content::register;
use tapline_host_core::{Host, LoadError, PluginSpec, Profile, ReadPlugins, causes, metrics::process};
use tapline_host_database::{Database, DatabaseConfig};
use tapline_host_log::Log;
use tapline_server::{Server, ServerConfig, SpecSource};
use tapline_store::{Store, StoreConfig};
use tempfile::TempDir;

use crate::{arguments::Global, config::Config, progress, report::PluginsRefused, telemetry::Telemetry};

/// The label of the database in the metrics of host calls.
const DATABASE: &str = "database";

/// When the process started, as well as it can tell itself: the processor time that it had used when its own code began, for
/// loading the program, and the moment in which it did. What it waited before that only its parent can measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessStart {
    before: Duration,
    entered: Instant,
}

impl ProcessStart {
    /// To be had before anything else is done.
    pub(crate) fn now() -> Self {
        Self { before: process::cpu_time(), entered: Instant::now() }
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.before + self.entered.elapsed()
    }
}

/// When the code of plugins is brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// At once: a plugin that does not compile or start is refused.
    Now,
    /// Later, by the command itself or by the first call.
    Later,
}

/// What a command needs of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The configured one, which is made when it is missing.
    Made,
    /// The configured one, which has to be there.
    There,
    /// None: the plugins are only looked at. They are linked against an empty one that is thrown away.
    Nothing,
}

pub(crate) struct App {
    pub(crate) host: Host,
    pub(crate) store: Store,
    pub(crate) config: Config,
    /// How long each stage of the start took.
    pub(crate) stages: StartStages,
    /// The plugins of the configuration, as it stands when somebody asks.
    specs: SpecSource,
    /// What becomes of the traces of requests.
    pub(crate) telemetry: Telemetry,
    /// Where the empty database lies. Removed when the program ends.
    _scratch: Option<TempDir>,
}

/// How long the steps of a start took, one after the other. What comes before them is in [`ProcessStart`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StartStages {
    pub(crate) config: Duration,
    pub(crate) host: Duration,
    pub(crate) plugins: Duration,
    /// What was left to do when the plugins were read: it is opened meanwhile.
    pub(crate) database: Duration,
}

impl App {
    /// Opens the database, builds the host and loads the plugins.
    pub(crate) async fn start(global: &Global, need: Need, code: Code, profile: Option<Profile>) -> Result<Self> {
        let mut clock = Instant::now();
        let mut lap = || {
            let now = Instant::now();
            now - std::mem::replace(&mut clock, now)
        };
        let mut stages = StartStages::default();
        let mut config = Config::read(global, std::env::vars_os())?;
        // Whoever takes requests brings code while it does.
        let telemetry = match code {
            Code::Later => Telemetry::start(&config)?,
            Code::Now => Telemetry::default(),
        };
        telemetry.log_to_stderr(&config.log, config.log_format)?;
        stages.config = lap();
        let scratch = if need == Need::Nothing { Some(tempfile::tempdir()?) } else { None };
        if let Some(scratch) = &scratch {
            config.database = format!("sqlite:{}", scratch.path().join("empty.db").display());
        }
        let how = StoreConfig { create: need != Need::There, ..StoreConfig::default() };
        let database = match Database::connect_lazy(&config.database, DatabaseConfig::default()) {
            Ok(database) => database,
            // The store says what to write instead.
            Err(error) => {
                Store::open_with(&config.database, &how).await?;
                return Err(error.into());
            }
        };
        // The file is opened while the host is built and reads its plugins. The store may have to make it: only then is it
        // there for the capability, which opens it anew, and only to read.
        let opening = tokio::spawn({
            let (url, database) = (config.database.clone(), database.clone());
            async move {
                let store = Store::open_with(&url, &how).await?;
                database.check().await?;
                anyhow::Ok(store)
            }
        });
        // So are the files of the plugins, of which the host needs nothing before it is there.
        let plugins = std::mem::take(&mut config.plugins);
        let (now, later) = if code == Code::Now { (plugins, Vec::new()) } else { (Vec::new(), plugins) };
        let max = config.host.compilation.max_component_bytes;
        let reading = tokio::task::spawn_blocking(move || ReadPlugins::read(later, max));
        let builder = Host::builder().config(config.host.clone());
        let builder = register(builder).capability(Log).capability(database.clone());
        let builder = match profile {
            Some(profile) => builder.profile(profile),
            None => builder,
        };
        let host = tapline_host_wasi::register(builder).build()?;
        telemetry.count_lost_lines(host.metrics());
        database.record_with(host.metrics().host_call(DATABASE));
        stages.host = lap();
        let read = reading.await.context("reading the plugins made the program panic")?;
        let loaded = match code {
            Code::Now => load(&host, now).await,
            Code::Later => host.load_read_lazily(read).await.map(drop),
        };
        stages.plugins = lap();
        let store = opening.await.context("opening the database made the program panic")??;
        stages.database = lap();
        loaded.map_err(|errors| PluginsRefused::new(&config, errors))?;
        Ok(Self { host, store, config, stages, specs: specs(global.clone()), telemetry, _scratch: scratch })
    }

    pub(crate) fn server(&self) -> Server {
        let config = ServerConfig {
            title: self.config.title.clone(),
            cron: self.config.cron,
            operator_token: self.config.operator_token.clone().map(|token| token.into_text().into()),
            specs: Some(self.specs.clone()),
            traces: self.telemetry.traces.clone(),
            ..ServerConfig::default()
        };
        Server::new(self.host.clone(), self.store.clone(), config)
    }
}

/// Reads the configuration anew for each plugin that is asked for.
fn specs(global: Global) -> SpecSource {
    SpecSource::new(move |name| match Config::read(&global, std::env::vars_os()) {
        Ok(config) => Ok(config.plugins.into_iter().find(|plugin| plugin.name == *name)),
        Err(error) => {
            let hint = error.hint().map(|hint| format!(" To mend it: {hint}")).unwrap_or_default();
            Err(format!("The configuration cannot be used: {}.{hint}", causes(&error).join(": ")))
        }
    })
}

/// Loads all plugins, and collects everything that is wrong with any of them.
async fn load(host: &Host, plugins: Vec<PluginSpec>) -> std::result::Result<(), Vec<LoadError>> {
    let progress = progress::bar(plugins.len());
    let mut errors = Vec::new();
    for plugin in plugins {
        progress.set_message(format!("loading {}", plugin.name));
        if let Err(error) = host.load(plugin).await {
            errors.push(error);
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}
