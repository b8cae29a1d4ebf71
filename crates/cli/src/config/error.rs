//! What is wrong with a configuration.

use std::path::PathBuf;

use tapline_host_core::limits::LimitsError;

/// The configuration cannot be used. The operator has to act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// Nothing has this key.
    #[error("{}:{line}: nothing is called `{key}`", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key with the tables that it is in.
        key: String,
        /// The key that was probably meant.
        nearest: Option<String>,
        /// The keys that its table takes.
        known: Vec<String>,
    },
    /// The value of a key cannot be used.
    #[error("{}:{line}: `{key}`: {message}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key with the tables that it is in.
        key: String,
        /// What is wrong with its value.
        message: String,
    },
    /// The value of a variable cannot be used.
    #[error("`{name}` is `{value}`, not {expected}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// Two variables say different things.
    #[error(
        "`TAPLINE_WASM_MEMORY_LIMIT_MB` says {bytes} bytes and `TAPLINE_WASM_MEMORY_LIMIT_PAGES` says {bytes_of_pages}"
    )]
    Unequal {
        /// What the one says.
        bytes: u64,
        /// What the other says.
        bytes_of_pages: u64,
    },
    /// The disk cache is asked for, and nothing says where.
    #[error("the compiled plugins have no directory to be kept in")]
    NoCacheDirectory,
    /// The limits contradict themselves.
    #[error("the limits are refused")]
    Limits(#[source] LimitsError),
}

impl ConfigError {
    /// What to do, in one sentence, where there is something to do.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } => "give its path with --config, or leave it out for the defaults".to_owned(),
            Self::UnknownKey { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
            Self::UnknownKey { known, .. } => format!("known are {}", known.join(", ")),
            Self::Unequal { .. } => "a page has 65536 bytes: give one of the two, or the same to both".to_owned(),
            Self::NoCacheDirectory => "set TAPLINE_CACHE_DIRECTORY, or `directory` in [cache]".to_owned(),
            Self::Limits(error) => return error.hint(),
            _ => return None,
        })
    }
}
