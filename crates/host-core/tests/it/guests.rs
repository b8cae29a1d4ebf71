//! Plugins in the text format, and taps for them.

use std::{sync::Arc, time::Duration};

use tapline_host_core::{
    Call, CallError, CallState, Capability, Collect, First, GrantValue, Granted, Host, HostConfig, HostFault,
    Interface, PluginName, PluginSpec, Signature, Tap,
    limits::{Limits, PartialLimits},
};
use tokio::sync::Semaphore;
use tracing::Instrument;
use wasmtime::{StoreContextMut, component::Linker};

/// A tap from number to number.
pub(crate) struct Number;

pub(crate) const NUMBER: &str = "test:host/number@1.0.0";

impl Tap for Number {
    const NAME: &'static str = "number";
    const INTERFACES: &'static [Interface] = &[
        Interface { name: NUMBER, function: "run", mode: "full" },
        Interface { name: "test:host/number-lazy@1.0.0", function: "run", mode: "lazy" },
    ];
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

/// A tap that answers with text, or has none.
pub(crate) struct Text;

pub(crate) const TEXT: &str = "test:host/text@1.0.0";

impl Tap for Text {
    const NAME: &'static str = "text";
    const INTERFACES: &'static [Interface] = &[Interface { name: TEXT, function: "run", mode: "full" }];
    type Policy = First;
    type Input = ();
    type Answer = Option<String>;

    fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        signature.is::<(), (String,)>()
    }

    async fn call(call: &mut Call, (): &()) -> Result<Option<String>, CallError> {
        Ok(Some(call.invoke::<(), (String,)>(()).await?.0))
    }
}

/// A host function that waits until the test lets it go.
pub(crate) struct Gate(pub(crate) Arc<Semaphore>);

impl Capability for Gate {
    fn grant_name(&self) -> Option<&'static str> {
        Some("gate")
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["test:host/gate@1.0.0", "test:host/broken@1.0.0"]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        let gate = Arc::clone(&self.0);
        linker.instance("test:host/gate@1.0.0")?.func_wrap_async(
            "wait",
            move |store: StoreContextMut<'_, CallState>, (): ()| {
                let gate = Arc::clone(&gate);
                store.data().count_host_call();
                let span = store.data().host_call_span("gate.wait");
                let wait = async move {
                    gate.acquire().await?.forget();
                    Ok(())
                };
                Box::new(wait.instrument(span))
            },
        )?;
        // A host function with a defect, and one that cannot do its work.
        linker.instance("test:host/broken@1.0.0")?.func_wrap(
            "break",
            |_: StoreContextMut<'_, CallState>, (how,): (u32,)| -> wasmtime::Result<()> {
                assert!(how != 0, "the host is broken");
                Err(HostFault { capability: "gate", message: "it is stuck".into() }.into())
            },
        )
    }

    fn grant(&self, _: &str, value: &GrantValue) -> Result<Granted, String> {
        match value.as_str() {
            Some("open") => Ok(Arc::new(())),
            _ => Err(format!("it takes \"open\", not {value}")),
        }
    }
}

/// A component that exports `number` with this body of `(func (param i32) (result i32))`; `$count` is a global.
pub(crate) fn number(body: &str) -> Vec<u8> {
    number_with("", body)
}

/// The same with more in the core module.
pub(crate) fn number_with(module: &str, body: &str) -> Vec<u8> {
    component(&format!(
        r#"(core module $m
             (memory (export "memory") 1)
             (global $count (mut i32) (i32.const 0))
             {module}
             (func $run (export "run") (param $x i32) (result i32) {body}))
           (core instance $i (instantiate $m))
           (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "{NUMBER}" (instance $e))"#
    ))
}

/// A component that waits at the gate, then returns its input.
pub(crate) fn waiting() -> Vec<u8> {
    component(&format!(
        r#"(import "test:host/gate@1.0.0" (instance $gate (export "wait" (func))))
           (core func $wait (canon lower (func $gate "wait")))
           (core module $m
             (import "" "wait" (func $wait))
             (func (export "run") (param $x i32) (result i32) (call $wait) (local.get $x)))
           (core instance $i (instantiate $m (with "" (instance (export "wait" (func $wait))))))
           (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "{NUMBER}" (instance $e))"#
    ))
}

/// A component that calls the broken host function with its input.
pub(crate) fn breaking() -> Vec<u8> {
    component(&format!(
        r#"(import "test:host/broken@1.0.0" (instance $broken (export "break" (func (param "how" u32)))))
           (core func $break (canon lower (func $broken "break")))
           (core module $m
             (import "" "break" (func $break (param i32)))
             (func (export "run") (param $x i32) (result i32) (call $break (local.get $x)) (local.get $x)))
           (core instance $i (instantiate $m (with "" (instance (export "break" (func $break))))))
           (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "{NUMBER}" (instance $e))"#
    ))
}

/// A component that tells the host about a panic, then does what `end` says.
pub(crate) fn panicking(message: &[u8], end: &str) -> Vec<u8> {
    let text: String = message.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let length = message.len();
    component(&format!(
        r#"(import "tapline:host/diagnostics@0.1.0" (instance $host
             (export "panicked" (func (param "message" string) (param "file" string) (param "line" u32) (param "column" u32)))))
           (core module $memory (memory (export "memory") 4) (data (i32.const 0) "src/lib.rs") (data (i32.const 16) "{text}"))
           (core instance $memory (instantiate $memory))
           (core func $panicked (canon lower (func $host "panicked") (memory (core memory $memory "memory"))))
           (core module $m
             (import "" "panicked" (func $panicked (param i32 i32 i32 i32 i32 i32)))
             (func (export "run") (param $x i32) (result i32)
               (call $panicked (i32.const 16) (i32.const {length}) (i32.const 0) (i32.const 10) (i32.const 7) (i32.const 3))
               {end}))
           (core instance $i (instantiate $m (with "" (instance (export "panicked" (func $panicked))))))
           (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "{NUMBER}" (instance $e))"#
    ))
}

/// A component that answers with `length` bytes from `pointer` on.
pub(crate) fn text(pages: u32, pointer: u32, length: u32) -> Vec<u8> {
    component(&format!(
        r#"(core module $m
             (memory (export "memory") {pages})
             (data (i32.const 64) "hello")
             (func (export "run") (result i32)
               (i32.store (i32.const 0) (i32.const {pointer}))
               (i32.store (i32.const 4) (i32.const {length}))
               (i32.const 0)))
           (core instance $i (instantiate $m))
           (func $run (result string) (canon lift (core func $i "run") (memory (core memory $i "memory"))))
           (instance $e (export "run" (func $run)))
           (export "{TEXT}" (instance $e))"#
    ))
}

pub(crate) fn component(body: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {body})")).unwrap()
}

pub(crate) fn name(name: &str) -> PluginName {
    PluginName::new(name).unwrap()
}

pub(crate) fn spec(plugin: &str, bytes: Vec<u8>) -> PluginSpec {
    PluginSpec::bytes(name(plugin), bytes)
}

/// Settings for tests: a small pool, and a second for each call.
pub(crate) fn config() -> HostConfig {
    HostConfig { pool_size: 8, limits: limits(1000), ..HostConfig::default() }
}

pub(crate) fn limits(milliseconds: u64) -> Limits {
    Limits::builder().max_execution_time(Duration::from_millis(milliseconds)).build().unwrap()
}

pub(crate) fn time(milliseconds: u64) -> PartialLimits {
    PartialLimits { max_execution_time_ms: Some(milliseconds), ..PartialLimits::default() }
}

pub(crate) fn host() -> Host {
    host_with(config()).0
}

/// A host with both taps and the gate, which is closed.
pub(crate) fn host_with(config: HostConfig) -> (Host, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let builder = Host::builder().config(config).tap::<Number>().tap::<Text>();
    (builder.capability(Gate(Arc::clone(&gate))).build().unwrap(), gate)
}

/// What every test of a bad plugin ends with: the host serves a good one, and no slot is lost.
pub(crate) async fn assert_serves(host: &Host) {
    let good = name("well-behaved");
    if !host.plugins().iter().any(|plugin| *plugin.name() == good) {
        host.load(spec("well-behaved", number("(i32.add (local.get $x) (i32.const 1))"))).await.unwrap();
    }
    let answers = host.dispatch(Number, &41).await.unwrap().answers;
    assert!(answers.contains(&(good, 42)), "{answers:?}");
    assert_eq!(host.slots().0, 0, "every slot is given back");
    assert_eq!(host.memory().usage().current_pages, 0, "every page is given back");
}

/// Long enough for anything that is not stuck, short enough for a test that is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The value of a series, as a scraper reads it.
pub(crate) fn metric(host: &Host, series: &str) -> u64 {
    sample(host, series)
}

/// The same for a time.
pub(crate) fn metric_f64(host: &Host, series: &str) -> f64 {
    sample(host, series)
}

fn sample<T: std::str::FromStr<Err: std::fmt::Debug>>(host: &Host, series: &str) -> T {
    let text = host.metrics().render().unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap().parse().unwrap()
}
