//! Compilation, bounded: how large a plugin may be, how long it may take, with how much memory, and how many at once.

use std::{ffi::OsString, io, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use tapline_cache::{CacheError, Fingerprint, Loaded, Wasm, Worker};
use tapline_tap_dispatch::PluginName;
use tokio::{sync::Semaphore, task::JoinError, time::timeout};
use wasmparser::{Validator, WasmFeatures};
use wasmtime::Engine;

use crate::{
    config::HostConfig,
    engine::{self, CodeSettings},
    error::{HostError, LoadError},
    host::Inner,
    runtime::Runtime,
};

/// The largest component: three times an interpreter of Python with its libraries, which has 18 MB.
pub const DEFAULT_MAX_COMPONENT_BYTES: u64 = 64 << 20;
/// The largest body of one function. One function is compiled by one thread, and some steps of that take more than
/// linear time. The loop of an interpreter, which is the largest function that people write, has some 100 KB.
pub const DEFAULT_MAX_FUNCTION_BYTES: u64 = 1 << 20;
/// Compilations at the same time: one has all cores, and a second lets a small plugin pass a large one.
pub const DEFAULT_MAX_COMPILATIONS: usize = 2;
/// The time for one compilation: as long as a call may take.
pub const DEFAULT_COMPILE_TIMEOUT: Duration = Duration::from_secs(30);
/// The memory of a worker: some ten times what the compiler takes for a component of 10 MB.
pub const DEFAULT_COMPILE_MEMORY_BYTES: u64 = 1 << 30;

/// What compiling a plugin may cost. It happens when a plugin is loaded that is not in the cache.
///
/// Size is always bounded. Time and memory are the compiler's, and a thread that compiles cannot be stopped. So for plugins
/// of strangers there is the [`worker`](Self::worker): a process that the system holds to its limits.
#[derive(Clone, Debug)]
pub struct Compilation {
    /// The bytes of a component; a larger file is not read. Defaults to [`DEFAULT_MAX_COMPONENT_BYTES`].
    pub max_component_bytes: u64,
    /// The bytes of the body of one function. Defaults to [`DEFAULT_MAX_FUNCTION_BYTES`].
    pub max_function_bytes: u64,
    /// Compilations at the same time. A load that finds no place within [`timeout`](Self::timeout) is refused. Without
    /// a worker a compilation that has timed out keeps its place until the compiler is done: no more threads than
    /// these are ever busy, besides those with which the compiler shares its work. Defaults to [`DEFAULT_MAX_COMPILATIONS`].
    pub max_concurrent: usize,
    /// How long a load waits for its compilation. Defaults to [`DEFAULT_COMPILE_TIMEOUT`].
    pub timeout: Duration,
    /// The process in which plugins are compiled. It is killed when the time is up. Defaults to none: they are compiled in
    /// this one.
    pub worker: Option<CompileWorker>,
}

impl Default for Compilation {
    fn default() -> Self {
        Self {
            max_component_bytes: DEFAULT_MAX_COMPONENT_BYTES,
            max_function_bytes: DEFAULT_MAX_FUNCTION_BYTES,
            max_concurrent: DEFAULT_MAX_COMPILATIONS,
            timeout: DEFAULT_COMPILE_TIMEOUT,
            worker: None,
        }
    }
}

impl Compilation {
    /// How long to wait for another process that compiles the same plugin: so that it can be compiled here within the time that
    /// the load has.
    pub(crate) fn lock_patience(&self) -> Duration {
        // What another process is at takes seconds; to give up earlier would compile everything twice.
        const SHORTEST: Duration = Duration::from_secs(5);
        // With a worker a load has twice the time: a worker ends in time, and a thread does not.
        let patience = if self.worker.is_some() { self.timeout } else { self.timeout / 2 };
        patience.max(SHORTEST)
    }
}

/// The program that compiles plugins in a process of its own: it calls [`compile_worker`] when it gets these arguments.
#[derive(Clone, Debug)]
pub struct CompileWorker {
    /// The program.
    pub program: PathBuf,
    /// What tells it to be a worker.
    pub arguments: Vec<String>,
    /// The bytes of memory that it may write to, on Linux. Defaults to [`DEFAULT_COMPILE_MEMORY_BYTES`].
    pub max_memory_bytes: u64,
}

impl CompileWorker {
    /// The program that is running, with arguments that make it a worker.
    ///
    /// # Errors
    ///
    /// The system does not say where the program lies.
    pub fn this_program(arguments: &[&str]) -> io::Result<Self> {
        Ok(Self::new(Worker::this_program()?, arguments))
    }

    /// A program, with arguments that make it a worker.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            max_memory_bytes: DEFAULT_COMPILE_MEMORY_BYTES,
        }
    }

    pub(crate) fn for_cache(&self, settings: CodeSettings, timeout: Duration) -> Worker {
        Worker {
            program: self.program.clone(),
            arguments: self.arguments.iter().map(OsString::from).collect(),
            // Plain data, which is always JSON.
            settings: serde_json::to_vec(&settings).unwrap_or_default(),
            max_memory_bytes: self.max_memory_bytes,
            timeout,
        }
    }
}

/// What a program does that a host started as its [`CompileWorker`]: it compiles one plugin for that host, and is to end
/// with the status that this returns. It reads standard input and writes standard output; nothing else may do so.
#[must_use]
pub fn compile_worker() -> ExitCode {
    tapline_cache::run_worker(|settings| {
        let settings: CodeSettings = serde_json::from_slice(settings).map_err(|error| error.to_string())?;
        Engine::new(&engine::code_config(settings)).map_err(|error| format!("{error:#}"))
    })
}

/// The engines for which a host with these settings compiles plugins: without fuel, and with.
///
/// # Errors
///
/// The engine refuses the settings.
pub fn code_fingerprints(config: &HostConfig) -> Result<[Fingerprint; 2], HostError> {
    let of = |fuel| -> Result<Fingerprint, HostError> {
        let engine = Engine::new(&engine::code_config(CodeSettings::new(config, fuel))).map_err(HostError::Engine)?;
        Ok(Fingerprint::of(&engine))
    };
    Ok([of(false)?, of(true)?])
}

/// The places for compilations of one host.
pub(crate) struct Compilations {
    places: Arc<Semaphore>,
    limit: usize,
    timeout: Duration,
    patience: Duration,
}

/// Why a compilation has no result.
#[derive(Debug)]
enum Without {
    Place,
    Time,
    Answer(JoinError),
}

impl Compilations {
    pub(crate) fn new(config: &Compilation) -> Self {
        let limit = config.max_concurrent.min(Semaphore::MAX_PERMITS);
        // A worker has a clock of its own, and first another process may be compiling the same plugin.
        let patience = if config.worker.is_some() { config.timeout.saturating_mul(2) } else { config.timeout };
        Self { places: Arc::new(Semaphore::new(limit)), limit, timeout: config.timeout, patience }
    }

    /// Runs `work`, which blocks, on a thread of its own. It keeps its place until it is done, also when nobody waits for
    /// it any more.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Without> {
        let place = timeout(self.timeout, Arc::clone(&self.places).acquire_owned()).await;
        // The semaphore is never closed.
        let Ok(Ok(place)) = place else { return Err(Without::Place) };
        let running = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(place);
            result
        });
        timeout(self.patience, running).await.map_err(|_elapsed| Without::Time)?.map_err(Without::Answer)
    }
}

/// The compiled plugin from the compiler.
pub(crate) async fn compile(
    host: &Inner,
    runtime: &Arc<Runtime>,
    plugin: &PluginName,
    wasm: Wasm,
) -> Result<Loaded, LoadError> {
    let compiling = Arc::clone(runtime);
    let simd_is_off = !host.config.enable_simd;
    let compiled = host.compilations.run(move || {
        compiling.cache.get_or_compile_hashed(&wasm).map_err(|error| {
            let simd = simd_is_off && matches!(error, CacheError::Compile { .. }) && needs_simd(wasm.bytes());
            (error, simd)
        })
    });
    let plugin = plugin.clone();
    let limit = host.compilations.timeout;
    match compiled.await {
        Ok(Ok(loaded)) => Ok(loaded),
        Ok(Err((_, true))) => Err(LoadError::FeatureOff { plugin, feature: "SIMD", setting: "enable_simd" }),
        Ok(Err((CacheError::TimedOut { limit, .. }, _))) => Err(LoadError::CompileTimedOut { plugin, limit }),
        Ok(Err((CacheError::OutOfMemory { limit, .. }, _))) => Err(LoadError::CompileOutOfMemory { plugin, limit }),
        Ok(Err((source, _))) => Err(LoadError::Compile { plugin, source }),
        Err(Without::Time) => Err(LoadError::CompileTimedOut { plugin, limit }),
        Err(Without::Place) => {
            Err(LoadError::CompilersBusy { plugin, running: host.compilations.limit, waited: limit })
        }
        Err(Without::Answer(source)) => Err(LoadError::Engine { plugin, source: source.into() }),
    }
}

/// Whether a component is valid with SIMD and not without.
fn needs_simd(bytes: &[u8]) -> bool {
    let valid = |features| Validator::new_with_features(features).validate_all(bytes).is_ok();
    let simd = WasmFeatures::SIMD | WasmFeatures::RELAXED_SIMD;
    !valid(WasmFeatures::all() - simd) && valid(WasmFeatures::all())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn compilations(milliseconds: u64) -> Compilations {
        let timeout = Duration::from_millis(milliseconds);
        Compilations::new(&Compilation { max_concurrent: 1, timeout, ..Compilation::default() })
    }

    #[tokio::test]
    async fn one_that_never_ends_keeps_its_place_and_takes_no_other() {
        let compilations = compilations(20);
        let (release, released) = mpsc::channel::<()>();
        let stuck = compilations.run(move || released.recv().is_err()).await;
        assert!(matches!(stuck, Err(Without::Time)), "{stuck:?}");
        for _ in 0..3 {
            let refused = compilations.run(|| unreachable!("there is no place")).await;
            assert!(matches!(refused, Err::<(), _>(Without::Place)), "{refused:?}");
        }
        drop(release);
        let place = Arc::clone(&compilations.places).acquire_owned().await.unwrap();
        drop(place);
        assert_eq!(compilations.run(|| 7).await.unwrap(), 7, "the place is free again");
    }

    #[tokio::test]
    async fn a_panic_of_the_compiler_gives_the_place_back() {
        let compilations = compilations(30_000);
        let panicked = compilations.run(|| panic!("the compiler has a defect")).await;
        assert!(matches!(panicked, Err::<(), _>(Without::Answer(_))), "{panicked:?}");
        assert_eq!(compilations.run(|| 7).await.unwrap(), 7);
    }

    /// The pool, the stack and the scan of dirty pages change no code.
    #[test]
    fn a_host_compiles_for_the_engines_that_are_named() {
        let config = HostConfig { pool_size: 3, ..HostConfig::default() };
        let named = code_fingerprints(&config).unwrap();
        for (fuel, scan) in [(false, false), (false, true), (true, false)] {
            let engine = Engine::new(&engine::engine_config(&config, fuel, scan).unwrap()).unwrap();
            assert_eq!(Fingerprint::of(&engine), named[usize::from(fuel)]);
        }
        assert_ne!(named[0], named[1]);
    }
}
