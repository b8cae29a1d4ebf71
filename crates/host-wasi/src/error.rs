//! Why a grant is refused. The operator has to act.

use std::{net::AddrParseError, num::ParseIntError, path::PathBuf};

/// The value of a grant is not one that the capability takes. The messages name the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// A key that does not exist, one that is missing, or a value of another type.
    #[error("{0}")]
    Shape(String),
    /// A list that is empty grants nothing, and was hardly meant to.
    #[error("`{key}` is empty")]
    Empty {
        /// The list.
        key: &'static str,
    },
    /// A number that makes no sense.
    #[error("`{key}` is {value}, it has to be {expected}")]
    OutOfRange {
        /// The setting.
        key: &'static str,
        /// Its value.
        value: u64,
        /// What it has to be.
        expected: &'static str,
    },
    /// A limit on writing where nothing may be written.
    #[error("`max_file_size` has no effect: no directory has `access = \"write\"`")]
    NothingToWrite,
    /// What the plugin is to see as the place of a directory is not such a place.
    #[error("`at` is `{at}`, it has to be an absolute path without `.`, `..` or a slash at its end")]
    At {
        /// What was given.
        at: String,
    },
    /// Two directories have the same place.
    #[error("`at` is `{at}` for two directories")]
    SamePlace {
        /// The place.
        at: String,
    },
    /// The directory cannot be opened.
    #[error("`path` is {}, which cannot be opened as a directory: {reason}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// An entry of the list of addresses is none.
    #[error("`{entry}` is not a host with a port, such as db.example.org:5432, 10.0.0.5:80 or [::1]:80: {reason}")]
    Address {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl GrantError {
    pub(crate) fn address(entry: &str, reason: impl ToString) -> Self {
        Self::Address { entry: entry.to_owned(), reason: reason.to_string() }
    }

    pub(crate) fn bad_port(entry: &str, error: &ParseIntError) -> Self {
        Self::address(entry, format!("its port cannot be read: {error}"))
    }

    pub(crate) fn bad_address(entry: &str, error: &AddrParseError) -> Self {
        Self::address(entry, error)
    }
}

impl From<serde_json::Error> for GrantError {
    fn from(error: serde_json::Error) -> Self {
        Self::Shape(error.to_string())
    }
}
