//! The place of a request in a trace, as W3C's Trace Context has it.

use std::{
    cell::Cell,
    fmt,
    hash::{BuildHasher, RandomState},
    num::{NonZeroU64, NonZeroU128},
};

use tracing::Span;

/// Identifies a trace. Displayed as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(NonZeroU128);

/// Identifies a span in its trace. Displayed as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(NonZeroU64);

impl TraceId {
    pub(crate) fn get(self) -> u128 {
        self.0.get()
    }
}

impl SpanId {
    pub(crate) fn get(self) -> u64 {
        self.0.get()
    }

    /// The identifier of the span that is this one's `index`th descendant, for which this one itself is the 0th.
    pub(crate) fn descendant(self, index: usize) -> Self {
        Self(NonZeroU64::new(self.get().wrapping_add(index as u64)).unwrap_or(NonZeroU64::MAX))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.get())
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.get())
    }
}

/// The place of one request in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: TraceId,
    span: SpanId,
    parent: Option<SpanId>,
    sampled: bool,
}

thread_local! {
    /// The request whose span is being made.
    static BEGINNING: Cell<Option<TraceContext>> = const { Cell::new(None) };
}

impl TraceContext {
    /// The context of a request with these values of the header `traceparent`: a new span of the caller's trace. Where there
    /// is none, more than one, or one that is not as the standard has it, the request begins a trace of its own.
    pub fn receive<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut headers = headers.into_iter();
        let (first, second) = (headers.next(), headers.next());
        match first.filter(|_| second.is_none()).and_then(parse) {
            Some((trace, parent, sampled)) => Self { trace, span: random_span(), parent: Some(parent), sampled },
            None => Self::new(),
        }
    }

    /// The beginning of a trace, for work that nobody has asked for.
    #[must_use]
    pub fn new() -> Self {
        let trace = (u128::from(random()) << 64) | u128::from(random());
        let trace = TraceId(NonZeroU128::new(trace).unwrap_or(NonZeroU128::MIN));
        Self { trace, span: random_span(), parent: None, sampled: true }
    }

    /// The trace, which is the request's identifier as well: one to look for in logs, answers and traces.
    #[must_use]
    pub fn trace(&self) -> TraceId {
        self.trace
    }

    /// The request's own span.
    #[must_use]
    pub fn span(&self) -> SpanId {
        self.span
    }

    /// The caller's span, if the caller has said which.
    #[must_use]
    pub fn parent(&self) -> Option<SpanId> {
        self.parent
    }

    /// Whether the caller wants the trace to be exported. `true` where nobody has said.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// Like `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`: the `traceparent` of whatever comes next in the trace.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }

    /// Makes the span of this request with `make`: spans within it are recorded as this trace.
    pub fn begin(&self, make: impl FnOnce() -> Span) -> Span {
        /// Also when `make` panics.
        struct Begun(Option<TraceContext>);

        impl Drop for Begun {
            fn drop(&mut self) {
                BEGINNING.set(self.0);
            }
        }

        let _begun = Begun(BEGINNING.replace(Some(*self)));
        make()
    }

    /// The request whose span is being made, for the layer that is told of it.
    pub(crate) fn beginning() -> Option<Self> {
        BEGINNING.take()
    }
}

impl Default for TraceContext {
    fn default() -> Self {
        Self::new()
    }
}

/// Enough for identifiers, which have to differ and not to be secret: a keyed hash, with a key that the system's random numbers
/// began and that is another one each time.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

fn random_span() -> SpanId {
    SpanId(NonZeroU64::new(random()).unwrap_or(NonZeroU64::MIN))
}

/// Version, trace, parent, flags. A later version than 00 may say more behind a dash, and means the same until there.
fn parse(header: &[u8]) -> Option<(TraceId, SpanId, bool)> {
    let header = std::str::from_utf8(header).ok()?;
    let (known, rest) = header.split_at_checked(55)?;
    let mut parts = known.split('-');
    let mut part = |length| parts.next().filter(|part| part.len() == length).and_then(hexadecimal);
    let (version, trace, parent, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let as_it_should_end = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    let trace = TraceId(NonZeroU128::new(trace)?);
    let parent = SpanId(NonZeroU64::new(u64::try_from(parent).ok()?)?);
    as_it_should_end.then_some((trace, parent, flags & 1 == 1))
}

/// Lower case only, as the standard has it.
fn hexadecimal(digits: &str) -> Option<u128> {
    let lower = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if lower { u128::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    fn receive(header: &str) -> TraceContext {
        TraceContext::receive([header.as_bytes()])
    }

    #[test]
    fn a_trace_goes_on() {
        for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("ff", true)] {
            let context = receive(&format!("00-{TRACE}-{PARENT}-{flags}"));
            assert_eq!((context.trace().to_string(), context.is_sampled()), (TRACE.to_owned(), sampled));
            assert_eq!(context.parent().unwrap().to_string(), PARENT);
            assert_ne!(context.span(), context.parent().unwrap());
            let next = receive(&context.traceparent());
            assert_eq!((next.trace(), next.parent()), (context.trace(), Some(context.span())));
            assert_eq!(next.is_sampled(), sampled);
        }
        // What a later version may say is not known here.
        for header in
            [format!("01-{TRACE}-{PARENT}-01"), format!("cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like")]
        {
            assert_eq!(receive(&header).trace().to_string(), TRACE, "{header}");
        }
    }

    #[test]
    fn what_is_not_as_it_should_be_begins_a_new_trace() {
        let zeros = |length| "0".repeat(length);
        for header in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-{PARENT}"),
            format!("00-{TRACE}-{PARENT}-1"),
            format!("00-{TRACE}-{PARENT}-0g"),
            format!("00-{TRACE}-{PARENT}-01-"),
            format!("00-{TRACE}-{PARENT}-01-more"),
            format!("01-{TRACE}-{PARENT}-01.more"),
            format!("ff-{TRACE}-{PARENT}-01"),
            format!("0x-{TRACE}-{PARENT}-01"),
            format!("00-{}-{PARENT}-01", zeros(32)),
            format!("00-{TRACE}-{}-01", zeros(16)),
            format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
            format!("00-+{}-{PARENT}-01", &TRACE[1..]),
            format!("00_{TRACE}_{PARENT}_01"),
            format!("00-{PARENT}-{TRACE}-01"),
            format!(" 00-{TRACE}-{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}-é"),
        ] {
            let context = receive(&header);
            assert_ne!(context.trace().to_string(), TRACE, "{header}");
            assert_eq!((context.parent(), context.is_sampled()), (None, true), "{header}");
        }
        let good = format!("00-{TRACE}-{PARENT}-01");
        let twice = TraceContext::receive([good.as_bytes(), good.as_bytes()]);
        assert_eq!(twice.parent(), None, "the standard does not say which of two holds");
        assert_eq!(TraceContext::receive([&[0xff_u8; 55][..]]).parent(), None);
    }

    #[test]
    fn traces_differ() {
        let contexts: Vec<TraceContext> = (0..1000).map(|_| TraceContext::new()).collect();
        let traces: HashSet<TraceId> = contexts.iter().map(TraceContext::trace).collect();
        let spans: HashSet<SpanId> = contexts.iter().map(TraceContext::span).collect();
        assert_eq!((traces.len(), spans.len()), (1000, 1000));
    }

    proptest! {
        #[test]
        fn any_header_can_be_received(header in any::<Vec<u8>>()) {
            let context = TraceContext::receive([&header[..]]);
            prop_assert_eq!(context.traceparent().len(), 55);
        }
    }
}
