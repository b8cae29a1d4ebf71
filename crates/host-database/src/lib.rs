//! The database capability: read-only SQL that a plugin awaits, with limits that the database itself enforces.
//!
//! [`Database`] offers the interface `tapline:host/database@0.1.0` to the plugins that the operator grants
//! `database = "read"`. It has connections of its own, which cannot write: nothing here goes through the connections of
//! the program that fills the database. It is SQLite for now; `sqlite.rs` is the only file that knows.
//!
//! - [`Database`] is opened once and given to the host, which links its functions.
//! - [`Value`] and [`Rows`] are what goes in and comes out.
//! - [`QueryError`] is what a guest is told, [`DatabaseError`] what an operator is told.
//!
//! # What the grant means
//!
//! The grant `"read"` covers the **whole database file**: every table, view and index, and the schema. SQLite has no
//! accounts and no rights for a table. Whoever keeps secrets (password hashes, sessions) in the same file shows them to
//! every plugin with this grant; keep them in another file.
//!
//! # What a hostile statement can do
//!
//! It cannot write, attach a file, load an extension, change a setting or call a function that is not on the list:
//! SQLite asks an authorizer while it compiles the statement, and no text is searched for keywords. It can be slow: it
//! is interrupted when its call ends, at the next check that SQLite makes. There is none inside of one SQL function
//! that works on up to 4 MiB, so that a connection can stay busy for about a second longer; the caller does not wait for
//! that. Functions that could take longer are not on the list, or are our own.
//! It can sort and group more than fits into SQLite's cache, in temporary files that vanish with it. And SQLite makes a
//! whole row before anybody can count it: four rows of [`MAX_COLUMNS`] values of [`MAX_BYTES`] each are the most that
//! one connection holds at a time.
//!
//! ```
//! use std::time::Duration;
//!
//! use sqlx::{Connection, SqliteConnection};
//! use tapline_host_core::Host;
//! use tapline_host_database::{Database, DatabaseConfig, QueryError, Value};
//! use tokio::time::Instant;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let file = directory.path().join("site.db").display().to_string();
//! // The program's own connection, which may write.
//! let mut own = SqliteConnection::connect(&format!("sqlite:{file}?mode=rwc")).await?;
//! sqlx::raw_sql("CREATE TABLE item (title TEXT); INSERT INTO item VALUES ('Hello')").execute(&mut own).await?;
//!
//! // What plugins get.
//! let database = Database::connect(&format!("sqlite:{file}"), DatabaseConfig::default()).await?;
//! let host = Host::builder().capability(database.clone());
//!
//! // What a plugin's call does.
//! let deadline = Instant::now() + Duration::from_secs(1);
//! let like = vec![Value::Text("H%".to_owned())];
//! let found = database.run("SELECT title FROM item WHERE title LIKE ?", like, deadline).await?;
//! assert_eq!(found.columns, ["title"]);
//! assert_eq!(found.rows, [[Value::Text("Hello".to_owned())]]);
//!
//! let refused = database.run("DELETE FROM item", vec![], deadline).await;
//! assert!(matches!(refused, Err(QueryError::NotAllowed(_))));
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(run()).unwrap();
//! ```

mod config;
mod connections;
mod database;
mod error;
mod functions;
mod host;
mod sqlite;
mod sqlite_guard;
mod value;

pub use config::{
    DEFAULT_ACQUIRE_TIMEOUT, DEFAULT_BUSY_TIMEOUT, DEFAULT_MAX_CONNECTIONS, DatabaseConfig, MAX_BYTES, MAX_COLUMNS,
    MAX_PARAMETERS, MAX_ROWS, MAX_SQL_BYTES,
};
pub use database::Database;
pub use error::{DatabaseError, QueryError};
pub use value::{Rows, Value};
