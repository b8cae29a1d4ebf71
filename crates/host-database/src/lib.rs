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
//! that works on up to 4 MiB, nor between expressions that stand beside each other. What allocates memory is stopped
//! there all the same; what does not can keep a connection busy for a minute or so: 50 comparisons with `LIKE`, which is
//! how many a statement may have, or some thousand additions of numbers of 4 MiB. The caller does not wait for that, and
//! until it is over the connection counts against the share of its plugin. Functions that could take longer are not on
//! the list, or are our own.
//!
//! It can take memory: [`MAX_MEMORY`] for all that it works on, sorts and groups. That is counted where SQLite
//! allocates, for each connection by itself, so that neither other plugins nor the program's own connections are the
//! ones that get no more; nothing of it goes to a disk. A row that is larger than an answer may be is not copied. What
//! all that comes to is with [`DatabaseConfig::max_connections`].
//!
//! SQLite takes an allocator only before it is first used. So this crate gives it one before `main`, for the whole
//! process; what threads allocate that run no plugin's statement is passed on to SQLite's own. A program that sets an
//! allocator of SQLite itself has no database for plugins: opening it fails.
//!
//! It can hold connections: a plugin has a share of them, and leaves one to others.
//!
//! # What is counted
//!
//! A query that ends with `not-allowed` or `too-large`, or gets no connection because its plugin's share is taken, is
//! one refusal in `tapline_host_call_refusals_total`. One that is `invalid` is a mistake, also where it is one of
//! length, and one that is `unavailable` for another reason is trouble that the plugin did not make.
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
mod share;
mod sqlite;
mod sqlite_guard;
mod value;

pub use config::{
    DEFAULT_ACQUIRE_TIMEOUT, DEFAULT_BUSY_TIMEOUT, DEFAULT_MAX_CONNECTIONS, DatabaseConfig, MAX_BYTES, MAX_COLUMNS,
    MAX_MEMORY, MAX_PARAMETERS, MAX_ROWS, MAX_SQL_BYTES,
};
pub use database::Database;
pub use error::{DatabaseError, QueryError};
pub use value::{Rows, Value};
