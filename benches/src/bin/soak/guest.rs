//! The guests in the text format, their taps, and the host function that makes them wait.

use tapline_host_core::{
    Call, CallError, CallState, Capability, Collect, Interface, PluginName, PluginSpec, Signature, Tap,
    limits::PartialLimits,
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
    let time = PartialLimits { max_execution_time_ms: Some(5), ..PartialLimits::default() };
    let plugin = |name: &str, text: &str| -> Result<PluginSpec, Box<dyn std::error::Error>> {
        Ok(PluginSpec::bytes(PluginName::new(name)?, wat::parse_str(text)?))
    };
    Ok(vec![
        plugin(Act::NAME, ACT)?,
        plugin(Spin::NAME, &spinning("spin"))?.limits(time),
        plugin(Endless::NAME, &spinning("endless"))?,
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
