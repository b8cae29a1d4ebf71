//! Spans of a real subscriber, and a collector that speaks real HTTP and protobuf.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod collector;
mod exporting;
mod recording;

use tapline_telemetry::{Exporter, Recorder, TraceContext, Traces};
use tracing::{Span, subscriber::with_default};
use tracing_subscriber::prelude::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn context(flags: &str) -> TraceContext {
    TraceContext::receive([format!("00-{TRACE}-00f067aa0ba902b7-{flags}").as_bytes()])
}

/// Runs `work` where spans are recorded, and hands out the traces.
fn recorded(exporter: Option<&Exporter>, work: impl FnOnce()) -> Traces {
    let traces = Traces::new(10);
    let recorder = Recorder::new(traces.clone());
    let recorder = match exporter {
        Some(exporter) => recorder.export(exporter.clone()),
        None => recorder,
    };
    with_default(tracing_subscriber::registry().with(recorder.layer()), work);
    traces
}

fn request(context: TraceContext) -> Span {
    context.begin(|| {
        tracing::error_span!(
            target: "tapline::trace", "request",
            method = "GET", route = "/item/{id}", path = "/item/a", status = tracing::field::Empty,
        )
    })
}

/// A request with one call of a plugin, which has this outcome.
fn page(context: TraceContext, outcome: &str) {
    let request = request(context);
    request.in_scope(|| {
        let dispatch = tracing::debug_span!(target: "tapline::trace", "dispatch", tap = "item_view", handlers = 1);
        let handler = tracing::debug_span!(
            target: "tapline::trace", parent: &dispatch, "handler",
            plugin = %"seo", tap = %"item_view", outcome = tracing::field::Empty,
        );
        handler.in_scope(|| {
            tracing::debug_span!(target: "tapline::trace", "sql", sql = ?"SELECT '\u{1b}'", rows = 3).in_scope(|| ());
        });
        handler.record("outcome", outcome);
    });
    request.record("status", 200);
}
