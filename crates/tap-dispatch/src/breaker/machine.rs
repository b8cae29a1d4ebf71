//! The states of a breaker and what leads from one to the next.

use std::time::Duration;

use super::{BreakerChange, BreakerSettings, BreakerState, BreakerView, Pass};

#[derive(Debug)]
pub(super) struct Machine {
    settings: BreakerSettings,
    state: State,
    /// Counts the changes of state. A pass is good for the era in which it was given; the one that a probe has is the
    /// only one of its era.
    era: u64,
    /// How long the next opening lasts.
    next_open: Duration,
    /// How long the one lasts that has not been made good.
    open_for: Duration,
    openings: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// With so many failures in a row.
    Closed { failures: u32 },
    /// Until then; after it, until somebody asks for a pass.
    Open { until: Duration },
    /// One call is under way. `until` has passed.
    Probing { until: Duration },
}

impl Machine {
    pub(super) fn new(settings: BreakerSettings) -> Self {
        let next_open = settings.first_open;
        let (state, open_for) = (State::Closed { failures: 0 }, Duration::ZERO);
        Self { settings, state, era: 0, next_open, open_for, openings: 0 }
    }

    /// The pass that everybody gets, where neither it nor a success would change anything.
    pub(super) fn quiet(&self) -> Option<Pass> {
        matches!(self.state, State::Closed { failures: 0 }).then_some(Pass(self.era))
    }

    pub(super) fn admit(&mut self, now: Duration) -> Result<Pass, Duration> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until } if until <= now => self.go(State::Probing { until }),
            State::Open { until } => return Err(until - now),
            State::Probing { .. } => return Err(Duration::ZERO),
        }
        Ok(Pass(self.era))
    }

    pub(super) fn succeeded(&mut self, pass: Pass) -> Option<BreakerChange> {
        if pass.0 != self.era {
            return None;
        }
        match &mut self.state {
            State::Closed { failures } => {
                *failures = 0;
                None
            }
            State::Probing { .. } => {
                self.next_open = self.settings.first_open;
                self.open_for = Duration::ZERO;
                self.go(State::Closed { failures: 0 });
                Some(BreakerChange::Closed)
            }
            State::Open { .. } => None,
        }
    }

    pub(super) fn failed(&mut self, pass: Pass, now: Duration) -> Option<BreakerChange> {
        if pass.0 != self.era {
            return None;
        }
        match &mut self.state {
            State::Closed { failures } => {
                *failures += 1;
                (*failures >= self.settings.failures).then(|| self.open(now))
            }
            State::Probing { .. } => Some(self.open(now)),
            State::Open { .. } => None,
        }
    }

    pub(super) fn abandoned(&mut self, pass: Pass) {
        if let State::Probing { until } = self.state
            && pass.0 == self.era
        {
            // It was open until then, and that has passed: the next call is the probe.
            self.go(State::Open { until });
        }
    }

    pub(super) fn view(&self, now: Duration) -> BreakerView {
        let (state, failures, retry_in) = match self.state {
            State::Closed { failures } => (BreakerState::Closed, failures, Duration::ZERO),
            State::Open { until } if now < until => (BreakerState::Open, self.settings.failures, until - now),
            State::Open { .. } | State::Probing { .. } => {
                (BreakerState::HalfOpen, self.settings.failures, Duration::ZERO)
            }
        };
        BreakerView { state, failures, openings: self.openings, open_for: self.open_for, retry_in }
    }

    fn open(&mut self, now: Duration) -> BreakerChange {
        self.open_for = self.next_open;
        self.next_open = self.open_for.saturating_mul(2).min(self.settings.max_open);
        self.openings += 1;
        self.go(State::Open { until: now.saturating_add(self.open_for) });
        BreakerChange::Opened(self.open_for)
    }

    fn go(&mut self, state: State) {
        self.state = state;
        self.era += 1;
    }
}
