//! What goes wrong: for the operator when the database is opened, for the guest when it asks.

use std::path::PathBuf;

use tapline_host_core::Party;
use wasmtime::component::{ComponentType, Lower};

/// The database cannot be opened. The operator has to act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The address is not one of a SQLite file.
    #[error("a database address that starts with `{scheme}` is not supported")]
    Scheme {
        /// What stands before the first colon, or the whole address. Not the rest, which may hold a password.
        scheme: String,
    },
    /// There is no file.
    #[error("there is no database at {}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is a file, but it cannot be read as a database.
    #[error("the database at {} cannot be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// A setting is impossible.
    #[error("the setting `{setting}` is refused: {message}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// Why.
        message: &'static str,
    },
}

impl DatabaseError {
    /// Who has to act: always the operator.
    #[must_use]
    pub fn party(&self) -> Party {
        Party::Operator
    }

    /// What to do, in one sentence, where there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Scheme { .. } => Some("write `sqlite:` and the path of the file"),
            Self::Missing { .. } => Some("import content first, which makes the database, or correct the path"),
            _ => None,
        }
    }
}

/// Why a query failed: the contract's `query-error`, for the author of the plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, ComponentType, Lower)]
#[component(variant)]
pub enum QueryError {
    /// The statement is wrong, or it has more or fewer placeholders than parameters.
    #[error("the query is invalid: {0}")]
    #[component(name = "invalid")]
    Invalid(String),
    /// The statement would write, attach another file, change a setting, or call a function that is not on the list.
    #[error("the query is not allowed: {0}")]
    #[component(name = "not-allowed")]
    NotAllowed(String),
    /// More rows, columns or bytes than a query may return, a value that is too long, or more memory than a statement
    /// may take.
    #[error("the query is too large: {0}")]
    #[component(name = "too-large")]
    TooLarge(String),
    /// The database did not answer: it is locked, busy, missing or broken, the plugin has its share of connections
    /// already, or the call was over.
    #[error("the database did not answer: {0}")]
    #[component(name = "unavailable")]
    Unavailable(String),
}

impl QueryError {
    /// Whether it is more than a query may have or do, and not a mistake in it or trouble with the database.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::NotAllowed(_) | Self::TooLarge(_))
    }
}
