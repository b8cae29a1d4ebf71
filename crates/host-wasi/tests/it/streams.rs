//! Standard streams, arguments, environment and exit.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tapline_content::ItemView;
use tapline_host_core::Fault;
use tracing_subscriber::fmt::MakeWriter;

use crate::{Place, check, fault, item, probe};

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn log() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(log.clone()).finish();
    (log, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn nothing_of_the_host_s_process_is_there() {
    assert!(std::env::vars_os().count() > 0 && std::env::args_os().count() > 0);
    let host = probe(Place::new().grant("read")).await;
    check(&host, &[("environment", "ok 0"), ("arguments", "ok 0"), ("input", "ok 0")]).await;
}

#[tokio::test]
async fn output_becomes_log_lines_with_the_host_s_names() {
    let host = probe(Place::new().grant("read")).await;
    let (log, _guard) = log();
    check(&host, &[("print hello", "ok"), ("complain \u{1b}[31mbeware", "ok")]).await;
    let text = log.text();
    let line = |level: &str, stream: &str, message: &str| {
        text.lines().any(|line| {
            [level, "tapline::guest", "plugin=probe-wasi", "tap=item_view", &format!("stream=\"{stream}\""), message]
                .iter()
                .all(|part| line.contains(part))
        })
    };
    assert!(line("INFO", "stdout", "hello"), "{text}");
    assert!(line("WARN", "stderr", "beware"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[tokio::test]
async fn a_flood_is_cut_and_counted() {
    let host = probe(Place::new().grant("read")).await;
    let (log, _guard) = log();
    check(&host, &[("flood 10000", "ok")]).await;
    assert_eq!(log.text().matches("all work and no play").count(), 1000);
    assert_eq!(log.text().matches("output is full").count(), 1);
    let metrics = host.metrics().render().unwrap();
    // 21 bytes for each line but the first thousand, and but the 16 with which 64 KiB end within a line.
    let counter = "tapline_guest_output_dropped_bytes_total{plugin=\"probe-wasi\"} ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(counter));
    assert_eq!(value, Some("188984"));
}

#[tokio::test]
async fn who_exits_ends_the_call_and_not_the_host() {
    let host = probe(Place::new().grant("read")).await;
    for command in ["exit 0", "exit 3"] {
        let fault = fault(&host, command).await;
        assert!(matches!(fault, Fault::Trapped { .. }), "{fault}");
        assert_eq!(host.dispatch(ItemView, &item("do", "environment")).await.unwrap().answers.len(), 1);
    }
}
