//! Extism: a core module with JSON through its memory.

use std::{cell::RefCell, path::PathBuf, rc::Rc};

use anyhow::{Context as _, Result};
use extism::{CompiledPlugin, Manifest, Plugin, PluginBuilder, Wasm};

use crate::way::{Clock, Way};

/// Where `cargo xtask peers` puts the guest.
const GUEST: &str = "../../target/peers/wasm32-wasip1/plugin/tapline_peer_guests.wasm";
const FUNCTION: &str = "item_presave";
const SYSTEM: &str = "Extism 1.21.0";

pub(crate) fn ways() -> Result<Vec<Way>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(GUEST);
    let guest = std::fs::read(&path)
        // Not the path: what is missing is said in a report that others read.
        .context("its guest is missing: `cargo xtask peers` builds it")?;
    // Compiled once, and not looked for on disk: neither is part of a call. All else is as Extism has it by default.
    let builder = PluginBuilder::new(Manifest::new([Wasm::data(guest)])).with_wasi(true).with_cache_disabled();
    let compiled = Rc::new(CompiledPlugin::new(builder)?);
    let warm = RefCell::new(Plugin::new_from_compiled(&compiled)?);
    let fresh = move |case: &crate::Case| {
        let mut clock = Clock::start();
        let mut plugin = clock.sandbox(|| Plugin::new_from_compiled(&compiled))?;
        let answer = call(&mut plugin, case)?;
        clock.sandbox(|| drop(plugin));
        Ok(clock.stop(answer))
    };
    let kept = move |case: &crate::Case| {
        let clock = Clock::start();
        let answer = call(&mut *warm.try_borrow_mut()?, case)?;
        Ok(clock.stop(answer))
    };
    Ok(vec![
        Way::new("extism-fresh", SYSTEM, true, "an instance for each call, from the compiled plugin; JSON", fresh),
        Way::new("extism-warm", SYSTEM, false, "one instance for all calls; JSON", kept),
    ])
}

fn call(plugin: &mut Plugin, case: &crate::Case) -> Result<tapline_content::Item> {
    let json = serde_json::to_string(&*case.item)?;
    let answer = plugin.call::<&str, &str>(FUNCTION, &json)?;
    Ok(serde_json::from_str(answer)?)
}
