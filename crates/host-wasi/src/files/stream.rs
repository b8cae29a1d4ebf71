//! Streams of files that keep to a size, and to the plugin's share of threads.

use std::{fs::File, future::Future, io, mem, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use rustix::io::Errno;
use wasmtime_wasi::{
    async_trait,
    p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult},
    runtime::{AbortOnDropJoinHandle, spawn},
};

use super::open::{Place, Rules};

/// How much one write or read may hand over, in bytes.
const MOST: usize = 64 << 10;

/// How much is read ahead for somebody who waits without having said how much, in bytes: as `wasmtime-wasi` does.
const AHEAD: usize = 4096;

/// Where a stream writes.
enum Target {
    /// From this byte on.
    At(u64),
    /// At the end, wherever that is then. Those who append under the same grant take turns: the size is looked at before.
    End,
}

enum Writing {
    Ready,
    Running(AbortOnDropJoinHandle<io::Result<()>>),
    Failed(io::Error),
    Closed,
}

/// Writes to a file, and fails where it would become larger than it may be.
pub(super) struct Writer {
    file: Arc<File>,
    target: Target,
    rules: Arc<Rules>,
    state: Writing,
    _place: Option<Place>,
}

impl Writer {
    pub(super) fn at(file: Arc<File>, position: u64, rules: Arc<Rules>, place: Option<Place>) -> Self {
        Self { file, target: Target::At(position), rules, state: Writing::Ready, _place: place }
    }

    pub(super) fn at_end(file: Arc<File>, rules: Arc<Rules>, place: Option<Place>) -> Self {
        Self { file, target: Target::End, rules, state: Writing::Ready, _place: place }
    }

    fn failure(&mut self) -> StreamError {
        match mem::replace(&mut self.state, Writing::Closed) {
            Writing::Failed(error) => StreamError::LastOperationFailed(error.into()),
            _ => StreamError::Closed,
        }
    }
}

/// Whether a file may have `length` more bytes after the first `position`.
pub(super) fn fits(position: u64, length: usize, max_size: u64) -> bool {
    position.checked_add(length as u64).is_some_and(|end| end <= max_size)
}

/// Waits for the turn first and for a thread then: one that has a thread waits for nobody.
async fn append(file: Arc<File>, bytes: Bytes, rules: Arc<Rules>) -> io::Result<()> {
    let turn = Arc::clone(&rules.appending).lock_owned().await;
    let within = Arc::clone(&rules);
    let appended = rules.threads.run(move || {
        // The turn is over when the bytes are there, also for a call that has ended meanwhile.
        let _turn = turn;
        if !fits(file.metadata()?.len(), bytes.len(), within.max_file_size) {
            within.refused();
            return Err(Errno::FBIG.into());
        }
        append_all(&file, &bytes)
    });
    appended.await
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
            Writing::Ready if bytes.len() <= MOST => {}
            Writing::Closed => return Err(StreamError::Closed),
            _ => return Err(StreamError::trap("a write without room for it: check-write comes first")),
        }
        let (file, rules) = (Arc::clone(&self.file), Arc::clone(&self.rules));
        // What waits for a thread is a task, which needs none: it goes on whether or not the guest waits for it.
        self.state = Writing::Running(match &mut self.target {
            Target::At(position) => {
                let start = *position;
                if !fits(start, bytes.len(), rules.max_file_size) {
                    rules.refused();
                    self.state = Writing::Closed;
                    return Err(StreamError::LastOperationFailed(io::Error::from(Errno::FBIG).into()));
                }
                *position += bytes.len() as u64;
                spawn(async move { rules.threads.run(move || file.write_all_at(&bytes, start)).await })
            }
            Target::End => spawn(append(file, bytes, rules)),
        });
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        match self.state {
            Writing::Ready | Writing::Running(_) => Ok(()),
            Writing::Failed(_) | Writing::Closed => Err(self.failure()),
        }
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        match self.state {
            Writing::Ready => Ok(MOST),
            Writing::Running(_) => Ok(0),
            Writing::Failed(_) | Writing::Closed => Err(self.failure()),
        }
    }

    async fn cancel(&mut self) {
        // A write that has begun cannot be stopped, and one that waits was accepted. The guest waits for it, so that it
        // has no more of them than streams.
        if let Writing::Running(writing) = mem::replace(&mut self.state, Writing::Closed) {
            let _ = writing.await;
        }
    }
}

#[async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        if let Writing::Running(writing) = &mut self.state {
            self.state = match writing.await {
                Ok(()) => Writing::Ready,
                Err(error) => Writing::Failed(error),
            };
        }
    }
}

enum Reading {
    Ready,
    Running(AbortOnDropJoinHandle<io::Result<Bytes>>),
    /// What was read and not taken yet.
    Read(Bytes),
    Failed(io::Error),
    Closed,
}

impl From<io::Result<Bytes>> for Reading {
    fn from(read: io::Result<Bytes>) -> Self {
        match read {
            Ok(bytes) if bytes.is_empty() => Self::Closed,
            Ok(bytes) => Self::Read(bytes),
            Err(error) => Self::Failed(error),
        }
    }
}

/// Reads a file.
pub(super) struct Reader {
    file: Arc<File>,
    position: u64,
    rules: Arc<Rules>,
    state: Reading,
    _place: Option<Place>,
}

impl Reader {
    pub(super) fn at(file: Arc<File>, position: u64, rules: Arc<Rules>, place: Option<Place>) -> Self {
        Self { file, position, rules, state: Reading::Ready, _place: place }
    }

    fn begin(&self, size: usize) -> impl Future<Output = io::Result<Bytes>> + Send + use<> {
        let (file, position, rules) = (Arc::clone(&self.file), self.position, Arc::clone(&self.rules));
        async move { rules.threads.run(move || read(&file, position, size)).await }
    }

    async fn finish(&mut self) {
        if let Reading::Running(reading) = &mut self.state {
            self.state = reading.await.into();
        }
    }
}

fn read(file: &File, position: u64, size: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; size.min(MOST)];
    loop {
        match file.read_at(&mut bytes, position) {
            Ok(length) => {
                bytes.truncate(length);
                return Ok(bytes.into());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[async_trait]
impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        match &mut self.state {
            Reading::Ready if size == 0 => Ok(Bytes::new()),
            Reading::Ready => {
                self.state = Reading::Running(spawn(self.begin(size)));
                Ok(Bytes::new())
            }
            Reading::Running(_) => Ok(Bytes::new()),
            Reading::Read(bytes) => {
                let taken = bytes.split_to(bytes.len().min(size));
                if bytes.is_empty() {
                    self.state = Reading::Ready;
                }
                self.position += taken.len() as u64;
                Ok(taken)
            }
            Reading::Failed(_) | Reading::Closed => match mem::replace(&mut self.state, Reading::Closed) {
                Reading::Failed(error) => Err(StreamError::LastOperationFailed(error.into())),
                _ => Err(StreamError::Closed),
            },
        }
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.finish().await;
        if matches!(self.state, Reading::Ready) && size > 0 {
            self.state = self.begin(size).await.into();
        }
        self.read(size)
    }

    async fn cancel(&mut self) {
        // As with a write: the guest has no more of them than streams.
        if let Reading::Running(reading) = mem::replace(&mut self.state, Reading::Closed) {
            let _ = reading.await;
        }
    }
}

#[async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {
        if matches!(self.state, Reading::Ready) {
            self.state = Reading::Running(spawn(self.begin(AHEAD)));
        }
        self.finish().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::{task::yield_now, time::timeout};

    use super::*;
    use crate::places::{
        Places,
        tests::{Gate, OpenOnDrop, PATIENCE, until},
    };

    fn file() -> Arc<File> {
        Arc::new(tempfile::tempfile().unwrap())
    }

    fn rules(places: &Places) -> Arc<Rules> {
        Arc::new(Rules { max_file_size: 10 << 20, threads: places.share(), ..Rules::new(None, None) })
    }

    /// Lets everything else run until it has to wait.
    async fn settled() {
        for _ in 0..1000 {
            yield_now().await;
        }
    }

    async fn written(writers: &mut [Writer]) {
        for writer in writers {
            timeout(PATIENCE, writer.ready()).await.unwrap();
            assert_eq!(writer.check_write().unwrap(), MOST);
        }
    }

    fn contents(file: &File) -> Vec<u8> {
        let mut all = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut all, 0).unwrap();
        all
    }

    #[tokio::test]
    async fn those_who_append_wait_for_their_turn_without_a_thread() {
        let (file, rules) = (file(), rules(&Places::new(4)));
        let turn = rules.appending.lock().await;
        let mut writers: Vec<_> =
            (0..20).map(|_| Writer::at_end(Arc::clone(&file), Arc::clone(&rules), None)).collect();
        for (letter, writer) in (b'a'..).zip(&mut writers) {
            writer.write(vec![letter; MOST].into()).unwrap();
            assert_eq!(writer.check_write().unwrap(), 0);
        }
        settled().await;
        assert_eq!((rules.threads.free(), file.metadata().unwrap().len()), ((3, 4), 0));
        drop(turn);
        written(&mut writers).await;
        let all = contents(&file);
        assert_eq!(all.len(), 20 * MOST);
        let mut letters: Vec<u8> = all.chunks(MOST).map(|part| part[0]).collect();
        assert!(all.chunks(MOST).zip(&letters).all(|(part, letter)| part.iter().all(|byte| byte == letter)));
        letters.sort_unstable();
        assert_eq!(letters, Vec::from_iter(b'a'..b'a' + 20));
    }

    #[tokio::test]
    async fn many_who_write_have_no_more_threads_than_the_share() {
        let (file, places) = (file(), Places::new(4));
        let rules = rules(&places);
        let gate = OpenOnDrop(Arc::new(Gate::default()));
        for _ in 0..3 {
            let (rules, gate) = (Arc::clone(&rules), Arc::clone(&gate.0));
            tokio::spawn(async move { rules.threads.run(move || gate.pass()).await });
        }
        gate.0.until_waiting(3).await;
        let positions = (0..20).map(|number| number * MOST as u64);
        let mut writers: Vec<_> =
            positions.map(|position| Writer::at(Arc::clone(&file), position, Arc::clone(&rules), None)).collect();
        for (letter, writer) in (b'a'..).zip(&mut writers) {
            writer.write(vec![letter; MOST].into()).unwrap();
        }
        settled().await;
        // One place is left, which is for others.
        assert_eq!((rules.threads.free(), file.metadata().unwrap().len()), ((0, 1), 0));
        gate.0.open();
        written(&mut writers).await;
        let expected: Vec<u8> = (b'a'..b'a' + 20).flat_map(|letter| vec![letter; MOST]).collect();
        assert!(contents(&file) == expected);
        until(|| rules.threads.free() == (3, 4)).await;
    }

    #[tokio::test]
    async fn whoever_drops_a_stream_waits_for_what_it_has_written() {
        let (file, rules) = (file(), rules(&Places::new(4)));
        let turn = rules.appending.lock().await;
        let mut writer = Writer::at_end(Arc::clone(&file), Arc::clone(&rules), None);
        writer.write("text".into()).unwrap();
        let dropping = tokio::spawn(async move { writer.cancel().await });
        settled().await;
        assert!(!dropping.is_finished());
        drop(turn);
        timeout(PATIENCE, dropping).await.unwrap().unwrap();
        assert_eq!(contents(&file), b"text");
    }

    #[tokio::test]
    async fn a_file_is_read_to_its_end_in_whatever_way() {
        let (file, rules) = (file(), rules(&Places::new(4)));
        let text: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
        file.write_all_at(&text, 0).unwrap();
        for (blocking, size) in [(true, 1000), (true, 1 << 20), (false, 1000), (false, 1 << 20)] {
            let mut reader = Reader::at(Arc::clone(&file), 0, Arc::clone(&rules), None);
            let mut all = Vec::new();
            loop {
                let read = if blocking {
                    reader.blocking_read(size).await
                } else {
                    reader.ready().await;
                    reader.read(size)
                };
                match read {
                    Ok(bytes) => {
                        assert!((1..=size.min(MOST)).contains(&bytes.len()), "{}", bytes.len());
                        all.extend_from_slice(&bytes);
                    }
                    Err(error) => {
                        assert!(matches!(error, StreamError::Closed), "{error}");
                        break;
                    }
                }
            }
            assert!(all == text, "{blocking} {size}");
            assert!(matches!(reader.read(1), Err(StreamError::Closed)));
        }
        let mut reader = Reader::at(file, 0, rules, None);
        assert_eq!(reader.read(5).unwrap().len(), 0);
        reader.ready().await;
        assert_eq!((reader.read(0).unwrap().len(), reader.read(9).unwrap()), (0, Bytes::from(text[..5].to_vec())));
        assert_eq!(reader.blocking_read(0).await.unwrap().len(), 0);
        assert_eq!(reader.blocking_read(2).await.unwrap(), text[5..7]);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_or_written_says_so_once() {
        let place = tempfile::NamedTempFile::new().unwrap();
        let rules = rules(&Places::new(4));
        let unreadable = Arc::new(File::options().write(true).open(place.path()).unwrap());
        let mut reader = Reader::at(unreadable, 0, Arc::clone(&rules), None);
        reader.ready().await;
        assert!(matches!(reader.read(1), Err(StreamError::LastOperationFailed(_))));
        assert!(matches!(reader.read(1), Err(StreamError::Closed)));
        let unwritable = Arc::new(File::open(place.path()).unwrap());
        let mut writer = Writer::at(unwritable, 0, rules, None);
        writer.write("text".into()).unwrap();
        writer.ready().await;
        assert!(matches!(writer.flush(), Err(StreamError::LastOperationFailed(_))));
        assert!(matches!(writer.check_write(), Err(StreamError::Closed)));
    }
}
