//! How much of the host's log one plugin may fill.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tapline_tap_dispatch::TapName;

use crate::{plugin::Plugin, state::CallState};

/// Lines of one plugin in one second that become events, of all its calls together: of what it logs, and of what it writes to its
/// output; and as many of what the host says about its calls. Nothing that a plugin does or is asked fills the log.
pub const MAX_LOG_LINES_PER_SECOND: u32 = 1000;

/// The lines of a plugin in the second that has begun.
#[derive(Debug, Default)]
pub(crate) struct LogRate(Mutex<Second>);

#[derive(Debug, Default)]
struct Second {
    began: Option<Instant>,
    lines: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    Kept,
    /// The first one too many in its second.
    FirstDropped,
    Dropped,
}

impl LogRate {
    fn admit(&self, now: Instant) -> Admission {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if second.began.is_none_or(|began| now.saturating_duration_since(began) >= Duration::from_secs(1)) {
            *second = Second { began: Some(now), lines: 0 };
        }
        second.lines = second.lines.saturating_add(1);
        match second.lines {
            0..=MAX_LOG_LINES_PER_SECOND => Admission::Kept,
            lines if lines == MAX_LOG_LINES_PER_SECOND + 1 => Admission::FirstDropped,
            _ => Admission::Dropped,
        }
    }
}

impl Plugin {
    /// Whether a line of a call of `tap` may become an event. One that may not is counted, and said once in a second.
    pub(crate) fn admits_log_line(&self, tap: &TapName) -> bool {
        let admission = self.admit(&self.log_rate);
        if admission == Admission::FirstDropped {
            let (plugin, limit) = (self.name(), MAX_LOG_LINES_PER_SECOND);
            tracing::warn!(target: "tapline::guest", %plugin, %tap, limit, "too many lines in one second, its rest is dropped");
        }
        admission == Admission::Kept
    }

    /// Whether the host may say something about a call of `tap`. Counted apart from what the plugin says: a plugin that
    /// talks a lot must not hide how its calls end.
    pub(crate) fn admits_report(&self, tap: &TapName) -> bool {
        let admission = self.admit(&self.report_rate);
        if admission == Admission::FirstDropped {
            let (plugin, limit) = (self.name(), MAX_LOG_LINES_PER_SECOND);
            tracing::warn!(%plugin, %tap, limit, "too much to say about its calls in one second, the rest is dropped");
        }
        admission == Admission::Kept
    }

    fn admit(&self, rate: &LogRate) -> Admission {
        let admission = rate.admit(Instant::now());
        if admission != Admission::Kept {
            self.metrics().log_lines_dropped(1);
        }
        admission
    }
}

impl CallState {
    /// Whether a line that the guest writes may become an event: a plugin has [`MAX_LOG_LINES_PER_SECOND`]. The host counts those that
    /// may not, and says that there are some. For a capability that logs what a guest says; to be asked once for each line.
    #[must_use]
    pub fn admits_log_line(&self) -> bool {
        self.handler.plugin.admits_log_line(self.tap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_begins_anew() {
        let (rate, start) = (LogRate::default(), Instant::now());
        for round in 0..3 {
            let now = start + Duration::from_millis(1000 * round);
            for line in 0..MAX_LOG_LINES_PER_SECOND {
                let within = now + Duration::from_micros(u64::from(line) % 999);
                assert_eq!(rate.admit(within), Admission::Kept, "{round} {line}");
            }
            assert_eq!(rate.admit(now + Duration::from_millis(500)), Admission::FirstDropped);
            assert_eq!(rate.admit(now + Duration::from_millis(999)), Admission::Dropped);
        }
        // A clock that another thread read earlier is no new second.
        assert_eq!(rate.admit(start), Admission::Dropped);
    }
}
