//! Lua 5.4 through mlua: the item becomes a table, and the table an item.

use anyhow::{Result, anyhow};
use mlua::{Function, Lua, LuaOptions, LuaSerdeExt as _, StdLib, Value};

use crate::way::{Clock, Way};

const SCRIPT: &str = include_str!("../scripts/item_presave.lua");
const SYSTEM: &str = "Lua 5.4, mlua 0.12.2";

pub(crate) fn ways() -> Result<Vec<Way>> {
    let warm = state()?;
    let fresh = |case: &crate::Case| {
        let mut clock = Clock::start();
        let state = clock.sandbox(state)?;
        let answer = call(&state, case)?;
        clock.sandbox(|| drop(state));
        Ok(clock.stop(answer))
    };
    let kept = move |case: &crate::Case| {
        let clock = Clock::start();
        let answer = call(&warm, case)?;
        Ok(clock.stop(answer))
    };
    Ok(vec![
        Way::new("lua-fresh", SYSTEM, true, "a state for each call, the script loaded into it; tables", fresh),
        Way::new("lua-warm", SYSTEM, false, "one state for all calls; tables", kept),
    ])
}

/// What the script needs of Lua, and the script.
fn state() -> Result<(Lua, Function)> {
    let state = || {
        let lua = Lua::new_with(StdLib::STRING | StdLib::TABLE | StdLib::UTF8, LuaOptions::default())?;
        lua.load(SCRIPT).set_name("item_presave").exec()?;
        let function = lua.globals().get("item_presave")?;
        Ok((lua, function))
    };
    state().map_err(owned)
}

fn call((lua, function): &(Lua, Function), case: &crate::Case) -> Result<tapline_content::Item> {
    let call = || {
        let answer: Value = function.call(lua.to_value(&*case.item)?)?;
        lua.from_value(answer)
    };
    call().map_err(owned)
}

/// An error of Lua that has left its state.
fn owned(error: mlua::Error) -> anyhow::Error {
    anyhow!(error.to_string())
}
