//! Rhai: the item becomes a map, and the map an item.

use anyhow::{Result, anyhow};
use rhai::{AST, Dynamic, Engine, EvalAltResult, Scope};

use crate::way::{Clock, Way};

const SCRIPT: &str = include_str!("../scripts/item_presave.rhai");

pub(crate) fn ways() -> Result<Vec<Way>> {
    let engine = Engine::new();
    let script = engine.compile(SCRIPT).map_err(|error| anyhow!(error.to_string()))?;
    let call = move |case: &crate::Case| {
        let mut clock = Clock::start();
        let mut scope = clock.sandbox(Scope::new);
        let answer = call(&engine, &script, &mut scope, case).map_err(|error| anyhow!(error.to_string()))?;
        clock.sandbox(|| drop(scope));
        Ok(clock.stop(answer))
    };
    let how = "a scope for each call, the script parsed once; maps on the host's own heap";
    Ok(vec![Way::new("rhai", "Rhai 1.27.0", true, how, call)])
}

fn call(
    engine: &Engine,
    script: &AST,
    scope: &mut Scope<'_>,
    case: &crate::Case,
) -> Result<tapline_content::Item, Box<EvalAltResult>> {
    let item = rhai::serde::to_dynamic(&*case.item)?;
    let answer: Dynamic = engine.call_fn(scope, script, "item_presave", (item,))?;
    rhai::serde::from_dynamic(&answer)
}
