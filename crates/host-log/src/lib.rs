//! The log capability: what a plugin logs becomes the host's own events.
//!
//! [`Log`] offers the interface `tapline:host/log@0.1.0`. It carries no authority, so no operator grants it: a host
//! that adds it offers it to every plugin.
//!
//! A line becomes a [`tracing`] event with the target [`TARGET`] and the fields `plugin` and `tap`, which the host
//! fills in. The guest's text is the message and nothing else: a guest cannot name another plugin, start a second
//! line, or send a sequence that a terminal obeys. It is no log file and no filter: where events go, and which are
//! kept, is up to the program's subscriber.
//!
//! ```
//! use tapline_host_core::{Host, HostConfig};
//! use tapline_host_log::Log;
//!
//! let config = HostConfig { pool_size: 1, ..HostConfig::default() };
//! let host = Host::builder().config(config).capability(Log).build()?;
//! assert!(host.plugins().is_empty());
//! # Ok::<(), tapline_host_core::HostError>(())
//! ```

mod config;
mod host;

pub use config::{MAX_LINE_BYTES, MAX_LINES, TARGET};
pub use host::Log;
