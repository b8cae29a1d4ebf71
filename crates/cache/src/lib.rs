//! Compiled plugins, kept in memory and on disk, so that each is compiled once for each engine.
//!
//! [`ArtifactCache::get_or_compile`] turns the bytes of a component into a [`Component`](wasmtime::component::Component)
//! that is ready to be linked: from memory, else mapped from a file, else compiled. An [`ArtifactKey`] is computed from
//! the bytes and from everything that changes machine code; no caller names an entry. However many threads and
//! processes ask for one component at the same time, one of them compiles it and the others wait.
//!
//! A file is mapped only after its authenticator was checked: the directory belongs to the user of the process alone
//! and holds a secret key, and a file that this key did not authenticate is compiled anew. A directory that cannot be
//! used, or that lets other users in, costs speed and nothing else: see [`DiskState`].
//!
//! A [`CacheDirectory`] shows what lies in a directory, checks it, and removes what is of no use any more.
//!
//! A [`Worker`] compiles in a process of its own, whose time and memory are bounded: a component from a stranger can
//! keep a compiler busy for hours.
//!
//! This crate knows nothing of plugins, taps or limits, and it never runs what it loads. Everything in it blocks; from
//! async code, call it through `spawn_blocking`. It is written for Unix.
//!
//! ```
//! use tapline_cache::{ArtifactCache, CacheConfig, Source};
//! use wasmtime::Engine;
//!
//! let cache = ArtifactCache::new(&Engine::default(), CacheConfig::default());
//! let wasm = wat::parse_str("(component)")?;
//!
//! assert_eq!(cache.get_or_compile(&wasm)?.source, Source::Compiled);
//! assert_eq!(cache.get_or_compile(&wasm)?.source, Source::Memory);
//! assert_eq!(cache.statistics().compilations, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cache;
mod directory;
mod disk;
mod error;
mod folder;
mod key;
mod map;
mod memory;
mod worker;

pub use cache::{
    ArtifactCache, CacheConfig, DEFAULT_LOCK_PATIENCE, DEFAULT_MAX_BYTES, DEFAULT_MAX_ENTRIES, DiskState, Loaded,
    Source,
};
pub use directory::{CacheDirectory, DirectoryContents, DirectoryEntry, Useless};
pub use error::{CacheError, Fault};
pub use key::{ArtifactKey, Fingerprint, WASMTIME_VERSION, Wasm};
pub use memory::{EntryInfo, Statistics};
pub use worker::{Worker, run_worker};
