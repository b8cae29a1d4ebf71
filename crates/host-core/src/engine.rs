//! The engine: the settings that make a call cheap and a limit hold.

use std::{thread, time::Duration};

use serde::{Deserialize, Serialize};
use wasmtime::{
    Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

use crate::{
    config::{HostConfig, Optimisation, PagemapScan},
    error::HostError,
    swap::swap_is_impossible,
};

/// The tick of the epoch clock: how long a guest may run before it yields to the other tasks of its thread.
pub const EPOCH_TICK: Duration = Duration::from_millis(1);

/// Tables that one component may have: what a plugin built with the sealed adapter needs (its table and the encoder's), with
/// room for a language that brings more.
pub(crate) const TABLES_PER_COMPONENT: u32 = 8;

/// Dirty memory and tables that are cleared in place rather than given back to the kernel: more than a tap touches.
const MEMORY_KEEP_RESIDENT: usize = 256 << 10;
const TABLE_KEEP_RESIDENT: usize = 16 << 10;

/// Room on a fiber's stack for the host functions that a guest calls.
const HOST_STACK: usize = 512 << 10;

/// What the engine was built with, for reports and logs.
#[derive(Clone, Debug)]
pub struct EngineFacts {
    /// Whether dirty pages are found by asking the kernel.
    pub pagemap_scan: bool,
    /// Whether calls use up fuel.
    pub fuel: bool,
}

/// Builds the engine and starts its clock.
pub(crate) fn build(config: &HostConfig, fuel: bool) -> Result<(Engine, EngineFacts), HostError> {
    let safe = match config.pagemap_scan {
        PagemapScan::Off => false,
        PagemapScan::WhenSafe => swap_is_impossible(),
    };
    // A kernel before Linux 6.7 refuses the scan when the engine is made; there is no other way to ask it.
    let scanning = if safe { Engine::new(&engine_config(config, fuel, true)?).ok() } else { None };
    let pagemap_scan = scanning.is_some();
    let engine = match scanning {
        Some(engine) => engine,
        None => Engine::new(&engine_config(config, fuel, false)?).map_err(HostError::Engine)?,
    };
    if config.pagemap_scan == PagemapScan::WhenSafe && !pagemap_scan {
        tracing::info!(
            swap_is_impossible = safe,
            "pagemap scanning is off, calls will cost more: it needs Linux 6.7 and no way to swap"
        );
    }
    start_clock(&engine)?;
    Ok((engine, EngineFacts { pagemap_scan, fuel }))
}

/// The settings alone, without an engine: the control of a bench runs bare wasmtime with exactly these.
///
/// # Errors
///
/// The settings contradict themselves.
pub fn engine_config(config: &HostConfig, fuel: bool, pagemap_scan: bool) -> Result<Config, HostError> {
    config.check()?;
    let slots = config.pool_size;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(config.limits.max_instances()))
        .total_memories(slots.saturating_mul(config.limits.max_memories()))
        .total_tables(slots.saturating_mul(TABLES_PER_COMPONENT))
        // Twice as many as can be in use, so that the engine always sees a free one; see `Call::instantiate`. A stack that
        // nobody uses is address space.
        .total_stacks(slots.saturating_mul(2))
        .max_core_instances_per_component(config.limits.max_instances())
        .max_memories_per_component(config.limits.max_memories())
        .max_memories_per_module(config.limits.max_memories())
        .max_tables_per_component(TABLES_PER_COMPONENT)
        // The engine's own default is one: a module could not have what its component may.
        .max_tables_per_module(TABLES_PER_COMPONENT)
        .max_memory_size(usize::try_from(config.limits.max_memory_bytes()).unwrap_or(usize::MAX))
        .table_elements(config.limits.max_table_elements() as usize)
        .max_unused_warm_slots(slots)
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT)
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        .pagemap_scan(if pagemap_scan { Enabled::Yes } else { Enabled::No });

    let stack = usize::try_from(config.limits.max_stack_size_bytes()).unwrap_or(usize::MAX);
    let mut engine = code_config(CodeSettings::new(config, fuel));
    engine
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .max_wasm_stack(stack)
        .async_stack_size(stack.saturating_add(HOST_STACK));
    Ok(engine)
}

/// What decides which code is made of a plugin. Whoever compiles for a host, a worker for example, needs the same.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct CodeSettings {
    optimisation: Optimisation,
    parallel_compilation: bool,
    enable_simd: bool,
    /// Several memories in one module: where the limits allow more than one.
    multi_memory: bool,
    fuel: bool,
}

impl CodeSettings {
    pub(crate) fn new(config: &HostConfig, fuel: bool) -> Self {
        let HostConfig { optimisation, parallel_compilation, enable_simd, .. } = *config;
        let multi_memory = config.limits.max_memories() > 1;
        Self { optimisation, parallel_compilation, enable_simd, multi_memory, fuel }
    }
}

/// The settings that decide which code is made.
pub(crate) fn code_config(settings: CodeSettings) -> Config {
    let mut engine = Config::new();
    engine
        .cranelift_opt_level(match settings.optimisation {
            Optimisation::None => OptLevel::None,
            Optimisation::Speed => OptLevel::Speed,
            Optimisation::SpeedAndSize => OptLevel::SpeedAndSize,
        })
        .parallel_compilation(settings.parallel_compilation)
        .epoch_interruption(true)
        .consume_fuel(settings.fuel)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        // For debuggers and profilers of the host that do not follow frame pointers. Each load would hand it to the system.
        .native_unwind_info(false)
        .wasm_simd(settings.enable_simd)
        .wasm_relaxed_simd(settings.enable_simd)
        // A plugin needs none of these; each one that is off is machinery that no guest can reach.
        .gc_support(false)
        .wasm_gc(false)
        .wasm_exceptions(false)
        .wasm_function_references(false)
        .wasm_threads(false)
        .wasm_memory64(false)
        .wasm_multi_memory(settings.multi_memory)
        // Fibers alone serve async host functions; the concurrency machinery would triple the price of a call.
        .concurrency_support(false);
    engine
}

/// One thread advances the epoch, and ends with the engine.
fn start_clock(engine: &Engine) -> Result<(), HostError> {
    let weak: EngineWeak = engine.weak();
    thread::Builder::new()
        .name("tapline-epoch".to_owned())
        .spawn(move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(EPOCH_TICK);
            }
        })
        .map_err(|error| HostError::Engine(error.into()))?;
    Ok(())
}
