//! Connections that stay open between queries.

use std::{sync::Arc, time::Duration};

use deadpool::managed::{Manager, Metrics, PoolError, RecycleError, RecycleResult};
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::sqlite_guard::{self, Guard};

/// How long a connection is used: a file that another one has taken the place of is not read for ever.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);

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
    /// A query was given up on it, and its thread may still be at it.
    pub(crate) is_busy: bool,
}

impl Manager for Connections {
    type Type = Connection;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<Connection, sqlx::Error> {
        let mut sqlite = self.0.connect().await?;
        let guard = sqlite_guard::install(&mut sqlite.lock_handle().await?)?;
        Ok(Connection { sqlite, guard, is_busy: false })
    }

    async fn recycle(&self, connection: &mut Connection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if metrics.age() > MAX_AGE {
            return Err(RecycleError::message("it is old"));
        }
        if connection.is_busy {
            // Its thread gives the lock away when it has ended what it does: from then on the guard is for the next query.
            drop(connection.sqlite.lock_handle().await?);
            connection.is_busy = false;
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
    async fn a_connection_that_may_be_busy_is_waited_for() {
        let connections = Connections(SqliteConnectOptions::new().in_memory(true));
        let mut connection = connections.create().await.unwrap();
        connection.is_busy = true;
        connections.recycle(&mut connection, &Metrics::default()).await.unwrap();
        assert!(!connection.is_busy);
    }
}
