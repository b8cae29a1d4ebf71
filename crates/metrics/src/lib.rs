//! The instruments that a host moves, their names, and the text that a scraper reads.
//!
//! [`Metrics`] owns every instrument of one host. [`INSTRUMENTS`] is the one table that says which there are: what is
//! registered, what the documentation lists and what the tests check all come from it. A *handle* ([`TapMetrics`],
//! [`PluginMetrics`], [`HostCallMetrics`], [`RouteMetrics`]) has its labels resolved once, so that recording costs a few
//! atomic additions and no lookup. The series of a plugin go when the plugin does, with its last [`SeriesLease`]. The names that other documents have given to the same figures are derived when
//! somebody looks.
//!
//! This crate knows no plugin, no engine and no HTTP: the host tells it what happened, and serves the text of
//! [`Metrics::render_as`] in a [`TextFormat`] where it likes. [`RuntimeMetrics`], [`QueueMetrics`] and [`StageSnapshot`] are the
//! same figures for programs.
//!
//! ```
//! use std::time::Duration;
//! use tapline_metrics::{Metrics, Outcome, TextFormat};
//!
//! let metrics = Metrics::new();
//! let tap = metrics.tap("seo", "item_view");
//! tap.record(Outcome::Ok, Duration::from_micros(9));
//! tap.record(Outcome::Trap, Duration::from_micros(4));
//!
//! let text = metrics.render_as(TextFormat::Prometheus)?;
//! let line = r#"tapline_tap_invocations_total{plugin="seo",tap="item_view",outcome="trap"} 1"#;
//! assert!(text.lines().any(|other| other == line));
//!
//! let seen = &metrics.tap_snapshots()[0];
//! assert_eq!((seen.invocations, seen.failures), (2, 1));
//! # Ok::<(), std::fmt::Error>(())
//! ```

mod derive;
mod handle;
mod histogram;
mod instrument;
mod label;
mod metrics;
pub mod process;
mod registry;
mod snapshot;
mod text;

pub use handle::{HostCallMetrics, PluginMetrics, RouteMetrics, TapMetrics};
pub use histogram::BUCKET_BOUNDS_NANOS;
pub use instrument::{INSTRUMENTS, Instrument, Kind, Unit, markdown};
pub use label::{CacheLevel, CompilationRefused, Deployment, LoadRefused, LogLevel, Outcome, Stage, Surface};
pub use metrics::{Metrics, PoolCounts};
pub use registry::SeriesLease;
pub use snapshot::{PluginSnapshot, QueueMetrics, RuntimeMetrics, StageSnapshot, TapSnapshot, percentile};
pub use text::TextFormat;
