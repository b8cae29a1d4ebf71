//! What recording one tap costs, with nobody else recording: the arithmetic and the atomics, no clock. The control is
//! prometheus-client's own counter and histogram doing the same work.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use tapline_metrics::{BUCKET_BOUNDS_NANOS, Metrics, Outcome};

fn record(criterion: &mut Criterion) {
    let took = Duration::from_micros(9);

    let tap = Metrics::new().tap("seo", "item_view");
    criterion.bench_function("record/enabled", |b| b.iter(|| black_box(&tap).record(Outcome::Ok, black_box(took))));

    let tap = Metrics::disabled().tap("seo", "item_view");
    criterion.bench_function("record/disabled", |b| b.iter(|| black_box(&tap).record(Outcome::Ok, black_box(took))));

    let counter: Counter = Counter::default();
    let histogram = Histogram::new(BUCKET_BOUNDS_NANOS.iter().map(|nanos| *nanos as f64 / 1e9));
    criterion.bench_function("record/control", |b| {
        b.iter(|| {
            black_box(&counter).inc();
            black_box(&histogram).observe(black_box(took).as_secs_f64());
        })
    });
}

criterion_group!(benches, record);
criterion_main!(benches);
