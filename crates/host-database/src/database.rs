//! The database as plugins reach it.

use std::sync::{Arc, OnceLock};

use tapline_host_core::metrics::HostCallMetrics;
use tokio::time::{Instant, timeout_at};

use crate::{
    config::{DatabaseConfig, MAX_PARAMETERS, MAX_SQL_BYTES},
    error::{DatabaseError, QueryError},
    share::{Share, Shares, Turn},
    sqlite::Sqlite,
    value::{Rows, Value},
};

const CALL_IS_OVER: &str = "the call is over";

/// A database that can only be read, with connections of its own. Cheap to clone; all clones share the connections.
///
/// Give one to [`HostBuilder::capability`](tapline_host_core::HostBuilder::capability).
#[derive(Clone, Debug)]
pub struct Database {
    backend: Sqlite,
    shares: Arc<Shares>,
    metrics: Arc<OnceLock<HostCallMetrics>>,
}

impl Database {
    /// Opens the database at `url`, which is `sqlite:` and a path, relative or absolute. Parameters in the address are
    /// ignored: whatever it says, the file is opened for reading, and it must exist.
    ///
    /// # Errors
    ///
    /// There is no such file, it is not a database, or it is locked for longer than
    /// [`DatabaseConfig::busy_timeout`].
    pub async fn connect(url: &str, config: DatabaseConfig) -> Result<Self, DatabaseError> {
        let database = Self::connect_lazy(url, config)?;
        database.check().await?;
        Ok(database)
    }

    /// [`Database::connect`] without a look at the file, which the first query opens. For a program that starts faster when
    /// the host is built meanwhile; it calls [`Database::check`] before it relies on the database.
    ///
    /// # Errors
    ///
    /// The address is none of SQLite, or a setting cannot work.
    pub fn connect_lazy(url: &str, config: DatabaseConfig) -> Result<Self, DatabaseError> {
        if config.max_connections == 0 {
            return Err(DatabaseError::Setting { setting: "max_connections", message: "a query needs one" });
        }
        let shares = Arc::new(Shares::new(config.share()));
        Ok(Self { backend: Sqlite::new(url, &config)?, shares, metrics: Arc::default() })
    }

    /// Whether there is a database that can be read.
    ///
    /// # Errors
    ///
    /// Those of [`Database::connect`] about the file.
    pub async fn check(&self) -> Result<(), DatabaseError> {
        self.backend.check().await
    }

    /// Records how long the queries of plugins take, from now on: `host.metrics().host_call("database")`, once the
    /// host is built. A second call changes nothing.
    pub fn record_with(&self, metrics: HostCallMetrics) {
        // An error is the handle, given back because there is one already.
        let _ = self.metrics.set(metrics);
    }

    /// Runs one statement with `parameters` in place of its `?`, and waits for the rows until `deadline`.
    ///
    /// At most [`MAX_ROWS`](crate::MAX_ROWS) rows of at most [`MAX_COLUMNS`](crate::MAX_COLUMNS) columns and
    /// [`MAX_BYTES`](crate::MAX_BYTES) in all; what is beyond that is an error, never a part of the answer. Dropping
    /// the future interrupts the statement. It is no plugin's query: it has no share of the connections.
    ///
    /// # Errors
    ///
    /// [`QueryError`] says which party has to act: the author of the statement, or whoever runs the database.
    pub async fn run(&self, sql: &str, parameters: Vec<Value>, deadline: Instant) -> Result<Rows, QueryError> {
        self.run_in_turn(sql, parameters, Turn { patience: self.patience(), part: None }, deadline).await
    }

    pub(crate) async fn run_in_turn(
        &self,
        sql: &str,
        parameters: Vec<Value>,
        turn: Turn,
        deadline: Instant,
    ) -> Result<Rows, QueryError> {
        if sql.len() > MAX_SQL_BYTES {
            let message = format!("the statement has {} bytes, {MAX_SQL_BYTES} are allowed", sql.len());
            return Err(QueryError::Invalid(message));
        }
        if parameters.len() > MAX_PARAMETERS {
            let message = format!("there are {} parameters, {MAX_PARAMETERS} are allowed", parameters.len());
            return Err(QueryError::Invalid(message));
        }
        // The timer is good for milliseconds: a quick query would come in before it.
        if deadline <= Instant::now() {
            return Err(QueryError::Unavailable(CALL_IS_OVER.to_owned()));
        }
        match timeout_at(deadline, self.backend.query(sql, parameters, turn)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(QueryError::Unavailable(CALL_IS_OVER.to_owned())),
        }
    }

    /// What a plugin may have of the connections.
    pub(crate) fn share(&self, plugin: &str) -> Arc<Share> {
        self.shares.of(plugin)
    }

    /// Until when a query that comes now waits for a connection.
    pub(crate) fn patience(&self) -> Instant {
        self.backend.patience()
    }

    pub(crate) fn metrics(&self) -> Option<&HostCallMetrics> {
        self.metrics.get()
    }
}
