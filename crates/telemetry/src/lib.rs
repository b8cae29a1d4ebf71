//! Traces of requests: the identifiers of W3C, the last traces in bounded memory, and their export as OTLP.
//!
//! It listens to spans of the target [`TARGET`], whoever makes them, and knows nothing of plugins. It makes no decision about
//! a request and delays none: what does not fit, or cannot be sent, is counted and dropped.
//!
//! - [`TraceContext`] is the place of one request in a trace: read from its `traceparent`, or begun here.
//! - [`Recorder`] is a layer of `tracing-subscriber` that makes a [`Trace`] of the spans of each request.
//! - [`Traces`] keeps the last of them; [`Exporter`] sends them to a collector.
//!
//! ```
//! use tapline_telemetry::{Recorder, TARGET, TraceContext, Traces};
//! use tracing_subscriber::prelude::*;
//!
//! let traces = Traces::new(10);
//! let subscriber = tracing_subscriber::registry().with(Recorder::new(traces.clone()).layer());
//! let context = TraceContext::receive([&b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"[..]]);
//! tracing::subscriber::with_default(subscriber, || {
//!     let request = context.begin(|| tracing::error_span!(target: TARGET, "request", method = "GET"));
//!     request.in_scope(|| tracing::debug_span!(target: TARGET, "dispatch", tap = "item_view").in_scope(|| ()));
//! });
//! let trace = &traces.find("4bf92f3577b34da6a3ce929d0e0e4736")[0];
//! assert_eq!(trace.spans[1].label(), "dispatch item_view");
//! ```

mod context;
mod export;
mod http;
mod recorder;
mod trace;
mod traces;

pub use context::{SpanId, TraceContext, TraceId};
pub use export::{EXPORT_TIMEOUT, ExportError, Exporter, MAX_QUEUED_SPANS, SHUTDOWN_TIMEOUT};
pub use recorder::{MAX_FIELD_BYTES, MAX_SPANS, Recorder, TARGET};
pub use trace::{Span, Trace};
pub use traces::{MAX_KEPT_SPANS, Summary, Traces};
