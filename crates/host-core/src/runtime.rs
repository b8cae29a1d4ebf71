//! One engine with its linker, its cache and its slots.

use std::{sync::Arc, time::Duration};

use tapline_cache::{ArtifactCache, CacheConfig};
use tapline_limits::MemoryTracker;
use wasmtime::{Engine, component::Linker};

use crate::{
    capability::Capability,
    config::HostConfig,
    engine::{self, CodeSettings, EngineFacts},
    error::HostError,
    profile::Profile,
    slots::Slots,
    state::CallState,
};

/// One engine with what belongs to it. A host has one; with plugins that use fuel, two.
pub(crate) struct Runtime {
    pub(crate) engine: Engine,
    pub(crate) facts: EngineFacts,
    /// Never changed after it is built.
    pub(crate) linker: Linker<CallState>,
    pub(crate) cache: ArtifactCache,
    /// One queue for all engines of a host: `pool_size` is the host's.
    pub(crate) slots: Arc<Slots>,
    pub(crate) memory: MemoryTracker,
    pub(crate) max_handles: usize,
    pub(crate) max_answer_bytes: usize,
    pub(crate) slow_call: Option<Duration>,
    pub(crate) profile: Option<Profile>,
}

impl Runtime {
    pub(crate) fn new(
        config: &HostConfig,
        fuel: bool,
        capabilities: &[Box<dyn Capability>],
        memory: MemoryTracker,
        slots: Arc<Slots>,
        profile: Option<Profile>,
    ) -> Result<Self, HostError> {
        let (engine, facts) = engine::build(config, fuel)?;
        let mut linker = Linker::new(&engine);
        for capability in capabilities {
            capability.link(&mut linker).map_err(|source| HostError::Link {
                interface: capability.interfaces().first().copied().unwrap_or_default(),
                source,
            })?;
        }
        let worker = config.compilation.worker.as_ref();
        let worker = worker.map(|it| it.for_cache(CodeSettings::new(config, fuel), config.compilation.timeout));
        let cache = ArtifactCache::new(
            &engine,
            CacheConfig {
                directory: config.cache_directory.clone(),
                max_entries: config.cache_size,
                max_bytes: config.cache_max_bytes,
                worker,
                lock_patience: config.compilation.lock_patience(),
            },
        );
        Ok(Self {
            engine,
            facts,
            linker,
            cache,
            slots,
            memory,
            max_handles: config.max_handles,
            max_answer_bytes: config.max_answer_bytes,
            slow_call: config.slow_call,
            profile,
        })
    }

    /// Memory that free slots of the pool keep in RAM for their next instance.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.engine.pooling_allocator_metrics().map_or(0, |pool| {
            (pool.unused_memory_bytes_resident() as u64).saturating_add(pool.unused_table_bytes_resident() as u64)
        })
    }
}
