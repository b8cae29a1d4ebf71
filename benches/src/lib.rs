//! Benches of the hot paths, each with bare wasmtime as its control.
//!
//! The control calls the same component bytes with the same engine settings, the same arguments and the same types, and
//! nothing else: no limiter, no deadline, no queue, no metrics, no folding. What our layers cost is then a ratio that is
//! taken in one run.
//!
//! `cargo xtask build-plugins` makes the components that the benches call. [`gates`] is what `cargo xtask gates` runs; it
//! measures, and [`report`] keeps what it found, [`document`] and [`charts`] show it.

pub mod bare;
pub mod charts;
pub mod control;
pub mod document;
pub mod gates;
pub mod guard;
pub mod items;
pub mod machine;
pub mod measure;
pub mod peers;
pub mod phase_zero;
pub mod report;
pub mod spec;
pub mod stats;
pub mod taps;

use std::{path::PathBuf, sync::Arc};

use tapline_content::Item;
use tapline_host_core::{Host, HostConfig, HostError, LoadError, PluginName, PluginSpec};
use tapline_sdk_testing::sample;

/// The plugin that gets the whole item.
pub const FULL: &str = "teaser";
/// The plugin that gets a handle.
pub const LAZY: &str = "teaser-lazy";

/// The payload of the benches: the sample article, 14 fields, about 2.4 KB as JSON.
///
/// # Panics
///
/// The sample breaks a rule of items.
#[must_use]
#[expect(clippy::expect_used, reason = "the sample is part of this repository")]
pub fn article() -> Arc<Item> {
    items::host_item(&sample::article()).expect("the sample is an item")
}

/// Where `cargo xtask build-plugins` puts a plugin.
#[must_use]
pub fn plugin_path(plugin: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/plugins")).join(format!("{plugin}.wasm"))
}

/// Where it puts a guest of the benches.
#[must_use]
pub fn guest_path(guest: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/guests")).join(format!("{guest}.wasm"))
}

/// A host with one plugin.
///
/// # Errors
///
/// The host cannot be built, or the plugin was not built; see [`plugin_path`].
pub async fn host_with(config: HostConfig, plugin: &str) -> Result<Host, Box<dyn std::error::Error>> {
    let host: Result<Host, HostError> = tapline_content::register(Host::builder().config(config)).build();
    let host = host?;
    let loaded: Result<_, LoadError> = host.load(PluginSpec::file(PluginName::new(plugin)?, plugin_path(plugin))).await;
    loaded?;
    Ok(host)
}
