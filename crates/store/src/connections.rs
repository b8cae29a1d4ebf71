//! The connections of a store, and the line of those who wait for one.

use std::{sync::Arc, time::Duration};

use sqlx::{Sqlite, SqlitePool, pool::PoolConnection};
use tokio::{sync::Semaphore, time::timeout};

use crate::{error::StoreError, store::StoreConfig};

/// Connections, and places for those who wait for one. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    pool: SqlitePool,
    places: Arc<Semaphore>,
    max_wait: Duration,
}

impl Connections {
    pub(crate) fn new(pool: SqlitePool, config: &StoreConfig) -> Self {
        let places = config.max_waiting.min(Semaphore::MAX_PERMITS);
        Self { pool, places: Arc::new(Semaphore::new(places)), max_wait: config.max_wait }
    }

    /// A connection. Only who finds none takes a place in the line.
    pub(crate) async fn get(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        if let Some(connection) = self.pool.try_acquire() {
            return Ok(connection);
        }
        let _place = self.places.try_acquire().map_err(|_full| StoreError::Busy)?;
        // The pool has a limit of its own, which has to be longer than what opening a connection may wait for a lock.
        match timeout(self.max_wait, self.pool.acquire()).await {
            Ok(connection) => Ok(connection?),
            Err(_elapsed) => Err(StoreError::Busy),
        }
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Context, task::Waker};

    use sqlx::sqlite::SqlitePoolOptions;

    use super::*;

    const FOR_EVER: Duration = Duration::from_secs(86400);

    fn one_connection(max_wait: Duration, max_waiting: usize) -> Connections {
        let pool = SqlitePoolOptions::new().max_connections(1).connect_lazy("sqlite::memory:").unwrap();
        Connections::new(pool, &StoreConfig { max_wait, max_waiting, ..StoreConfig::default() })
    }

    #[tokio::test]
    async fn whoever_waits_too_long_is_told_that_it_is_busy() {
        let connections = one_connection(FOR_EVER, 1);
        let held = connections.get().await.unwrap();
        let hasty = Connections { max_wait: Duration::ZERO, ..connections.clone() };
        assert!(matches!(hasty.get().await, Err(StoreError::Busy)));
        drop(held);
        connections.get().await.unwrap();
    }

    #[tokio::test]
    async fn one_more_than_may_wait_is_refused_at_once() {
        let connections = one_connection(FOR_EVER, 1);
        let held = connections.get().await.unwrap();
        let mut first = pin!(connections.get());
        assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(matches!(connections.get().await, Err(StoreError::Busy)), "it would have waited for a day");
        drop(held);
        first.await.unwrap();
    }

    #[tokio::test]
    async fn nobody_who_finds_one_takes_a_place() {
        let connections = one_connection(FOR_EVER, 1);
        drop(connections.get().await.unwrap());
        // It is given back by a task of its own.
        while connections.pool.num_idle() == 0 {
            tokio::task::yield_now().await;
        }
        let _last = connections.places.try_acquire().unwrap();
        connections.get().await.unwrap();
    }
}
