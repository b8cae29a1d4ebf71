//! What one span of a call costs, with nobody else recording: where nobody listens, where only the log does and wants less, and where it is
//! recorded. The difference between `span/off` and `span/recorded` is what each handler of a traced request pays.

use criterion::{Criterion, criterion_group, criterion_main};
use tapline_telemetry::{MAX_SPANS, Recorder, TARGET, TraceContext, Traces};
use tracing::{Span, field::Empty, subscriber::with_default};
use tracing_subscriber::{filter::LevelFilter, fmt, prelude::*};

/// As `tapline-host-core` makes one for each call, with what it records in it.
fn handler() {
    let span = tracing::debug_span!(target: TARGET, "handler", plugin = %"seo", tap = %"item_view", outcome = Empty, host_calls = Empty);
    span.in_scope(|| ());
    span.record("outcome", "ok");
    span.record("host_calls", 3_u64);
}

fn request() -> Span {
    TraceContext::new().begin(|| tracing::error_span!(target: TARGET, "request", method = "GET", route = "/item/{id}"))
}

fn spans(criterion: &mut Criterion) {
    criterion.bench_function("span/off", |b| b.iter(handler));

    let log = fmt::layer().with_writer(std::io::sink).with_filter(LevelFilter::INFO);
    with_default(tracing_subscriber::registry().with(log), || {
        criterion.bench_function("span/log_at_info", |b| b.iter(handler));
    });

    let recorder = Recorder::new(Traces::new(100));
    with_default(tracing_subscriber::registry().with(recorder.layer()), || {
        // A trace takes no more than so many, so that its beginning and its end are shared by them.
        criterion.bench_function("span/recorded", |b| {
            b.iter_custom(|iterations| {
                let started = std::time::Instant::now();
                let mut left = iterations;
                while left > 0 {
                    let of_this = left.min(MAX_SPANS as u64 - 1);
                    request().in_scope(|| (0..of_this).for_each(|_| handler()));
                    left -= of_this;
                }
                started.elapsed()
            });
        });
    });
}

criterion_group!(benches, spans);
criterion_main!(benches);
