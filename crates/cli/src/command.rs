//! The commands, each in a module of its own.

mod cache;
mod config;
mod explain;
mod import;
mod inspect;
mod plugins;
mod render;
pub(crate) mod run;
mod serve;
mod trace;

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::{
    app::{App, Code, Need, ProcessStart},
    arguments::{Arguments, Command},
    watch::Hangups,
};

/// Runs one command and says with which status to end.
pub(crate) fn run(arguments: Arguments, start: ProcessStart) -> Result<ExitCode> {
    let need = match &arguments.command {
        Command::Inspect { file, json } => return inspect::run(file, *json),
        Command::Config { json } => return config::run(&arguments.global, *json),
        Command::Run { .. } | Command::Bench { .. } => return blocking(run::run(&arguments)),
        Command::Trace { id, url, json } => return trace::run(&arguments.global, id.as_deref(), url.as_deref(), *json),
        Command::Cache { action } => return cache::run(&arguments.global, action),
        Command::Worker => return Ok(tapline_host_core::compile_worker()),
        Command::Serve { .. } | Command::Import { .. } => Need::Made,
        Command::Render { .. } => Need::There,
        Command::Plugins | Command::Explain { .. } => Need::Nothing,
    };
    blocking(async {
        let code = if matches!(arguments.command, Command::Serve { .. }) { Code::Later } else { Code::Now };
        let profile = match &arguments.command {
            Command::Serve { profile: Some(path), .. } => Some(serve::ProfileFile::create(path)?),
            _ => None,
        };
        let samples = profile.as_ref().map(|file| file.profile.clone());
        // Before anything that takes long: who asks for a reload during the start does not end the program.
        let hangups = match &arguments.command {
            Command::Serve { .. } => Some(Hangups::listen().context("cannot listen to signals")?),
            _ => None,
        };
        let app = App::start(&arguments.global, need, code, samples).await?;
        match (&arguments.command, hangups) {
            (Command::Serve { watch, .. }, Some(hangups)) => {
                let code = serve::run(&app, &arguments.global, *watch, hangups, start).await?;
                if let Some(profile) = profile {
                    profile.write()?;
                }
                Ok(code)
            }
            (Command::Import { paths, report }, _) => import::run(&app, paths, report.as_deref()).await,
            (Command::Render { id }, _) => render::run(&app, id).await,
            (Command::Plugins, _) => plugins::run(&app),
            (Command::Explain { tap }, _) => explain::run(&app, tap),
            // The others need no such host, and have run.
            _ => Ok(ExitCode::SUCCESS),
        }
    })
}

/// Runs a command to its end.
fn blocking(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let code = runtime.block_on(async {
        outlive_large_files()?;
        command.await
    });
    // What was cut off must not keep the program alive.
    runtime.shutdown_background();
    code
}

/// Where the system limits the size of files, whoever writes a larger one is told so, instead of being killed.
#[cfg(unix)]
fn outlive_large_files() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    // Nobody waits for it: that somebody could is what the system asks.
    signal(SignalKind::from_raw(FILE_TOO_LARGE)).map(drop).context("cannot listen to signals")
}

#[cfg(not(unix))]
fn outlive_large_files() -> Result<()> {
    Ok(())
}

/// SIGXFSZ, on Linux and macOS.
#[cfg(unix)]
const FILE_TOO_LARGE: i32 = 25;
