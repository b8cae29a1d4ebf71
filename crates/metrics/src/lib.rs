//! The instruments that a host moves, their names, and the text that a scraper reads.
//!
//! [`Metrics`] owns every instrument of one host. [`INSTRUMENTS`] is the one table that says which there are: what is
//! registered, what the documentation lists and what the tests check all come from it. A *handle* ([`TapMetrics`],
//! [`PluginMetrics`], [`HostCallMetrics`]) has its labels resolved once, so that recording costs a few atomic
//! additions and no lookup.
//!
//! This crate knows no plugin, no engine and no HTTP: the host tells it what happened, and serves the text of
//! [`Metrics::render`] as [`CONTENT_TYPE`] where it likes.
//!
//! ```
//! use std::time::Duration;
//! use tapline_metrics::{Metrics, Outcome};
//!
//! let metrics = Metrics::new();
//! let tap = metrics.tap("seo", "item_view");
//! tap.record(Outcome::Ok, Duration::from_micros(9));
//! tap.record(Outcome::Trap, Duration::from_micros(4));
//!
//! let text = metrics.render()?;
//! let line = r#"tapline_tap_invocations_total{plugin="seo",tap="item_view",outcome="trap"} 1"#;
//! assert!(text.lines().any(|other| other == line));
//!
//! let seen = &metrics.tap_snapshots()[0];
//! assert_eq!((seen.invocations, seen.failures), (2, 1));
//! # Ok::<(), std::fmt::Error>(())
//! ```

mod handle;
mod histogram;
mod instrument;
mod label;
mod metrics;
mod registry;

pub use handle::{HostCallMetrics, PluginMetrics, TapMetrics};
pub use histogram::BUCKET_BOUNDS_NANOS;
pub use instrument::{INSTRUMENTS, Instrument, Kind, Unit};
pub use label::{CacheLevel, CompilationRefused, LogLevel, Outcome};
pub use metrics::{CONTENT_TYPE, Metrics, PoolCounts, TapSnapshot};
