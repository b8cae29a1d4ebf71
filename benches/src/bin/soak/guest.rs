//! The guests in the text format, their taps, and the host function that makes them wait.

use std::sync::{Arc, OnceLock};

use tapline_host_core::{
    Call, CallError, CallState, Capability, Collect, Host, HostFault, Interface, PluginName, PluginSpec, Reuse,
    Signature, Stock, Tap, limits::PartialLimits,
};
use wasmtime::{StoreContextMut, component::Linker};

/// What the guest of [`Act`] answers.
pub(crate) const ANSWER: &str = "hello";

/// Declares a tap from a number to text.
macro_rules! tap {
    ($(#[$doc:meta])* $tap:ident, $name:literal, $interface:literal) => {
        $(#[$doc])*
        pub(crate) struct $tap;

        impl Tap for $tap {
            const NAME: &'static str = $name;
            const INTERFACES: &'static [Interface] = &[Interface { name: $interface, function: "run", mode: "full" }];
            type Policy = Collect;
            type Input = u32;
            type Answer = String;

            fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
                signature.is::<(u32,), (String,)>()
            }

            async fn call(call: &mut Call, input: &u32) -> Result<String, CallError> {
                Ok(call.invoke::<(u32,), (String,)>((*input,)).await?.0)
            }
        }
    };
}

tap!(
    /// Waits for a moment, then does what the number says.
    Act,
    "act",
    "soak:guest/act"
);
tap!(
    /// Runs until its deadline, which is near.
    Spin,
    "spin",
    "soak:guest/spin"
);
tap!(
    /// Runs until its caller goes away.
    Endless,
    "endless",
    "soak:guest/endless"
);

tap!(
    /// Runs until its fuel is used up, of which it has little.
    Burn,
    "burn",
    "soak:guest/burn"
);
tap!(
    /// Has the host fail: 0 with an error, 1 with a panic, 2 by never coming back.
    Fail,
    "fail",
    "soak:guest/fail"
);
tap!(
    /// Calls itself through the host, for which it has no place: one call of it may run.
    Busy,
    "busy",
    "soak:guest/busy"
);
tap!(
    /// Answers, on an instance that others have used.
    Reused,
    "reused",
    "soak:guest/reused"
);
tap!(
    /// Answers, on an instance that was made ahead.
    Stocked,
    "stocked",
    "soak:guest/stocked"
);

/// Host functions that fail, and one that dispatches a tap.
#[derive(Clone, Default)]
pub(crate) struct Helper(Arc<OnceLock<Host>>);

/// What the host panics with when it is asked to.
const DEFECT: &str = "a defect of the host, as asked";

impl Helper {
    /// The host whose taps it dispatches.
    pub(crate) fn serve(&self, host: &Host) {
        let _is_set = self.0.set(host.clone());
    }
}

/// Leaves the panics out of the log that are asked for.
pub(crate) fn quiet_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some(DEFECT) {
            usual(panic);
        }
    }));
}

impl Capability for Helper {
    fn grant_name(&self) -> Option<&'static str> {
        None
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["soak:host/helper"]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        let mut instance = linker.instance("soak:host/helper")?;
        instance.func_wrap_async("fail", |_: StoreContextMut<'_, CallState>, (how,): (u32,)| {
            Box::new(async move {
                match how {
                    0 => Err(HostFault { capability: "helper", message: "as asked".into() }.into()),
                    #[expect(clippy::panic, reason = "that is what it is asked for")]
                    1 => panic!("{DEFECT}"),
                    _ => std::future::pending::<wasmtime::Result<()>>().await,
                }
            })
        })?;
        let host = Arc::clone(&self.0);
        instance.func_wrap_async("busy", move |_: StoreContextMut<'_, CallState>, (x,): (u32,)| {
            let host = host.get().cloned();
            Box::new(async move {
                let Some(host) = host else { return Ok(()) };
                let outcome = host.dispatch(Busy, &x).await?;
                // Who makes the call counts it as one that found no place: see `Calls::make`.
                wasmtime::ensure!(outcome.answers.is_empty(), "two calls of a plugin ran that may run one");
                Ok(())
            })
        })
    }
}

/// Lets everybody else run first, so that as many instances are alive as there are slots.
pub(crate) struct Pause;

impl Capability for Pause {
    fn grant_name(&self) -> Option<&'static str> {
        None
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["soak:host/pause"]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        linker.instance("soak:host/pause")?.func_wrap_async("pause", |_: StoreContextMut<'_, CallState>, (): ()| {
            Box::new(async {
                tokio::task::yield_now().await;
                Ok(())
            })
        })
    }
}

/// The plugins in the text format: one for each tap, named as it.
pub(crate) fn plugins() -> Result<Vec<PluginSpec>, Box<dyn std::error::Error>> {
    // The first panic of a host function takes some milliseconds.
    let longer = PartialLimits { max_execution_time_ms: Some(100), ..PartialLimits::default() };
    let time = PartialLimits { max_execution_time_ms: Some(5), ..PartialLimits::default() };
    let plugin = |name: &str, text: &str| -> Result<PluginSpec, Box<dyn std::error::Error>> {
        Ok(PluginSpec::bytes(PluginName::new(name)?, wat::parse_str(text)?))
    };
    let fuel = PartialLimits { enable_fuel_metering: Some(true), fuel_limit: Some(10_000), ..PartialLimits::default() };
    let mut busy = plugin(Busy::NAME, &asking("busy"))?;
    busy.max_concurrent_calls = Some(1);
    let mut reused = plugin(Reused::NAME, &answering("reused"))?;
    reused.reuse = Some(Reuse { max_uses: 50, ..Reuse::default() });
    let mut stocked = plugin(Stocked::NAME, &answering("stocked"))?;
    stocked.stock = Some(Stock::default());
    Ok(vec![
        plugin(Act::NAME, ACT)?,
        plugin(Spin::NAME, &spinning("spin"))?.limits(time),
        plugin(Endless::NAME, &spinning("endless"))?,
        plugin(Burn::NAME, &spinning("burn"))?.limits(fuel),
        plugin(Fail::NAME, &asking("fail"))?.limits(longer),
        busy,
        reused,
        stocked,
    ])
}

/// The number says which fault; any other is a good call. See `FAULTS` in `calls.rs`.
const ACT: &str = r#"
(component
  (import "tapline:host/diagnostics@0.1.0" (instance $host
    (export "panicked" (func (param "message" string) (param "file" string) (param "line" u32) (param "column" u32)))))
  (import "soak:host/pause" (instance $pause (export "pause" (func))))
  (core module $memory
    (memory (export "memory") 1)
    (data (i32.const 64) "hello") (data (i32.const 128) "\ff\fe"))
  (core instance $memory (instantiate $memory))
  (core func $panicked (canon lower (func $host "panicked") (memory (core memory $memory "memory"))))
  (core func $pause (canon lower (func $pause "pause")))
  (core module $m
    (import "" "memory" (memory 1))
    (import "" "panicked" (func $panicked (param i32 i32 i32 i32 i32 i32)))
    (import "" "pause" (func $pause))
    (table 1 funcref)
    (func $recurse (param i32) (result i32) (i32.add (call $recurse (local.get 0)) (i32.const 1)))
    (func $answer (param $pointer i32) (param $length i32) (result i32)
      (i32.store (i32.const 0) (local.get $pointer))
      (i32.store (i32.const 4) (local.get $length))
      (i32.const 0))
    (func (export "run") (param $x i32) (result i32)
      (call $pause)
      (block $report (block $grow (block $text (block $pointer (block $indirect (block $bounds (block $divide (block $deep
        (block $trap (block $good
          (br_table $good $trap $deep $divide $bounds $indirect $pointer $text $grow $report $good (local.get $x)))
          (return (call $answer (i32.const 64) (i32.const 5))))
          unreachable)
          (return (call $recurse (local.get $x))))
          (return (i32.div_u (local.get $x) (i32.const 0))))
          (return (i32.load (i32.const -8))))
          (call_indirect (i32.const 0)) (return (i32.const 0)))
          (return (call $answer (i32.const 0x7fffffff) (i32.const 5))))
          (return (call $answer (i32.const 128) (i32.const 2))))
          (drop (memory.grow (i32.const 60000))) unreachable)
      (call $panicked (i32.const 64) (i32.const 5) (i32.const 64) (i32.const 5) (i32.const 1) (i32.const 1))
      unreachable))
  (core instance $i (instantiate $m (with "" (instance
    (export "memory" (memory $memory "memory"))
    (export "panicked" (func $panicked))
    (export "pause" (func $pause))))))
  (func $run (param "x" u32) (result string)
    (canon lift (core func $i "run") (memory (core memory $memory "memory"))))
  (instance $e (export "run" (func $run)))
  (export "soak:guest/act" (instance $e)))
"#;

/// Calls the host function that has the tap's name, and then answers.
fn asking(tap: &str) -> String {
    format!(
        r#"(component
             (import "soak:host/helper" (instance $host (export "{tap}" (func (param "x" u32)))))
             (core func $ask (canon lower (func $host "{tap}")))
             (core module $m
               (import "" "ask" (func $ask (param i32)))
               (memory (export "memory") 1)
               (data (i32.const 64) "hello")
               (func (export "run") (param $x i32) (result i32)
                 (call $ask (local.get $x))
                 (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 5)) (i32.const 0)))
             (core instance $i (instantiate $m (with "" (instance (export "ask" (func $ask))))))
             (func $run (param "x" u32) (result string)
               (canon lift (core func $i "run") (memory (core memory $i "memory"))))
             (instance $e (export "run" (func $run)))
             (export "soak:guest/{tap}" (instance $e)))"#
    )
}

/// Answers at once.
fn answering(tap: &str) -> String {
    format!(
        r#"(component
             (core module $m
               (memory (export "memory") 1)
               (data (i32.const 64) "hello")
               (func (export "run") (param i32) (result i32)
                 (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 5)) (i32.const 0)))
             (core instance $i (instantiate $m))
             (func $run (param "x" u32) (result string)
               (canon lift (core func $i "run") (memory (core memory $i "memory"))))
             (instance $e (export "run" (func $run)))
             (export "soak:guest/{tap}" (instance $e)))"#
    )
}

/// Never comes back.
fn spinning(tap: &str) -> String {
    format!(
        r#"(component
             (core module $m
               (memory (export "memory") 1)
               (func (export "run") (param i32) (result i32) (loop $again (br $again)) (unreachable)))
             (core instance $i (instantiate $m))
             (func $run (param "x" u32) (result string)
               (canon lift (core func $i "run") (memory (core memory $i "memory"))))
             (instance $e (export "run" (func $run)))
             (export "soak:guest/{tap}" (instance $e)))"#
    )
}
