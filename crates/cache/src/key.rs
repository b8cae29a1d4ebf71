//! What a compiled component is found by.

use std::fmt;
use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};
use wasmtime::Engine;

/// The full version of the engine that this crate is built with. Wasmtime tells nobody its own; a test compares this
/// with `Cargo.lock`.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// Part of every fingerprint. To be raised when the format of the files changes.
const FORMAT: &[u8] = b"tapline artifact 1";

/// Identifies one component, compiled for one engine: SHA-256 and length of its bytes, and a fingerprint of
/// everything that changes machine code (full wasmtime version, settings, WebAssembly features, target and CPU).
///
/// Made by [`ArtifactCache::key`](crate::ArtifactCache::key) only, so that no two components can claim one key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArtifactKey {
    sha256: [u8; 32],
    length: u64,
    fingerprint: Fingerprint,
}

impl ArtifactKey {
    pub(crate) fn new(wasm: &[u8], fingerprint: Fingerprint) -> Self {
        Self { sha256: Sha256::digest(wasm).into(), length: wasm.len() as u64, fingerprint }
    }

    /// What people see: `{sha256}_{length}`. The same for every engine.
    pub fn visible_name(&self) -> String {
        format!("{}_{}", Hex(&self.sha256), self.length)
    }

    /// How many bytes the component has.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The SHA-256 of the component's bytes.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// The name of the file in the cache directory. Different for every engine.
    pub fn file_name(&self) -> String {
        format!("{}_{}.cwasm", self.visible_name(), Hex(&self.fingerprint.0))
    }
}

impl fmt::Debug for ArtifactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArtifactKey({}, engine {})", self.visible_name(), Hex(&self.fingerprint.0))
    }
}

/// Everything about an engine that changes the code it compiles.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Fingerprint([u8; 16]);

impl Fingerprint {
    pub(crate) fn of(engine: &Engine) -> Self {
        let mut hasher = Blake(blake3::Hasher::new());
        hasher.write(FORMAT);
        // The engine's own hash has the full version too, but only as long as nobody sets another
        // `Config::module_version`. What the engine checks when it loads a file is the major version alone.
        WASMTIME_VERSION.hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let mut fingerprint = [0; 16];
        hasher.0.finalize_xof().fill(&mut fingerprint);
        Self(fingerprint)
    }
}

/// The engine describes itself through [`Hash`]. The hashers of the standard library have 64 bits and may change with
/// the compiler; the name of a file must not.
struct Blake(blake3::Hasher);

impl Hasher for Blake {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let mut short = [0; 8];
        self.0.finalize_xof().fill(&mut short);
        u64::from_le_bytes(short)
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
