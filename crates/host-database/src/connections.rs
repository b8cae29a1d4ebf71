//! Connections that stay open between queries.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use deadpool::managed::{Manager, Metrics, Object, PoolError, RecycleError, RecycleResult};
use hashlink::LruCache;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::runtime::Handle;

use crate::{
    share::Turn,
    sqlite_guard::{self, Guard},
};

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
    /// The statements that it keeps, by their text. No more than sqlx keeps of them, and the same ones: each use is a use there.
    pub(crate) known: LruCache<String, Known>,
    /// Statements that could not run without something being compiled, or that are too large to be kept.
    pub(crate) restless: LruCache<String, Restless>,
    pub(crate) state: State,
}

/// What was found about a statement when it was compiled.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The names of its columns.
    pub(crate) columns: Vec<String>,
    /// How many parameters it takes.
    pub(crate) parameters: usize,
}

/// A statement that may not be one to keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restless {
    /// How many parameters it takes.
    pub(crate) parameters: usize,
    /// How often it could not run without something being compiled.
    pub(crate) denials: u8,
}

/// How a connection was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Its query has come to a good end.
    Idle,
    /// A query has failed or was given up on it, and its thread may still be at it.
    Busy,
    /// Besides, sqlx may keep another statement than is known.
    Unknown,
}

impl Connection {
    /// How many statements sqlx keeps, and how many are known.
    #[cfg(test)]
    pub(crate) async fn kept(&mut self) -> (usize, usize) {
        // Its thread counts when it has answered: by the next answer it has.
        self.sqlite.ping().await.unwrap();
        (self.sqlite.cached_statements_size(), self.known.len())
    }

    /// Keeps no statement any more.
    pub(crate) async fn forget(&mut self) -> Result<(), sqlx::Error> {
        self.known.clear();
        self.sqlite.clear_cached_statements().await
    }
}

/// A connection of the pool, for one query.
#[derive(Debug)]
pub(crate) struct Lease {
    /// There until it is given back or closed, which is the end of the lease.
    connection: Option<Object<Connections>>,
    turn: Turn,
}

impl Lease {
    pub(crate) fn new(connection: Object<Connections>, turn: Turn) -> Self {
        Self { connection: Some(connection), turn }
    }

    /// Gives the connection to nobody any more.
    pub(crate) fn close(mut self) {
        drop(self.connection.take().map(Object::take));
    }
}

impl Deref for Lease {
    type Target = Connection;

    #[expect(clippy::expect_used, reason = "only what ends the lease takes the connection")]
    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("a lease has its connection until it ends")
    }
}

impl DerefMut for Lease {
    #[expect(clippy::expect_used, reason = "only what ends the lease takes the connection")]
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("a lease has its connection until it ends")
    }
}

/// A thread may go on when nobody waits for its query any more: inside of a function, or for a lock. Until it has done
/// that its connection is nobody's, and still counts for the plugin; otherwise one plugin would have them all, one
/// after the other.
impl Drop for Lease {
    fn drop(&mut self) {
        let (Some(mut connection), part) = (self.connection.take(), self.turn.part.take()) else { return };
        if connection.state == State::Idle {
            return;
        }
        // Without a runtime nobody asks any more.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                // Its thread gives the lock away when it has ended what it was at. One that is gone gives an error:
                // then the pool finds out, and makes another connection.
                drop(connection.sqlite.lock_handle().await);
                drop((connection, part));
            });
        }
    }
}

impl Manager for Connections {
    type Type = Connection;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<Connection, sqlx::Error> {
        let mut sqlite = self.0.connect().await?;
        let guard = sqlite_guard::install(&mut sqlite.lock_handle().await?)?;
        let (known, restless) = (LruCache::new(STATEMENTS), LruCache::new(STATEMENTS));
        Ok(Connection { sqlite, guard, known, restless, state: State::Idle })
    }

    async fn recycle(&self, connection: &mut Connection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if metrics.age() > MAX_AGE {
            return Err(RecycleError::message("it is old"));
        }
        if connection.state == State::Unknown {
            connection.forget().await?;
        }
        if connection.state != State::Idle {
            // Its thread gives the lock away when it has ended what it was at: from then on the guard is for the next query.
            let in_transaction = sqlite_guard::is_in_transaction(&mut connection.sqlite.lock_handle().await?);
            if in_transaction || connection.sqlite.is_in_transaction() {
                return Err(RecycleError::message("it is in a transaction that nobody ended"));
            }
            connection.state = State::Idle;
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
    async fn a_connection_of_which_nothing_is_known_keeps_nothing() {
        let connections = Connections(SqliteConnectOptions::new().in_memory(true));
        let mut connection = connections.create().await.unwrap();
        connection.sqlite.prepare(AssertSqlSafe("SELECT 1").into_sql_str()).await.unwrap();
        connection.known.insert("SELECT 1".to_owned(), Known { columns: Vec::new(), parameters: 0 });
        for (state, kept) in [(State::Idle, 1), (State::Busy, 1), (State::Unknown, 0)] {
            connection.state = state;
            connections.recycle(&mut connection, &Metrics::default()).await.unwrap();
            assert_eq!(connection.kept().await, (kept, kept), "{state:?}");
            assert_eq!(connection.state, State::Idle);
        }
    }

    /// One that sqlx knows of, and one that it does not.
    #[tokio::test]
    async fn a_connection_in_a_transaction_is_not_used_again() {
        let connections = Connections(SqliteConnectOptions::new().in_memory(true));
        for known in [true, false] {
            let mut connection = connections.create().await.unwrap();
            match known {
                true => std::mem::forget(connection.sqlite.begin().await.unwrap()),
                false => drop((&mut connection.sqlite).execute("BEGIN").await.unwrap()),
            }
            connection.state = State::Busy;
            assert!(connections.recycle(&mut connection, &Metrics::default()).await.is_err(), "{known}");
        }
    }
}
