//! JavaScript: QuickJS through rquickjs, with JSON as its own functions read and write it.

use anyhow::{Result, anyhow};
use rquickjs::{CatchResultExt as _, Context, Function, Runtime};

use crate::way::{Clock, Way};

const SCRIPT: &str = include_str!("../scripts/item_presave.js");
const SYSTEM: &str = "QuickJS, rquickjs 0.14.0";

pub(crate) fn ways() -> Result<Vec<Way>> {
    let warm = context()?;
    let fresh = |case: &crate::Case| {
        let mut clock = Clock::start();
        let context = clock.sandbox(context)?;
        let answer = call(&context, case)?;
        clock.sandbox(|| drop(context));
        Ok(clock.stop(answer))
    };
    let kept = move |case: &crate::Case| {
        let clock = Clock::start();
        let answer = call(&warm, case)?;
        Ok(clock.stop(answer))
    };
    Ok(vec![
        Way::new("quickjs-fresh", SYSTEM, true, "a runtime for each call, the script parsed in it; JSON", fresh),
        Way::new("quickjs-warm", SYSTEM, false, "one runtime for all calls; JSON", kept),
    ])
}

/// A runtime of its own, and the script in it.
fn context() -> Result<Context> {
    let context = Context::full(&Runtime::new()?)?;
    context.with(|ctx| ctx.eval::<(), _>(SCRIPT).catch(&ctx).map_err(|error| anyhow!(error.to_string())))?;
    Ok(context)
}

fn call(context: &Context, case: &crate::Case) -> Result<tapline_content::Item> {
    let json = serde_json::to_string(&*case.item)?;
    let answer: String = context.with(|ctx| {
        let call = || ctx.globals().get::<_, Function<'_>>("item_presave")?.call((json,));
        call().catch(&ctx).map_err(|error| anyhow!(error.to_string()))
    })?;
    Ok(serde_json::from_str(&answer)?)
}
