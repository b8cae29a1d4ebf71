//! The tapline program: serve, import, render, inspect and explain.
//!
//! A thin shell over the crates: it reads the configuration, puts host, store and server together, and prints. Whatever
//! it can do, a program of one's own can do with `tapline-host-core`, `tapline-store` and `tapline-server`.

mod app;
mod arguments;
mod command;
mod config;
mod keys;
mod report;
mod table;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    match command::run(arguments) {
        Ok(code) => code,
        Err(error) => report::failure(&error),
    }
}
