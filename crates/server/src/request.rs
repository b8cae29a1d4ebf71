//! What one request is to logs, traces and answers: its identifier, and the span around everything that happens in it.

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tapline_host_core::cut;
use tapline_telemetry::{TARGET, TraceContext, TraceId};
use tracing::{Instrument, Span, field::Empty};

/// The caller's place in a trace, in W3C's form; and ours, for whoever asked.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What W3C's drafts call the header of an answer.
const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest address in a span, in bytes.
const MAX_PATH: usize = 256;

tokio::task_local! {
    static CURRENT: TraceId;
}

/// The identifier of the request that is being answered. `None`: the page is for nobody's request.
pub(crate) fn id() -> Option<TraceId> {
    CURRENT.try_with(|id| *id).ok()
}

/// Gives a request its identifier: that of the caller's trace where there is one. It is in the answer, and on every event and
/// span of the request.
pub(crate) async fn identified(State(route): State<Option<&'static str>>, request: Request, next: Next) -> Response {
    let headers = request.headers().get_all(TRACEPARENT);
    let context = TraceContext::receive(headers.iter().map(HeaderValue::as_bytes));
    // Of the highest level, so that it is on every event that is logged at all.
    let span = context.begin(|| {
        tracing::error_span!(
            target: TARGET, "request",
            trace_id = %context.trace(), method = %request.method(), route, path = cut(request.uri().path(), MAX_PATH),
            status = Empty,
        )
    });
    let answering = CURRENT.scope(context.trace(), next.run(request));
    let mut response = answering.instrument(span.clone()).await;
    span.record("status", response.status().as_u16());
    let headers = response.headers_mut();
    for (name, value) in [(REQUEST_ID, context.trace().to_string()), (TRACERESPONSE, context.traceparent())] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

/// The span of a run of `cron`, which is a trace of its own: nobody asked for it.
pub(crate) fn cron() -> Span {
    let context = TraceContext::new();
    context.begin(|| {
        tracing::error_span!(target: TARGET, "request", trace_id = %context.trace(), method = "RUN", route = "cron", path = "cron")
    })
}
