//! The directory with compiled components.
//!
//! An entry is one file: what the engine serialized, then 32 bytes that authenticate it together with its name. One
//! file and one `rename` mean that there is no moment at which half an entry exists. Its name while it is written has
//! `.tmp` behind it, and that file is also the lock: see [`Disk::lock`].

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::error::CacheError;
use crate::folder::{Folder, OTHERS_WRITE, our_user, path_of};
use crate::key::ArtifactKey;

const KEY_FILE: &str = "key";
/// What the key's name begins with while it is written; behind it there is a number, and [`TEMPORARY_SUFFIX`].
pub(crate) const NEW_KEY: &str = "key.";
/// How often somebody else may be the first to make the key.
const KEY_ATTEMPTS: usize = 3;
/// What the name of an entry has behind it while it is written.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";
/// How often whoever waits for a lock looks whether it is free: a compilation takes tens of milliseconds.
const LOCK_LOOKS: Duration = Duration::from_millis(5);
const TAG_LENGTH: u64 = blake3::OUT_LEN as u64;

/// The permission bits that anybody but the owner has.
const OTHERS: u32 = 0o077;

/// A directory that is ours alone, and its key.
pub(crate) struct Disk {
    folder: Folder,
    key: [u8; blake3::KEY_LEN],
    room: Room,
}

/// How much may be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) max_entries: usize,
    pub(crate) max_bytes: u64,
}

/// An entry whose authenticator is right.
pub(crate) struct Verified {
    file: File,
    path: PathBuf,
}

impl Verified {
    /// A path that leads to the very file that was verified, as long as `self` lives.
    pub(crate) fn path(&self) -> PathBuf {
        path_of(&self.file, &self.path)
    }

    /// Notes that the entry was used, for [`Disk::make_room`]. In a directory without write permission it cannot.
    pub(crate) fn touch(&self) {
        let _ = self.file.set_modified(SystemTime::now());
    }
}

impl Disk {
    /// Makes the directory and its key where they are missing, and checks whose they are.
    pub(crate) fn open(directory: &Path, room: Room) -> Result<Self, CacheError> {
        let failed = |source| CacheError::Directory { path: directory.to_owned(), source: Arc::new(source) };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        // Absolute, so that the host may change its working directory.
        let directory = directory.canonicalize().map_err(failed)?;
        // From here on it is this directory, whatever its name leads to.
        let folder = Folder::open(&directory).map_err(failed)?;
        let metadata = folder.handle().metadata().map_err(failed)?;
        let expected = our_user();
        if metadata.uid() != expected {
            return Err(CacheError::DirectoryOwner { directory, owner: metadata.uid(), expected });
        }
        let mode = metadata.mode() & 0o7777;
        if mode & OTHERS != 0 && (mode & OTHERS_WRITE != 0 || close_to_others(&folder, mode).is_err()) {
            return Err(CacheError::DirectoryMode { directory, mode });
        }
        let key = read_or_make_key(&folder)?;
        Ok(Self { folder, key, room })
    }

    pub(crate) fn directory(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Whether the directory was removed: nothing is kept in one that is held open alone.
    pub(crate) fn is_gone(&self) -> bool {
        self.folder.handle().metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    pub(crate) fn room(&self) -> Room {
        self.room
    }

    /// The entry, if there is one. An error means that there is a file and that it must not be used.
    /// One with more than `max_bytes` counts as none.
    pub(crate) fn find(&self, key: &ArtifactKey, max_bytes: u64) -> io::Result<Option<Verified>> {
        self.verified(&key.file_name(), max_bytes)
    }

    /// Whether there is a file of this name. What is in it is not looked at.
    pub(crate) fn has(&self, key: &ArtifactKey) -> bool {
        self.folder.has(&key.file_name())
    }

    /// The entry of this name, if there is one. An error means that there is a file and that it must not be used.
    /// One with more than `max_bytes` counts as none.
    pub(crate) fn verified(&self, name: &str, max_bytes: u64) -> io::Result<Option<Verified>> {
        let refused = |message: &str| Err(io::Error::new(io::ErrorKind::InvalidData, message));
        let Some((mut file, metadata)) = self.folder.read(name)? else {
            return Ok(None);
        };
        let length = metadata.len();
        if length > self.room.max_bytes {
            // None of ours, and it may take for ever to read.
            return refused("it has more bytes than all may have");
        }
        if length > max_bytes {
            return Ok(None);
        }
        let Some(artifact_length) = length.checked_sub(TAG_LENGTH) else {
            return refused("too short for an authenticator");
        };
        let mut hasher = self.hasher(name);
        hasher.update_reader((&mut file).take(artifact_length))?;
        let mut tag = [0; blake3::OUT_LEN];
        file.read_exact(&mut tag)?;
        // The comparison of two `Hash` takes the same time wherever they differ.
        if hasher.finalize() != blake3::Hash::from_bytes(tag) {
            return refused("wrong authenticator");
        }
        Ok(Some(Verified { file, path: self.directory().join(name) }))
    }

    /// Takes the lock of one key, for all threads and processes that use this directory. Waits while somebody else has it, for at
    /// most `patience`: the system frees the lock of a process that dies, but not that of one that is stopped.
    ///
    /// The lock is on the temporary file, which becomes the entry when it is renamed. So whoever gets the lock
    /// asks whether the file that it locked still has the temporary name; if not, the entry was just written.
    pub(crate) fn lock(&self, key: &ArtifactKey, patience: Duration) -> io::Result<Lock<'_>> {
        let name = key.file_name();
        let temporary = format!("{name}{TEMPORARY_SUFFIX}");
        let since = Instant::now();
        loop {
            let file = self.folder.write(&temporary)?;
            while let Err(refused) = file.try_lock() {
                match refused {
                    fs::TryLockError::WouldBlock if since.elapsed() < patience => thread::sleep(LOCK_LOOKS),
                    fs::TryLockError::WouldBlock => {
                        let message = format!("another process has held its lock for {patience:?}");
                        return Err(io::Error::new(io::ErrorKind::TimedOut, message));
                    }
                    fs::TryLockError::Error(error) => return Err(error),
                }
            }
            if self.folder.is_at(&file, &temporary)? {
                return Ok(Lock { disk: self, file, name, temporary, renamed: false });
            }
        }
    }

    /// Authenticates an entry together with its name, so that no entry can be passed off as another.
    fn hasher(&self, name: &str) -> blake3::Hasher {
        blake3::Hasher::new_keyed(blake3::keyed_hash(&self.key, name.as_bytes()).as_bytes())
    }

    /// Removes what dead processes have left half written, and then the entries that were not used for the longest time,
    /// until the others fit. Files with other names are left alone.
    pub(crate) fn make_room(&self) -> io::Result<()> {
        let contents = self.contents()?;
        // One that cannot be removed must not keep the others.
        let leftovers = all(contents.leftovers.iter().map(|leftover| self.remove_leftover(leftover)));
        let surplus = all(self.surplus(contents.entries).iter().map(|entry| self.remove(entry)));
        leftovers.and(surplus)
    }
}

/// The first error, when all of it has been tried.
pub(crate) fn all(results: impl IntoIterator<Item = io::Result<()>>) -> io::Result<()> {
    let mut first = Ok(());
    for result in results {
        first = first.and(result);
    }
    first
}

/// None where there is no such file.
pub(crate) fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The right to write one entry. Dropped without [`Lock::store`], it leaves no file behind.
pub(crate) struct Lock<'a> {
    disk: &'a Disk,
    file: File,
    name: String,
    temporary: String,
    renamed: bool,
}

impl Lock<'_> {
    /// Removes an entry that must not be used.
    pub(crate) fn remove_entry(&self) -> io::Result<()> {
        self.disk.folder.remove(&self.name)
    }

    /// Writes the entry, then gives it its name.
    pub(crate) fn store(mut self, artifact: &[u8]) -> io::Result<()> {
        let length = artifact.len() as u64 + TAG_LENGTH;
        if length > self.disk.room.max_bytes {
            // It would be the next to be removed, after all others.
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{length} bytes are more than all may have"),
            ));
        }
        let tag = self.disk.hasher(&self.name).update(artifact).finalize();
        // A process that died may have left part of its own.
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(artifact)?;
        self.file.write_all(tag.as_bytes())?;
        // The contents reach the disk before the name does. The name itself may be lost in a power failure, which
        // costs one compilation.
        self.file.sync_all()?;
        if !self.disk.folder.is_at(&self.file, &self.temporary)? {
            return Err(io::Error::other("somebody has taken it away while it was written"));
        }
        self.disk.folder.rename(&self.temporary, &self.name)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = self.disk.folder.remove(&self.temporary);
        }
    }
}

/// Takes a directory that others can read away from them: one that is empty, as `mkdir` makes it, or that a cache has used.
/// Anything else may be there for others, and is not touched.
fn close_to_others(folder: &Folder, mode: u32) -> io::Result<()> {
    let is_ours = read_key(folder).is_ok_and(|key| key.is_some());
    if !is_ours && fs::read_dir(folder.path_of_handle())?.next().is_some() {
        return Err(io::Error::from(io::ErrorKind::DirectoryNotEmpty));
    }
    folder.handle().set_permissions(fs::Permissions::from_mode(mode & !OTHERS))
}

/// Of several processes that start at once, one gives its key the name, and the others read it. Nobody waits for a lock, which
/// whoever could ever open the directory could keep.
fn read_or_make_key(folder: &Folder) -> Result<[u8; blake3::KEY_LEN], CacheError> {
    let failed = |source| CacheError::Directory { path: folder.path().join(KEY_FILE), source: Arc::new(source) };
    let mut made = Err(io::Error::from(io::ErrorKind::AlreadyExists));
    for _ in 0..KEY_ATTEMPTS {
        if let Some(key) = read_key(folder)? {
            return Ok(key);
        }
        made = make_key(folder);
        let by_another =
            |error: &io::Error| matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound);
        if !made.as_ref().is_err_and(by_another) {
            break;
        }
    }
    made.map_err(failed)
}

/// The key; none if there is no file or if it has another length, as after a full disk.
fn read_key(folder: &Folder) -> Result<Option<[u8; blake3::KEY_LEN]>, CacheError> {
    let path = || folder.path().join(KEY_FILE);
    let failed = |source| CacheError::Directory { path: path(), source: Arc::new(source) };
    let Some(mut file) = folder.open_any(KEY_FILE).map_err(failed)? else {
        return Ok(None);
    };
    let metadata = file.metadata().map_err(failed)?;
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    if mode & OTHERS != 0 || owner != our_user() {
        return Err(CacheError::KeyExposed { path: path(), mode, owner });
    }
    let mut key = [0; blake3::KEY_LEN];
    if !metadata.is_file() || metadata.len() != key.len() as u64 {
        return Ok(None);
    }
    file.read_exact(&mut key).map_err(failed)?;
    Ok(Some(key))
}

fn make_key(folder: &Folder) -> io::Result<[u8; blake3::KEY_LEN]> {
    let (mut key, mut number) = ([0; blake3::KEY_LEN], [0; 8]);
    getrandom::fill(&mut key).and_then(|()| getrandom::fill(&mut number)).map_err(io::Error::other)?;
    let temporary = format!("{NEW_KEY}{:016x}{TEMPORARY_SUFFIX}", u64::from_ne_bytes(number));
    let mut file = folder.create_new(&temporary)?;
    let named = file.write_all(&key).and_then(|()| file.sync_all()).and_then(|()| name_key(folder, &temporary));
    // Where it has its name by a link, this is the other one.
    let removed = folder.remove(&temporary);
    named.and(removed).map(|()| key)
}

/// Gives a key its name, unless there is one that has it.
fn name_key(folder: &Folder, temporary: &str) -> io::Result<()> {
    let mut named = folder.link(temporary, KEY_FILE);
    let is_taken = |named: &io::Result<()>| named.as_ref().is_err_and(|it| it.kind() == io::ErrorKind::AlreadyExists);
    if is_taken(&named) && matches!(read_key(folder), Ok(None)) {
        // What has it is no key.
        folder.remove(KEY_FILE)?;
        named = folder.link(temporary, KEY_FILE);
    }
    match named {
        // Not every file system has links.
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
            folder.rename(temporary, KEY_FILE)
        }
        named => named,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::key::Fingerprint;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// The file that one waits for becomes the entry, and must not be written to by whoever gets its lock next.
    #[test]
    fn whoever_waited_for_the_lock_holds_a_file_of_its_own() {
        let parent = tempfile::tempdir().unwrap();
        let room = Room { max_entries: 1000, max_bytes: u64::MAX };
        let disk = Disk::open(&parent.path().join("compiled"), room).unwrap();
        let fingerprint = Fingerprint::of(&wasmtime::Engine::default());
        for round in 0_u32..100 {
            let key = ArtifactKey::new(&round.to_le_bytes(), fingerprint);
            let first = disk.lock(&key, PATIENCE).unwrap();
            let together = Barrier::new(2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    together.wait();
                    let second = disk.lock(&key, PATIENCE).unwrap();
                    assert!(disk.folder.has(&second.name));
                    assert!(!disk.folder.is_at(&second.file, &second.name).unwrap());
                    assert!(disk.folder.is_at(&second.file, &second.temporary).unwrap());
                });
                together.wait();
                first.store(b"artifact").unwrap();
            });
            assert!(disk.find(&key, u64::MAX).unwrap().is_some());
        }
    }
}
