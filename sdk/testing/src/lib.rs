//! Tests for plugin authors, without a host: sample items, a log that can be read and a real database.
//!
//! A function under `#[tap]` is an ordinary one, so a test calls it. This crate brings what such a test needs around it.
//! It is no host: no sandbox, no limits and no order of plugins; the demo of the project has those.
//!
//! Three nouns: a [`sample`] item, a captured [`Line`] of the log, and a [`Database`] that answers what the plugin asks.
//!
//! ```
//! use tapline_sdk::{Item, log, tap};
//! use tapline_sdk_testing::{capture_log, sample};
//!
//! #[tap]
//! fn item_delete(item: &Item) {
//!     log::info!("deleted {}", item.id());
//! }
//!
//! let lines = capture_log(|| item_delete(&sample::article()));
//! assert_eq!(lines[0].message, "deleted wasm-in-practice");
//! ```

mod database;
mod log;
pub mod sample;

pub use database::{Database, DatabaseError};
pub use log::{Line, capture_log};
