//! Any exported function of a component or a core module, called by its name under the limits that plugins have.
//!
//! - [`Runtime`] is set up once: a host, and a [`Sandbox`] that says what modules may reach. It loads modules, measures, and is
//!   closed.
//! - [`Module`] is loaded from a file or from bytes. Its functions are called as people write them, `fibonacci(10)`, or with
//!   [`Val`]s.
//! - [`Error`] says who is at fault, and has a hint where there is something to do.
//!
//! A core module becomes a component first, which exports its functions: so both go through the one engine, cache, compile
//! worker, pool and store constructor of `tapline-host-core`, and there is no second set of limits. Arguments and results are
//! written in WAVE, the text format of component values.
//!
//! This crate knows no tap, and grants nothing by itself: what a sandbox allows is served by the capabilities of its host.
//!
//! ```
//! use tapline_function::{Runtime, Sandbox};
//! use tapline_host_core::{Host, HostConfig};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let config = HostConfig { pool_size: 4, ..HostConfig::default() };
//! let runtime = Runtime::new(Host::builder().config(config), Sandbox::default())?;
//! let wasm = wat::parse_str(
//!     r#"(module (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))"#,
//! )?;
//! let module = runtime.load("calculator", wasm, None).await?;
//! assert_eq!(module.call("add(40, 2)").await?.text(), "42");
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(run())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod benchmark;
mod call;
mod error;
mod metrics;
mod module;
mod runtime;
mod sandbox;
mod signature;
mod value;

pub use benchmark::{BenchmarkResults, MIN_ITERATIONS, Percentiles};
pub use error::Error;
pub use module::{Answer, Module};
pub use runtime::Runtime;
pub use sandbox::{Access, Directory, Sandbox, SyscallPattern};
pub use tapline_host_core::{PerformanceValidation, Target};
pub use value::to_text;
pub use wasmtime::component::Val;
