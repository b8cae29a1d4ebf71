//! Errors as people see them: what happened, why, and what to do.

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use tapline_host_core::{CallError, LoadError, cache::CacheError, causes, cut, escape};
use tapline_store::StoreError;

use crate::{
    command::run,
    config::{Config, ConfigError},
};

/// The longest line of an error, in bytes.
const MAX_LINE: usize = 4000;

/// Something the program was asked for did not work.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
const USAGE: u8 = 2;

/// Plugins that were not loaded. All of them, so that one start shows everything that is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{} refused", if errors.len() == 1 { "a plugin was".to_owned() } else { format!("{} plugins were", errors.len()) })]
pub(crate) struct PluginsRefused {
    /// Each with the file and the line of what is wrong, where it is in one.
    errors: Vec<(Option<String>, LoadError)>,
}

impl PluginsRefused {
    pub(crate) fn new(config: &Config, errors: Vec<LoadError>) -> Self {
        Self { errors: errors.into_iter().map(|error| (config.place_of(&error), error)).collect() }
    }
}

/// Writes an error to stderr and says with which status to end.
pub(crate) fn failure(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        // The reader has seen enough.
        return ExitCode::SUCCESS;
    }
    let mut text = String::new();
    match error.downcast_ref::<PluginsRefused>() {
        Some(refused) => {
            for (place, error) in &refused.errors {
                text.push_str(&paragraph_at(place.as_deref(), error, error.hint()));
            }
        }
        None => text.push_str(&paragraph(error.as_ref(), hint(error))),
    }
    // Where stderr is closed there is nobody to tell.
    let _ = io::stderr().write_all(text.as_bytes());
    let usage = error.chain().any(|cause| {
        cause.is::<ConfigError>() || cause.downcast_ref::<tapline_function::Error>().is_some_and(run::is_usage)
    });
    ExitCode::from(if usage { USAGE } else { FAILED })
}

/// One error with its causes, each on a line of its own, and the hint.
pub(crate) fn paragraph(error: &(dyn Error + 'static), hint: Option<String>) -> String {
    paragraph_at(None, error, hint)
}

/// The same for what is wrong in a line of a file.
fn paragraph_at(place: Option<&str>, error: &(dyn Error + 'static), hint: Option<String>) -> String {
    let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
    let mut text = format!("error: {}{}\n", shown(&place), shown(&causes(error).join("\n  because: ")));
    if let Some(hint) = hint {
        text.push_str(&format!("hint: {}\n", shown(&hint)));
    }
    text
}

/// The last place before a terminal: whatever a file, a variable or a path says, none of it is obeyed there. Some errors have
/// several lines.
fn shown(text: &str) -> String {
    text.split('\n').map(|line| escape(cut(line, MAX_LINE))).collect::<Vec<_>>().join("\n")
}

fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(Hint { hint, .. }) = error.downcast_ref::<Hint>() {
        return Some(hint.clone());
    }
    error.chain().find_map(|cause| {
        cause
            .downcast_ref::<ConfigError>()
            .and_then(ConfigError::hint)
            .or_else(|| cause.downcast_ref::<tapline_function::Error>().and_then(run::hint))
            .or_else(|| cause.downcast_ref::<LoadError>().and_then(LoadError::hint))
            .or_else(|| cause.downcast_ref::<CacheError>()?.hint().map(str::to_owned))
            .or_else(|| cause.downcast_ref::<CallError>()?.fault.hint().map(str::to_owned))
            .or_else(|| cause.downcast_ref::<StoreError>().and_then(StoreError::hint))
    })
}

/// An error of the program itself, with what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Hint {
    pub(crate) message: String,
    pub(crate) hint: String,
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
