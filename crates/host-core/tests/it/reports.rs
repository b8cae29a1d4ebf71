//! What the host logs about the calls of a plugin.

use std::{
    fmt::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use tapline_host_core::{Host, HostConfig, MAX_LOG_LINES_PER_SECOND, PluginSpec, observed};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{Layer, filter::LevelFilter, layer::Context, prelude::*};

use crate::{
    guests::{Number, config, host_with, limits, metric, number, spec, waiting},
    spans::listen_everywhere,
};

/// Lines at `warn` and above: the fields of each, the message among them.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Sees what the host logs in this thread, until the guard is dropped.
    fn capture() -> (Self, DefaultGuard) {
        listen_everywhere();
        let lines = Self::default();
        let guard = tracing_subscriber::registry().with(LevelFilter::WARN).with(lines.clone()).set_default();
        (lines, guard)
    }

    fn having(&self, text: &str) -> Vec<String> {
        self.0.lock().unwrap().iter().filter(|line| line.contains(text)).cloned().collect()
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

/// Waits at the gate, one call at a time.
fn patient() -> PluginSpec {
    PluginSpec { max_concurrent_calls: Some(1), ..spec("p", waiting()).grant("gate", "open") }
}

#[tokio::test]
async fn calls_that_fail_do_not_flood_the_log() {
    let (host, gate) = host_with(HostConfig { max_waiting: 0, limits: limits(600_000), ..config() });
    host.load(patient()).await.unwrap();
    let (lines, _guard) = Lines::capture();
    let flood = async {
        let mut calls = 0;
        // However slow the machine is: in some second there are too many.
        while lines.having("too much to say").is_empty() {
            for _ in 0..100 {
                assert_eq!(host.dispatch(Number, &2).await.unwrap().failures.len(), 1);
                calls += 1;
            }
            assert!(calls < 1_000_000, "a thousand times what is allowed");
        }
        gate.add_permits(1);
        calls
    };
    let (outcome, calls) = tokio::join!(biased; host.dispatch(Number, &1), flood);
    assert_eq!(outcome.unwrap().answers.len(), 1);
    assert_eq!(lines.having("too much to say").len(), 1);
    let said = lines.having("party=").len();
    assert!(said >= MAX_LOG_LINES_PER_SECOND as usize && said < calls, "{said} of {calls}");
    assert_eq!(metric(&host, "tapline_log_lines_dropped_total{plugin=\"p\"}"), (calls - said) as u64);
}

const WAIT: Duration = Duration::from_millis(20);

/// A call that takes longer than [`WAIT`].
async fn slow(host: &Host, gate: &tokio::sync::Semaphore) {
    let open = async {
        tokio::time::sleep(WAIT).await;
        gate.add_permits(1);
    };
    let (outcome, ()) = tokio::join!(biased; host.dispatch(Number, &1), open);
    assert_eq!(outcome.unwrap().answers.len(), 1);
}

#[tokio::test]
async fn a_slow_call_is_warned_about() {
    let slow_call = Some(WAIT / 2);
    let (host, gate) = host_with(HostConfig { slow_call, limits: limits(60_000), ..config() });
    host.load(patient()).await.unwrap();
    let (lines, _guard) = Lines::capture();
    slow(&host, &gate).await;
    let said = lines.having("a call was slow");
    let [line] = &said[..] else { panic!("{said:?}") };
    for part in ["plugin=p ", "tap=number ", "milliseconds=", "outcome=\"ok\" "] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let took = line.split("milliseconds=").nth(1).unwrap().split(' ').next().unwrap();
    assert!(took.parse::<u128>().unwrap() >= WAIT.as_millis(), "{line}");
}

#[tokio::test]
async fn a_call_is_slow_only_where_somebody_says_so_and_where_it_is_timed() {
    let (host, gate) = host_with(HostConfig { limits: limits(60_000), ..config() });
    host.load(spec("p", number("(local.get $x)"))).await.unwrap();
    let (never, of_never) = host_with(HostConfig { slow_call: None, limits: limits(60_000), ..config() });
    never.load(patient()).await.unwrap();
    let uncounted = HostConfig { slow_call: Some(WAIT / 2), enable_metrics: false, limits: limits(60_000), ..config() };
    let (uncounted, of_uncounted) = host_with(uncounted);
    uncounted.load(patient()).await.unwrap();

    let (lines, _guard) = Lines::capture();
    // Nobody waits at this gate.
    slow(&host, &gate).await;
    slow(&never, &of_never).await;
    slow(&uncounted, &of_uncounted).await;
    assert_eq!(lines.having("a call was slow"), Vec::<String>::new());
    observed(slow(&uncounted, &of_uncounted)).await;
    assert_eq!(lines.having("a call was slow").len(), 1, "whoever observes has its calls timed");
}

#[tokio::test]
async fn what_a_call_waits_for_an_instance_is_not_its_own_time() {
    let slow_call = Some(WAIT / 2);
    let (host, gate) = host_with(HostConfig { max_wait: WAIT, slow_call, limits: limits(60_000), ..config() });
    host.load(patient()).await.unwrap();
    let (lines, _guard) = Lines::capture();
    let refused = async {
        assert_eq!(host.dispatch(Number, &2).await.unwrap().failures.len(), 1);
        gate.add_permits(1);
    };
    tokio::join!(biased; host.dispatch(Number, &1), refused).0.unwrap();
    let slow = lines.having("a call was slow");
    assert!(slow.len() == 1 && slow[0].contains("outcome=\"ok\""), "{slow:?}");
    assert_eq!(lines.having("party=").len(), 1, "the other one was refused, and that is what is said of it");
}
