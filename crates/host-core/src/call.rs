//! One call of one handler: a store, an instance, and what ends it.

use std::sync::Arc;

use tapline_limits::{Limits, PAGE_BYTES};
use tapline_tap_dispatch::{PluginName, TapName};
use tokio::time::Instant;
use wasmtime::{
    PoolConcurrencyLimitError, Store, Trap, UpdateDeadline, WasmBacktrace,
    component::{ComponentNamedList, Instance, Lift, Lower, Val},
};

use crate::{
    breaker::HandlerBreaker,
    code::Code,
    diagnostics::MAX_MESSAGE,
    error::{CallError, Fault, HostFault},
    observe::Used,
    plugin::Plugin,
    readable::readable,
    runtime::Runtime,
    state::CallState,
    text::{cut, cut_display, escape},
};

/// A plugin's implementation of a tap: what is the same for all its calls, looked up when the plugin was loaded.
pub(crate) struct Handler {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) tap: TapName,
    pub(crate) runtime: Arc<Runtime>,
    /// Which of the plugin's functions: an index into the functions of its code.
    pub(crate) index: usize,
    pub(crate) interface: usize,
    pub(crate) fields: Option<Vec<String>>,
    pub(crate) metrics: tapline_metrics::TapMetrics,
    pub(crate) breaker: HandlerBreaker,
}

impl Handler {
    pub(crate) fn error(&self, fault: Fault) -> CallError {
        CallError { plugin: self.plugin.name().clone(), tap: self.tap.clone(), fault }
    }
}

/// How often the engine may miss a free slot in a row. It keeps those of a large pool in several lists and looks through one
/// after the other: while others take and give back, it may not see the slot that this call has a right to. The test
/// `share::a_pool_that_is_full_all_the_time_has_a_slot_for_every_turn` makes it happen.
const MISSES: usize = 100;

/// One call of one handler, on an instance whose memory no other call has seen, unless the operator lets the plugin's
/// instances be [reused](crate::Reuse). [`Tap::call`](crate::Tap::call) gets it.
pub struct Call {
    store: Store<CallState>,
    code: Arc<Code>,
    instance: Option<Instance>,
    /// Calls that the instance has served, this one included. 0: it was made ahead.
    uses: u32,
    /// Whether every entry into the guest has come back as it should.
    intact: bool,
    /// What the call was given, where fuel is metered, until it is recorded what became of it.
    fuel: Option<u64>,
}

impl Call {
    /// The one place where a store is made: every limit is set here, and nothing else makes one.
    pub(crate) fn new(handler: &Arc<Handler>, code: Arc<Code>, deadline: Instant, limits: Limits) -> Self {
        let runtime = &handler.runtime;
        let mut store = Store::new(&runtime.engine, CallState::new(Arc::clone(handler), deadline, limits));
        store.limiter(|state| &mut state.limiter);
        // Tokio's own way to yield: the engine's wakes its task at once, and a thread that always has such a task looks at
        // timers and sockets once in sixty turns. Deadlines would be as late, also those of others.
        store.epoch_deadline_callback(|store| {
            store.data().metrics().epoch_yielded();
            if let Some(profile) = &store.data().handler.runtime.profile {
                profile.sample(&store);
            }
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        // For each crossing, not for all of them together.
        store.set_hostcall_fuel(runtime.max_answer_bytes);
        store.set_max_component_handles(runtime.max_handles);
        let mut call = Self { store, code, instance: None, uses: 1, intact: true, fuel: None };
        // Before instantiation: a start function may loop as well.
        call.refill();
        call
    }

    /// Gives what a call uses up.
    fn refill(&mut self) {
        self.store.set_epoch_deadline(1);
        let state = self.store.data();
        if state.handler.runtime.facts.fuel {
            let fuel = state.limits.fuel_limit();
            // The engine of this runtime was built with fuel, which is the only reason for this to fail.
            let _ = self.store.set_fuel(fuel);
            self.fuel = Some(fuel);
        }
    }

    /// Makes it an instance that has served nobody and waits for its call.
    pub(crate) fn set_aside(&mut self) {
        self.uses = 0;
        // No call has used it.
        self.fuel = None;
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.uses == 0
    }

    /// Begins a call on an instance that was there already, with everything that a call has of its own.
    pub(crate) fn begin_use(&mut self, handler: &Arc<Handler>, deadline: Instant) {
        if !self.is_unused() {
            handler.plugin.metrics().instance_reused();
        }
        self.uses += 1;
        self.store.data_mut().begin_use(handler, deadline);
        self.refill();
    }

    /// Ends a call that was answered. Whether the instance may serve another one: its plugin is reused, its uses are not
    /// used up, it is as a call should leave it, holds nothing of the host, and neither memory nor tables have grown so much
    /// that the next call could fail because of this one.
    pub(crate) fn end_use(&mut self) -> bool {
        let plugin = &self.handler().plugin;
        let Some(reuse) = plugin.reuse else { return false };
        let enough_memory = plugin.limits.max_memory_bytes() / 2;
        let enough_elements = plugin.limits.max_table_elements() / 2;
        let intact = self.intact && self.uses < reuse.max_uses;
        let state = self.store.data_mut();
        if !intact
            || !state.table.is_empty()
            || state.limiter.usage().current_pages.saturating_mul(PAGE_BYTES) > enough_memory
            || state.limiter.grown_table_elements() > u64::from(enough_elements)
        {
            return false;
        }
        self.settle();
        self.store.data_mut().end_use();
        true
    }

    /// Writes what the guest left in its output, and records what it used.
    fn settle(&mut self) {
        let used = self.fuel_used();
        self.fuel = None;
        let state = self.store.data_mut();
        if let Some(fuel) = used {
            state.handler.metrics.fuel_used(fuel);
            tracing::debug!(plugin = %state.plugin(), tap = %state.tap(), fuel, "used fuel");
        }
        state.finish_output();
        let plugin = &state.handler.plugin;
        plugin.metrics().memory_peak(state.limiter.peak_bytes());
        let refused = state.limiter.refused_growths();
        if refused > 0 {
            plugin.metrics().growths_refused(refused);
        }
    }

    /// What the call has used until now.
    pub(crate) fn used(&self) -> Used {
        let state = self.store.data();
        Used { fuel: self.fuel_used(), peak_memory_bytes: state.limiter.peak_bytes(), host_calls: state.host_calls() }
    }

    fn fuel_used(&self) -> Option<u64> {
        self.fuel.map(|given| given.saturating_sub(self.store.get_fuel().unwrap_or_default()))
    }

    pub(crate) fn metrics(&self) -> tapline_metrics::PluginMetrics {
        self.handler().plugin.metrics().clone()
    }

    pub(crate) fn is_of(&self, plugin: &Plugin) -> bool {
        std::ptr::eq(&*self.handler().plugin, plugin)
    }

    fn handler(&self) -> &Handler {
        &self.store.data().handler
    }

    pub(crate) async fn instantiate(&mut self) -> Result<(), CallError> {
        for _ in 0..MISSES {
            // A stack for the guest is taken by the call, which cannot be made anew: of those there are more.
            match self.code.pre.instantiate_async(&mut self.store).await {
                Ok(instance) => {
                    self.instance = Some(instance);
                    self.store.data_mut().limiter.instance_made();
                    return Ok(());
                }
                Err(error) if error.is::<PoolConcurrencyLimitError>() => {
                    tracing::debug!(plugin = %self.plugin(), "the engine missed the free slot");
                    // What it used is no call's.
                    self.fuel = None;
                    let state = self.store.data();
                    // What was made until then stays in its store as long as that lives.
                    *self =
                        Self::new(&Arc::clone(&state.handler), Arc::clone(&self.code), state.deadline, state.limits);
                    tokio::task::yield_now().await;
                }
                Err(error) => return Err(self.fault(&error, Stage::Instantiate)),
            }
        }
        let message = format!("the engine found no free slot, {MISSES} times, although the pool has one for each call");
        Err(self.handler().error(Fault::Engine { message }))
    }

    /// Which of the tap's interfaces the plugin implements: an index into [`Tap::INTERFACES`](crate::Tap::INTERFACES).
    #[must_use]
    pub fn interface(&self) -> usize {
        self.handler().interface
    }

    /// The fields that the plugin declared, sorted. None: all.
    #[must_use]
    pub fn fields(&self) -> Option<&[String]> {
        self.handler().fields.as_deref()
    }

    /// The plugin that is called.
    #[must_use]
    pub fn plugin(&self) -> &PluginName {
        self.handler().plugin.name()
    }

    /// What host functions will see, for example to hand the guest a resource.
    pub fn state(&mut self) -> &mut CallState {
        self.store.data_mut()
    }

    /// Calls the plugin's function with `params`, lowered straight from the host's data, and lifts what it returns.
    ///
    /// # Errors
    ///
    /// Whatever ends the call but its deadline, which the host watches from outside. The instance is not used again.
    pub async fn invoke<P, R>(&mut self, params: P) -> Result<R, CallError>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        // Also when this future is dropped in the middle of the call.
        let intact = std::mem::replace(&mut self.intact, false);
        let result = match self.function::<P, R>() {
            Ok(function) => function.call_async(&mut self.store, params).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(answer) => {
                self.intact = intact;
                Ok(answer)
            }
            Err(error) => Err(self.fault(&error, Stage::Call)),
        }
    }

    /// [`Call::invoke`] for a function whose types are known only at run time.
    pub(crate) async fn invoke_dynamic(&mut self, params: &[Val]) -> Result<Vec<Val>, CallError> {
        let intact = std::mem::replace(&mut self.intact, false);
        let function = self.code.function(self.handler().index).ok();
        let func = self.instance.zip(function).and_then(|(instance, it)| instance.get_func(&mut self.store, it.index));
        let result = match func {
            Some(func) => {
                // Whatever stands there is replaced.
                let mut results = vec![Val::Bool(false); func.ty(&self.store).results().len()];
                func.call_async(&mut self.store, params, &mut results).await.map(|()| results)
            }
            None => Err(wasmtime::Error::msg("the function was there when the component was loaded")),
        };
        match result {
            Ok(answer) => {
                self.intact = intact;
                Ok(answer)
            }
            Err(error) => Err(self.fault(&error, Stage::Call)),
        }
    }

    fn function<P, R>(&mut self) -> wasmtime::Result<wasmtime::component::TypedFunc<P, R>>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let instance = self.instance.ok_or_else(|| wasmtime::Error::msg("the call has no instance"))?;
        self.code.function(self.handler().index)?.typed(instance, &mut self.store)
    }

    /// Checks the signature of one of the plugin's functions; see [`Tap::check`](crate::Tap::check).
    pub(crate) fn check(
        &mut self,
        index: usize,
        interface: usize,
        check: fn(usize, &mut crate::tap::Signature<'_>) -> wasmtime::Result<()>,
    ) -> wasmtime::Result<()> {
        let instance = self.instance.ok_or_else(|| wasmtime::Error::msg("the call has no instance"))?;
        let function = self.code.function(index)?;
        let func = instance
            .get_func(&mut self.store, function.index)
            .ok_or_else(|| wasmtime::Error::msg("the interface has no function of that name"))?;
        check(interface, &mut crate::tap::Signature { store: &mut self.store, func })
    }

    /// The error for an answer that breaks the contract.
    #[must_use]
    pub fn bad_answer(&self, reason: impl Into<String>) -> CallError {
        let reason: String = reason.into();
        self.handler().error(Fault::BadAnswer { reason: readable(&reason) })
    }

    /// The error for a tap that returned one.
    #[must_use]
    pub fn returned(&self, message: &str) -> CallError {
        self.handler().error(Fault::Returned { message: escape(cut(message, MAX_MESSAGE)).into_owned() })
    }

    /// What became of a call, from what the engine says and what the store saw.
    fn fault(&mut self, error: &wasmtime::Error, stage: Stage) -> CallError {
        let state = self.store.data_mut();
        let limits = state.limits;
        let fault = if let Some(fault) = error.downcast_ref::<HostFault>() {
            // A capability may quote what the guest gave it.
            let message = escape(cut(&fault.message, MAX_MESSAGE)).into_owned();
            Fault::HostFunction { capability: fault.capability, message }
        } else if let Some(trap) = error.downcast_ref::<Trap>() {
            match (trap, state.panic.take(), state.limiter.refused()) {
                (Trap::OutOfFuel, ..) => Fault::OutOfFuel { limit: limits.fuel_limit() },
                (Trap::StackOverflow, ..) => Fault::StackOverflow { limit: limits.max_stack_size_bytes() },
                (_, Some(panic), _) => Fault::Panicked(panic),
                // A guest that gets no memory gives up with a trap of its own, or takes -1 for an address.
                (
                    Trap::UnreachableCodeReached
                    | Trap::MemoryOutOfBounds
                    | Trap::TableOutOfBounds
                    | Trap::HeapMisaligned,
                    None,
                    Some(refusal),
                ) => Fault::OutOfMemory(refusal),
                (trap, ..) => Fault::Trapped { trap: *trap, backtrace: backtrace(error) },
            }
        } else if error.is::<PoolConcurrencyLimitError>() {
            Fault::Engine { message: format!("the pool is smaller than its queue believes: {error:#}") }
        } else if let (Stage::Instantiate, Some(refusal)) = (stage, state.limiter.refused()) {
            Fault::OutOfMemory(refusal)
        } else {
            match (stage, state.limiter.refused()) {
                // Code of the guest was running: what it gave a host function breaks the contract.
                (Stage::Instantiate, _) if error.is::<WasmBacktrace>() => {
                    Fault::BadAnswer { reason: engine_says(error) }
                }
                (Stage::Instantiate, _) => Fault::Engine { message: engine_says(error) },
                // Neither a trap nor a host function: lifting the answer failed. A guest that was to make room for something
                // and got no memory answers an address that is none.
                (Stage::Call, Some(refusal)) => Fault::OutOfMemory(refusal),
                (Stage::Call, None) => Fault::BadAnswer { reason: engine_says(error) },
            }
        };
        self.handler().error(fault)
    }
}

/// However a call ends, also when its future is dropped: what the guest left in its output is written, and what it used is
/// recorded.
impl Drop for Call {
    fn drop(&mut self) {
        self.settle();
    }
}

#[derive(Clone, Copy)]
enum Stage {
    Instantiate,
    Call,
}

/// The guest's frames, innermost first, as far as the file has names.
fn backtrace(error: &wasmtime::Error) -> String {
    use std::fmt::Write;

    const FRAMES: usize = 16;
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    let mut text = String::new();
    for frame in backtrace.frames().iter().take(FRAMES) {
        let separator = if text.is_empty() { "" } else { "\n" };
        let offset = frame.module_offset().unwrap_or_default();
        let _ = match frame.func_name() {
            Some(name) => write!(text, "{separator}  at {} ({offset:#x})", function_name(name)),
            None => write!(text, "{separator}  at function {} ({offset:#x})", frame.func_index()),
        };
    }
    text
}

/// A name from the guest's file, as its author wrote it in Rust: of any length, and with anything in it. A name that a C++ compiler
/// has made stays as it is: to read one can take time that is exponential in its length, on a thread that others need.
pub(crate) fn function_name(name: &str) -> String {
    const LONGEST: usize = 200;
    escape(&cut_display(&rustc_demangle::demangle(cut(name, 10 * LONGEST)), LONGEST)).into_owned()
}

/// What the engine says, with the guest's frames as we show them: its own way reads their names without a bound.
fn engine_says(error: &wasmtime::Error) -> String {
    if !error.is::<WasmBacktrace>() {
        return readable(error);
    }
    // The frames are the first in the chain.
    let causes: Vec<String> = error.chain().skip(1).map(|cause| readable(&cause)).collect();
    format!("{}\n{}", causes.join(": "), backtrace(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_the_names_that_their_authors_gave_them() {
        for (mangled, name) in [
            ("_ZN5hello7in_rust17h0123456789abcdefE", "hello::in_rust"),
            ("_RNvC5hello7in_rust", "hello::in_rust"),
            ("_ZN5hello6in_cppEi", "_ZN5hello6in_cppEi"),
            ("in_c", "in_c"),
            ("_Zero", "_Zero"),
            ("a\nb", "a\\nb"),
        ] {
            assert_eq!(function_name(mangled), name, "{mangled}");
        }
    }

    #[test]
    fn a_long_name_is_cut() {
        for name in ["x".repeat(5000), format!("_Z{}", "P".repeat(1990)), "_RMC0FGZZZ_Eu".to_owned()] {
            assert!(function_name(&name).len() <= 200, "{name}");
        }
    }
}
