//! Calls within calls: a host function may dispatch a tap, and so call the very plugin that called it.

use tokio::time::Instant;

/// How many calls may be around a call. Enough for an item within an item within a list within a page; one chain of
/// calls then holds at most five slots of the pool. One more gets [`Fault::TooDeep`](crate::Fault::TooDeep).
pub const MAX_NESTED_CALLS: usize = 4;

tokio::task_local! {
    static ENCLOSING: Enclosing;
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
    pub(crate) fn current() -> Option<Self> {
        ENCLOSING.try_get().ok()
    }

    /// Whether no call may be made within this one.
    pub(crate) fn is_deepest(self) -> bool {
        self.depth > MAX_NESTED_CALLS
    }

    /// Runs a call that is to end at `deadline`, within `outer` if there is one.
    pub(crate) async fn run<F: Future>(outer: Option<Self>, deadline: Instant, call: F) -> F::Output {
        let depth = outer.map_or(0, |outer| outer.depth) + 1;
        ENCLOSING.scope(Self { depth, deadline }, call).await
    }
}
