//! The functions of `tapline:host/log`.

use tapline_host_core::{CallState, Capability, cut, escape, metrics::LogLevel};
use wasmtime::{
    StoreContextMut,
    component::{ComponentType, Lift, Linker, WasmStr},
};

use crate::config::{MAX_LINE_BYTES, MAX_LINES, TARGET};

const INTERFACE: &str = "tapline:host/log@0.1.0";

/// Log lines for plugins. Needs no grant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log;

impl Capability for Log {
    fn grant_name(&self) -> Option<&'static str> {
        None
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &[INTERFACE]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        let mut log = linker.instance(INTERFACE)?;
        log.func_wrap("write", write)?;
        log.func_wrap("enabled", |_: StoreContextMut<'_, CallState>, (level,): (Level,)| Ok((level.is_kept(),)))
    }
}

#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "a value is lifted from what the guest passes, and never named when it is made")]
enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

/// Runs `$use!` with the level as a constant: `tracing` makes one call site for each level.
macro_rules! at_level {
    ($level:expr, $use:ident) => {
        match $level {
            Level::Trace => $use!(TRACE),
            Level::Debug => $use!(DEBUG),
            Level::Info => $use!(INFO),
            Level::Warn => $use!(WARN),
            Level::Error => $use!(ERROR),
        }
    };
}

impl Level {
    fn is_kept(self) -> bool {
        macro_rules! enabled {
            ($level:ident) => {
                tracing::enabled!(target: TARGET, tracing::Level::$level)
            };
        }
        at_level!(self, enabled)
    }

    fn metric(self) -> LogLevel {
        match self {
            Self::Trace => LogLevel::Trace,
            Self::Debug => LogLevel::Debug,
            Self::Info => LogLevel::Info,
            Self::Warn => LogLevel::Warn,
            Self::Error => LogLevel::Error,
        }
    }
}

/// How many lines the call has written, and whether the host said that there were too many.
#[derive(Default)]
struct Lines {
    kept: u32,
    said_full: bool,
}

fn write(mut store: StoreContextMut<'_, CallState>, (level, message): (Level, WasmStr)) -> wasmtime::Result<()> {
    store.data().count_host_call();
    if !level.is_kept() {
        return Ok(());
    }
    let _span = store.data().host_call_span("log.write").entered();
    let lines = store.data_mut().local::<Lines>();
    if lines.kept == MAX_LINES {
        let first = !std::mem::replace(&mut lines.said_full, true);
        let state = store.data();
        state.metrics().log_lines_dropped(1);
        if first {
            let (plugin, tap) = (state.plugin(), state.tap());
            tracing::warn!(target: TARGET, %plugin, %tap, limit = MAX_LINES, "too many log lines, the rest is dropped");
        }
        return Ok(());
    }
    lines.kept += 1;
    if !store.data().admits_log_line() {
        return Ok(());
    }
    let text = message.to_str(&store)?;
    let line = escape(cut(&text, MAX_LINE_BYTES));
    let state = store.data();
    let (plugin, tap) = (state.plugin(), state.tap());
    macro_rules! event {
        ($level:ident) => {
            tracing::event!(target: TARGET, tracing::Level::$level, %plugin, %tap, "{line}")
        };
    }
    at_level!(level, event);
    state.metrics().log_line(level.metric());
    Ok(())
}
