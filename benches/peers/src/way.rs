//! A way in which a peer does the work, and the clocks around it.

use std::{sync::Arc, time::Instant};

use anyhow::Result;
use tapline_benches::{measure::nanoseconds, peers::About};
use tapline_content::Item;

use crate::Case;

/// One way.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) about: About,
    call: Box<dyn Fn(&Case) -> Result<Done>>,
}

/// One call: what came out, and how long it took in nanoseconds.
pub(crate) struct Done {
    pub(crate) answer: Arc<Item>,
    pub(crate) whole: f64,
    pub(crate) sandbox: f64,
}

impl Way {
    /// `fresh`: whether a call finds nothing that an earlier call has left.
    pub(crate) fn new(
        name: &'static str,
        system: &str,
        fresh: bool,
        how: &str,
        call: impl Fn(&Case) -> Result<Done> + 'static,
    ) -> Self {
        Self { name, about: About::new(name, system, fresh, how), call: Box::new(call) }
    }

    /// One call whose answer is that of the native function: all of it, and making and dropping the sandbox.
    pub(crate) fn call(&self, case: &Case) -> Result<[f64; 2]> {
        let done = (self.call)(case)?;
        case.check(&done.answer)?;
        Ok([done.whole, done.sandbox])
    }
}

/// From the item that the host has to the item that it gets back.
pub(crate) struct Clock {
    start: Instant,
    sandbox: f64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), sandbox: 0.0 }
    }

    /// What making or dropping the sandbox takes.
    pub(crate) fn sandbox<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.sandbox += nanoseconds(start);
        result
    }

    pub(crate) fn stop(self, answer: Item) -> Done {
        Done { whole: nanoseconds(self.start), sandbox: self.sandbox, answer: Arc::new(answer) }
    }
}
