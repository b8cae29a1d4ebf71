//! What stands in for the host in a native build. `tapline-sdk-testing` is the way to use it.
//!
//! One double per thread, because tests run side by side.

/// The double of the log.
pub mod log {
    use std::cell::RefCell;

    use crate::log::Level;

    type Sink = Box<dyn Fn(Level, &str)>;

    thread_local! {
        static SINK: RefCell<Option<Sink>> = const { RefCell::new(None) };
    }

    /// Sends the lines of this thread to `sink` while `body` runs, also when it panics.
    pub fn with<R>(sink: impl Fn(Level, &str) + 'static, body: impl FnOnce() -> R) -> R {
        super::with(&SINK, Box::new(sink), body)
    }

    pub(crate) fn write(level: Level, message: &str) {
        SINK.with_borrow(|sink| {
            if let Some(sink) = sink {
                sink(level, message);
            }
        });
    }

    pub(crate) fn enabled(_: Level) -> bool {
        SINK.with_borrow(Option::is_some)
    }
}

/// The double of the database.
pub mod database {
    use std::cell::RefCell;

    use crate::database::{QueryError, Rows, Value};

    type Source = Box<dyn Fn(&str, &[Value]) -> Result<Rows, QueryError>>;

    thread_local! {
        static SOURCE: RefCell<Option<Source>> = const { RefCell::new(None) };
    }

    /// Lets `source` answer the queries of this thread while `body` runs, also when it panics.
    pub fn with<R>(
        source: impl Fn(&str, &[Value]) -> Result<Rows, QueryError> + 'static,
        body: impl FnOnce() -> R,
    ) -> R {
        super::with(&SOURCE, Box::new(source), body)
    }

    pub(crate) fn query(sql: &str, parameters: &[Value]) -> Result<Rows, QueryError> {
        SOURCE.with_borrow(|source| match source {
            Some(source) => source(sql, parameters),
            None => {
                Err(QueryError::Unavailable("no database in this test: use tapline_sdk_testing::Database".to_owned()))
            }
        })
    }
}

use std::{cell::RefCell, thread::LocalKey};

type Slot<T> = LocalKey<RefCell<Option<T>>>;

fn with<T: 'static, R>(slot: &'static Slot<T>, value: T, body: impl FnOnce() -> R) -> R {
    struct Restore<T: 'static>(&'static Slot<T>, Option<T>);

    impl<T> Drop for Restore<T> {
        fn drop(&mut self) {
            let previous = self.1.take();
            self.0.set(previous);
        }
    }

    let _restore = Restore(slot, slot.replace(Some(value)));
    body()
}
