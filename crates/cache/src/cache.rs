//! Memory, then disk, then the compiler, with one thread at work for each key.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::disk::{Disk, Room};
use crate::error::CacheError;
use crate::key::{ArtifactKey, Fingerprint, Wasm};
use crate::map;
use crate::memory::{Memory, Statistics};
use crate::worker::Worker;

/// How many components are kept, unless told otherwise. From the source documents.
pub const DEFAULT_MAX_ENTRIES: usize = 1000;
/// How many bytes of compiled code are kept, unless told otherwise: 1000 plugins of the size of our samples, whose code
/// has some 200 KB, and as much again for a few large ones.
pub const DEFAULT_MAX_BYTES: u64 = 1 << 30;

/// How long a lock of another process is waited for, unless told otherwise: as long as a compilation may take by default.
pub const DEFAULT_LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// What a cache may use.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// Where compiled components are kept across starts. Made, for our user alone, if it is missing; with its parents.
    /// Without one, components are kept in memory only. Defaults to none.
    pub directory: Option<PathBuf>,
    /// How many components stay in memory, and how many in the directory; the least recently used leaves first. One
    /// that is in use stays alive with its users. Defaults to [`DEFAULT_MAX_ENTRIES`].
    pub max_entries: usize,
    /// How many bytes of compiled code stay in memory, and how many in the directory; as with their number, the least
    /// recently used leaves first. A component that has more alone is not kept. Defaults to [`DEFAULT_MAX_BYTES`].
    pub max_bytes: u64,
    /// A process in which components are compiled, one for each. Without one, they are compiled in the calling
    /// thread, and nothing bounds the time and the memory that this takes. Defaults to none.
    pub worker: Option<Worker>,
    /// How long to wait for another process that is compiling the same component. One that is stopped by a debugger or a
    /// terminal would hold up everybody for ever: after this time the component is compiled here as well, and not kept on
    /// disk. Defaults to [`DEFAULT_LOCK_PATIENCE`].
    pub lock_patience: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            directory: None,
            max_entries: DEFAULT_MAX_ENTRIES,
            max_bytes: DEFAULT_MAX_BYTES,
            worker: None,
            lock_patience: DEFAULT_LOCK_PATIENCE,
        }
    }
}

/// Where a component came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// It was in memory, or another thread of this process was just loading it.
    Memory,
    /// It was mapped from a file.
    Disk,
    /// It was compiled.
    Compiled,
}

/// A component that is ready to be linked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The compiled component. A clone is cheap and shares the code.
    pub component: Component,
    /// What it is found by.
    pub key: ArtifactKey,
    /// Where it came from.
    pub source: Source,
    /// How long the caller waited: hashing, waiting for others, compiling, and writing the file.
    pub took: Duration,
    /// The part of it that its source took: checking and mapping the file, or compiling. Zero where it was in memory.
    pub work: Duration,
}

/// Whether compiled components are kept on disk.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DiskState {
    /// No directory is configured.
    Off,
    /// They are kept in this directory.
    Ready {
        /// The directory, as an absolute path.
        directory: PathBuf,
    },
    /// They are not, because the directory that is configured is refused, does not work, or was removed.
    Unusable {
        /// The directory as it is configured.
        directory: PathBuf,
        /// Why.
        reason: CacheError,
    },
}

/// Compiled components of one engine. To be shared by reference or in an [`Arc`].
pub struct ArtifactCache {
    engine: Engine,
    fingerprint: Fingerprint,
    disk: Result<Disk, DiskState>,
    worker: Option<Worker>,
    lock_patience: Duration,
    state: Mutex<State>,
}

struct State {
    memory: Memory,
    /// What is being loaded now. Whoever comes second waits for the first one's result, a failure included.
    flights: HashMap<ArtifactKey, Arc<Flight>>,
    statistics: Statistics,
}

type Flight = OnceLock<Result<Component, CacheError>>;

/// Where a component came from, and how long that took.
#[derive(Clone, Copy)]
struct Origin {
    source: Source,
    work: Duration,
}

impl Origin {
    const MEMORY: Self = Self { source: Source::Memory, work: Duration::ZERO };
}

impl ArtifactCache {
    /// An empty cache. Never fails because of the directory: one that cannot be used is warned about and not used, and
    /// [`ArtifactCache::disk_state`] says why.
    pub fn new(engine: &Engine, config: CacheConfig) -> Self {
        let room = Room { max_entries: config.max_entries, max_bytes: config.max_bytes };
        let disk = match config.directory {
            None => Err(DiskState::Off),
            Some(directory) => Disk::open(&directory, room).map_err(|reason| {
                warn!(
                    directory = %directory.display(),
                    error = &reason as &dyn std::error::Error,
                    "compiled plugins are not kept on disk"
                );
                DiskState::Unusable { directory, reason }
            }),
        };
        Self {
            engine: engine.clone(),
            fingerprint: Fingerprint::of(engine),
            disk,
            worker: config.worker,
            lock_patience: config.lock_patience,
            state: Mutex::new(State {
                memory: Memory::new(config.max_entries, config.max_bytes),
                flights: HashMap::new(),
                statistics: Statistics::default(),
            }),
        }
    }

    /// Whether compiled components are kept on disk.
    pub fn disk_state(&self) -> DiskState {
        match &self.disk {
            Ok(disk) if disk.is_gone() => {
                let (path, source) = (disk.directory().to_owned(), Arc::new(io::Error::from(io::ErrorKind::NotFound)));
                DiskState::Unusable { directory: path.clone(), reason: CacheError::Directory { path, source } }
            }
            Ok(disk) => DiskState::Ready { directory: disk.directory().to_owned() },
            Err(state) => state.clone(),
        }
    }

    /// What these bytes are found by.
    pub fn key(&self, wasm: &[u8]) -> ArtifactKey {
        ArtifactKey::new(wasm, self.fingerprint)
    }

    /// What these bytes are found by.
    pub fn key_of(&self, wasm: &Wasm) -> ArtifactKey {
        ArtifactKey::of(wasm, self.fingerprint)
    }

    /// What was asked for and what is in memory.
    pub fn statistics(&self) -> Statistics {
        let state = self.state();
        let mut statistics = state.statistics.clone();
        state.memory.report(&mut statistics);
        statistics
    }

    /// The compiled component, if it is in memory or in a file; it waits for nobody. A file that must not be used counts
    /// as none.
    pub fn find(&self, key: ArtifactKey) -> Option<Loaded> {
        self.find_within(key, u64::MAX)
    }

    /// [`ArtifactCache::find`] that looks at no file with more than `max_bytes`: all of a file is read before it is mapped.
    pub fn find_within(&self, key: ArtifactKey, max_bytes: u64) -> Option<Loaded> {
        let start = Instant::now();
        let in_memory = {
            let mut state = self.state();
            let component = state.memory.get(&key);
            state.statistics.memory_hits += u64::from(component.is_some());
            component
        };
        let (component, origin) = match in_memory {
            Some(component) => (component, Origin::MEMORY),
            None => {
                let (component, origin) = self.map_from(self.disk.as_ref().ok()?, &key, max_bytes).ok().flatten()?;
                self.state().memory.insert(key, component.clone());
                (component, origin)
            }
        };
        let (Origin { source, work }, took) = (origin, start.elapsed());
        debug!(component = key.visible_name(), ?source, ?took, "component found");
        Some(Loaded { component, key, source, took, work })
    }

    /// Whether the directory has this very component. The file is not read: whether it may be used is checked when it is
    /// mapped.
    pub fn is_on_disk(&self, key: &ArtifactKey) -> bool {
        self.disk.as_ref().is_ok_and(|disk| disk.has(key))
    }

    /// Lets a component go from memory. Its file stays, and so does the code for as long as somebody uses it. `false`: it
    /// was not in memory.
    pub fn forget(&self, key: &ArtifactKey) -> bool {
        self.state().memory.remove(key)
    }

    /// The compiled component for these bytes, from memory, from a file or from the compiler.
    ///
    /// Blocks, when it compiles for up to seconds; from async code, call it through `spawn_blocking`. A
    /// [`Worker`] bounds the time and the memory that the compiler takes; without one, whoever accepts components
    /// from strangers can bound only their size. A failure is not remembered, and the next call tries again.
    ///
    /// # Errors
    /// [`CacheError::NotWasm`], [`CacheError::CoreModule`] or [`CacheError::Compile`]; with a worker also
    /// [`CacheError::TimedOut`], [`CacheError::OutOfMemory`], [`CacheError::NoWorker`] or [`CacheError::Worker`]. Never because of the disk.
    pub fn get_or_compile(&self, wasm: &[u8]) -> Result<Loaded, CacheError> {
        let start = Instant::now();
        check_header(wasm)?;
        self.get_or_compile_as(wasm, self.key(wasm), start)
    }

    /// [`ArtifactCache::get_or_compile`] for bytes that were hashed before.
    ///
    /// # Errors
    /// As [`ArtifactCache::get_or_compile`].
    pub fn get_or_compile_hashed(&self, wasm: &Wasm) -> Result<Loaded, CacheError> {
        let start = Instant::now();
        check_header(wasm.bytes())?;
        self.get_or_compile_as(wasm.bytes(), self.key_of(wasm), start)
    }

    fn get_or_compile_as(&self, wasm: &[u8], key: ArtifactKey, start: Instant) -> Result<Loaded, CacheError> {
        let (component, Origin { source, work }) = self.find_or_load(wasm, key)?;
        let took = start.elapsed();
        match source {
            Source::Compiled => info!(component = key.visible_name(), ?took, "component compiled"),
            Source::Memory | Source::Disk => {
                debug!(component = key.visible_name(), ?source, ?took, "component found");
            }
        }
        Ok(Loaded { component, key, source, took, work })
    }

    fn find_or_load(&self, wasm: &[u8], key: ArtifactKey) -> Result<(Component, Origin), CacheError> {
        let flight = {
            let mut state = self.state();
            if let Some(component) = state.memory.get(&key) {
                state.statistics.memory_hits += 1;
                return Ok((component, Origin::MEMORY));
            }
            Arc::clone(state.flights.entry(key).or_default())
        };
        let mut origin = Origin::MEMORY;
        let result = flight.get_or_init(|| {
            let component;
            (component, origin) = self.load(wasm, &key)?;
            Ok(component)
        });

        let mut state = self.state();
        // Whoever waited finds this flight gone, or a later one of the same key that is not theirs to end.
        if state.flights.get(&key).is_some_and(|current| Arc::ptr_eq(current, &flight)) {
            state.flights.remove(&key);
            if let Ok(component) = result {
                state.memory.insert(key, component.clone());
            }
        }
        let component = result.clone()?;
        if origin.source == Source::Memory {
            state.memory.get(&key);
            state.statistics.memory_hits += 1;
        }
        Ok((component, origin))
    }

    /// From a file, else from the compiler. Only one thread at a time does this for one key.
    fn load(&self, wasm: &[u8], key: &ArtifactKey) -> Result<(Component, Origin), CacheError> {
        let Ok(disk) = &self.disk else {
            let (component, _, origin) = self.compile(wasm, key)?;
            return Ok((component, origin));
        };
        // First without the lock, which needs write permission.
        if let Ok(Some(found)) = self.map_from(disk, key, u64::MAX) {
            return Ok(found);
        }
        let lock = disk
            .lock(key, self.lock_patience)
            .inspect_err(|error| {
                self.state().statistics.failed_writes += 1;
                warn!(component = key.visible_name(), %error, "cannot lock the cache directory");
            })
            .ok();
        // Another process may have written the entry while this one waited for the lock.
        match self.map_from(disk, key, u64::MAX) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            // It says nothing about the file, which may be good.
            Err(error) if is_of_the_system(&error) => {
                warn!(component = key.visible_name(), %error, "cannot read a compiled component on disk");
            }
            Err(error) => {
                self.state().statistics.refused_files += 1;
                warn!(component = key.visible_name(), %error, "refused a compiled component on disk");
                if let Some(Err(error)) = lock.as_ref().map(|lock| lock.remove_entry()) {
                    warn!(component = key.visible_name(), %error, "cannot remove it");
                }
            }
        }
        let (component, artifact, origin) = self.compile(wasm, key)?;
        if let Some(lock) = lock {
            let artifact = artifact.map_or_else(|| component.serialize(), Ok);
            match artifact.and_then(|artifact| Ok(lock.store(&artifact)?)) {
                Ok(()) => {
                    if let Err(error) = disk.make_room() {
                        warn!(%error, "cannot make room among the compiled components on disk");
                    }
                }
                Err(error) => {
                    self.state().statistics.failed_writes += 1;
                    warn!(component = key.visible_name(), %error, "cannot keep a compiled component on disk");
                }
            }
        }
        Ok((component, origin))
    }

    fn map_from(
        &self,
        disk: &Disk,
        key: &ArtifactKey,
        max_bytes: u64,
    ) -> wasmtime::Result<Option<(Component, Origin)>> {
        let start = Instant::now();
        let Some(file) = disk.find(key, max_bytes)? else {
            return Ok(None);
        };
        let component = map::map(&self.engine, &file)?;
        file.touch();
        self.state().statistics.disk_hits += 1;
        Ok(Some((component, Origin { source: Source::Disk, work: start.elapsed() })))
    }

    /// The component, and what it is serialized to where that is known.
    fn compile(&self, wasm: &[u8], key: &ArtifactKey) -> Result<(Component, Option<Vec<u8>>, Origin), CacheError> {
        let start = Instant::now();
        self.state().statistics.misses += 1;
        let name = key.visible_name();
        let (component, artifact) = match &self.worker {
            None => {
                let component = Component::from_binary(&self.engine, wasm)
                    .map_err(|error| CacheError::Compile { name, source: error.into_boxed_dyn_error().into() })?;
                (component, None)
            }
            Some(worker) => {
                let artifact = worker.compile(wasm, &name)?;
                let component = map::load(&self.engine, &artifact)
                    .map_err(|error| CacheError::Worker { name, message: format!("{error:#}") })?;
                (component, Some(artifact.into_bytes()))
            }
        };
        self.state().statistics.compilations += 1;
        Ok((component, artifact, Origin { source: Source::Compiled, work: start.elapsed() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a file could not be looked at, which is no fault of the file: no descriptor is free, no memory, or the disk fails.
fn is_of_the_system(error: &wasmtime::Error) -> bool {
    error.is::<rustix::io::Errno>()
        || error.is::<wasmtime::OutOfMemory>()
        || error.downcast_ref::<io::Error>().is_some_and(|error| {
            use io::ErrorKind::{InvalidData, IsADirectory, UnexpectedEof};
            !matches!(error.kind(), InvalidData | UnexpectedEof | IsADirectory)
        })
}

/// Tells a file of the wrong kind from a component that does not compile: the compiler says of both that it cannot
/// read them. A header is the magic number, then version and layer, both of 16 bits; layer 0 is a core module.
fn check_header(wasm: &[u8]) -> Result<(), CacheError> {
    let length = wasm.len();
    match wasm {
        [0, b'a', b's', b'm', _, _, 0, 0, ..] => Err(CacheError::CoreModule { length }),
        [0, b'a', b's', b'm', _, _, _, _, ..] => Ok(()),
        _ => Err(CacheError::NotWasm { length }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that cannot be looked at now may be good, and is not removed.
    #[test]
    fn an_error_of_the_system_says_nothing_about_the_file() {
        let is = |kind| is_of_the_system(&wasmtime::Error::from(io::Error::from(kind)).context("while mapping"));
        for kind in [io::ErrorKind::OutOfMemory, io::ErrorKind::PermissionDenied, io::ErrorKind::Other] {
            assert!(is(kind), "{kind}");
        }
        for kind in [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof, io::ErrorKind::IsADirectory] {
            assert!(!is(kind), "{kind}");
        }
        // As the engine says that there is no room for one more mapping.
        assert!(is_of_the_system(&wasmtime::Error::from(rustix::io::Errno::NOMEM).context("mmap")));
        assert!(!is_of_the_system(&wasmtime::Error::msg("compiled for another engine")));
    }
}
