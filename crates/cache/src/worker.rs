//! Compilation in a process of its own, which can be stopped.
//!
//! A thread that compiles cannot be ended from outside, and what it allocates is the host's. A process can be killed, and
//! the system bounds its memory. The parent starts one process for each component:
//!
//! - On its standard input the worker gets a [`Request`]: a key for this one answer, its limits, settings that
//!   this crate does not read, and the component.
//! - On its standard output it gives back an authenticator made with that key, one byte that says how it went, and
//!   the artifact or the reason.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process, setrlimit, waitid};
use wasmtime::{Engine, OutOfMemory};

use crate::error::CacheError;

/// The bytes of a worker's complaints that are kept.
const MAX_COMPLAINT: u64 = 4096;

const COMPILED: u8 = 0;
const REFUSED: u8 = 1;
const OUT_OF_MEMORY: u8 = 2;
const FAILED: u8 = 3;

/// How components are compiled in a process of their own.
///
/// The program has to call [`run_worker`] when it is started with `arguments`, and do nothing before that. It gets
/// none of our environment, and its memory is bounded where the system counts private writable memory (Linux 4.7 and
/// later; elsewhere its time alone is bounded).
#[derive(Clone, Debug)]
pub struct Worker {
    /// The program, usually the one that is running: see [`Worker::this_program`].
    pub program: PathBuf,
    /// What makes the program a worker.
    pub arguments: Vec<OsString>,
    /// Handed to the worker, which makes its engine from it. The engine has to compile as the cache's own does, else
    /// what it compiles is refused.
    pub settings: Vec<u8>,
    /// The bytes that the worker may write to: its heap, its stacks, its data.
    pub max_memory_bytes: u64,
    /// After this time the worker is killed.
    pub timeout: Duration,
}

impl Worker {
    /// The program that is running. On Linux that holds even when its file was replaced since.
    ///
    /// # Errors
    /// The system does not say where the program lies.
    pub fn this_program() -> io::Result<PathBuf> {
        if cfg!(target_os = "linux") { Ok(PathBuf::from("/proc/self/exe")) } else { std::env::current_exe() }
    }

    /// Compiles one component. Blocks for at most about `timeout`, and leaves no process behind.
    pub(crate) fn compile(&self, wasm: &[u8], name: &str) -> Result<Artifact, CacheError> {
        let failed = |message: String| CacheError::Worker { name: name.to_owned(), message };
        let unable = |source: io::Error| {
            let (name, program) = (name.to_owned(), self.program.clone());
            CacheError::NoWorker { name, program, source: Arc::new(source) }
        };
        let mut key = [0; blake3::KEY_LEN];
        getrandom::fill(&mut key).map_err(|error| failed(error.to_string()))?;
        let request = Request {
            key,
            max_memory_bytes: self.max_memory_bytes,
            timeout_seconds: self.timeout.as_secs().saturating_add(1),
            settings: self.settings.clone(),
        };
        let ended = self.exchange(&request, wasm).map_err(unable)?;

        if let Some((status, body)) = open(&key, &ended.answer) {
            let text = || String::from_utf8_lossy(body).into_owned();
            return match status {
                COMPILED => Ok(Artifact(body.to_vec())),
                REFUSED => Err(CacheError::Compile { name: name.to_owned(), source: refusal(text()) }),
                OUT_OF_MEMORY => Err(self.out_of_memory(name)),
                _ => Err(failed(text())),
            };
        }
        // A compiler that gets no memory aborts. Whoever else kills it with this signal is the system, for the same reason.
        let died_of = |signals: &[Signal]| signals.iter().any(|one| ended.status.signal() == Some(one.as_raw()));
        if ended.late || died_of(&[Signal::XCPU]) {
            return Err(CacheError::TimedOut { name: name.to_owned(), limit: self.timeout });
        }
        if died_of(&[Signal::ABORT, Signal::KILL]) {
            return Err(self.out_of_memory(name));
        }
        let complaint = String::from_utf8_lossy(&ended.complaint);
        Err(failed(format!("it gave no answer, and ended with {}: {}", ended.status, complaint.trim())))
    }

    fn out_of_memory(&self, name: &str) -> CacheError {
        CacheError::OutOfMemory { name: name.to_owned(), limit: self.max_memory_bytes }
    }

    /// Starts the worker, talks to it, and waits for its end, which comes in time.
    fn exchange(&self, request: &Request, wasm: &[u8]) -> io::Result<Ended> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let pid = Pid::from_child(&child);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (done, watch) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let watching = thread::Builder::new().name("tapline-compile".to_owned()).spawn_scoped(scope, move || {
                let late = watch.recv_timeout(self.timeout) == Err(RecvTimeoutError::Timeout);
                if late {
                    // The number is nobody else's: the process is not reaped before this thread has ended.
                    let _ = kill_process(pid, Signal::KILL);
                }
                late
            });
            let watching = match watching {
                Ok(watching) => watching,
                Err(error) => {
                    child.kill()?;
                    child.wait()?;
                    return Err(error);
                }
            };
            if let Some(mut stdin) = stdin {
                // A worker that ended early does not read: its answer or its status says why.
                let _ = request.write(&mut stdin).and_then(|()| stdin.write_all(wasm));
            }
            // No artifact is larger than the memory in which it was made.
            let answer = read_all(stdout, self.max_memory_bytes);
            let complaint = read_all(stderr, MAX_COMPLAINT);
            // It may have closed both and run on: whoever watches ends that as well.
            let ended = retry_on_intr(|| waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT));
            drop(done);
            let late = watching.join().unwrap_or_default();
            ended?;
            Ok(Ended { answer, complaint, status: child.wait()?, late })
        })
    }
}

/// What a worker made, and nobody else.
pub(crate) struct Artifact(Vec<u8>);

impl Artifact {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// What is left of a worker.
struct Ended {
    answer: Vec<u8>,
    complaint: Vec<u8>,
    status: ExitStatus,
    /// It was killed because its time was up.
    late: bool,
}

/// What the worker's compiler says of a component.
fn refusal(text: String) -> Arc<dyn Error + Send + Sync> {
    Box::<dyn Error + Send + Sync>::from(text).into()
}

/// What there is to read, up to a bound. What a killed worker has written is as good as nothing, and an authenticator tells.
fn read_all(from: Option<impl Read>, max: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        let _ = from.take(max).read_to_end(&mut bytes);
    }
    bytes
}

/// Takes an answer apart, if its authenticator is right.
fn open<'a>(key: &[u8; blake3::KEY_LEN], answer: &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (tag, rest) = answer.split_first_chunk::<{ blake3::OUT_LEN }>()?;
    let right = blake3::keyed_hash(key, rest) == blake3::Hash::from_bytes(*tag);
    let (status, body) = rest.split_first()?;
    right.then_some((*status, body))
}

/// What a worker is told before it sees the component.
struct Request {
    key: [u8; blake3::KEY_LEN],
    max_memory_bytes: u64,
    timeout_seconds: u64,
    settings: Vec<u8>,
}

impl Request {
    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut head = self.key.to_vec();
        head.extend(self.max_memory_bytes.to_le_bytes());
        head.extend(self.timeout_seconds.to_le_bytes());
        head.extend((self.settings.len() as u64).to_le_bytes());
        head.extend(&self.settings);
        to.write_all(&head)
    }

    fn read(from: &mut impl Read) -> io::Result<Self> {
        fn number(from: &mut impl Read) -> io::Result<u64> {
            let mut bytes = [0; 8];
            from.read_exact(&mut bytes)?;
            Ok(u64::from_le_bytes(bytes))
        }
        let mut key = [0; blake3::KEY_LEN];
        from.read_exact(&mut key)?;
        let (max_memory_bytes, timeout_seconds, length) = (number(from)?, number(from)?, number(from)?);
        let mut settings = Vec::new();
        from.take(length).read_to_end(&mut settings)?;
        Ok(Self { key, max_memory_bytes, timeout_seconds, settings })
    }

    /// Binds this process to its limits, for good.
    fn limit(&self) -> io::Result<()> {
        let set =
            |resource, current, maximum| setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) });
        // Not the address space: an allocator reserves far more of it, for each thread, than it ever uses.
        set(Resource::Data, self.max_memory_bytes, self.max_memory_bytes)?;
        // Counted over all threads. The parent's clock comes first; this one also runs when there is no parent any more.
        let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
        let seconds = self.timeout_seconds.saturating_mul(threads);
        // At the first the system says why it ends the process, at the second it does not.
        set(Resource::Cpu, seconds, seconds.saturating_add(1))?;
        // A compiler that is stopped leaves no copy of its memory behind.
        set(Resource::Core, 0, 0)?;
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        Ok(())
    }
}

/// Compiles one component for the process that started this one with a [`Worker`], and says with which status to end.
/// `engine` makes the engine from [`Worker::settings`].
///
/// Reads the component only after this process was bound to its limits. Called in a program that was not started as a
/// worker, it waits for a request on standard input and fails.
pub fn run_worker(engine: impl FnOnce(&[u8]) -> Result<Engine, String>) -> ExitCode {
    let mut stdin = io::stdin().lock();
    // Without a request there is no key, and nobody to answer.
    let Ok(request) = Request::read(&mut stdin) else { return ExitCode::FAILURE };
    let (status, body) = match work(&request, &mut stdin, engine) {
        Ok(artifact) => (COMPILED, artifact),
        Err((status, message)) => (status, message.into_bytes()),
    };
    let mut answer = vec![0; blake3::OUT_LEN];
    answer.push(status);
    answer.extend(body);
    let tag = blake3::keyed_hash(&request.key, &answer[blake3::OUT_LEN..]);
    answer[..blake3::OUT_LEN].copy_from_slice(tag.as_bytes());
    match io::stdout().lock().write_all(&answer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_nobody_reads) => ExitCode::FAILURE,
    }
}

fn work(
    request: &Request,
    stdin: &mut impl Read,
    engine: impl FnOnce(&[u8]) -> Result<Engine, String>,
) -> Result<Vec<u8>, (u8, String)> {
    request.limit().map_err(|error| (FAILED, format!("cannot set its limits: {error}")))?;
    let engine = engine(&request.settings).map_err(|message| (FAILED, message))?;
    let mut wasm = Vec::new();
    stdin.read_to_end(&mut wasm).map_err(|error| (FAILED, error.to_string()))?;
    engine.precompile_component(&wasm).map_err(|error| {
        let status = if error.downcast_ref::<OutOfMemory>().is_some() { OUT_OF_MEMORY } else { REFUSED };
        (status, format!("{error:#}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_needs_the_key_of_its_request() {
        let key = [7; blake3::KEY_LEN];
        let mut answer = blake3::keyed_hash(&key, b"\0code").as_bytes().to_vec();
        answer.extend(b"\0code");
        assert_eq!(open(&key, &answer), Some((COMPILED, &b"code"[..])));
        assert_eq!(open(&[8; blake3::KEY_LEN], &answer), None);
        assert_eq!(open(&key, &answer[..answer.len() - 1]), None, "cut off");
        assert_eq!(open(&key, b""), None);
    }

    #[test]
    fn a_request_arrives_as_it_was_sent() {
        let request =
            Request { key: [1; 32], max_memory_bytes: 1 << 40, timeout_seconds: 31, settings: b"{}".to_vec() };
        let mut bytes = Vec::new();
        request.write(&mut bytes).unwrap();
        bytes.extend(b"component");
        let mut from = &bytes[..];
        let read = Request::read(&mut from).unwrap();
        assert_eq!((read.key, read.max_memory_bytes, read.timeout_seconds), ([1; 32], 1 << 40, 31));
        assert_eq!((read.settings.as_slice(), from), (&b"{}"[..], &b"component"[..]));
        assert!(Request::read(&mut &bytes[..40]).is_err(), "cut off");
    }
}
