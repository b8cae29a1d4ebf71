//! One plugin that calls another, through a host function.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use tapline_host_core::{CallState, Capability, Host, HostConfig, Tap};
use wasmtime::{StoreContextMut, component::Linker};

use super::{Run, builder, on_one_thread, spec, wasm};
use crate::{
    measure::nanoseconds,
    stats,
    taps::{Clock, Idle, number_tap},
};

const INTERFACE: &str = "bench:nested/other@1.0.0";

number_tap!(Outer, "outer", "bench:nested/outer@1.0.0", "run");

/// Dispatches a tap of the same host, and keeps how long that took.
#[derive(Clone, Default)]
struct Other {
    host: Arc<OnceLock<Host>>,
    took: Arc<Mutex<Vec<f64>>>,
}

impl Capability for Other {
    fn grant_name(&self) -> Option<&'static str> {
        None
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &[INTERFACE]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        let other = self.clone();
        linker.instance(INTERFACE)?.func_wrap_async("call", move |_: StoreContextMut<'_, CallState>, (x,): (u32,)| {
            let other = other.clone();
            Box::new(async move {
                let start = Instant::now();
                let Some(host) = other.host.get() else { wasmtime::bail!("there is no host yet") };
                let outcome = host.dispatch(Idle, &x).await?;
                let took = nanoseconds(start);
                other.took.lock().unwrap_or_else(PoisonError::into_inner).push(took);
                let answered = outcome.answers.first().map(|(_, answer)| *answer);
                answered.map(|answer| (answer,)).ok_or_else(|| wasmtime::format_err!("{:?}", outcome.failures))
            })
        })
    }
}

/// Returns what the other plugin makes of its argument.
fn guest() -> Result<Vec<u8>> {
    Ok(wat::parse_str(format!(
        r#"(component
             (import "{INTERFACE}" (instance $other (export "call" (func (param "x" u32) (result u32)))))
             (core func $call (canon lower (func $other "call")))
             (core module $m
               (import "" "call" (func $call (param i32) (result i32)))
               (memory 1)
               (func (export "run") (param $x i32) (result i32) (call $call (local.get $x))))
             (core instance $i (instantiate $m (with "" (instance (export "call" (func $call))))))
             (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
             (instance $e (export "run" (func $run)))
             (export "{}" (instance $e)))"#,
        <Outer as Tap>::INTERFACES[0].name
    ))?)
}

pub(super) fn run(run: &mut Run) -> Result<()> {
    on_one_thread(async {
        run.say("a plugin that calls another one");
        let other = Other::default();
        let host = builder(HostConfig::default())
            .tap::<Outer>()
            .capability(Clock::default())
            .capability(other.clone())
            .build()?;
        host.load(spec("inner", wasm("waiting")?)?).await?;
        host.load(spec("outer", guest()?)?).await?;
        ensure!(other.host.set(host.clone()).is_ok(), "the host was set before");
        let calls = run.scale.pick(2000, 1000, 2);
        let mut rounds = Vec::new();
        for round in 0..=run.scale.rounds() {
            for number in 0..calls {
                let outcome = host.dispatch(Outer, &number).await?;
                let (_, answer) = outcome.answers.first().with_context(|| format!("{:?}", outcome.failures))?;
                ensure!(*answer == number, "{answer} instead of {number}");
            }
            let took = std::mem::take(&mut *other.took.lock().unwrap_or_else(PoisonError::into_inner));
            if round > 0 {
                rounds.push(stats::median(&took));
            }
        }
        run.micros("airssys.plugin-to-plugin", &rounds)
    })
}
