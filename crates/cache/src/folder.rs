//! A directory that is held open. Its files are reached through it and by their names alone, whatever becomes of its path, and
//! only files of our own are.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, linkat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

/// The permission bits with which a group or everybody could write.
pub(crate) const OTHERS_WRITE: u32 = 0o022;

/// For our user alone.
const OWN: Mode = Mode::from_raw_mode(0o600);
/// No link is followed, and nobody waits for the other end of a pipe.
const CAREFULLY: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
/// How often a file that is not ours is taken away from where ours is to be. Who may put one there again and again can do so for
/// ever.
const ATTEMPTS: usize = 3;

/// An open directory.
pub(crate) struct Folder {
    handle: File,
    path: PathBuf,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { handle: handle.into(), path: path.to_owned() })
    }

    /// The path that it was opened by.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn handle(&self) -> &File {
        &self.handle
    }

    /// A path that leads to this very directory, where the system has one.
    pub(crate) fn path_of_handle(&self) -> PathBuf {
        path_of(&self.handle, &self.path)
    }

    /// Opens a file of whatever kind and whoever it belongs to. None: there is none.
    pub(crate) fn open_any(&self, name: &str) -> io::Result<Option<File>> {
        match openat(&self.handle, name, OFlags::RDONLY | CAREFULLY, Mode::empty()) {
            Ok(file) => Ok(Some(file.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP) => Err(not_ours("it is a link")),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a file of ours for reading, with what is known of it. None: there is none.
    ///
    /// # Errors
    /// With [`io::ErrorKind::InvalidData`]: there is something of that name, and it is not ours.
    pub(crate) fn read(&self, name: &str) -> io::Result<Option<(File, Metadata)>> {
        let Some(file) = self.open_any(name)? else { return Ok(None) };
        let metadata = file.metadata()?;
        check_ours(&metadata)?;
        Ok(Some((file, metadata)))
    }

    /// Opens a file of ours for writing, and makes it if it is missing. What is there and not ours, or is known by another name as
    /// well, is taken away first: nothing is written to it.
    pub(crate) fn write(&self, name: &str) -> io::Result<File> {
        for _ in 0..ATTEMPTS {
            let refused = match openat(&self.handle, name, OFlags::WRONLY | OFlags::CREATE | CAREFULLY, OWN) {
                Ok(file) => {
                    let file = File::from(file);
                    let metadata = file.metadata()?;
                    let Err(refused) = check_ours(&metadata).and_then(|()| check_links(&metadata)) else {
                        return Ok(file);
                    };
                    // Another process may have taken it away already, and made one of ours.
                    if !self.is_at(&file, name)? {
                        continue;
                    }
                    refused
                }
                // A link; a pipe without a reader; a directory; a file of another user.
                Err(error @ (Errno::LOOP | Errno::NXIO | Errno::ISDIR | Errno::ACCESS)) if !self.is_ours(name) => {
                    error.into()
                }
                Err(error) => return Err(error.into()),
            };
            self.remove(name)?;
            tracing::warn!(name, error = %refused, "removed from the cache directory what is not ours");
        }
        Err(not_ours("somebody else puts a file there again and again"))
    }

    /// Makes a file for writing. One that is there already is an error.
    pub(crate) fn create_new(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | CAREFULLY;
        Ok(OwnedFd::into(openat(&self.handle, name, flags, OWN)?))
    }

    /// Gives a file the name `to` as well.
    ///
    /// # Errors
    /// With [`io::ErrorKind::AlreadyExists`]: there is something of that name.
    pub(crate) fn link(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(linkat(&self.handle, from, &self.handle, to, AtFlags::empty())?)
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.handle, from, &self.handle, to)?)
    }

    /// Removes a file, a link or an empty directory. One that is gone is what was wanted.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => unlinkat(&self.handle, name, AtFlags::REMOVEDIR).map_err(|error| {
                let error = io::Error::from(error);
                io::Error::new(error.kind(), format!("cannot remove {name}: {error}"))
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is anything of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Whether this name is that of a file of ours, as far as can be told without opening it.
    fn is_ours(&self, name: &str) -> bool {
        statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|named| FileType::from_raw_mode(named.st_mode).is_file() && named.st_uid == our_user())
    }

    /// Whether a file that is open still has this name.
    pub(crate) fn is_at(&self, file: &File, name: &str) -> io::Result<bool> {
        let open = rustix::fs::fstat(file)?;
        match statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) => Ok((named.st_ino, named.st_dev) == (open.st_ino, open.st_dev)),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// A path that leads to the very file that is open, for as long as it is; `otherwise` where the system has none.
pub(crate) fn path_of(file: &File, otherwise: &Path) -> PathBuf {
    if cfg!(target_os = "linux") {
        PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
    } else {
        otherwise.to_owned()
    }
}

pub(crate) fn our_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whoever could write to a file could do so while it is mapped.
fn check_ours(metadata: &Metadata) -> io::Result<()> {
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if !metadata.is_file() {
        Err(not_ours("it is no file"))
    } else if owner != our_user() {
        Err(not_ours(&format!("it belongs to user {owner}")))
    } else if mode & OTHERS_WRITE != 0 {
        Err(not_ours(&format!("it has mode {mode:04o}, so that others can write to it")))
    } else {
        Ok(())
    }
}

/// What is written to it would be seen under the other name as well.
fn check_links(metadata: &Metadata) -> io::Result<()> {
    // One that has just lost its only name is seen by whoever asks whether it still has it.
    if metadata.nlink() <= 1 { Ok(()) } else { Err(not_ours("it has another name as well")) }
}

fn not_ours(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
