//! Calls within calls: a host function may dispatch a tap, and so call the very plugin that called it.

use std::{cell::Cell, future::poll_fn, pin::pin};

use tokio::time::Instant;

/// How many calls may be around a call. Enough for an item within an item within a list within a page; one chain of
/// calls then holds at most five slots of the pool. One more gets [`Fault::TooDeep`](crate::Fault::TooDeep).
pub const MAX_NESTED_CALLS: usize = 4;

thread_local! {
    /// What is being polled on this thread: set for as long as one poll of a call takes.
    static ENCLOSING: Cell<Option<Enclosing>> = const { Cell::new(None) };
}

/// The call that the current task is in the middle of. A host function that hands a dispatch to another task is no longer
/// in it, and has to see to its end by itself.
#[derive(Clone, Copy)]
pub(crate) struct Enclosing {
    /// How many calls there are: this one and those around it.
    depth: usize,
    pub(crate) deadline: Instant,
}

impl Enclosing {
    /// A call that is to end at `deadline`, within `outer` if there is one.
    pub(crate) fn new(outer: Option<Self>, deadline: Instant) -> Self {
        Self { depth: outer.map_or(0, |outer| outer.depth) + 1, deadline }
    }

    pub(crate) fn current() -> Option<Self> {
        ENCLOSING.get()
    }

    /// Whether no call may be made within this one.
    pub(crate) fn is_deepest(self) -> bool {
        self.depth > MAX_NESTED_CALLS
    }

    /// Polls the call, so that what it dispatches finds it around itself.
    pub(crate) fn around<R>(self, poll: impl FnOnce() -> R) -> R {
        struct Restore(Option<Enclosing>);
        impl Drop for Restore {
            fn drop(&mut self) {
                ENCLOSING.set(self.0);
            }
        }
        let _restore = Restore(ENCLOSING.replace(Some(self)));
        poll()
    }

    /// Runs the call, each poll of it [around](Self::around) what it dispatches.
    pub(crate) async fn run<F: Future>(self, call: F) -> F::Output {
        let mut call = pin!(call);
        poll_fn(|context| self.around(|| call.as_mut().poll(context))).await
    }
}
