//! Connections that stay open between queries.

use std::{sync::Arc, time::Duration};

use deadpool::managed::{Manager, Metrics, PoolError, RecycleError, RecycleResult};
use hashlink::LruCache;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::sqlite_guard::{self, Guard};

/// How long a connection is used: a file that another one has taken the place of is not read for ever.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);

/// Statements that a connection keeps compiled: as many as a site with some dozen plugins has.
pub(crate) const STATEMENTS: usize = 64;

/// Opens connections, and looks at them before they are used again.
///
/// This is not the pool of sqlx: that one sends each connection a message when it comes back, and keeps nothing beside it, so that
/// the guard had to be asked for by another message. Decision 39 has what that cost.
#[derive(Debug)]
pub(crate) struct Connections(pub(crate) SqliteConnectOptions);

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sqlite: SqliteConnection,
    pub(crate) guard: Arc<Guard>,
    /// The statements that it keeps, by their text. No more than sqlx keeps of them, and the same ones.
    pub(crate) known: LruCache<String, Known>,
    /// A query has failed or was given up on it: its thread may still be at it, and what it keeps may be anything.
    pub(crate) is_unsettled: bool,
}

/// What was found about a statement when it was compiled.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The names of its columns.
    pub(crate) columns: Vec<String>,
    /// How many parameters it takes.
    pub(crate) parameters: usize,
    /// How often in its life it could not run without compiling something.
    pub(crate) unsettled: u8,
}

impl Manager for Connections {
    type Type = Connection;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<Connection, sqlx::Error> {
        let mut sqlite = self.0.connect().await?;
        let guard = sqlite_guard::install(&mut sqlite.lock_handle().await?)?;
        Ok(Connection { sqlite, guard, known: LruCache::new(STATEMENTS), is_unsettled: false })
    }

    async fn recycle(&self, connection: &mut Connection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if metrics.age() > MAX_AGE {
            return Err(RecycleError::message("it is old"));
        }
        if connection.is_unsettled {
            connection.known.clear();
            // Its thread does this when it has ended what it was at: from then on the guard is for the next query.
            connection.sqlite.clear_cached_statements().await?;
            connection.is_unsettled = false;
        }
        Ok(())
    }
}

/// As the pool of sqlx would have said it.
pub(crate) fn plain(error: PoolError<sqlx::Error>) -> sqlx::Error {
    match error {
        PoolError::Backend(error) => error,
        PoolError::Timeout(_) => sqlx::Error::PoolTimedOut,
        _ => sqlx::Error::PoolClosed,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};

    use super::*;

    #[tokio::test]
    async fn a_connection_grows_old() {
        let connections = Connections(SqliteConnectOptions::new().in_memory(true));
        let mut connection = connections.create().await.unwrap();
        let mut metrics = Metrics::default();
        connections.recycle(&mut connection, &metrics).await.unwrap();
        metrics.created = Instant::now().checked_sub(MAX_AGE + Duration::from_secs(1)).unwrap();
        assert!(connections.recycle(&mut connection, &metrics).await.is_err());
    }

    #[tokio::test]
    async fn a_connection_whose_query_failed_keeps_nothing() {
        let connections = Connections(SqliteConnectOptions::new().in_memory(true));
        let mut connection = connections.create().await.unwrap();
        connection.sqlite.prepare(AssertSqlSafe("SELECT 1").into_sql_str()).await.unwrap();
        connection.known.insert("SELECT 1".to_owned(), Known { columns: Vec::new(), parameters: 0, unsettled: 0 });
        connections.recycle(&mut connection, &Metrics::default()).await.unwrap();
        assert_eq!((connection.sqlite.cached_statements_size(), connection.known.len()), (1, 1));
        connection.is_unsettled = true;
        connections.recycle(&mut connection, &Metrics::default()).await.unwrap();
        assert_eq!((connection.sqlite.cached_statements_size(), connection.known.len()), (0, 0));
        assert!(!connection.is_unsettled);
    }
}
