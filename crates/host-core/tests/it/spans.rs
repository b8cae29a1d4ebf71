//! The spans of a dispatch, seen by a subscriber.

use std::{
    fmt::{self, Write},
    sync::{Arc, Mutex, Once},
};

use expect_test::expect;
use tapline_host_core::{MAX_HOST_CALL_SPANS, TRACE_TARGET};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{Layer, filter::LevelFilter, layer::Context, prelude::*, registry::LookupSpan};

use crate::guests::{Number, breaking, component, config, host, host_with, metric, number, spec, waiting};

/// The spans that have ended, each with those around it.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl Spans {
    /// Sees the spans of this thread, until the guard is dropped.
    fn capture(level: LevelFilter) -> (Self, DefaultGuard) {
        listen_everywhere();
        let spans = Self::default();
        let guard = tracing_subscriber::registry().with(level).with(spans.clone()).set_default();
        (spans, guard)
    }

    /// In the order of their text: handlers of one dispatch end in any order.
    fn take(&self) -> String {
        let mut spans = std::mem::take(&mut *self.0.lock().unwrap());
        spans.sort();
        spans.iter().map(|span| format!("{span}\n")).collect()
    }
}

/// With one subscriber alone, `tracing` asks the thread that first comes to a span or an event, which may be that of another
/// test and have none. There are always two.
pub(crate) fn listen_everywhere() {
    static EVERYWHERE: Once = Once::new();
    EVERYWHERE.call_once(|| {
        let nothing = tracing_subscriber::registry().with(LevelFilter::OFF);
        tracing::subscriber::set_global_default(nothing).unwrap();
    });
}

#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // How much memory a guest has is no matter of this test.
        let value = if field.name() == "memory_bytes" { "..".to_owned() } else { format!("{value:?}") };
        write!(self.0, " {}={value}", field.name()).unwrap();
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(span.extensions_mut().get_mut::<Fields>().unwrap());
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        if span.metadata().target() == TRACE_TARGET {
            let around: Vec<&str> = span.scope().from_root().map(|span| span.name()).collect();
            let line = format!("{}{}", around.join("/"), span.extensions().get::<Fields>().unwrap().0);
            self.0.lock().unwrap().push(line);
        }
    }
}

#[tokio::test]
async fn a_dispatch_its_handlers_and_their_host_calls_are_spans() {
    let (host, gate) = host_with(config());
    host.load(spec("patient", waiting()).grant("gate", "open")).await.unwrap();
    host.load(spec("trap", number("unreachable"))).await.unwrap();
    let (spans, _guard) = Spans::capture(LevelFilter::DEBUG);
    let open = async {
        while host.slots().0 < 1 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
    };
    let request = tracing::info_span!("request");
    let dispatch = tracing::Instrument::instrument(host.dispatch(Number, &1), request.clone());
    tokio::join!(dispatch, open).0.unwrap();
    let within = request.in_scope(|| host.dispatch(Number, &1));
    drop(within);
    drop(request);
    // A dispatch begins where it is asked for. What is dropped before it is polled has called nobody.
    expect![[r#"
        dispatch tap="number" handlers=2
        dispatch/handler plugin=patient tap=number outcome="ok" memory_bytes=.. host_calls=1
        dispatch/handler plugin=trap tap=number outcome="trap" memory_bytes=.. host_calls=0
        dispatch/handler/host_call plugin=patient tap=number function="gate.wait"
        request/dispatch tap="number" handlers=2
    "#]]
    .assert_eq(&spans.take());
}

#[tokio::test]
async fn calls_that_fail_before_they_begin_and_calls_that_are_dropped_end_their_spans() {
    let (host, gate) = host_with(config());
    host.load(spec("patient", waiting()).grant("gate", "open")).await.unwrap();
    host.load(spec("broken", breaking()).grant("gate", "open")).await.unwrap();
    let (spans, _guard) = Spans::capture(LevelFilter::DEBUG);
    {
        let mut dispatch = std::pin::pin!(host.dispatch(Number, &0));
        tokio::select! {
            biased;
            _ = &mut dispatch => unreachable!("the gate is closed"),
            () = tokio::task::yield_now() => {}
        }
    }
    gate.add_permits(1);
    expect![[r#"
        dispatch tap="number" handlers=2
        dispatch/handler plugin=broken tap=number outcome="host_error" memory_bytes=.. host_calls=0
        dispatch/handler plugin=patient tap=number outcome="cancelled"
        dispatch/handler/host_call plugin=patient tap=number function="gate.wait"
    "#]]
    .assert_eq(&spans.take());
    host.shut_down(std::time::Duration::ZERO).await;
    host.dispatch(Number, &1).await.unwrap();
    expect![[r#"
        dispatch tap="number" handlers=2
        dispatch/handler plugin=broken tap=number outcome="shutting_down"
        dispatch/handler plugin=patient tap=number outcome="shutting_down"
    "#]]
    .assert_eq(&spans.take());
}

#[tokio::test]
async fn a_call_makes_no_more_than_so_many_spans() {
    let (host, gate) = host_with(config());
    gate.add_permits(1000);
    let wait_often = component(
        r#"(import "test:host/gate@1.0.0" (instance $gate (export "wait" (func))))
           (core func $wait (canon lower (func $gate "wait")))
           (core module $m
             (import "" "wait" (func $wait))
             (func (export "run") (param $x i32) (result i32)
               (loop $again
                 (call $wait)
                 (local.set $x (i32.sub (local.get $x) (i32.const 1)))
                 (br_if $again (local.get $x)))
               (i32.const 7)))
           (core instance $i (instantiate $m (with "" (instance (export "wait" (func $wait))))))
           (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "test:host/number@1.0.0" (instance $e))"#,
    );
    host.load(spec("busy", wait_often).grant("gate", "open")).await.unwrap();
    let (spans, _guard) = Spans::capture(LevelFilter::DEBUG);
    assert_eq!(host.dispatch(Number, &250).await.unwrap().answers[0].1, 7);
    let seen = spans.take();
    assert_eq!(seen.matches("/host_call ").count() as u64, MAX_HOST_CALL_SPANS);
    assert!(seen.contains("host_calls=250\n"), "{seen}");
}

#[tokio::test]
async fn whoever_wants_less_sees_none() {
    let host = host();
    host.load(spec("p", number("(local.get $x)"))).await.unwrap();
    let (spans, _guard) = Spans::capture(LevelFilter::INFO);
    host.dispatch(Number, &1).await.unwrap();
    assert_eq!(spans.take(), "");
    assert_eq!(metric(&host, "tapline_plugins_loaded"), 1, "the host is there");
}
