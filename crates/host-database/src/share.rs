//! How many connections one plugin may have at the same time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::error::QueryError;

/// What a query comes with to get a connection.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Until when it waits.
    pub(crate) patience: Instant,
    /// Its part of a plugin's share, which it has for as long as its connection has something to do. A query of
    /// nobody's has none.
    pub(crate) part: Option<OwnedSemaphorePermit>,
}

/// What a plugin with the grant has of the connections.
#[derive(Debug)]
pub(crate) struct Share(Arc<Semaphore>);

impl Share {
    /// Waits until the plugin may have one more connection, or until `patience` is over.
    pub(crate) async fn take(&self, patience: Instant) -> Result<Turn, QueryError> {
        let part = timeout_at(patience, Arc::clone(&self.0).acquire_owned()).await;
        match part {
            Ok(Ok(part)) => Ok(Turn { patience, part: Some(part) }),
            _ => Err(QueryError::Unavailable("the plugin has as many connections as it may have".to_owned())),
        }
    }
}

/// The shares of all plugins. One that is loaded anew has the share that its last calls still use.
#[derive(Debug)]
pub(crate) struct Shares {
    each: usize,
    plugins: Mutex<HashMap<String, Weak<Share>>>,
}

impl Shares {
    pub(crate) fn new(each: usize) -> Self {
        Self { each, plugins: Mutex::default() }
    }

    pub(crate) fn of(&self, plugin: &str) -> Arc<Share> {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.retain(|_, share| share.strong_count() > 0);
        if let Some(share) = plugins.get(plugin).and_then(Weak::upgrade) {
            return share;
        }
        let share = Arc::new(Share(Arc::new(Semaphore::new(self.each))));
        plugins.insert(plugin.to_owned(), Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_share_is_a_plugins_own_and_outlasts_a_reload() {
        let shares = Shares::new(2);
        let (one, other) = (shares.of("one"), shares.of("other"));
        let held = [one.take(Instant::now()).await.unwrap(), one.take(Instant::now()).await.unwrap()];
        let again = shares.of("one");
        assert!(matches!(again.take(Instant::now()).await, Err(QueryError::Unavailable(_))));
        assert!(other.take(Instant::now()).await.is_ok());
        drop(held);
        assert!(again.take(Instant::now()).await.is_ok());
        drop((one, again));
        drop(shares.of("third"));
        assert_eq!(shares.plugins.lock().unwrap().len(), 2, "what nobody has any more is forgotten");
    }
}
