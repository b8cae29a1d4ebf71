//! The circuit breaker of a handler: which ends of a call count, on which clock, and who hears of it.

use std::time::Duration;

use tapline_tap_dispatch::{
    Breaker, BreakerChange, BreakerSettings, BreakerState, BreakerView, Pass, PluginName, TapName,
};
use tokio::time::Instant;

use crate::{
    call::Handler,
    error::{Fault, Party},
};

/// The breaker of one handler, with its clock. A plugin that is loaded again has handlers of its own, with closed ones.
pub(crate) struct HandlerBreaker {
    breaker: Breaker,
    since: Instant,
}

/// What the circuit breaker of one handler is like.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BreakerStatus {
    /// The plugin.
    pub plugin: PluginName,
    /// The tap.
    pub tap: TapName,
    /// What it does with the next call.
    pub state: BreakerState,
    /// Failures in a row, as far as they were counted.
    pub failures: u32,
    /// How often it opened since the plugin was loaded.
    pub openings: u64,
    /// How long it opened for, the last time; twice as long after each probe that fails. Zero when it is closed.
    pub open_for: Duration,
    /// How long until one call is let through. Zero when it is not open.
    pub retry_in: Duration,
}

impl HandlerBreaker {
    pub(crate) fn new(settings: BreakerSettings) -> Self {
        Self { breaker: Breaker::new(settings), since: Instant::now() }
    }

    /// Leave for one call; the error is that the breaker is open.
    pub(crate) fn admit(&self) -> Result<Pass, Fault> {
        self.breaker.admit(|| self.since.elapsed()).map_err(|retry_in| Fault::BreakerOpen { retry_in })
    }

    /// A call of the handler that has this breaker ended. `fault`: how, unless it answered.
    pub(crate) fn ended(&self, pass: Pass, fault: Option<&Fault>, handler: &Handler) {
        let change = match fault.map(counts) {
            None | Some(Counts::AsSuccess) => self.breaker.succeeded(pass),
            Some(Counts::AsFailure) => self.breaker.failed(pass, self.since.elapsed()),
            Some(Counts::Not) => {
                self.breaker.abandoned(pass);
                None
            }
        };
        let (plugin, tap) = (handler.plugin.name(), &handler.tap);
        match change {
            Some(BreakerChange::Opened(retry_in)) => {
                handler.metrics.breaker_opened();
                tracing::warn!(%plugin, %tap, ?retry_in, "the plugin fails again and again: its circuit breaker opens");
            }
            Some(BreakerChange::Closed) => {
                tracing::info!(%plugin, %tap, "the plugin works again: its circuit breaker closes");
            }
            None => {}
        }
    }

    /// The caller went away.
    pub(crate) fn abandoned(&self, pass: Pass) {
        self.breaker.abandoned(pass);
    }

    pub(crate) fn status(&self, handler: &Handler) -> BreakerStatus {
        let BreakerView { state, failures, openings, open_for, retry_in, .. } = self.breaker.view(self.since.elapsed());
        let (plugin, tap) = (handler.plugin.name().clone(), handler.tap.clone());
        BreakerStatus { plugin, tap, state, failures, openings, open_for, retry_in }
    }
}

impl BreakerStatus {
    /// The value of the gauge `tapline_breaker_state`.
    pub(crate) fn gauge(&self) -> u64 {
        match self.state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        }
    }
}

enum Counts {
    AsSuccess,
    AsFailure,
    Not,
}

/// Whether the end of a call speaks for or against the plugin.
fn counts(fault: &Fault) -> Counts {
    match fault {
        // It was asked and has answered, if not with what was hoped for.
        Fault::Returned { .. } => Counts::AsSuccess,
        fault if fault.party() == Party::Guest => Counts::AsFailure,
        _ => Counts::Not,
    }
}
