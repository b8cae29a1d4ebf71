//! Threads for what blocks, of which every plugin has a share.
//!
//! Tokio has 512 of them, and a queue without an end before them. Without a bound of our own, one plugin whose files are
//! slow would have them all, and everybody who needs such a thread would wait behind it: other plugins, loads, pages.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime_wasi::runtime::spawn_blocking;

/// So many operations run or are queued at once, for all plugins together.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    whole: usize,
    /// The shares that somebody has, by plugin.
    shares: Arc<Mutex<HashMap<String, Weak<Semaphore>>>>,
}

/// One plugin's share of the places. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

/// A place that is taken. Given back on drop.
struct Turn {
    _own: Option<OwnedSemaphorePermit>,
    _of_all: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub(crate) fn new(whole: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(whole)), whole, shares: Arc::default() }
    }

    /// A share for one more plugin: three quarters, as of the pool if the operator says nothing. However slow the
    /// plugin's operations are, the rest is for the others.
    pub(crate) fn share(&self) -> Share {
        let most = (self.whole * 3).div_ceil(4);
        Share { all: Arc::clone(&self.all), own: Arc::new(Semaphore::new(most)) }
    }

    /// The share of the plugin of this name: while one version of it follows another, both have the same.
    pub(crate) fn share_of(&self, plugin: &str) -> Share {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = shares.get(plugin).and_then(Weak::upgrade) {
            return Share { all: Arc::clone(&self.all), own };
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = self.share();
        shares.insert(plugin.to_owned(), Arc::downgrade(&share.own));
        share
    }
}

impl Share {
    /// Waits for a place, first behind the plugin's own operations: those of the others are not behind these.
    async fn turn(&self) -> Turn {
        // Nobody closes them, which is the only way to get none.
        let own = Arc::clone(&self.own).acquire_owned().await.ok();
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok();
        Turn { _own: own, _of_all: of_all }
    }

    /// Runs what blocks on a thread for it, as soon as there is a place. The place goes with the thread: who does not wait
    /// any longer, such as a call that is out of time, does not end the operation.
    pub(crate) async fn run<R: Send + 'static>(&self, operation: impl FnOnce() -> R + Send + 'static) -> R {
        let turn = self.turn().await;
        let running = spawn_blocking(move || {
            let found = operation();
            drop(turn);
            found
        });
        running.await
    }

    /// Operations of the plugin that may begin now, and those of all.
    #[cfg(test)]
    pub(crate) fn free(&self) -> (usize, usize) {
        (self.own.available_permits(), self.all.available_permits())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        future::Future,
        sync::{Condvar, Mutex},
        time::Duration,
    };

    use tokio::{
        task::{JoinSet, yield_now},
        time::timeout,
    };

    use super::*;

    /// Long enough for anything that is not stuck.
    pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

    /// Where operations block until it is opened.
    #[derive(Default)]
    pub(crate) struct Gate {
        /// How many wait at it, and whether it is open.
        state: Mutex<(usize, bool)>,
        opened: Condvar,
    }

    impl Gate {
        pub(crate) fn pass(&self) {
            let mut state = self.state.lock().unwrap();
            state.0 += 1;
            let mut state = self.opened.wait_while(state, |(_, open)| !*open).unwrap();
            state.0 -= 1;
        }

        pub(crate) fn open(&self) {
            self.state.lock().unwrap().1 = true;
            self.opened.notify_all();
        }

        pub(crate) async fn until_waiting(&self, expected: usize) {
            until(|| self.state.lock().unwrap().0 == expected).await;
        }
    }

    /// A test that fails must not wait for threads that nobody lets go.
    pub(crate) struct OpenOnDrop(pub(crate) Arc<Gate>);

    impl Drop for OpenOnDrop {
        fn drop(&mut self) {
            self.0.open();
        }
    }

    pub(crate) async fn until(so: impl Fn() -> bool) {
        let becomes = async {
            while !so() {
                yield_now().await;
            }
        };
        timeout(PATIENCE, becomes).await.unwrap();
    }

    /// What comes without anybody opening the gate.
    async fn soon<F: Future>(future: F) -> F::Output {
        timeout(PATIENCE, future).await.unwrap()
    }

    #[tokio::test]
    async fn a_plugin_that_is_slow_leaves_places_to_others() {
        let places = Places::new(8);
        let (greedy, modest) = (places.share(), places.share());
        let gate = OpenOnDrop(Arc::default());
        let mut running = JoinSet::new();
        for number in 0..100 {
            let (share, gate) = (greedy.clone(), Arc::clone(&gate.0));
            running.spawn(async move {
                share
                    .run(move || {
                        gate.pass();
                        number
                    })
                    .await
            });
        }
        gate.0.until_waiting(6).await;
        assert_eq!((greedy.free(), modest.free()), ((0, 2), (6, 2)));
        // Not behind the 94 that wait.
        assert_eq!(soon(modest.run(|| "served")).await, "served");
        assert_eq!((greedy.free(), modest.free()), ((0, 2), (6, 2)));
        gate.0.open();
        let mut numbers = soon(running.join_all()).await;
        numbers.sort_unstable();
        assert_eq!(numbers, Vec::from_iter(0..100));
        until(|| (greedy.free(), modest.free()) == ((6, 8), (6, 8))).await;
    }

    #[tokio::test]
    async fn who_goes_away_leaves_the_place_to_the_thread_and_the_queue_to_others() {
        let places = Places::new(1);
        let share = places.share();
        let gate = OpenOnDrop(Arc::default());
        let blocked = |gate: &OpenOnDrop| {
            let (share, gate) = (share.clone(), Arc::clone(&gate.0));
            tokio::spawn(async move { share.run(move || gate.pass()).await })
        };
        let first = blocked(&gate);
        gate.0.until_waiting(1).await;
        let second = blocked(&gate);
        yield_now().await;
        first.abort();
        second.abort();
        assert!(first.await.unwrap_err().is_cancelled() && second.await.unwrap_err().is_cancelled());
        assert_eq!(share.free(), (0, 0), "the thread is still there");
        gate.0.open();
        soon(share.run(|| ())).await;
        until(|| share.free() == (1, 1)).await;
    }

    #[tokio::test]
    async fn an_operation_that_panics_gives_its_place_back() {
        let share = Places::new(1).share();
        let failing = share.clone();
        assert!(tokio::spawn(async move { failing.run(|| panic!("as planned")).await }).await.is_err());
        until(|| share.free() == (1, 1)).await;
    }

    #[tokio::test]
    async fn versions_of_a_plugin_have_one_share() {
        let places = Places::new(4);
        let (gate, old) = (OpenOnDrop(Arc::default()), places.share_of("p"));
        let busy = {
            let (old, gate) = (old.clone(), Arc::clone(&gate.0));
            tokio::spawn(async move { old.run(move || gate.pass()).await })
        };
        gate.0.until_waiting(1).await;
        let new = places.share_of("p");
        assert_eq!((new.free(), places.share_of("q").free()), ((2, 3), (3, 3)));
        drop((old, new));
        assert_eq!(places.share_of("p").free(), (2, 3), "a thread of the old one is there still");
        gate.0.open();
        soon(busy).await.unwrap();
        until(|| places.share_of("p").free() == (3, 4)).await;
        assert_eq!(places.shares.lock().unwrap().len(), 1, "what nobody has is forgotten");
    }

    #[test]
    fn a_share_is_three_quarters_and_never_nothing() {
        for (whole, share) in [(1, 1), (2, 2), (4, 3), (16, 12), (64, 48)] {
            assert_eq!(Places::new(whole).share().free(), (share, whole));
        }
    }
}
