//! What a compiled component is found by.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::Engine;

/// The full version of the engine that this crate is built with. Wasmtime tells nobody its own; a test compares this
/// with `Cargo.lock`.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// Part of every fingerprint. To be raised when the format of the files changes.
const FORMAT: &[u8] = b"tapline artifact 1";

/// The end of every entry's name.
const ENTRY_SUFFIX: &str = ".cwasm";

/// The bytes of a component with their SHA-256: hashed once, however often they are looked for. Cheap to clone.
#[derive(Clone)]
pub struct Wasm {
    bytes: Arc<[u8]>,
    sha256: [u8; 32],
}

impl Wasm {
    /// Hashes the bytes, which takes about a millisecond for each megabyte.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self { sha256: Sha256::digest(&bytes).into(), bytes }
    }

    /// What people see of every key of these bytes: `{sha256}_{length}`.
    pub fn visible_name(&self) -> String {
        visible_name(&self.sha256, self.bytes.len() as u64)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Identifies one component, compiled for one engine: SHA-256 and length of its bytes, and a fingerprint of
/// everything that changes machine code (full wasmtime version, settings, WebAssembly features, target and CPU).
///
/// Made from the bytes only, so that no two components can claim one key.
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

    pub(crate) fn of(wasm: &Wasm, fingerprint: Fingerprint) -> Self {
        Self { sha256: wasm.sha256, length: wasm.bytes.len() as u64, fingerprint }
    }

    /// What people see: `{sha256}_{length}`. The same for every engine.
    pub fn visible_name(&self) -> String {
        visible_name(&self.sha256, self.length)
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
        format!("{}_{}{ENTRY_SUFFIX}", self.visible_name(), self.fingerprint)
    }
}

impl fmt::Debug for ArtifactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArtifactKey({}, engine {})", self.visible_name(), self.fingerprint)
    }
}

/// Everything about an engine that changes the code it compiles, as 128 bits of a hash: the full version of wasmtime,
/// settings, WebAssembly features, target and CPU. Shown as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The fingerprint of this engine.
    pub fn of(engine: &Engine) -> Self {
        Self::of_version(WASMTIME_VERSION, engine)
    }

    fn of_version(version: &str, engine: &Engine) -> Self {
        let mut hasher = Blake(blake3::Hasher::new());
        hasher.write(FORMAT);
        // The engine's own hash has the full version too, but only as long as nobody sets another
        // `Config::module_version`. What the engine checks when it loads a file is the major version alone.
        version.hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let mut fingerprint = [0; 16];
        hasher.0.finalize_xof().fill(&mut fingerprint);
        Self(fingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Hex(&self.0), f)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

fn visible_name(sha256: &[u8; 32], length: u64) -> String {
    format!("{}_{length}", Hex(sha256))
}

/// The parts of a file name that [`ArtifactKey::file_name`] made: visible name and fingerprint. `None`: it did not.
pub(crate) fn parse_file_name(name: &str) -> Option<(&str, Fingerprint)> {
    let (visible, fingerprint) = name.strip_suffix(ENTRY_SUFFIX)?.rsplit_once('_')?;
    let (sha256, length) = visible.split_once('_')?;
    unhex::<32>(sha256)?;
    let is_number = !length.is_empty() && length.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then_some((visible, Fingerprint(unhex(fingerprint)?)))
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; N];
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_of_wasmtime_compiles_anew() {
        let engine = Engine::default();
        let now = Fingerprint::of(&engine);
        assert_eq!(now, Fingerprint::of_version(WASMTIME_VERSION, &engine));
        let (minor, patch) = WASMTIME_VERSION.rsplit_once('.').unwrap();
        let next = format!("{minor}.{}", patch.parse::<u32>().unwrap() + 1);
        assert_ne!(now, Fingerprint::of_version(&next, &engine));
    }

    #[test]
    fn a_file_name_can_be_read_again() {
        let fingerprint = Fingerprint::of(&Engine::default());
        let key = ArtifactKey::new(b"component", fingerprint);
        assert_eq!(ArtifactKey::of(&Wasm::new(*b"component"), fingerprint), key);
        let name = key.file_name();
        assert_eq!(parse_file_name(&name), Some((key.visible_name().as_str(), fingerprint)));
        for other in ["key", ".cwasm", "notes.cwasm", &name[1..], &name.to_uppercase(), &format!("{name}.tmp")] {
            assert_eq!(parse_file_name(other), None, "{other}");
        }
        assert_eq!(parse_file_name(&name.replace("_9_", "__")), None, "without a length");
    }
}
