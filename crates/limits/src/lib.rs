//! How much one call of a plugin may use: limits as data, presets, profiles and the store limiter.
//!
//! The figures live here and most of the enforcing does not: each getter of [`Limits`] says who holds a plugin to it.
//! The exception is [`StoreLimiter`], which the engine asks before a memory or a table grows. Nothing here stops a
//! loop or cuts a wait short; the host's deadline does that.
//!
//! - [`Limits`]: valid by construction, through [`LimitsBuilder`] or, from a configuration file, [`PartialLimits`].
//! - [`Preset`]: limits by name for one kind of plugin; [`Profile`]: settings by name for a whole host.
//! - [`StoreLimiter`] and [`MemoryTracker`]: what one store, and all stores together, use of their memory.
//!
//! ```
//! use tapline_limits::{Limits, Preset, StoreLimiter};
//! use wasmtime::{Engine, Instance, Module, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limits = Limits::builder().max_memory_bytes(2 * 65_536).build()?.smallest(Preset::Tap.limits());
//! let engine = Engine::default();
//! let mut store = Store::new(&engine, StoreLimiter::new(&limits));
//! store.limiter(|limiter| limiter);
//!
//! let bytes = wat::parse_str(r#"(module (memory (export "memory") 1))"#)?;
//! let instance = Instance::new(&mut store, &Module::new(&engine, bytes)?, &[])?;
//! let memory = instance.get_memory(&mut store, "memory").ok_or("no memory")?;
//! memory.grow(&mut store, 1)?;
//! assert!(memory.grow(&mut store, 1).is_err());
//! assert_eq!(
//!     store.data().refused().map(|refusal| refusal.to_string()).as_deref(),
//!     Some("196608 bytes of memory asked for, 131072 allowed"),
//! );
//! # Ok(())
//! # }
//! ```

mod builder;
mod error;
mod limiter;
mod limits;
mod preset;
mod profile;
mod tracker;

pub use builder::{LimitsBuilder, PartialLimits};
pub use error::LimitsError;
pub use limiter::{MAX_TABLES, Refusal, RefusalKind, StoreLimiter};
pub use limits::{
    DEFAULT_FUEL_LIMIT, DEFAULT_MAX_EXECUTION_TIME_MS, DEFAULT_MAX_FUNCTIONS, DEFAULT_MAX_INSTANCES,
    DEFAULT_MAX_MEMORIES, DEFAULT_MAX_MEMORY_BYTES, DEFAULT_MAX_STACK_SIZE_BYTES, DEFAULT_MAX_TABLE_ELEMENTS, Limits,
};
pub use preset::Preset;
pub use profile::{Profile, ProfileSettings};
pub use tracker::{MemoryTracker, MemoryUsage, PAGE_BYTES};
