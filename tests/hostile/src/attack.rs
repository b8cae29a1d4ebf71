//! One row of a table of attacks.

use std::time::Duration;

use tapline_host_core::{Fault, Host, LoadError, PluginSpec, limits::PartialLimits};

use crate::{
    ground::{name, time},
    guest::Guest,
    tap::{Strike, Struck},
};

/// The name of the plugin that attacks.
pub const BAD: &str = "bad";

/// The time that an attack gets which would never end.
pub const ATTACK_TIME: Duration = Duration::from_millis(50);

/// What has to become of an attack. The text is the pattern, for the message of a test that fails.
#[derive(Clone, Copy)]
pub enum Ends {
    /// The plugin is not loaded; see [`refused`](crate::refused). The first text is why, as the metrics spell it.
    Refused(&'static str, &'static str, fn(&LoadError) -> bool),
    /// The call fails; see [`fault`](crate::fault).
    Fault(&'static str, fn(&Fault) -> bool),
    /// The call answers: the host has cut off what was too much, or the guest lives with a refusal.
    Answer(&'static str),
}

/// `Ends::Fault` with a pattern.
#[macro_export]
macro_rules! fault {
    ($($pattern:tt)*) => { $crate::Ends::Fault(stringify!($($pattern)*), |fault| matches!(fault, $($pattern)*)) };
}

/// `Ends::Refused` with the reason that is counted and a pattern.
#[macro_export]
macro_rules! refused {
    ($reason:literal, $($pattern:tt)*) => {
        $crate::Ends::Refused($reason, stringify!($($pattern)*), |error| matches!(error, $($pattern)*))
    };
}

/// What a guest tries, and what has to become of it.
pub struct Attack {
    pub(crate) what: &'static str,
    pub(crate) tap: &'static str,
    pub(crate) ends: Ends,
    pub(crate) lasts: bool,
    pub(crate) moves: Vec<&'static str>,
    pub(crate) may_move: Vec<&'static str>,
    spec: PluginSpec,
    strike: Strike,
}

impl Attack {
    /// An attack by a guest in the text format.
    #[must_use]
    pub fn new(what: &'static str, guest: &Guest, ends: Ends) -> Self {
        Self::with(what, guest.bytes(), guest.tap(), guest.strike(), ends)
    }

    /// An attack that never ends by itself: its deadline has to, and it must not hold up others until then.
    #[must_use]
    pub fn endless(what: &'static str, guest: &Guest) -> Self {
        Self::new(what, guest, fault!(Fault::TimedOut { limit } if *limit == ATTACK_TIME)).lasting()
    }

    /// An attack by any component through any tap.
    #[must_use]
    pub fn with(what: &'static str, bytes: Vec<u8>, tap: &'static str, strike: Strike, ends: Ends) -> Self {
        let spec = PluginSpec::bytes(name(BAD), bytes);
        Self { what, tap, ends, lasts: false, moves: Vec::new(), may_move: Vec::new(), spec, strike }
    }

    /// The attack goes on until its deadline; see [`Attack::endless`].
    #[must_use]
    pub fn lasting(mut self) -> Self {
        self.lasts = true;
        self
    }

    /// The plugin's own limits.
    #[must_use]
    pub fn limits(mut self, limits: PartialLimits) -> Self {
        self.spec.limits = limits;
        self
    }

    /// What the operator grants it.
    #[must_use]
    pub fn grant(mut self, capability: &str, value: &str) -> Self {
        self.spec = self.spec.grant(capability, value);
        self
    }

    /// A counter that the attack moves, beside the one of its outcome.
    #[must_use]
    pub fn moves(mut self, counter: &'static str) -> Self {
        self.moves.push(counter);
        self
    }

    /// A counter that the attack moves if it gets that far: one that its deadline ends may be late at the start.
    #[must_use]
    pub fn may_move(mut self, counter: &'static str) -> Self {
        self.may_move.push(counter);
        self
    }

    /// The plugin, with all the time that the host gives.
    pub(crate) fn patient_spec(&self) -> PluginSpec {
        self.spec.clone()
    }

    pub(crate) fn spec(&self) -> PluginSpec {
        let mut spec = self.spec.clone();
        if self.lasts {
            spec.limits =
                PartialLimits { max_execution_time_ms: time(ATTACK_TIME).max_execution_time_ms, ..spec.limits };
        }
        spec
    }

    pub(crate) async fn strike(&self, host: &Host) -> Struck {
        (self.strike)(host).await
    }
}
