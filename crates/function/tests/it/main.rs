//! Functions by name, through a real host.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod benchmark;
mod errors;
mod examples;
mod hostile;
mod numbers;
mod sandbox;
mod values;

use tapline_function::{Module, Runtime, Sandbox};
use tapline_host_core::{
    Host, HostConfig,
    limits::{Limits, LimitsBuilder},
};

/// A core module with functions of numbers, also one whose name is no name of a component.
const NUMBERS: &str = r#"(module
    (func $fibonacci (export "fibonacci") (param i32) (result i64)
        (if (result i64) (i32.lt_u (local.get 0) (i32.const 2))
            (then (i64.extend_i32_u (local.get 0)))
            (else (i64.add (call $fibonacci (i32.sub (local.get 0) (i32.const 1)))
                           (call $fibonacci (i32.sub (local.get 0) (i32.const 2)))))))
    (func (export "Half_Of") (param f64) (result f64) (f64.div (local.get 0) (f64.const 2)))
    (func (export "mean") (param f32 f32) (result f32)
        (f32.div (f32.add (local.get 0) (local.get 1)) (f32.const 2)))
    (func $divide (export "divide") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
    (func (export "nothing"))
    (func (export "pair") (result i32 i32) (i32.const 1) (i32.const 2))
    (func (export "vector") (result v128) (v128.const i64x2 1 2)))"#;

fn config(limits: Limits) -> HostConfig {
    HostConfig { pool_size: 4, limits, ..HostConfig::default() }
}

fn runtime_with(config: HostConfig, sandbox: Sandbox) -> Runtime {
    Runtime::new(tapline_host_wasi::register(Host::builder().config(config)), sandbox).unwrap()
}

fn runtime() -> Runtime {
    runtime_with(config(Limits::default()), Sandbox::default())
}

fn limited(limits: LimitsBuilder) -> Runtime {
    runtime_with(config(limits.build().unwrap()), Sandbox::default())
}

async fn load(runtime: &Runtime, name: &str, text: &str) -> Module {
    runtime.load(name, wat::parse_str(text).unwrap(), None).await.unwrap()
}

/// An error with its causes and its hint, as a program shows them.
fn shown(error: &tapline_function::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!("\n  because: {error}");
        cause = error.source();
    }
    format!("{text}\n  hint: {}\n", error.hint().unwrap_or_default())
}
