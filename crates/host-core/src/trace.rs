//! What a dispatch, and each call in it, is to whoever listens: spans.
//!
//! Nobody pays for them who does not listen: where their level is off, a span costs one comparison, and none is kept.

use tapline_tap_dispatch::{PluginName, TapName};
use tracing::{Level, Span, debug_span, field::Empty, level_filters::LevelFilter};

use crate::{observe::Used, state::CallState};

/// The target of all spans: those of this crate at the level `DEBUG`, and that of a capability's host function where it
/// makes one with [`CallState::host_call_span`].
///
/// `dispatch` has `tap` and `handlers`; `handler`, one for each call of a plugin, has `plugin`, `tap`, `outcome`,
/// and what the call used; `host_call` has `plugin`, `tap` and `function`. Names of plugins and taps are the host's.
pub const TRACE_TARGET: &str = "tapline::trace";

/// Host functions of one call that become spans. A guest can call one millions of times.
pub const MAX_HOST_CALL_SPANS: u64 = 100;

/// In a box, because every call carries it and hardly any has one. `None`: nobody listens.
pub(crate) type Listened = Option<Box<Span>>;

/// Whether no subscriber of the process wants spans of this level: one load and one comparison.
#[inline]
fn nobody_listens() -> bool {
    Level::DEBUG > LevelFilter::current()
}

fn listened(span: Span) -> Listened {
    if span.is_disabled() { None } else { Some(Box::new(span)) }
}

/// The span of a dispatch. One without handlers does nothing, and is none.
#[inline]
pub(crate) fn dispatch(tap: &'static str, handlers: usize) -> Listened {
    if nobody_listens() || handlers == 0 { None } else { dispatch_span(tap, handlers) }
}

#[cold]
fn dispatch_span(tap: &'static str, handlers: usize) -> Listened {
    listened(debug_span!(target: TRACE_TARGET, "dispatch", tap, handlers))
}

/// The span of one call of a handler, `within` the one of its dispatch.
#[inline]
pub(crate) fn handler(within: Option<&Span>, plugin: &PluginName, tap: &TapName) -> Listened {
    if nobody_listens() { None } else { handler_span(within, plugin, tap) }
}

#[cold]
fn handler_span(within: Option<&Span>, plugin: &PluginName, tap: &TapName) -> Listened {
    macro_rules! span {
        ($($parent:tt)*) => {
            debug_span!(
                target: TRACE_TARGET, $($parent)* "handler", %plugin, %tap,
                outcome = Empty, fuel = Empty, memory_bytes = Empty, host_calls = Empty,
            )
        };
    }
    listened(match within {
        Some(dispatch) => span!(parent: dispatch,),
        None => span!(),
    })
}

/// Writes into the span of a call what became of it.
pub(crate) fn ended(span: &Span, outcome: &'static str, used: Option<Used>) {
    span.record("outcome", outcome);
    if let Some(used) = used {
        span.record("memory_bytes", used.peak_memory_bytes);
        span.record("host_calls", used.host_calls);
        if let Some(fuel) = used.fuel {
            span.record("fuel", fuel);
        }
    }
}

impl CallState {
    /// The span of one call of a host function, with the host's names of plugin and tap. Enter it while the function runs, or
    /// [instrument](tracing::Instrument) its future. Disabled where nobody listens, and once [`MAX_HOST_CALL_SPANS`] host calls
    /// of this call have been [counted](CallState::count_host_call): count first.
    ///
    /// A span costs more than a function that only reads what is there. Such a one is better counted alone.
    #[must_use]
    pub fn host_call_span(&self, function: &'static str) -> Span {
        if nobody_listens() || self.host_calls() > MAX_HOST_CALL_SPANS {
            return Span::none();
        }
        debug_span!(target: TRACE_TARGET, "host_call", plugin = %self.plugin(), tap = %self.tap(), function)
    }
}
