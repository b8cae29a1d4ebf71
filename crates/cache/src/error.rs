//! What can go wrong, and whose fault it is.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The author of the plugin.
    Guest,
    /// Whoever configured the host and gave it the file.
    Operator,
}

/// Why there is no compiled component, or why the disk is not used.
///
/// [`ArtifactCache::get_or_compile`](crate::ArtifactCache::get_or_compile) returns the first six only. The others
/// are the reasons in [`DiskState::Unusable`](crate::DiskState::Unusable).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The bytes do not begin as WebAssembly does. The operator's fault.
    #[error("not WebAssembly: {length} bytes without the WebAssembly header")]
    NotWasm {
        /// How many bytes there were.
        length: usize,
    },
    /// The bytes are a core module, which has not been made a component. The operator's fault.
    #[error("a core module of {length} bytes and not a component")]
    CoreModule {
        /// How many bytes there were.
        length: usize,
    },
    /// The engine refuses the component: it is cut off, invalid, or uses a feature that is switched off. The fault of
    /// the plugin's author.
    #[error("component {name} does not compile")]
    Compile {
        /// The visible name: SHA-256 and length.
        name: String,
        /// What the engine says.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The worker was killed because it took too long. The fault of the plugin's author, or of the operator who gave it
    /// too little time.
    #[error("component {name} was not compiled within {limit:?}")]
    TimedOut {
        /// The visible name: SHA-256 and length.
        name: String,
        /// The time that the worker had.
        limit: Duration,
    },
    /// The worker ended because it got no more memory, or the system killed it to have more itself. The fault of the
    /// plugin's author, or of the operator who gave it too little.
    #[error("compiling component {name} takes more than {limit} bytes of memory")]
    OutOfMemory {
        /// The visible name: SHA-256 and length.
        name: String,
        /// The bytes that the worker had.
        limit: u64,
    },
    /// The worker did not run as it should. The operator's fault.
    #[error("the worker that compiles component {name} failed: {message}")]
    Worker {
        /// The visible name: SHA-256 and length.
        name: String,
        /// What is known about it.
        message: String,
    },
    /// The worker could not be started, or not be talked to. The operator's fault, or that of a system that has not enough of
    /// something.
    #[error("cannot run {} to compile component {name}", program.display())]
    NoWorker {
        /// The visible name: SHA-256 and length.
        name: String,
        /// The program that is to be the worker.
        program: PathBuf,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// The directory belongs to somebody else, who could put code into it. The operator's fault.
    #[error("cache directory {} belongs to user {owner} and not to user {expected}", directory.display())]
    DirectoryOwner {
        /// The directory.
        directory: PathBuf,
        /// The user that it belongs to.
        owner: u32,
        /// The user of this process.
        expected: u32,
    },
    /// Users other than the owner can write to the directory; or they can read it, and it has more in it than compiled
    /// plugins, so that it was left as it is. The operator's fault.
    #[error("cache directory {} has mode {mode:04o}, which lets other users in", directory.display())]
    DirectoryMode {
        /// The directory.
        directory: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file with the secret key belongs to somebody else, or others can read it. The operator's fault.
    #[error("key file {} has mode {mode:04o} and belongs to user {owner}, so that it is no secret", path.display())]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The user that it belongs to.
        owner: u32,
    },
    /// The directory or its key cannot be made or read. The operator's fault.
    #[error("cannot use {} for compiled plugins", path.display())]
    Directory {
        /// The directory or the file in it.
        path: PathBuf,
        /// What the system says.
        source: Arc<io::Error>,
    },
}

impl CacheError {
    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Compile { .. } | Self::TimedOut { .. } | Self::OutOfMemory { .. } => Fault::Guest,
            _ => Fault::Operator,
        }
    }

    /// What to do about it, where that can be said.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotWasm { .. } => Some("give the path of a .wasm file that is a component"),
            Self::CoreModule { .. } => Some("make it a component first: `cargo xtask build-plugins` does so"),
            Self::Compile { .. } | Self::TimedOut { .. } | Self::OutOfMemory { .. } => None,
            Self::NoWorker { .. } | Self::Worker { .. } => {
                Some("the program has to be one that calls `run_worker` with these arguments")
            }
            Self::DirectoryOwner { .. } => Some("name a directory that the host's user owns"),
            Self::DirectoryMode { .. } => {
                Some("name a directory for compiled plugins alone, or take the permissions away: chmod go-rwx")
            }
            Self::KeyExposed { .. } => Some("delete the cache directory; the next start makes it anew"),
            Self::Directory { .. } => Some("name a directory that the host's user can write to"),
        }
    }
}
