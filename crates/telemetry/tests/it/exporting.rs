//! What a collector gets, and what happens where there is none.

use std::{
    fmt::{self, Write},
    net::TcpListener,
    sync::{
        Mutex, OnceLock,
        mpsc::{Receiver, Sender, channel},
    },
};

use tapline_telemetry::{Exporter, MAX_QUEUED_SPANS, TraceContext};
use tracing::{
    Event,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, filter::LevelFilter, layer::Context, prelude::*};

use crate::{
    TRACE,
    collector::{Collector, PATIENCE, attributes, spans},
    context, page, recorded,
};

/// The events of threads that have no subscriber of their own, such as an exporter's: who wants those that contain a text.
static LISTENERS: Mutex<Vec<(String, Sender<String>)>> = Mutex::new(Vec::new());

struct Events;

impl<S: tracing::Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Text(String);

        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                write!(self.0, "{}={value:?} ", field.name()).unwrap();
            }
        }

        let mut text = Text(format!("{} ", event.metadata().level()));
        event.record(&mut text);
        for (wanted, listener) in LISTENERS.lock().unwrap().iter().filter(|(wanted, _)| text.0.contains(wanted)) {
            assert!(!wanted.is_empty());
            // A test that has ended listens no more.
            let _ = listener.send(text.0.clone());
        }
    }
}

/// The events that contain `wanted`, from now on.
fn events(wanted: &str) -> Receiver<String> {
    static SUBSCRIBER: OnceLock<()> = OnceLock::new();
    SUBSCRIBER.get_or_init(|| {
        tracing_subscriber::registry().with(Events.with_filter(LevelFilter::INFO)).init();
    });
    let (sender, receiver) = channel();
    LISTENERS.lock().unwrap().push((wanted.to_owned(), sender));
    receiver
}

#[test]
fn a_collector_gets_the_trace_as_the_caller_began_it() {
    let collector = Collector::start(Vec::new());
    let exporter = Exporter::start(&format!("{}/", collector.endpoint), "shop").unwrap();
    let context = context("01");
    recorded(Some(&exporter), || page(context, "trap"));
    let request = collector.next();
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    let service = resource.attributes.iter().find(|attribute| attribute.key == "service.name").unwrap();
    assert!(format!("{service:?}").contains("\"shop\""), "{service:?}");

    let spans = spans(&request);
    let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["GET /item/{id}", "dispatch item_view", "seo.item_view", "sql"]);
    let hexadecimal = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    assert!(spans.iter().all(|span| hexadecimal(&span.trace_id) == TRACE));
    // The caller's span, the request's own as the answer names it, and so on.
    assert_eq!(hexadecimal(&spans[0].parent_span_id), context.parent().unwrap().to_string());
    assert_eq!(hexadecimal(&spans[0].span_id), context.span().to_string());
    for (outer, inner) in spans.iter().zip(&spans[1..]) {
        assert_eq!(inner.parent_span_id, outer.span_id);
        assert!(outer.start_time_unix_nano <= inner.start_time_unix_nano);
        assert!(inner.end_time_unix_nano <= outer.end_time_unix_nano);
    }
    let attributes: Vec<Vec<String>> = spans.iter().map(|span| attributes(span)).collect();
    let expected: [&[&str]; 4] = [
        &[
            "http.request.method=\"GET\"",
            "http.response.status_code=200",
            "http.route=\"/item/{id}\"",
            "url.path=\"/item/a\"",
        ],
        &["tapline.handlers=1", "tapline.tap=\"item_view\""],
        &["tapline.outcome=\"trap\"", "tapline.plugin=\"seo\"", "tapline.tap=\"item_view\""],
        &["db.query.text=\"\\\"SELECT '\\\\u{1b}'\\\"\"", "db.response.returned_rows=3"],
    ];
    assert_eq!(attributes, expected);
    // Kinds: server and internal; the status: an error with its outcome.
    assert_eq!(spans.iter().map(|span| span.kind).collect::<Vec<_>>(), [2, 1, 1, 1]);
    let status = spans[2].status.as_ref().unwrap();
    assert_eq!((status.code, &*status.message), (2, "trap"));
}

#[test]
fn what_the_caller_does_not_want_sampled_is_kept_and_not_sent() {
    let collector = Collector::start(Vec::new());
    let exporter = Exporter::start(&collector.endpoint, "tapline").unwrap();
    let traces = recorded(Some(&exporter), || page(context("00"), "ok"));
    assert_eq!(traces.find(TRACE).len(), 1);
    exporter.shut_down();
    assert_eq!(collector.seen(), 0);
}

#[test]
fn what_waits_is_sent_at_the_end() {
    let collector = Collector::start(Vec::new());
    let exporter = Exporter::start(&collector.endpoint, "tapline").unwrap();
    recorded(Some(&exporter), || page(context("01"), "ok"));
    exporter.shut_down();
    assert_eq!(spans(&collector.next()).len(), 4);
    // Nobody takes what comes after that, and nobody is harmed by it.
    recorded(Some(&exporter), || page(context("01"), "ok"));
    exporter.shut_down();
}

#[test]
fn a_collector_that_is_not_there_costs_one_warning() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let warnings = events(&endpoint);
    let exporter = Exporter::start(&endpoint, "tapline").unwrap();
    let traces = recorded(Some(&exporter), || page(context("01"), "ok"));
    let warning = warnings.recv_timeout(PATIENCE).unwrap();
    assert!(warning.starts_with("WARN ") && warning.contains("efused"), "it says what is wrong: {warning}");
    recorded(Some(&exporter), || page(context("01"), "ok"));
    exporter.shut_down();
    assert_eq!(warnings.try_iter().collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(traces.find(TRACE).len(), 1, "what is kept does not depend on it");
}

#[test]
fn a_collector_that_refuses_and_takes_them_again_costs_two_lines() {
    let collector = Collector::start(vec!["400 Bad Request"; 3]);
    let lines = events(&collector.endpoint);
    let exporter = Exporter::start(&collector.endpoint, "tapline").unwrap();
    for _ in 0..4 {
        recorded(Some(&exporter), || page(context("01"), "ok"));
        collector.next();
    }
    let lines: Vec<String> = (0..2).map(|_| lines.recv_timeout(PATIENCE).unwrap()).collect();
    assert!(lines[0].starts_with("WARN ") && lines[0].contains("it answers 400"), "{lines:?}");
    assert!(lines[1].starts_with("INFO ") && lines[1].contains("takes them again"), "{lines:?}");
}

#[test]
fn a_collector_that_never_answers_holds_up_nobody() {
    // It lets everybody connect, and reads nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let warnings = events(&endpoint);
    let exporter = Exporter::start(&endpoint, "tapline").unwrap();
    let traces = recorded(Some(&exporter), || {
        // More than can wait: a queue without bound would grow, and one that blocks would stop here.
        for _ in 0..MAX_QUEUED_SPANS {
            page(TraceContext::new(), "ok");
        }
    });
    assert_eq!(traces.summaries().len(), 10);
    let warning = warnings.recv_timeout(PATIENCE).unwrap();
    assert!(warning.starts_with("WARN "), "{warning}");
    exporter.shut_down();
    assert_eq!(warnings.try_iter().collect::<Vec<_>>(), Vec::<String>::new(), "one is enough");
}
