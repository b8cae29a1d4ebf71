//! What the host knows during one call: the data of a store.

use std::{
    any::{Any, TypeId},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tapline_limits::{Limits, StoreLimiter};
use tapline_tap_dispatch::{PluginName, TapName};
use tokio::time::Instant;
use wasmtime::component::{Resource, ResourceTable, ResourceTableError};

use crate::{
    call::Handler,
    capability::Granted,
    diagnostics::{GuestOutput, MAX_MESSAGE, SharedOutput},
    error::GuestPanic,
    text::{cut, escape},
};

/// The data of a store, which lives as long as one instance, and serves one call at a time. Host functions reach it
/// through their first argument.
pub struct CallState {
    pub(crate) table: ResourceTable,
    pub(crate) limiter: StoreLimiter,
    pub(crate) limits: Limits,
    pub(crate) handler: Arc<Handler>,
    pub(crate) deadline: Instant,
    pub(crate) panic: Option<GuestPanic>,
    /// Host functions that the call has called.
    host_calls: AtomicU64,
    /// Made when the guest first writes something.
    output: Option<SharedOutput>,
    locals: Vec<(TypeId, Box<dyn Any + Send>)>,
}

impl CallState {
    pub(crate) fn new(handler: Arc<Handler>, deadline: Instant, limits: Limits) -> Self {
        let runtime = &handler.runtime;
        let limiter = StoreLimiter::with_tracker(&limits, &runtime.memory);
        let mut table = ResourceTable::new();
        table.set_max_capacity(runtime.max_handles);
        Self {
            table,
            limiter,
            limits,
            handler,
            deadline,
            panic: None,
            host_calls: AtomicU64::new(0),
            output: None,
            locals: Vec::new(),
        }
    }

    /// Forgets what belongs to the call that has ended, for an instance that serves another one. What the guest's memory
    /// takes stays counted. The caller has seen that the table is empty.
    pub(crate) fn end_use(&mut self) {
        self.panic = None;
        *self.host_calls.get_mut() = 0;
        self.output = None;
        self.drop_locals();
        self.limiter.begin_use();
    }

    /// One by one: a second panic while the first unwinds would end the process.
    fn drop_locals(&mut self) {
        while let Some(local) = self.locals.pop() {
            self.contain(|| drop(local));
        }
    }

    /// Runs what drops something of a capability, or of the caller of a dispatch. A panic in it is a defect of the host, and
    /// stays here: the call is over, and whoever drops it may be in the middle of other calls.
    fn contain(&self, drop: impl FnOnce()) {
        contain(self.plugin(), self.tap(), drop);
    }

    /// What [`CallState::new`] does, for a call on an instance that has served others.
    pub(crate) fn begin_use(&mut self, handler: &Arc<Handler>, deadline: Instant) {
        self.handler = Arc::clone(handler);
        self.deadline = deadline;
    }

    /// The plugin that is running: the host's name for it, never the guest's.
    #[must_use]
    pub fn plugin(&self) -> &PluginName {
        self.handler.plugin.name()
    }

    /// The tap that is running.
    #[must_use]
    pub fn tap(&self) -> &TapName {
        &self.handler.tap
    }

    /// When the call ends, whatever it is doing then. A host function that waits on something which a dropped future
    /// does not stop, such as SQL on another thread, must end it by itself at this moment.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The values behind the handles that the guest holds. Bounded: see
    /// [`HostConfig::max_handles`](crate::HostConfig::max_handles).
    pub fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// The value behind a handle that the guest passed, to read it only. Beside it the rest of the store can be read, such
    /// as a name in the guest's memory.
    ///
    /// # Errors
    ///
    /// The handle is none of the table, or its value has another type.
    pub fn resource<T: Any + Send>(&self, handle: &Resource<T>) -> Result<&T, ResourceTableError> {
        self.table.get(handle)
    }

    /// Where the guest's standard output goes, for a capability that offers such a stream.
    pub fn output(&mut self) -> GuestOutput {
        let output = Arc::clone(self.output.get_or_insert_default());
        GuestOutput { handler: Arc::clone(&self.handler), output }
    }

    /// Writes what the guest left in its output without a line end.
    pub(crate) fn finish_output(&mut self) {
        if self.output.is_some() {
            self.output().finish();
        }
    }

    /// Counts one call of a host function, for whoever [watches](crate::observed). See [`CallState::host_call_span`] for one
    /// that takes a while.
    pub fn count_host_call(&self) {
        // One call runs on one thread at a time: a load and a store lose nothing, and cost less than an addition would.
        self.host_calls.store(self.host_calls().wrapping_add(1), Relaxed);
    }

    pub(crate) fn host_calls(&self) -> u64 {
        self.host_calls.load(Relaxed)
    }

    /// The instruments of the plugin that is running.
    #[must_use]
    pub fn metrics(&self) -> &tapline_metrics::PluginMetrics {
        self.handler.plugin.metrics()
    }

    /// Counts that a host function of this capability refused what the guest asked for, because of a limit, of the grant, or because
    /// nobody may have it: `tapline_host_call_refusals_total`.
    pub fn host_call_refused(&self, capability: &'static str) {
        self.metrics().host_call_refused(capability);
    }

    /// What the capability of type `T` made of the operator's grant for this plugin. `None`: not granted.
    #[must_use]
    pub fn grant<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.handler.plugin.grants().iter().find_map(|granted: &Granted| Arc::clone(granted).downcast::<T>().ok())
    }

    /// Something that a capability counts or keeps during one call; made with `Default` when first asked for.
    pub fn local<T: Any + Send + Default>(&mut self) -> &mut T {
        self.local_and_table().0
    }

    /// The same together with the table of handles, for a host function that needs both at once.
    pub fn local_and_table<T: Any + Send + Default>(&mut self) -> (&mut T, &mut ResourceTable) {
        let key = TypeId::of::<T>();
        let index = match self.locals.iter().position(|(id, _)| *id == key) {
            Some(index) => index,
            None => {
                self.locals.push((key, Box::<T>::default()));
                self.locals.len() - 1
            }
        };
        #[expect(clippy::expect_used, reason = "the entry was made, or found, under the identifier of this very type")]
        let local = self.locals[index].1.downcast_mut().expect("a local is stored under its own type");
        (local, &mut self.table)
    }
}

/// What capabilities keep for the call goes here, and not with the fields: a panic in a drop costs one call, and ends nothing else.
impl Drop for CallState {
    fn drop(&mut self) {
        self.drop_locals();
        if !self.table.is_empty() {
            let table = mem::take(&mut self.table);
            self.contain(|| drop(table));
        }
    }
}

/// Runs what drops something of a call of this plugin, and keeps a panic from whoever drops it.
pub(crate) fn contain(plugin: &PluginName, tap: &TapName, drop: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(drop)) {
        let message = panic_message(&*panic);
        // What a panic carries can panic in its turn.
        let _ = catch_unwind(AssertUnwindSafe(|| mem::drop(panic)));
        tracing::error!(%plugin, %tap, panic = message, "the host panicked when it dropped what it kept for a call, which is a defect of the host");
    }
}

/// What a panic says, which may quote what a guest gave: bounded, and on one line.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("the panic carries a value that is not text");
    escape(cut(text, MAX_MESSAGE)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_panic_says_begins_no_line_and_has_an_end() {
        let says = |text: &str| panic_message(&text.to_owned());
        assert_eq!(says("no such name: a\n2026 ERROR forged"), r"no such name: a\n2026 ERROR forged");
        assert_eq!(says(&"x".repeat(1 << 20)).len(), MAX_MESSAGE);
        assert_eq!(panic_message(&7_u32), "the panic carries a value that is not text");
    }
}
