//! The circuit breaker of one handler.
//!
//! A handler that fails many times in a row is not called for a while: every call would cost its deadline, a slot of the
//! pool and the caller's patience. After the while one call is let through, the *probe*. When it succeeds, all are
//! let through again; when it fails, the next while is twice as long.
//!
//! Time is a [`Duration`] since whatever moment the caller chooses. A breaker reads no clock and waits for nothing.

mod machine;

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use machine::Machine;

/// Failures in a row that open a breaker. One or two happen to good plugins, when an item is odd or the machine is busy.
pub const DEFAULT_BREAKER_FAILURES: u32 = 5;
/// How long a breaker stays open the first time: short, so that a bad moment costs a visitor one page.
pub const DEFAULT_FIRST_OPEN: Duration = Duration::from_secs(1);
/// The longest that a breaker stays open: what was mended elsewhere, such as a database, is in use a minute later.
pub const DEFAULT_MAX_OPEN: Duration = Duration::from_secs(60);

/// When a breaker opens, and for how long. Plain data: start from `default()` and change what differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Whether there is one. Without it every call is let through. Defaults to yes.
    pub enabled: bool,
    /// Failures in a row that open it, at least 1. Defaults to [`DEFAULT_BREAKER_FAILURES`].
    pub failures: u32,
    /// How long it stays open the first time; twice as long after each probe that fails. More than nothing. Defaults to
    /// [`DEFAULT_FIRST_OPEN`].
    pub first_open: Duration,
    /// The longest that it stays open, at least `first_open`. Defaults to [`DEFAULT_MAX_OPEN`].
    pub max_open: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            failures: DEFAULT_BREAKER_FAILURES,
            first_open: DEFAULT_FIRST_OPEN,
            max_open: DEFAULT_MAX_OPEN,
        }
    }
}

impl BreakerSettings {
    /// No breaker: every call is let through.
    pub const OFF: Self = Self {
        enabled: false,
        failures: DEFAULT_BREAKER_FAILURES,
        first_open: DEFAULT_FIRST_OPEN,
        max_open: DEFAULT_MAX_OPEN,
    };

    /// Refuses what cannot work.
    ///
    /// # Errors
    ///
    /// [`BreakerError`] names the setting. The fault is the operator's.
    pub fn check(&self) -> Result<(), BreakerError> {
        if self.failures == 0 {
            return Err(BreakerError { setting: "failures", message: "a breaker opens after 1 failure or more" });
        }
        if self.first_open.is_zero() {
            return Err(BreakerError {
                setting: "first_open_ms",
                message: "a breaker that opens stays open for a while",
            });
        }
        if self.max_open < self.first_open {
            return Err(BreakerError { setting: "max_open_ms", message: "it is less than `first_open_ms`" });
        }
        Ok(())
    }
}

/// Settings of a breaker that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}`: {message}")]
pub struct BreakerError {
    /// Which, as it is called in a configuration file.
    pub setting: &'static str,
    /// Why.
    pub message: &'static str,
}

/// What a configuration file says about a breaker. What it leaves out is as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct PartialBreaker {
    /// Replaces [`BreakerSettings::enabled`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Replaces [`BreakerSettings::failures`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// Replaces [`BreakerSettings::first_open`], in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_open_ms: Option<u64>,
    /// Replaces [`BreakerSettings::max_open`], in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_open_ms: Option<u64>,
}

impl PartialBreaker {
    /// `base` with what is given here in its place.
    ///
    /// # Errors
    ///
    /// The result cannot work: see [`BreakerSettings::check`].
    pub fn apply_to(&self, base: BreakerSettings) -> Result<BreakerSettings, BreakerError> {
        let settings = BreakerSettings {
            enabled: self.enabled.unwrap_or(base.enabled),
            failures: self.failures.unwrap_or(base.failures),
            first_open: self.first_open_ms.map_or(base.first_open, Duration::from_millis),
            max_open: self.max_open_ms.map_or(base.max_open, Duration::from_millis),
        };
        settings.check()?;
        Ok(settings)
    }
}

/// What a breaker does with the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Lets it through.
    Closed,
    /// Lets one through, to see how it ends; refuses all others meanwhile.
    HalfOpen,
    /// Refuses it.
    Open,
}

impl BreakerState {
    /// The name in documents: `closed`, `half-open` or `open`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

/// What a breaker is like at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerView {
    /// What it does with the next call.
    pub state: BreakerState,
    /// Failures in a row, as far as they were counted: at most [`BreakerSettings::failures`].
    pub failures: u32,
    /// How often it opened, after a probe that failed as well.
    pub openings: u64,
    /// How long it opened for, the last time. Zero when it is closed.
    pub open_for: Duration,
    /// How long until it lets a probe through. Zero when it is not open.
    pub retry_in: Duration,
}

/// What the end of a call did to a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerChange {
    /// It opened, for this long.
    Opened(Duration),
    /// It closed: the probe succeeded.
    Closed,
}

/// Leave for one call. When the call has ended, the breaker is told how, with the pass of that call: a call that began
/// before the breaker last changed has no say any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass(u64);

/// The breaker of one handler. May be asked and told from many threads.
///
/// While it is closed and the last call succeeded, a call costs it two reads of one atomic number. Everything else takes
/// a lock for a few instructions.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    /// The pass that is given without asking the machine, or `LOCKED`. Only a hint: who reads it late is let through, or
    /// leaves a failure counted, a few nanoseconds longer.
    quiet: AtomicU64,
    machine: Mutex<Machine>,
}

/// No pass has this number.
const LOCKED: u64 = u64::MAX;

impl Breaker {
    /// A breaker that is closed.
    #[must_use]
    pub fn new(settings: BreakerSettings) -> Self {
        let machine = Machine::new(settings);
        let quiet = AtomicU64::new(machine.quiet().map_or(LOCKED, |pass| pass.0));
        Self { settings, quiet, machine: Mutex::new(machine) }
    }

    /// Asks for a pass for one call. `now` is read only when it matters.
    ///
    /// Whoever gets a pass has to tell how the call ended, whatever way it did: with [`Breaker::succeeded`],
    /// [`Breaker::failed`] or [`Breaker::abandoned`]. A probe of which nothing is heard leaves the breaker half-open, and
    /// everybody else out.
    ///
    /// # Errors
    ///
    /// The call must not be made. How long it is until a probe is let through; zero while one is under way.
    pub fn admit(&self, now: impl FnOnce() -> Duration) -> Result<Pass, Duration> {
        match self.quiet.load(Relaxed) {
            LOCKED => self.change(|machine| machine.admit(now())),
            quiet => Ok(Pass(quiet)),
        }
    }

    /// The call ended well: the plugin works, whatever it answered.
    pub fn succeeded(&self, pass: Pass) -> Option<BreakerChange> {
        if self.quiet.load(Relaxed) == pass.0 {
            return None;
        }
        self.change(|machine| machine.succeeded(pass))
    }

    /// The call failed, and the plugin is to blame.
    pub fn failed(&self, pass: Pass, now: Duration) -> Option<BreakerChange> {
        if !self.settings.enabled {
            return None;
        }
        self.change(|machine| machine.failed(pass, now))
    }

    /// The call ended in a way that says nothing about the plugin: the caller went away, or the host failed.
    pub fn abandoned(&self, pass: Pass) {
        if self.quiet.load(Relaxed) != pass.0 {
            self.change(|machine| machine.abandoned(pass));
        }
    }

    /// What it is like now.
    #[must_use]
    pub fn view(&self, now: Duration) -> BreakerView {
        self.lock().view(now)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = self.lock();
        let result = change(&mut machine);
        self.quiet.store(machine.quiet().map_or(LOCKED, |pass| pass.0), Relaxed);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_named() {
        let refused = |file: &str| {
            let partial: PartialBreaker = serde_json::from_str(file).unwrap();
            partial.apply_to(BreakerSettings::default()).unwrap_err().setting
        };
        assert_eq!(refused(r#"{"failures":0}"#), "failures");
        assert_eq!(refused(r#"{"first_open_ms":0}"#), "first_open_ms");
        assert_eq!(refused(r#"{"first_open_ms":60001}"#), "max_open_ms");
        assert!(serde_json::from_str::<PartialBreaker>(r#"{"failure":1}"#).is_err(), "unknown keys are refused");
    }

    #[test]
    fn what_is_given_replaces_what_was() {
        let base = BreakerSettings::default();
        assert_eq!(PartialBreaker::default().apply_to(base), Ok(base));
        let all =
            PartialBreaker { enabled: Some(false), failures: Some(2), first_open_ms: Some(10), max_open_ms: Some(20) };
        let ms = Duration::from_millis;
        let expected = BreakerSettings { enabled: false, failures: 2, first_open: ms(10), max_open: ms(20) };
        assert_eq!(all.apply_to(base), Ok(expected));
    }

    #[test]
    fn a_closed_breaker_reads_no_clock() {
        let breaker = Breaker::new(BreakerSettings::default());
        let pass = breaker.admit(|| unreachable!("nobody asked for the time")).unwrap();
        assert_eq!(breaker.succeeded(pass), None);
    }

    #[test]
    fn one_that_is_off_never_opens() {
        let breaker = Breaker::new(BreakerSettings::OFF);
        for _ in 0..100 {
            let pass = breaker.admit(|| Duration::ZERO).unwrap();
            assert_eq!(breaker.failed(pass, Duration::ZERO), None);
        }
    }
}
