//! The host that entries call, and what must hold for it afterwards.

use std::{
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tapline_content::{Item, register};
use tapline_host_core::{
    BreakerSettings, CallError, CallState, Capability, Fault, Host, HostConfig, Optimisation, Party, PluginName,
    limits::Limits,
};
use tapline_host_log::Log;
use tokio::runtime::Runtime;
use wasmtime::{StoreContextMut, component::Linker};

/// The bytes that a guest of [`answer`](crate::answer()) returns.
#[derive(Clone, Default)]
pub(crate) struct Input(Arc<Mutex<Vec<u8>>>);

impl Input {
    pub(crate) fn set(&self, bytes: &[u8]) {
        let mut input = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        input.clear();
        input.extend_from_slice(bytes);
    }
}

impl Capability for Input {
    fn grant_name(&self) -> Option<&'static str> {
        None
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["test:fuzz/input"]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        let input = self.clone();
        linker.instance("test:fuzz/input")?.func_wrap("read", move |_: StoreContextMut<'_, CallState>, (): ()| {
            Ok((input.0.lock().unwrap_or_else(PoisonError::into_inner).clone(),))
        })
    }
}

/// A host with the thread that drives it. One for each entry that needs one: making it costs more than most inputs.
pub(crate) struct Fixture {
    runtime: Runtime,
    pub(crate) host: Host,
    pub(crate) input: Input,
    pub(crate) item: Arc<Item>,
}

/// Small limits, so that an input that runs into one costs little.
pub(crate) fn limits() -> Limits {
    let time = Duration::from_millis(100);
    Limits::builder().max_execution_time(time).max_memory_bytes(16 << 20).max_table_elements(100_000).build().unwrap()
}

/// The host's settings.
pub(crate) fn config() -> HostConfig {
    HostConfig {
        pool_size: 2,
        // What fails is to be called again.
        breaker: BreakerSettings::OFF,
        // Each input is another plugin: what is kept of it would only be memory.
        cache_size: 1,
        limits: limits(),
        optimisation: Optimisation::None,
        parallel_compilation: false,
        ..HostConfig::default()
    }
}

/// What drives a host: the thread that calls.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// What holds for a host after every call, however it ended.
pub(crate) fn assert_settled(host: &Host) {
    assert_eq!(host.slots().0, 0, "every slot is given back");
    assert_eq!(host.memory().usage().current_pages, 0, "every page is given back");
}

impl Fixture {
    pub(crate) fn new() -> Mutex<Self> {
        let input = Input::default();
        let builder = register(Host::builder().config(config())).capability(Log).capability(input.clone());
        let item = r#"{"id":"a","title":"A","fields":{"body":{"format":"html","text":"<p>x</p>"},"n":1}}"#;
        Mutex::new(Self {
            runtime: runtime(),
            host: builder.build().unwrap(),
            input,
            item: Arc::new(tapline_store::parse_json_line(item).unwrap()),
        })
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// What holds after every call, however it ended.
    pub(crate) fn assert_settled(&self) {
        assert_settled(&self.host);
    }
}

/// The fixture, also after an input that failed: a fuzzer shrinks it in the same process.
pub(crate) fn lock<T>(fixture: &Mutex<T>) -> MutexGuard<'_, T> {
    fixture.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn name() -> PluginName {
    PluginName::new("fuzz").unwrap()
}

/// What a guest does is never the host's fault, and never makes the host panic.
pub(crate) fn assert_guests_fault(error: &CallError) {
    assert_readable(error);
    assert_eq!(error.fault.party(), Party::Guest, "{error}");
    assert!(!matches!(error.fault, Fault::HostPanicked { .. }), "{error}");
}

/// An error is text for a terminal or a log: short, and with nothing in it that only looks like a line of somebody else.
pub(crate) fn assert_readable(error: &(dyn Error + 'static)) {
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        assert!(text.len() <= 64 << 10, "an error of {} bytes: {}…", text.len(), tapline_host_core::cut(&text, 1000));
        let control = text.chars().find(|one| one.is_control() && !matches!(one, '\n' | '\t'));
        assert_eq!(control, None, "{text:?}");
        next = error.source();
    }
}
