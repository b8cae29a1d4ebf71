//! A plugin's bytes: from a file that may be too large, or change while it is read.

#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt as _;
use std::{
    fs::{File, Metadata},
    io::{self, Read},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use tapline_cache::Wasm;
use tapline_tap_dispatch::PluginName;

use crate::{error::LoadError, plugin::PluginSource};

/// So many bytes are hashed within the time that another thread needs to begin with it, and looked at within a quarter of a
/// millisecond, if they are all parts of three bytes.
const AT_ONCE: usize = 64 << 10;
/// So many bytes of compiled code are checked and mapped in half a millisecond. Code that was made of few bytes can have many
/// more, for memory that is not empty.
const MAPPED_AT_ONCE: u64 = 1 << 20;

/// How long somebody who writes to a pipe is waited for.
const WRITER: Duration = Duration::from_secs(10);

/// Whether what has so many bytes is dealt with at once.
pub(crate) fn is_small(source: &PluginSource) -> bool {
    matches!(source, PluginSource::Bytes(bytes) if bytes.len() <= AT_ONCE)
}

/// The bytes of compiled code that may be mapped: in the caller's thread few, apart from it any.
pub(crate) fn mapped(at_once: bool) -> u64 {
    if at_once { MAPPED_AT_ONCE } else { u64::MAX }
}

/// Does what takes as long as the plugin is large: at once, or where nobody waits for the thread.
pub(crate) async fn apart<T: Send + 'static>(
    name: &PluginName,
    at_once: bool,
    work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    if at_once {
        return work();
    }
    let working = tokio::task::spawn_blocking(work);
    working.await.map_err(|error| LoadError::Engine { plugin: name.clone(), source: error.into() })?
}

/// The bytes of a component that is not too large to be looked at, hashed.
pub(crate) async fn read(name: &PluginName, source: &PluginSource, max: u64) -> Result<Wasm, LoadError> {
    let (plugin, component) = (name.clone(), source.clone());
    apart(name, is_small(source), move || read_now(&plugin, &component, max)).await
}

/// [`read`] on this thread, which waits for the disk.
pub(crate) fn read_now(name: &PluginName, source: &PluginSource, max: u64) -> Result<Wasm, LoadError> {
    let too_large = |needs| LoadError::TooLarge { plugin: name.clone(), what: "bytes", needs, limit: max };
    match source {
        PluginSource::Bytes(bytes) if bytes.len() as u64 > max => Err(too_large(bytes.len() as u64)),
        PluginSource::Bytes(bytes) => Ok(Wasm::new(Arc::clone(bytes))),
        PluginSource::File(path) => match read_component(path, max) {
            Ok(bytes) => Ok(Wasm::new(bytes)),
            Err(Ok(size)) => Err(too_large(size)),
            Err(Err(source)) => Err(LoadError::Read { plugin: name.clone(), path: path.clone(), source }),
        },
    }
}

/// Reads a file that is not larger than `max` bytes, as a host reads its plugins. Blocks.
///
/// A file that another one takes the place of meanwhile is read as it was. One that is written to in place would be
/// half the old one and half the new one, which could even be valid: that is an error.
///
/// # Errors
///
/// `Ok(size)`: it is larger. Otherwise what the system says.
pub fn read_component(path: &Path, max: u64) -> Result<Arc<[u8]>, Result<u64, io::Error>> {
    let mut options = File::options();
    // Who opens a pipe waits until somebody writes to it, for ever if nobody does.
    #[cfg(unix)]
    options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    read_open(&options.read(true).open(path).map_err(Err)?, max, || {})
}

fn read_open(file: &File, max: u64, between: impl FnOnce()) -> Result<Arc<[u8]>, Result<u64, io::Error>> {
    let before = file.metadata().map_err(Err)?;
    if before.len() > max {
        return Err(Ok(before.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or_default().saturating_add(1));
    // The file may grow meanwhile, or be one without a size.
    let mut file_to_end = file.take(max.saturating_add(1));
    let since = Instant::now();
    while let Err(error) = file_to_end.read_to_end(&mut bytes) {
        // Somebody writes to the pipe, and is not done. What was read is kept.
        match error.kind() {
            io::ErrorKind::WouldBlock if since.elapsed() < WRITER => thread::sleep(Duration::from_millis(1)),
            _ => return Err(Err(error)),
        }
    }
    let read = bytes.len() as u64;
    between();
    if read > max {
        return Err(Ok(read));
    }
    let after = file.metadata().map_err(Err)?;
    if before.is_file() && (stamp(&before) != stamp(&after) || read != after.len()) {
        let message = "it was written to while it was read; write a new file beside it, and rename that";
        return Err(Err(io::Error::other(message)));
    }
    Ok(bytes.into())
}

/// What changes when a file is written to.
fn stamp(file: &Metadata) -> (u64, Option<SystemTime>) {
    (file.len(), file.modified().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.wasm");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(*read_component(&path, 5).unwrap(), *b"12345");
        assert!(matches!(read_component(&path, 4), Err(Ok(5))));
        assert!(matches!(read_component(Path::new("/dev/zero"), 10), Err(Ok(11))), "it has no size, and no end");
        assert!(matches!(read_component(&directory.path().join("b.wasm"), 5), Err(Err(_))));
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_that_nobody_writes_to_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("a.wasm");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(*read_component(&pipe, 5).unwrap(), *b"", "it has nothing in it");
        // One that somebody writes to slowly is read to its end.
        let (read, mut write) = std::io::pipe().unwrap();
        let writing = thread::spawn(move || {
            for part in [b"01", b"23", b"45"] {
                std::io::Write::write_all(&mut write, part).unwrap();
                thread::yield_now();
            }
        });
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&read));
        assert_eq!(*read_component(Path::new(&path), 6).unwrap(), *b"012345");
        writing.join().unwrap();
    }

    #[test]
    fn a_file_that_is_replaced_is_read_whole_and_one_that_is_written_to_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.wasm");
        let new = directory.path().join("b.wasm");
        std::fs::write(&path, b"old old old").unwrap();
        std::fs::write(&new, b"new").unwrap();
        let file = File::open(&path).unwrap();
        let read = read_open(&file, 100, || std::fs::rename(&new, &path).unwrap());
        assert_eq!(*read.unwrap(), *b"old old old");

        // The same length, so that only the time tells; which is set here, as two writes can come within one tick.
        let file = File::open(&path).unwrap();
        let later = file.metadata().unwrap().modified().unwrap() + Duration::from_secs(1);
        let written = read_open(&file, 100, || {
            std::fs::write(&path, b"NEW").unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        });
        let Err(Err(error)) = written else { panic!("{written:?}") };
        assert!(error.to_string().starts_with("it was written to while it was read"), "{error}");
        let grown = read_open(&file, 100, || std::fs::write(&path, b"NEW and more").unwrap());
        assert!(matches!(grown, Err(Err(_))), "{grown:?}");
    }
}
