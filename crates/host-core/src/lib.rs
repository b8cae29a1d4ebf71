//! The engine that loads plugins, checks them, and calls their taps on fresh memory under limits that hold.
//!
//! This is what a host integrator depends on. It knows no item, no tap by name and no database: taps are types that
//! implement [`Tap`], host functions come from a [`Capability`]. The content taps of the `tapline` program are built on
//! the same public interface as anybody's.
//!
//! - [`Host`] is set up once, loads plugins and dispatches taps.
//! - [`Tap`] describes an extension point: its WIT interfaces, its types, and how answers fold.
//! - [`Capability`] is a group of host functions that an operator grants by name.
//! - [`Functions`] are the exports of a component that is no plugin: called by name, with dynamic arguments.
//!
//! Errors say who is at fault: [`LoadError`] when a plugin is refused, [`CallError`] when one handler does not answer,
//! [`HostError`] when a host cannot be set up.
//!
//! ```
//! use tapline_host_core::{Call, CallError, Collect, Host, HostConfig, Interface, Signature, Tap};
//!
//! struct Greet;
//!
//! impl Tap for Greet {
//!     const NAME: &'static str = "greet";
//!     const INTERFACES: &'static [Interface] =
//!         &[Interface { name: "acme:hello/greet@1.0.0", function: "greet", mode: "full" }];
//!     type Policy = Collect;
//!     type Input = str;
//!     type Answer = String;
//!
//!     fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
//!         signature.is::<(&str,), (String,)>()
//!     }
//!
//!     async fn call(call: &mut Call, name: &str) -> Result<String, CallError> {
//!         Ok(call.invoke::<(&str,), (String,)>((name,)).await?.0)
//!     }
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let config = HostConfig { pool_size: 10, ..HostConfig::default() };
//! let host = Host::builder().config(config).tap::<Greet>().build()?;
//! let greetings = host.dispatch(Greet, "world").await?;
//! assert!(greetings.answers.is_empty(), "no plugin is loaded yet");
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(run()).unwrap();
//! ```
//!
//! `examples/own_tap.rs` shows a whole host with a tap of its own, and `plugins/discount` a plugin for it.

mod ahead;
mod breaker;
mod bringing;
mod call;
mod capability;
mod code;
mod compile;
mod config;
mod diagnostics;
mod dispatch;
mod engine;
mod error;
mod exported;
mod functions;
mod host;
mod idle;
mod load;
mod log_rate;
mod manifest;
mod needs;
mod nesting;
mod observe;
mod performance;
mod plugin;
mod pressure;
mod profile;
mod read;
mod readable;
mod reload;
mod reuse;
mod runtime;
mod slots;
mod stages;
mod state;
mod stock;
mod swap;
mod tap;
mod text;
mod told;
mod trace;
mod typed;

pub use ahead::ReadPlugins;
pub use breaker::BreakerStatus;
pub use bringing::CodeFailure;
pub use call::Call;
pub use capability::{Capability, GrantValue, Granted, Reach};
pub use compile::{
    Compilation, CompileWorker, DEFAULT_COMPILE_MEMORY_BYTES, DEFAULT_COMPILE_TIMEOUT, DEFAULT_MAX_COMPILATIONS,
    DEFAULT_MAX_COMPONENT_BYTES, DEFAULT_MAX_FUNCTION_BYTES, code_fingerprints, compile_worker,
};
pub use config::{
    DEFAULT_CACHE_SIZE, DEFAULT_INITIAL_POOL_SIZE, DEFAULT_MAX_ANSWER_BYTES, DEFAULT_MAX_HANDLES, DEFAULT_MAX_WAIT,
    DEFAULT_MAX_WAITING, DEFAULT_PLUGIN_SHARE_PERCENT, DEFAULT_POOL_SIZE, DEFAULT_SLOW_CALL, HostConfig, Optimisation,
    PagemapScan,
};
pub use diagnostics::GuestOutput;
pub use dispatch::{Alter, Change, Collect, Contributions, Decision, First, Fold, Handlers, Notify, Vote};
pub use engine::{EPOCH_TICK, EngineFacts, engine_config};
pub use error::{CallError, Fault, GuestPanic, HostError, HostFault, LoadError, NotOnDisk, Party, is_scarcity};
pub use exported::{Answered, Function, Functions, LoadTimes, MAX_FUNCTIONS};
pub use functions::{FunctionPattern, PatternError};
pub use host::{Host, HostBuilder, PoolMetrics};
pub use log_rate::MAX_LOG_LINES_PER_SECOND;
pub use manifest::{Manifest, TAPS_SECTION, TapPlacement, TapRecord};
pub use nesting::MAX_NESTED_CALLS;
pub use observe::{MAX_OBSERVATIONS, Observation, Used, observed};
pub use performance::{Measured, PerformanceValidation, Target};
pub use plugin::{Plugin, PluginSource, PluginSpec};
pub use profile::{MAX_PROFILE_BYTES, Profile};
pub use read::read_component;
pub use reload::{Applied, Refused};
pub use reuse::{MAX_USES, Reuse};
pub use state::CallState;
pub use stock::Stock;
pub use swap::swap_is_impossible;
pub use tap::{Interface, Signature, Tap};
pub use tapline_cache as cache;
pub use tapline_limits as limits;
pub use tapline_metrics as metrics;
pub use tapline_tap_dispatch::{
    Ballot, BreakerError, BreakerSettings, BreakerState, Contract, NameError, OnFailure, Order, Override,
    PartialBreaker, Placement, PluginName, Policy, TapName,
};
pub use text::{causes, cut, escape};
pub use told::RefusedChange;
pub use trace::{MAX_HOST_CALL_SPANS, TRACE_TARGET};
