//! Work on much text, away from the threads that answer others.

use std::{num::NonZero, sync::Arc, thread};

use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::error::PageError;

/// More than so many bytes of text would hold up the other tasks of the thread. To parse, clean and write them takes about a hundred
/// times as long as to read them from the store (`load` and `render` in `Server-Timing`), so the line is drawn lower than there.
const AT_ONCE: usize = 16 << 10;

/// Does such work: at most one piece for each processor at a time. More would end no sooner, and what a document of megabytes is
/// parsed into takes many times its memory. Those that wait are as many as there are requests.
#[derive(Clone, Debug)]
pub(crate) struct Heavy(Arc<Semaphore>);

impl Default for Heavy {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(thread::available_parallelism().map_or(1, NonZero::get))))
    }
}

impl Heavy {
    /// Does what takes longer the more `bytes` there are.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PageError> {
        if bytes <= AT_ONCE {
            return Ok(work());
        }
        let turn = Arc::clone(&self.0).acquire_owned().await;
        let work = move || {
            // The work runs to its end also when nobody waits for it any more, and has its turn for as long.
            let _turn = turn;
            work()
        };
        spawn_blocking(work).await.map_err(PageError::Thread)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Barrier, atomic::AtomicUsize, atomic::Ordering::SeqCst},
        thread::ThreadId,
    };

    use super::*;

    async fn thread_of(bytes: usize) -> ThreadId {
        Heavy::default().run(bytes, || thread::current().id()).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_small_is_done_here_and_what_is_large_elsewhere() {
        let here = thread::current().id();
        assert_eq!(thread_of(0).await, here);
        assert_eq!(thread_of(AT_ONCE).await, here);
        assert_ne!(thread_of(AT_ONCE + 1).await, here);
    }

    #[tokio::test]
    async fn a_panic_costs_one_page() {
        let failed = Heavy::default().run(AT_ONCE + 1, || panic!("a defect")).await;
        assert!(matches!(failed, Err::<(), _>(PageError::Thread(_))));
    }

    #[tokio::test]
    async fn only_so_many_at_a_time() {
        let heavy = Heavy(Arc::new(Semaphore::new(2)));
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        // Two meet each time: fewer at a time would wait for ever.
        let meeting = Arc::new(Barrier::new(2));
        let works = (0..8).map(|_| {
            let (running, most, meeting) = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&meeting));
            heavy.run(AT_ONCE + 1, move || {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                meeting.wait();
                running.fetch_sub(1, SeqCst);
            })
        });
        futures_util::future::join_all(works).await.into_iter().for_each(Result::unwrap);
        assert_eq!(most.load(SeqCst), 2);
    }
}
