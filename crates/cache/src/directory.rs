//! What lies in a cache directory: for people who look at it, and for making room.

use std::cmp::Reverse;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::io::Errno;

use crate::disk::{Disk, NEW_KEY, Room, TEMPORARY_SUFFIX, all, unless_gone};
use crate::error::CacheError;
use crate::key::{Fingerprint, parse_file_name};

/// A cache directory, without an engine: to list, check and remove what is in it. Hosts may use it meanwhile.
pub struct CacheDirectory {
    disk: Disk,
}

/// One compiled component in a directory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DirectoryEntry {
    /// What people see: `{sha256}_{length}` of the component.
    pub name: String,
    /// The engine that it was compiled for.
    pub fingerprint: Fingerprint,
    /// The size of the file, in bytes.
    pub bytes: u64,
    /// When it was written. None where the file system does not say.
    pub created: Option<SystemTime>,
    /// When a host mapped it last. It is in the future after the system's clock was set back.
    pub last_used: SystemTime,
    file_name: String,
}

/// What lies in a directory. Files with other names, the key among them, are not part of it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DirectoryContents {
    /// The entries, most recently used first.
    pub entries: Vec<DirectoryEntry>,
    /// What is being written just now, and what processes left that were killed while they wrote.
    pub leftovers: Vec<PathBuf>,
}

/// Why [`CacheDirectory::prune`] removed an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Useless {
    /// It was compiled for an engine of another version, with other settings or for another CPU.
    OtherEngine,
    /// It is damaged, or this directory's key did not authenticate it.
    Damaged,
    /// There is no room for it beside those that were used more recently.
    NoRoom,
}

impl CacheDirectory {
    /// Opens a directory as a cache with these bounds does, with the same checks; makes it if it is missing.
    ///
    /// # Errors
    /// The same as those in [`DiskState::Unusable`](crate::DiskState::Unusable).
    pub fn open(directory: &Path, max_entries: usize, max_bytes: u64) -> Result<Self, CacheError> {
        Ok(Self { disk: Disk::open(directory, Room { max_entries, max_bytes })? })
    }

    /// Lists what there is. Reads names and sizes only, no code.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn contents(&self) -> io::Result<DirectoryContents> {
        self.disk.contents()
    }

    /// Reads the whole file and checks its authenticator, as is done before it is mapped. An entry that was removed
    /// meanwhile is right.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or was not written by the owner of this directory's key. A host compiles its
    /// component anew.
    pub fn verify(&self, entry: &DirectoryEntry) -> io::Result<()> {
        self.disk.verified(&entry.file_name, u64::MAX).map(drop)
    }

    /// Removes what no host with an engine of `engines` would load, what dead processes left, and what is too much.
    /// Returns the entries that it removed.
    ///
    /// # Errors
    /// The directory cannot be read, or not be written to.
    pub fn prune(&self, engines: &[Fingerprint]) -> io::Result<Vec<(DirectoryEntry, Useless)>> {
        let contents = self.contents()?;
        let leftovers = all(contents.leftovers.iter().map(|leftover| self.disk.remove_leftover(leftover)));
        let mut removed = Vec::new();
        let mut kept = Vec::new();
        for entry in contents.entries {
            if !engines.contains(&entry.fingerprint) {
                removed.push((entry, Useless::OtherEngine));
            } else if self.verify(&entry).is_err() {
                removed.push((entry, Useless::Damaged));
            } else {
                kept.push(entry);
            }
        }
        removed.extend(self.disk.surplus(kept).into_iter().map(|entry| (entry, Useless::NoRoom)));
        leftovers.and(all(removed.iter().map(|(entry, _)| self.disk.remove(entry))))?;
        Ok(removed)
    }

    /// Removes all entries, and what dead processes left. A host that has mapped one goes on using it. Returns what it
    /// removed.
    ///
    /// # Errors
    /// The directory cannot be read, or not be written to.
    pub fn clear(&self) -> io::Result<Vec<DirectoryEntry>> {
        let contents = self.contents()?;
        let leftovers = all(contents.leftovers.iter().map(|leftover| self.disk.remove_leftover(leftover)));
        leftovers.and(all(contents.entries.iter().map(|entry| self.disk.remove(entry))))?;
        Ok(contents.entries)
    }
}

impl Disk {
    pub(crate) fn contents(&self) -> io::Result<DirectoryContents> {
        let mut contents = DirectoryContents::default();
        for file in fs::read_dir(self.folder().path_of_handle())? {
            let file = file?;
            let Ok(file_name) = file.file_name().into_string() else { continue };
            let is_ours = |name: &str| name.starts_with(NEW_KEY) || parse_file_name(name).is_some();
            if file_name.strip_suffix(TEMPORARY_SUFFIX).is_some_and(is_ours) {
                contents.leftovers.push(self.directory().join(file_name));
                continue;
            }
            let Some((name, fingerprint)) = parse_file_name(&file_name) else { continue };
            // Another process may be removing the same files: one that is gone is what was wanted.
            let Some(metadata) = unless_gone(file.metadata())? else { continue };
            contents.entries.push(DirectoryEntry {
                name: name.to_owned(),
                fingerprint,
                bytes: metadata.len(),
                created: metadata.created().ok(),
                last_used: metadata.modified()?,
                file_name,
            });
        }
        contents.entries.sort_by(|a, b| b.last_used.cmp(&a.last_used).then_with(|| a.file_name.cmp(&b.file_name)));
        Ok(contents)
    }

    /// The entries that have to go so that the others fit: those that were not used for the longest time.
    pub(crate) fn surplus(&self, mut entries: Vec<DirectoryEntry>) -> Vec<DirectoryEntry> {
        let now = SystemTime::now();
        // A time stamp in the future is from before the clock was set back, and what is in use has got another since. Taken
        // at its word, it would keep its entry until the clock has caught up, and drive out the others.
        entries.sort_by_key(|entry| (entry.last_used > now, Reverse(entry.last_used)));
        let room = self.room();
        let (mut count, mut bytes) = (0, 0_u64);
        let fits = |entry: &DirectoryEntry| {
            count += 1;
            bytes = bytes.saturating_add(entry.bytes);
            count <= room.max_entries && bytes <= room.max_bytes
        };
        let kept = entries.iter().map(fits).take_while(|fits| *fits).count();
        entries.split_off(kept)
    }

    pub(crate) fn remove(&self, entry: &DirectoryEntry) -> io::Result<()> {
        self.folder().remove(&entry.file_name)
    }

    /// Removes a temporary file unless somebody is writing it, who has its lock.
    pub(crate) fn remove_leftover(&self, path: &Path) -> io::Result<()> {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
        let file = match self.folder().read(name) {
            Ok(None) => return Ok(()),
            Ok(Some((file, _))) => file,
            // Nobody of ours writes to it.
            Err(error) => {
                let is_foreign = matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::PermissionDenied)
                    || error.raw_os_error() == Some(Errno::NXIO.raw_os_error());
                return if is_foreign { self.folder().remove(name) } else { Err(error) };
            }
        };
        match file.try_lock() {
            // It has become an entry since it was opened, and the name may be somebody else's by now.
            Ok(()) if !self.folder().is_at(&file, name)? => Ok(()),
            // Whoever waits for this lock sees that the file has lost its name, and makes a new one.
            Ok(()) => self.folder().remove(name),
            Err(fs::TryLockError::WouldBlock) => Ok(()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}
