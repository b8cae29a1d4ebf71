//! What becomes of spans.

use tapline_telemetry::{MAX_FIELD_BYTES, MAX_SPANS, Recorder, TraceContext, Traces};
use tracing::{Level, debug_span, enabled, subscriber::with_default};
use tracing_subscriber::{Layer, filter::LevelFilter, prelude::*};

use crate::{TRACE, context, page, recorded, request};

#[test]
fn a_request_is_a_tree_of_spans() {
    let traces = recorded(None, || page(context("01"), "ok"));
    let found = traces.find(TRACE);
    let trace = &found[0];
    let spans: Vec<(String, Option<usize>)> = trace.spans.iter().map(|span| (span.label(), span.parent)).collect();
    let expected =
        [("GET /item/{id}", None), ("dispatch item_view", Some(0)), ("seo.item_view", Some(1)), ("sql", Some(2))];
    assert_eq!(spans, expected.map(|(label, parent)| (label.to_owned(), parent)));
    let [request, dispatch, handler, sql] = &trace.spans[..] else { unreachable!("four spans") };
    assert_eq!((request.field("status"), request.field("path")), (Some("200"), Some("/item/a")));
    assert_eq!((handler.field("outcome"), handler.failed()), (Some("ok"), false));
    assert_eq!(sql.field("sql"), Some("\"SELECT '\\u{1b}'\""), "what a guest wrote is escaped");
    let end = |span: &tapline_telemetry::Span| span.start_ns + span.duration_ns;
    for (outer, inner) in [(request, dispatch), (dispatch, handler), (handler, sql)] {
        assert!(outer.start_ns <= inner.start_ns && end(inner) <= end(outer), "{outer:?} {inner:?}");
    }
    let summary = &traces.summaries()[0];
    assert_eq!((&*summary.label, &*summary.path, &*summary.status), ("GET /item/{id}", "/item/a", "200"));
    assert_eq!((summary.spans, summary.duration_ns), (4, request.duration_ns));
    let text = serde_json::to_string(&**trace).unwrap();
    assert_eq!(serde_json::from_str::<tapline_telemetry::Trace>(&text).unwrap(), **trace);
}

#[test]
fn what_did_not_go_well_is_marked() {
    let found = recorded(None, || page(context("01"), "trap")).find(TRACE);
    let failed: Vec<bool> = found[0].spans.iter().map(tapline_telemetry::Span::failed).collect();
    assert_eq!(failed, [false, false, true, false]);
}

#[test]
fn requests_that_only_answer_and_spans_of_no_request_are_not_kept() {
    let traces = recorded(None, || {
        drop(request(context("01")));
        debug_span!(target: "tapline::trace", "dispatch", tap = "cron").in_scope(|| {
            debug_span!(target: "tapline::trace", "handler").in_scope(|| ());
        });
        // Of another target, and of a level that is too fine.
        request(context("01")).in_scope(|| {
            tracing::info_span!("elsewhere").in_scope(|| ());
            tracing::trace_span!(target: "tapline::trace", "fine").in_scope(|| ());
        });
    });
    assert_eq!(traces.summaries(), []);
}

#[test]
fn a_trace_has_no_more_than_so_many_spans() {
    let found = recorded(None, || {
        request(context("01")).in_scope(|| {
            for _ in 0..MAX_SPANS {
                debug_span!(target: "tapline::trace", "handler").in_scope(|| {
                    debug_span!(target: "tapline::trace", "sql").in_scope(|| ());
                });
            }
        });
    })
    .find(TRACE);
    assert_eq!(found[0].spans.len(), MAX_SPANS);
    assert_eq!(found[0].dropped_spans as usize, 2 * MAX_SPANS + 1 - MAX_SPANS);
    assert!(found[0].spans[0].duration_ns > 0, "the request itself ends");
}

#[test]
fn a_field_is_no_longer_than_so_much() {
    let long = "é".repeat(MAX_FIELD_BYTES);
    let found = recorded(None, || {
        request(context("01")).in_scope(|| {
            debug_span!(target: "tapline::trace", "sql", text = long.as_str(), shown = %long, sql = ?long)
                .in_scope(|| ());
        });
    })
    .find(TRACE);
    let span = &found[0].spans[1];
    assert_eq!(span.field("text"), Some("é".repeat(MAX_FIELD_BYTES / 2)).as_deref());
    assert_eq!(span.field("shown"), span.field("text"));
    assert_eq!(span.field("sql").unwrap().len(), MAX_FIELD_BYTES - 1, "a quote, and whole characters");
}

#[test]
fn a_request_ends_with_the_last_of_its_spans() {
    let traces = Traces::new(10);
    let kept = || traces.summaries().len();
    with_default(tracing_subscriber::registry().with(Recorder::new(traces.clone()).layer()), || {
        let request = request(context("01"));
        let late = request.in_scope(|| debug_span!(target: "tapline::trace", "handler"));
        drop(request);
        assert_eq!(kept(), 0);
        late.in_scope(|| debug_span!(target: "tapline::trace", "sql").in_scope(|| ()));
        drop(late);
        assert_eq!(kept(), 1);
    });
    assert_eq!(traces.find(TRACE)[0].spans.len(), 3);
}

#[test]
fn requests_that_run_at_the_same_time_are_traces_of_their_own() {
    let (one, other) = (TraceContext::new(), TraceContext::new());
    let traces = recorded(None, || {
        let (first, second) = (request(one), request(other));
        for (span, name) in [(&first, "a"), (&second, "b"), (&first, "c")] {
            span.in_scope(|| debug_span!(target: "tapline::trace", "dispatch", tap = name).in_scope(|| ()));
        }
    });
    let taps = |context: TraceContext| -> Vec<String> {
        let found = traces.find(&context.trace().to_string());
        found[0].spans[1..].iter().map(|span| span.field("tap").unwrap().to_owned()).collect()
    };
    assert_eq!((taps(one), taps(other)), (vec!["a".to_owned(), "c".to_owned()], vec!["b".to_owned()]));
}

/// A layer that wants everything that its filter lets through.
struct Everything;

impl<S: tracing::Subscriber> Layer<S> for Everything {}

#[test]
fn nothing_but_its_spans_is_enabled_and_questions_of_others_do_not_hide_them() {
    let traces = Traces::new(10);
    let recorder = Recorder::new(traces.clone()).layer();
    let subscriber = tracing_subscriber::registry().with(Everything.with_filter(LevelFilter::INFO)).with(recorder);
    with_default(subscriber, || {
        assert!(!enabled!(Level::DEBUG), "whoever else listens wants less");
        assert!(!enabled!(target: "tapline::trace", Level::DEBUG), "an event is no span");
        assert!(enabled!(target: "tapline::guest", Level::INFO));
        page(context("01"), "ok");
        assert!(enabled!(target: "tapline::guest", Level::WARN));
        page(context("01"), "ok");
    });
    let found = traces.find(TRACE);
    let spans: Vec<usize> = found.iter().map(|trace| trace.spans.len()).collect();
    assert_eq!(spans, [4, 4]);
}
