//! How large plugins are, as components and compiled.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use tapline_host_core::{HostConfig, engine_config, swap_is_impossible};
use wasmtime::Engine;

use crate::bare::Ours as _;

/// The size of every `*.wasm` in a directory, and of what the engine makes of it.
///
/// # Errors
///
/// There is none, or one is no component.
pub fn measure(plugins: &Path) -> Result<BTreeMap<String, f64>> {
    let build = || format!("no plugins in {}: run `cargo xtask build-plugins`", plugins.display());
    let engine = Engine::new(&engine_config(&HostConfig::default(), false, swap_is_impossible())?).ours()?;
    let mut values = BTreeMap::new();
    for entry in fs::read_dir(plugins).with_context(build)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let component = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let compiled = engine.precompile_component(&component).ours().with_context(|| path.display().to_string())?;
        values.insert(format!("artifact.{name}"), component.len() as f64);
        values.insert(format!("compiled.{name}"), compiled.len() as f64);
    }
    ensure!(!values.is_empty(), build());
    Ok(values)
}
