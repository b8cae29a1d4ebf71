//! One engine with its linker, its cache and its slots.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tapline_cache::{ArtifactCache, CacheConfig};
use tapline_limits::MemoryTracker;
use tapline_metrics::Metrics;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};
use wasmtime::{Engine, component::Linker};

use crate::{
    capability::Capability,
    config::HostConfig,
    engine::{self, EngineFacts},
    error::{Fault, HostError},
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
}

impl Runtime {
    pub(crate) fn new(
        config: &HostConfig,
        fuel: bool,
        capabilities: &[Box<dyn Capability>],
        memory: MemoryTracker,
        slots: Arc<Slots>,
    ) -> Result<Self, HostError> {
        let (engine, facts) = engine::build(config, fuel)?;
        let mut linker = Linker::new(&engine);
        for capability in capabilities {
            capability.link(&mut linker).map_err(|source| HostError::Link {
                interface: capability.interfaces().first().copied().unwrap_or_default(),
                source,
            })?;
        }
        let cache = ArtifactCache::new(
            &engine,
            CacheConfig { directory: config.cache_directory.clone(), max_entries: config.cache_size },
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
        })
    }
}

/// The queue in front of the pool: as many permits as the pool has instances, so that a full pool means waiting, with
/// a bound on how many wait and how long.
pub(crate) struct Slots {
    free: Semaphore,
    limit: usize,
    waiting: AtomicUsize,
    max_waiting: usize,
    max_wait: Duration,
    metrics: Metrics,
}

impl Slots {
    pub(crate) fn new(config: &HostConfig, metrics: Metrics) -> Self {
        let limit = config.pool_size as usize;
        Self {
            free: Semaphore::new(limit),
            limit,
            waiting: AtomicUsize::new(0),
            max_waiting: config.max_waiting,
            max_wait: config.max_wait,
            metrics,
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn in_use(&self) -> usize {
        self.limit - self.free.available_permits()
    }

    /// Takes a slot if one is free.
    pub(crate) fn try_take(&self) -> Option<SemaphorePermit<'_>> {
        self.free.try_acquire().ok()
    }

    /// Takes a slot, waiting for one if it must.
    pub(crate) async fn take(&self) -> Result<SemaphorePermit<'_>, Fault> {
        if self.free.is_closed() {
            return Err(Fault::ShuttingDown);
        }
        if let Some(permit) = self.try_take() {
            return Ok(permit);
        }
        let _place =
            Place::take(&self.waiting, self.max_waiting).ok_or(Fault::Overloaded { waited: Duration::ZERO })?;
        let since = Instant::now();
        let waited = timeout(self.max_wait, self.free.acquire()).await;
        self.metrics.queue_waited(since.elapsed());
        match waited {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_closed)) => Err(Fault::ShuttingDown),
            Err(_elapsed) => Err(Fault::Overloaded { waited: since.elapsed() }),
        }
    }

    /// Refuses whatever comes from now on.
    pub(crate) fn close(&self) {
        self.free.close();
    }

    /// Waits until no call is running.
    pub(crate) async fn drained(&self) {
        while self.in_use() > 0 {
            // The semaphore is closed, so there is nothing to wait on; a millisecond is the clock of everything else.
            tokio::time::sleep(engine::EPOCH_TICK).await;
        }
    }
}

/// A place in the queue, given back on drop: also when the waiting call is cancelled.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        if waiting.fetch_add(1, Ordering::Relaxed) >= max {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
