//! Streams of files that keep to a size.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use rustix::io::Errno;
use wasmtime_wasi::{
    async_trait,
    p2::{DynInputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult},
    runtime::{AbortOnDropJoinHandle, spawn_blocking},
};

use super::open::{OpenFiles, Place};

/// How much one write may hand over, in bytes.
const WRITE: usize = 64 << 10;

/// Where a stream writes.
enum Target {
    /// From this byte on.
    At(u64),
    /// At the end, wherever that is then. Those who append under the same grant take turns: the size is looked at before.
    End(Arc<Mutex<()>>),
}

enum State {
    Ready,
    Writing(AbortOnDropJoinHandle<io::Result<()>>),
    Failed(io::Error),
    Closed,
}

/// Writes to a file, and fails where it would become larger than it may be.
pub(super) struct Writer {
    file: Arc<File>,
    target: Target,
    max_size: u64,
    state: State,
    _place: Option<Place>,
}

impl Writer {
    pub(super) fn at(file: Arc<File>, position: u64, open: &OpenFiles, place: Option<Place>) -> Self {
        Self::new(file, Target::At(position), open, place)
    }

    pub(super) fn at_end(file: Arc<File>, open: &OpenFiles, place: Option<Place>) -> Self {
        Self::new(file, Target::End(Arc::clone(&open.appending)), open, place)
    }

    fn new(file: Arc<File>, target: Target, open: &OpenFiles, place: Option<Place>) -> Self {
        Self { file, target, max_size: open.max_file_size, state: State::Ready, _place: place }
    }

    fn failure(&mut self) -> StreamError {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Failed(error) => StreamError::LastOperationFailed(error.into()),
            _ => StreamError::Closed,
        }
    }
}

/// Whether a file may have `length` more bytes after the first `position`.
pub(super) fn fits(position: u64, length: usize, max_size: u64) -> bool {
    position.checked_add(length as u64).is_some_and(|end| end <= max_size)
}

fn append(file: &File, bytes: &[u8], max_size: u64, turn: &Mutex<()>) -> io::Result<()> {
    let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
    if !fits(file.metadata()?.len(), bytes.len(), max_size) {
        return Err(Errno::FBIG.into());
    }
    append_all(file, bytes)
}

/// The system finds the end, so that others who append lose nothing.
#[cfg(target_os = "linux")]
fn append_all(file: &File, mut bytes: &[u8]) -> io::Result<()> {
    use rustix::io::{ReadWriteFlags, pwritev2};
    while !bytes.is_empty() {
        match pwritev2(file, &[io::IoSlice::new(bytes)], 0, ReadWriteFlags::APPEND) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn append_all(file: &File, bytes: &[u8]) -> io::Result<()> {
    file.write_all_at(bytes, file.metadata()?.len())
}

#[async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        match self.state {
            State::Ready if bytes.len() <= WRITE => {}
            State::Closed => return Err(StreamError::Closed),
            _ => return Err(StreamError::trap("a write without room for it: check-write comes first")),
        }
        let (file, max_size) = (Arc::clone(&self.file), self.max_size);
        let writing = match &mut self.target {
            Target::At(position) => {
                let start = *position;
                if !fits(start, bytes.len(), max_size) {
                    self.state = State::Closed;
                    return Err(StreamError::LastOperationFailed(io::Error::from(Errno::FBIG).into()));
                }
                *position += bytes.len() as u64;
                spawn_blocking(move || file.write_all_at(&bytes, start))
            }
            Target::End(turn) => {
                let turn = Arc::clone(turn);
                spawn_blocking(move || append(&file, &bytes, max_size, &turn))
            }
        };
        self.state = State::Writing(writing);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        match self.state {
            State::Ready | State::Writing(_) => Ok(()),
            State::Failed(_) | State::Closed => Err(self.failure()),
        }
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        match self.state {
            State::Ready => Ok(WRITE),
            State::Writing(_) => Ok(0),
            State::Failed(_) | State::Closed => Err(self.failure()),
        }
    }

    async fn cancel(&mut self) {
        if let State::Writing(writing) = std::mem::replace(&mut self.state, State::Closed) {
            // A write that has begun cannot be stopped. The guest waits for it, so that it has no more of them than streams.
            writing.cancel().await;
        }
    }
}

#[async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        if let State::Writing(writing) = &mut self.state {
            self.state = match writing.await {
                Ok(()) => State::Ready,
                Err(error) => State::Failed(error),
            };
        }
    }
}

/// Reads a file, and keeps its place for as long.
pub(super) struct Reader {
    pub(super) inner: DynInputStream,
    pub(super) _place: Option<Place>,
}

#[async_trait]
impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.inner.read(size)
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.inner.blocking_read(size).await
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

#[async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}
