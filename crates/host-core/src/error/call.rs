//! Why a handler does not answer.

use std::{error::Error as _, fmt, sync::Arc, time::Duration};

use tapline_tap_dispatch::{PluginName, TapName};

use super::{LoadError, Party};

/// One handler did not answer: which, and why.
///
/// Cheap to clone: a dispatch hands the same error to the metrics, the log and its caller.
#[derive(Clone, Debug, thiserror::Error)]
#[error("plugin `{plugin}`, tap `{tap}`: {fault}")]
pub struct CallError {
    /// The plugin.
    pub plugin: PluginName,
    /// The tap.
    pub tap: TapName,
    /// What happened.
    pub fault: Fault,
}

/// What ended a call. The variants say who is at fault; see [`Fault::party`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The tap returned an error.
    Returned {
        /// The author's words, at most 4096 bytes.
        message: String,
    },
    /// The tap panicked.
    Panicked(GuestPanic),
    /// The guest did what WebAssembly forbids.
    Trapped {
        /// Which trap.
        trap: wasmtime::Trap,
        /// Where, as far as names are known.
        backtrace: String,
    },
    /// The call did not end before its deadline. The deadline covers guest code, host functions and SQL.
    TimedOut {
        /// The time that it had.
        limit: Duration,
    },
    /// The call used up its fuel.
    OutOfFuel {
        /// The fuel that it had.
        limit: u64,
    },
    /// The guest failed after its memory, a table or another counted thing could not grow.
    OutOfMemory(tapline_limits::Refusal),
    /// The guest's stack ran out.
    StackOverflow {
        /// The stack that it had, in bytes.
        limit: u64,
    },
    /// The answer, or an argument of a host call, breaks the contract.
    BadAnswer {
        /// How.
        reason: String,
    },
    /// A host function failed for a reason that is not the guest's.
    HostFunction {
        /// The capability.
        capability: &'static str,
        /// Why.
        message: String,
    },
    /// The host itself panicked during the call, in a host function or in the check of the answer.
    HostPanicked {
        /// The panic's message.
        message: String,
    },
    /// No instance became free in time, or too many calls were waiting.
    Overloaded {
        /// How long the call waited.
        waited: Duration,
        /// The plugin's share of the pool was full, and the pool was not: so many of its calls may run at once. `None`: the
        /// whole pool was full.
        share: Option<usize>,
    },
    /// The plugin's code is not in memory yet: another call has begun to bring it, and that took longer than this one could
    /// wait, or too many calls were waiting. The next one may find it there.
    NoCodeYet {
        /// How long the call waited.
        waited: Duration,
    },
    /// The plugin was not called: it failed so often in a row that its circuit breaker is open.
    BreakerOpen {
        /// How long until one call is let through, to see whether the plugin works again. Zero: one is under way.
        retry_in: Duration,
    },
    /// The call is within a call within a call, and so on: a host function dispatched the tap. It was not made.
    TooDeep {
        /// How many calls may be around a call.
        limit: usize,
    },
    /// The host is shutting down.
    ShuttingDown,
    /// The plugin's code is not in memory, and could not be brought: it does not compile, for example, or does not start.
    NotLoaded {
        /// Why. Its party is who has to act.
        reason: Arc<LoadError>,
    },
    /// The engine failed in a way that none of the others describes.
    Engine {
        /// What it says.
        message: String,
    },
}

impl Fault {
    /// Who has to act.
    #[must_use]
    pub fn party(&self) -> Party {
        match self {
            Self::HostFunction { .. } | Self::HostPanicked { .. } | Self::Engine { .. } => Party::Host,
            Self::Overloaded { .. } | Self::NoCodeYet { .. } | Self::ShuttingDown => Party::Operator,
            Self::NotLoaded { reason } => reason.party(),
            _ => Party::Guest,
        }
    }

    /// What to do, in one sentence, where there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Overloaded { share: Some(_), .. } => {
                "see why the plugin is slow, or let it run more calls at once with `max_concurrent_calls`"
            }
            Self::Overloaded { share: None, .. } => "raise `pool_size` under [host], or give slow plugins less time",
            Self::NoCodeYet { .. } => {
                "call it again; with `directory` under [cache] a plugin is compiled once, and not after each start"
            }
            Self::BreakerOpen { .. } => {
                "see in the log why the plugin failed; one that is mended and loaded again is called at once"
            }
            Self::NotLoaded { .. } => "see in the log why, or let `tapline plugins` load it and say what to do",
            Self::TooDeep { .. } => "see which plugin calls itself, or another that calls it, through a host function",
            _ => return None,
        })
    }

    /// Whether the call used up what it may use.
    pub(crate) fn is_of_a_limit(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::OutOfMemory(_) | Self::OutOfFuel { .. })
    }

    /// The label of this fault in the metrics.
    #[must_use]
    pub fn outcome(&self) -> tapline_metrics::Outcome {
        use tapline_metrics::Outcome;
        match self {
            Self::Returned { .. } => Outcome::GuestError,
            Self::Panicked(_) => Outcome::Panic,
            Self::Trapped { .. } => Outcome::Trap,
            Self::TimedOut { .. } => Outcome::Timeout,
            Self::OutOfFuel { .. } => Outcome::OutOfFuel,
            Self::OutOfMemory(_) => Outcome::OutOfMemory,
            Self::StackOverflow { .. } => Outcome::StackOverflow,
            Self::BadAnswer { .. } => Outcome::BadAnswer,
            Self::HostFunction { .. } | Self::HostPanicked { .. } | Self::Engine { .. } => Outcome::HostError,
            Self::Overloaded { .. } | Self::NoCodeYet { .. } => Outcome::Overloaded,
            Self::BreakerOpen { .. } => Outcome::BreakerOpen,
            Self::TooDeep { .. } => Outcome::TooDeep,
            Self::NotLoaded { .. } => Outcome::NotLoaded,
            Self::ShuttingDown => Outcome::ShuttingDown,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Returned { message } => write!(f, "returned an error: {message}"),
            Self::Panicked(panic) => write!(f, "panicked: {panic}"),
            Self::Trapped { trap, backtrace } if backtrace.is_empty() => write!(f, "trapped: {trap}"),
            Self::Trapped { trap, backtrace } => write!(f, "trapped: {trap}\n{backtrace}"),
            Self::TimedOut { limit } => write!(f, "did not end within {limit:?}"),
            Self::OutOfFuel { limit } => write!(f, "used up its {limit} units of fuel"),
            Self::OutOfMemory(refusal) => write!(f, "failed after a limit stopped it: {refusal}"),
            Self::StackOverflow { limit } => write!(f, "ran out of its stack of {limit} bytes"),
            Self::BadAnswer { reason } => write!(f, "broke the contract: {reason}"),
            Self::HostFunction { capability, message } => {
                write!(f, "the capability `{capability}` failed: {message}")
            }
            Self::HostPanicked { message } => {
                write!(f, "made the host panic, which is a defect of the host: {message}")
            }
            Self::Overloaded { waited, share: None } => {
                write!(f, "the host is overloaded: no instance was free after {waited:?}")
            }
            Self::Overloaded { waited, share: Some(share) } => {
                write!(f, "is overloaded: all {share} calls that it may run at once were running after {waited:?}")
            }
            Self::NoCodeYet { waited: Duration::ZERO } => {
                f.write_str("was not called: its code is still being brought, and no more calls may wait for it")
            }
            Self::NoCodeYet { waited } => {
                write!(f, "was not called: its code was still being brought after {waited:?}")
            }
            Self::BreakerOpen { retry_in: Duration::ZERO } => {
                f.write_str("was not called: it failed again and again, and one call is trying it now")
            }
            Self::BreakerOpen { retry_in } => {
                write!(f, "was not called: it failed again and again, and is tried again in {retry_in:?}")
            }
            Self::TooDeep { limit } => {
                write!(f, "was not called: {limit} calls may be around a call, and there are more")
            }
            Self::NotLoaded { reason } => {
                write!(f, "could not be loaded: {reason}")?;
                let mut cause = reason.source();
                while let Some(error) = cause {
                    write!(f, ": {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
            Self::ShuttingDown => f.write_str("the host is shutting down"),
            Self::Engine { message } => write!(f, "the engine failed: {message}"),
        }
    }
}

/// What a plugin said about its panic, and where it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestPanic {
    /// The panic's message, at most 4096 bytes.
    pub message: String,
    /// The file, as the compiler named it, at most 512 bytes.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1.
    pub column: u32,
}

impl fmt::Display for GuestPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{}:{})", self.message, self.file, self.line, self.column)
    }
}

/// A capability's own failure, which is not the guest's fault. Host functions return it to end the call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the capability `{capability}` failed: {message}")]
pub struct HostFault {
    /// The capability.
    pub capability: &'static str,
    /// Why.
    pub message: Arc<str>,
}
