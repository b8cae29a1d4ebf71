//! What goes wrong with a store, and whose fault it is.

use std::path::PathBuf;

use tapline_content::ItemError;
use tapline_host_core::{CallError, Party};

use crate::document::DocumentError;

/// Primary result codes of SQLite, from <https://www.sqlite.org/rescode.html>. The lower byte of an extended code.
mod code {
    pub(super) const BUSY: u32 = 5;
    pub(super) const LOCKED: u32 = 6;
    pub(super) const CORRUPT: u32 = 11;
    pub(super) const CANTOPEN: u32 = 14;
    pub(super) const NOTADB: u32 = 26;
}

/// A store did not do what it was asked for. The stored items are as they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The address of the database cannot be read.
    #[error("`{url}` is not the address of a SQLite database")]
    Url {
        /// The address.
        url: String,
        /// Why, when it begins as it should.
        source: Option<sqlx::Error>,
    },
    /// The directory in which the database should be does not exist.
    #[error("the directory {} does not exist", path.display())]
    NoDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The file cannot be opened: a directory, or no permission.
    #[error("the database {} cannot be opened", path.display())]
    CannotOpen {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// The file is not a SQLite database, or a damaged one.
    #[error("{} is not a SQLite database, or it is damaged", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// A newer version of this program made the database.
    #[error("the database {} has schema {found}, this program knows schema {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema of the database.
        found: i64,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// Somebody else held the database for longer than the busy timeout.
    #[error("the database is locked")]
    Locked {
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// All connections are in use: none was free in time, or too many callers wait for one. The same call may succeed later.
    #[error("no connection to the database is free")]
    Busy,
    /// The database failed in another way.
    #[error("the database failed")]
    Database {
        /// How.
        source: sqlx::Error,
    },
    /// A thread of this program ended before it had read an item: the program is ending, or there is a defect in it.
    #[error("a thread ended before it had read an item")]
    Thread(#[source] tokio::task::JoinError),
    /// What is stored of an item cannot be read.
    #[error("the stored item `{id}` cannot be read: {message}")]
    Damaged {
        /// The item.
        id: String,
        /// What is wrong with it.
        message: String,
    },
    /// A plugin refused the save, or failed in it.
    #[error("the save of `{id}` was stopped")]
    Refused {
        /// The item.
        id: String,
        /// Which plugin, and why.
        source: CallError,
    },
    /// A field holds a number that cannot be stored.
    #[error("the field `{field}` of `{id}` holds {value}, which cannot be stored")]
    NotStorable {
        /// The item.
        id: String,
        /// The field.
        field: String,
        /// An infinite number, or none at all.
        value: f64,
    },
    /// Somebody else saved the item between our reading and our writing.
    #[error("`{id}` was changed by somebody else at the same time")]
    Conflict {
        /// The item.
        id: String,
    },
    /// An item breaks a rule.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// A document cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

impl StoreError {
    /// Who has to act.
    #[must_use]
    pub fn party(&self) -> Party {
        match self {
            Self::Refused { source, .. } => source.fault.party(),
            Self::NotStorable { .. } => Party::Guest,
            Self::Database { .. } | Self::Damaged { .. } | Self::Thread(_) => Party::Host,
            _ => Party::Operator,
        }
    }

    /// What to do, in one sentence, where there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Url { .. } => "write it as `sqlite:path/to/file.db`".to_owned(),
            Self::NoDirectory { path } => format!("make it: mkdir -p {}", path.display()),
            Self::CannotOpen { .. } => {
                "check that it is there, and that you may write to it; `tapline import` makes one".to_owned()
            }
            Self::NotADatabase { .. } => "give another path, or move the file away and import again".to_owned(),
            Self::Newer { .. } => "use the program that made it, or a newer one".to_owned(),
            Self::Locked { .. } => "another program writes to it: wait for it, or stop it".to_owned(),
            Self::Busy => {
                "see what keeps the database busy: a slow disk, or another program that writes to it".to_owned()
            }
            Self::Conflict { .. } => "save it again".to_owned(),
            Self::Document(error) => return error.hint(),
            _ => return None,
        })
    }

    /// Whether the database has more to do than it can, so that the same call may succeed in a moment.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy | Self::Locked { .. })
    }

    /// Whether the database itself is out of order, so that the next save would fail as well.
    pub(crate) fn is_of_the_database(&self) -> bool {
        self.is_busy() || matches!(self, Self::Database { .. } | Self::NotADatabase { .. })
    }

    /// Sorts an error that came while the file at `path` was opened.
    pub(crate) fn on_open(path: PathBuf, source: sqlx::Error) -> Self {
        match primary_code(&source) {
            Some(code::CANTOPEN) => Self::CannotOpen { path, source },
            Some(code::CORRUPT | code::NOTADB) => Self::NotADatabase { path, source },
            _ => source.into(),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(source: sqlx::Error) -> Self {
        match (&source, primary_code(&source)) {
            (sqlx::Error::PoolTimedOut, _) => Self::Busy,
            (_, Some(code::BUSY | code::LOCKED)) => Self::Locked { source },
            _ => Self::Database { source },
        }
    }
}

fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let extended: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}
