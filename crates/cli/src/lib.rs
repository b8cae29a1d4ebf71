//! The tapline program: serve, import, render, inspect, explain, and run any function.
//!
//! A thin shell over the crates: it reads the configuration, puts host, store and server together, and prints. Whatever
//! it can do, a program of one's own can do with `tapline-host-core`, `tapline-store` and `tapline-server`.
//!
//! It is a library so that tests and fuzzing reach the reader of the configuration: [`parse_config`]. It is no place
//! for anything that another program needs.

mod app;
mod arguments;
mod command;
mod config;
mod keys;
mod log_lines;
mod progress;
mod report;
mod table;
mod telemetry;
mod watch;

use std::{error::Error, process::ExitCode};

use clap::Parser;
use tapline_host_core::{HostConfig, PluginSpec};

pub use self::arguments::WORKER as COMPILE_WORKER;

/// Runs the program on the arguments of the process, and says with which status it is to end.
#[must_use]
pub fn run() -> ExitCode {
    let start = app::ProcessStart::now();
    let arguments = arguments::Arguments::parse();
    match command::run(arguments, start) {
        Ok(code) => code,
        Err(error) => report::failure(&error),
    }
}

/// What the text of a configuration file means for the host and its plugins, with the variables that `environment`
/// looks up over it. Opens no file and starts nothing.
///
/// # Errors
///
/// What `tapline` says when it is started with that file: the line, the key and what is wrong with it.
pub fn parse_config(
    text: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<(HostConfig, Vec<PluginSpec>), Box<dyn Error + Send + Sync>> {
    let config = config::Config::parse(text, environment)?;
    Ok((config.host, config.plugins))
}
