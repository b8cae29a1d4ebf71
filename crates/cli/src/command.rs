//! The commands, each in a module of its own.

mod explain;
mod import;
mod inspect;
mod plugins;
mod render;
mod serve;

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::{
    app::{App, Need},
    arguments::{Arguments, Command},
};

/// Runs one command and says with which status to end.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    if let Command::Inspect { file, json } = &arguments.command {
        return inspect::run(file, *json);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let code = runtime.block_on(async {
        let need = match &arguments.command {
            Command::Serve | Command::Import { .. } => Need::Made,
            Command::Render { .. } => Need::There,
            Command::Plugins | Command::Explain { .. } | Command::Inspect { .. } => Need::Nothing,
        };
        let app = App::start(&arguments.global, need).await?;
        match &arguments.command {
            Command::Serve => serve::run(&app).await,
            Command::Import { paths, report } => import::run(&app, paths, report.as_deref()).await,
            Command::Render { id } => render::run(&app, id).await,
            Command::Plugins => plugins::run(&app),
            Command::Explain { tap } => explain::run(&app, tap),
            Command::Inspect { file, json } => inspect::run(file, *json),
        }
    });
    // What was cut off must not keep the program alive.
    runtime.shutdown_background();
    code
}
