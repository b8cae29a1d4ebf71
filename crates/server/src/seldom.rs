//! Warnings about what strangers can cause as often as they like.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The least time between two of them.
const EVERY: Duration = Duration::from_secs(60);

/// Says when a warning is due, so that nobody fills a log with it.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    said: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// It happened once more. How many times since it was last said, if it is to be said now.
    pub(crate) fn happened(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.untold += 1;
        if state.said.is_some_and(|said| now.saturating_duration_since(said) < EVERY) {
            return None;
        }
        state.said = Some(now);
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_minute_with_what_was_left_out() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let after = |seconds: u64| seldom.happened(start + Duration::from_secs(seconds));
        assert_eq!([0, 1, 59, 60, 61, 120].map(after), [Some(1), None, None, Some(3), None, Some(2)]);
        // A clock that stands still, or that was suspended, only delays it.
        assert_eq!(after(0), None);
    }
}
