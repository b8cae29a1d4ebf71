//! Plugins that log, through a real host, seen by a subscriber.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tapline_host_core::{
    BreakerSettings, Call, CallError, Collect, Host, HostConfig, Interface, MAX_LOG_LINES_PER_SECOND, PluginName,
    PluginSpec, Signature, Tap,
};
use tapline_host_log::{Log, MAX_LINE_BYTES, TARGET};
use tracing::{Event, Level, Subscriber, field::Visit, subscriber::DefaultGuard};
use tracing_subscriber::{Layer, filter::LevelFilter, layer::Context, prelude::*};

/// A tap from number to number: what the number means is up to the plugin.
struct Number;

const NUMBER: &str = "test:log/number@1.0.0";

impl Tap for Number {
    const NAME: &'static str = "number";
    const INTERFACES: &'static [Interface] = &[Interface { name: NUMBER, function: "run", mode: "full" }];
    type Policy = Collect;
    type Input = u32;
    type Answer = u32;

    fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        signature.is::<(u32,), (u32,)>()
    }

    async fn call(call: &mut Call, input: &u32) -> Result<u32, CallError> {
        Ok(call.invoke::<(u32,), (u32,)>((*input,)).await?.0)
    }
}

/// A plugin whose core function has the body `$run`: it may call `$write` (level, pointer, length) and `$enabled`
/// (level). Its memory holds `data` at address 0.
fn plugin(data: &[u8], run: &str) -> Vec<u8> {
    let data: String = data.iter().map(|byte| format!("\\{byte:02x}")).collect();
    wat::parse_str(format!(
        r#"(component
             (import "tapline:host/log@0.1.0" (instance $log
               (type $level (enum "trace" "debug" "info" "warn" "error"))
               (export "level" (type $exported (eq $level)))
               (export "write" (func (param "level" $exported) (param "message" string)))
               (export "enabled" (func (param "level" $exported) (result bool)))))
             (core module $memory (memory (export "memory") 4) (data (i32.const 0) "{data}"))
             (core instance $memory (instantiate $memory))
             (core func $write (canon lower (func $log "write") (memory (core memory $memory "memory"))))
             (core func $enabled (canon lower (func $log "enabled")))
             (core module $m
               (import "" "write" (func $write (param i32 i32 i32)))
               (import "" "enabled" (func $enabled (param i32) (result i32)))
               (func (export "run") (param $x i32) (result i32) {run}))
             (core instance $i (instantiate $m (with "" (instance
               (export "write" (func $write)) (export "enabled" (func $enabled))))))
             (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
             (instance $e (export "run" (func $run)))
             (export "{NUMBER}" (instance $e)))"#
    ))
    .unwrap()
}

/// Writes the whole `data` once, at the level that the tap is called with.
fn writes(data: &[u8]) -> Vec<u8> {
    let length = data.len();
    plugin(data, &format!("(call $write (local.get $x) (i32.const 0) (i32.const {length})) (i32.const 0)"))
}

#[derive(Clone, Debug, PartialEq)]
struct Line {
    level: Level,
    plugin: String,
    tap: String,
    message: String,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Line>>>, Arc<AtomicUsize>);

impl Lines {
    /// Sees the events of this thread at `level` and above, until the guard is dropped.
    fn capture(level: LevelFilter) -> (Self, DefaultGuard) {
        let lines = Self::default();
        let guard = tracing_subscriber::registry().with(level).with(lines.clone()).set_default();
        (lines, guard)
    }

    fn take(&self) -> Vec<Line> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// How many events there were that are not of a guest, but of the host.
    fn of_the_host(&self) -> usize {
        self.1.load(Relaxed)
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == TARGET {
            let level = *event.metadata().level();
            let mut line = Line { level, plugin: String::new(), tap: String::new(), message: String::new() };
            event.record(&mut line);
            self.0.lock().unwrap().push(line);
        } else {
            self.1.fetch_add(1, Relaxed);
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        match field.name() {
            "plugin" => self.plugin = format!("{value:?}"),
            "tap" => self.tap = format!("{value:?}"),
            "message" => self.message = format!("{value:?}"),
            _ => {}
        }
    }
}

/// A host with one plugin, called `chatty`.
async fn host(bytes: Vec<u8>) -> Host {
    host_with(HostConfig::default(), bytes).await
}

async fn host_with(config: HostConfig, bytes: Vec<u8>) -> Host {
    let config = HostConfig { pool_size: 2, ..config };
    let host = Host::builder().config(config).tap::<Number>().capability(Log).build().unwrap();
    host.load(PluginSpec::bytes(PluginName::new("chatty").unwrap(), bytes)).await.unwrap();
    host
}

async fn call(host: &Host, input: u32) -> u32 {
    host.dispatch(Number, &input).await.unwrap().answers[0].1
}

#[tokio::test]
async fn a_line_has_its_level_and_the_hosts_names() {
    let (lines, _guard) = Lines::capture(LevelFilter::TRACE);
    let host = host(writes(b"plugin=other tap=cron hello")).await;
    for (input, level) in [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR].into_iter().enumerate() {
        call(&host, input as u32).await;
        let expected = Line {
            level,
            plugin: "chatty".to_owned(),
            tap: "number".to_owned(),
            message: "plugin=other tap=cron hello".to_owned(),
        };
        assert_eq!(lines.take(), [expected]);
        let metrics = host.metrics().render().unwrap();
        let name = level.to_string().to_lowercase();
        let count = format!(r#"tapline_log_lines_total{{plugin="chatty",level="{name}"}} 1"#);
        assert!(metrics.contains(&count), "{count} in\n{metrics}");
    }
}

#[tokio::test]
async fn a_long_line_is_cut_between_characters() {
    let (lines, _guard) = Lines::capture(LevelFilter::INFO);
    let text = "é".repeat(5000);
    let host = host(writes(format!("x{text}").as_bytes())).await;
    call(&host, 2).await;
    let line = &lines.take()[0].message;
    assert_eq!(line.len(), MAX_LINE_BYTES - 1);
    assert_eq!(*line, format!("x{}", "é".repeat(2047)));
}

#[tokio::test]
async fn a_guest_forges_neither_lines_nor_terminal_sequences() {
    let (lines, _guard) = Lines::capture(LevelFilter::INFO);
    let host = host(writes("fine\tso far\r\n\u{1b}[31m2026 ERROR tapline: all is lost\u{9b}2J".as_bytes())).await;
    call(&host, 2).await;
    let message = &lines.take()[0].message;
    assert_eq!(message, "fine\tso far\\r\\n\\u{1b}[31m2026 ERROR tapline: all is lost\\u{9b}2J");
}

#[tokio::test]
async fn after_a_hundred_lines_the_rest_is_counted_and_said_once() {
    let (lines, _guard) = Lines::capture(LevelFilter::INFO);
    // Writes as many lines as the tap is called with.
    let run = "(block $done (loop $next
        (br_if $done (i32.eqz (local.get $x)))
        (call $write (i32.const 2) (i32.const 0) (i32.const 5))
        (local.set $x (i32.sub (local.get $x) (i32.const 1)))
        (br $next))) (i32.const 0)";
    let host = host(plugin(b"hello", run)).await;

    call(&host, 100).await;
    assert_eq!(lines.take().len(), 100);

    call(&host, 350).await;
    let seen = lines.take();
    let (kept, warning) = seen.split_at(100);
    assert!(kept.iter().all(|line| line.message == "hello" && line.level == Level::INFO));
    assert_eq!(warning.len(), 1, "{warning:?}");
    assert_eq!((warning[0].level, &*warning[0].plugin), (Level::WARN, "chatty"));
    let metrics = host.metrics().render().unwrap();
    assert!(metrics.contains(r#"tapline_log_lines_total{plugin="chatty",level="info"} 200"#), "{metrics}");
    assert!(metrics.contains(r#"tapline_log_lines_dropped_total{plugin="chatty"} 250"#), "{metrics}");

    call(&host, 1).await;
    assert_eq!(lines.take().len(), 1, "each call starts anew");
}

#[tokio::test]
async fn calls_together_log_no_more_than_so_much_in_a_second() {
    let (lines, _guard) = Lines::capture(LevelFilter::INFO);
    // Writes 100 lines, which is what one call may.
    let run = "(local.set $x (i32.const 100)) (loop $next
        (call $write (i32.const 2) (i32.const 0) (i32.const 5))
        (local.set $x (i32.sub (local.get $x) (i32.const 1)))
        (br_if $next (local.get $x))) (i32.const 0)";
    let host = host(plugin(b"hello", run)).await;
    let (mut written, mut kept, mut warnings) = (0, 0, 0);
    // However slow the machine is: in some second there are too many.
    while warnings == 0 {
        call(&host, 0).await;
        written += 100;
        let seen = lines.take();
        warnings += seen.iter().filter(|line| line.level == Level::WARN).count();
        kept += seen.iter().filter(|line| line.message == "hello").count();
        assert!(written < 1_000_000, "a thousand times what is allowed");
    }
    assert_eq!(warnings, 1);
    assert!(kept >= MAX_LOG_LINES_PER_SECOND as usize && kept < written, "{kept} of {written}");
    let metrics = host.metrics().render().unwrap();
    let dropped = format!(r#"tapline_log_lines_dropped_total{{plugin="chatty"}} {}"#, written - kept);
    assert!(metrics.contains(&dropped), "{dropped} in\n{metrics}");
}

#[tokio::test]
async fn a_plugin_that_talks_a_lot_does_not_hide_how_its_calls_end() {
    let (lines, _guard) = Lines::capture(LevelFilter::WARN);
    // 100 lines, and a trap.
    let run = "(local.set $x (i32.const 100)) (loop $next
        (call $write (i32.const 3) (i32.const 0) (i32.const 5))
        (local.set $x (i32.sub (local.get $x) (i32.const 1)))
        (br_if $next (local.get $x))) (unreachable)";
    let breaker = BreakerSettings { enabled: false, ..BreakerSettings::default() };
    let host = host_with(HostConfig { breaker, ..HostConfig::default() }, plugin(b"hello", run)).await;
    let (mut calls, mut is_dropped) = (0, false);
    while !is_dropped {
        assert_eq!(host.dispatch(Number, &0).await.unwrap().failures.len(), 1);
        calls += 1;
        is_dropped = lines.take().iter().any(|line| line.message.starts_with("too many lines"));
        assert!(calls < 10_000, "a thousand times what is allowed");
    }
    assert_eq!(lines.of_the_host(), calls);
}

#[tokio::test]
async fn lines_that_nobody_wants_are_neither_written_nor_counted() {
    let (lines, _guard) = Lines::capture(LevelFilter::INFO);
    // 200 lines at debug, then one at info.
    let run = "(local $n i32)
        (loop $next
          (call $write (i32.const 1) (i32.const 0) (i32.const 5))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $n) (i32.const 200))))
        (call $write (i32.const 2) (i32.const 0) (i32.const 5)) (i32.const 0)";
    let host = host(plugin(b"hello", run)).await;
    call(&host, 0).await;
    let seen = lines.take();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].level, Level::INFO);
}

#[tokio::test]
async fn enabled_tells_what_the_subscriber_wants() {
    let (_lines, _guard) = Lines::capture(LevelFilter::WARN);
    let host = host(plugin(b"", "(call $enabled (local.get $x))")).await;
    let mut answers = Vec::new();
    for level in 0..5 {
        answers.push(call(&host, level).await);
    }
    assert_eq!(answers, [0, 0, 0, 1, 1]);
}

#[tokio::test]
async fn text_outside_the_guests_memory_ends_the_call_and_not_the_host() {
    let (lines, _guard) = Lines::capture(LevelFilter::INFO);
    let host =
        host(plugin(b"hello", "(call $write (i32.const 2) (i32.const -16) (i32.const 4096)) (i32.const 0)")).await;
    assert!(host.dispatch(Number, &0).await.unwrap().answers.is_empty());
    assert_eq!(lines.take(), []);
}

#[tokio::test]
async fn text_that_is_not_utf8_ends_the_call_and_is_not_logged() {
    let (lines, _guard) = Lines::capture(LevelFilter::INFO);
    let host = host(writes(b"caf\xe9")).await;
    assert!(host.dispatch(Number, &2).await.unwrap().answers.is_empty());
    assert_eq!(lines.take(), []);
}
