//! The WASI capabilities: directories, network addresses, clocks and random bytes, each by grant and nothing beside it.
//!
//! A plugin that is built with the standard adapter imports `wasi:*` interfaces. These come from `wasmtime-wasi`, behind
//! limits of our own. Each group of them is a capability, so that an operator grants what a plugin needs and a host can
//! leave one out, or put its own in its place:
//!
//! | capability | grant | gives |
//! |---|---|---|
//! | [`Standard`] | none | output becomes log lines; input, arguments and environment are empty; exiting ends the call |
//! | [`Environment`] | `environment` | environment variables, each by its name |
//! | [`Files`] | `files` | named directories, to read or to write |
//! | [`Network`] | `network` | TCP connections to named hosts and ports |
//! | [`Clocks`] | `clocks` | the time, and waiting |
//! | [`Random`] | `random` | random bytes |
//!
//! A sealed plugin imports none of this and gets none of it. Each call of one of these functions counts as a host call of
//! the plugin's call; how long it took is not recorded. What a limit or a grant refuses is counted in
//! `tapline_host_call_refusals_total`, by plugin and by the name of the grant.
//!
//! ```
//! use tapline_host_core::{Host, HostConfig};
//!
//! let config = HostConfig { pool_size: 1, ..HostConfig::default() };
//! let host = tapline_host_wasi::register(Host::builder().config(config)).build()?;
//! assert!(host.plugins().is_empty());
//! # Ok::<(), tapline_host_core::HostError>(())
//! ```

mod ambient;
mod config;
mod error;
mod files;
mod network;
mod places;
mod standard;

pub use ambient::{Clocks, Random};
pub use config::{
    DEFAULT_MAX_FILE_SIZE, DEFAULT_MAX_OPEN_FILES, MAX_CONNECTIONS, MAX_DIRECTORY_ENTRIES, MAX_FILE_OPERATIONS,
    MAX_FILE_STREAMS, MAX_LOOKUPS, MAX_LOOKUPS_AT_ONCE, MAX_RANDOM_BYTES,
};
pub use error::GrantError;
pub use files::Files;
pub use network::{Network, Resolve};
pub use standard::{Environment, Standard};

use tapline_host_core::HostBuilder;

/// Offers all of them, with names looked up as the system does.
#[must_use]
pub fn register(builder: HostBuilder) -> HostBuilder {
    let builder = builder.capability(Standard).capability(Environment).capability(Files);
    builder.capability(Network::default()).capability(Clocks).capability(Random)
}
