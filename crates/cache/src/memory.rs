//! What is in memory, and the figures about it.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use wasmtime::component::Component;

use crate::key::ArtifactKey;

/// One component in memory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EntryInfo {
    /// Hash and length of the component.
    pub key: ArtifactKey,
    /// Size of the compiled code and its tables, in bytes.
    pub artifact_bytes: usize,
    /// When it came into memory.
    pub created: SystemTime,
    /// When it was asked for last.
    pub last_access: SystemTime,
    /// How often it was asked for, the first time included.
    pub access_count: u64,
}

/// What a cache has done since it was made.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Answers from memory. Whoever waited for another thread's compilation counts here.
    pub memory_hits: u64,
    /// Answers from a file.
    pub disk_hits: u64,
    /// Questions that neither memory nor a file could answer.
    pub misses: u64,
    /// Components that were compiled. Less than `misses` where a component does not compile.
    pub compilations: u64,
    /// Files that were refused because they were damaged, foreign or not for this CPU.
    pub refused_files: u64,
    /// Compiled components that could not be kept on disk: it is full or may not be written to, or another process held the lock
    /// for too long.
    pub failed_writes: u64,
    /// Components that left memory to make room, or were too large for it.
    pub evictions: u64,
    /// Compiled code and its tables in memory, in bytes: the sum over `entries`.
    pub bytes: u64,
    /// What is in memory, most recently used first.
    pub entries: Vec<EntryInfo>,
}

impl Statistics {
    /// Answers that needed no compilation.
    pub fn hits(&self) -> u64 {
        self.memory_hits + self.disk_hits
    }
}

#[derive(Debug)]
struct Entry {
    component: Component,
    info: EntryInfo,
    /// Which access was its last: time stamps can be equal or go backwards, this cannot.
    last: u64,
}

/// The components in memory: at most a given number and a given size, the least recently used leaves first.
#[derive(Debug)]
pub(crate) struct Memory {
    max_entries: usize,
    max_bytes: u64,
    entries: HashMap<ArtifactKey, Entry>,
    /// The entries by their last access, so that the oldest of many is found without looking at all.
    by_access: BTreeMap<u64, ArtifactKey>,
    bytes: u64,
    accesses: u64,
    evictions: u64,
}

impl Memory {
    pub(crate) fn new(max_entries: usize, max_bytes: u64) -> Self {
        let (entries, by_access) = (HashMap::new(), BTreeMap::new());
        Self { max_entries, max_bytes, entries, by_access, bytes: 0, accesses: 0, evictions: 0 }
    }

    /// The component, which counts as an access.
    pub(crate) fn get(&mut self, key: &ArtifactKey) -> Option<Component> {
        let entry = self.entries.get_mut(key)?;
        self.accesses += 1;
        self.by_access.remove(&entry.last);
        self.by_access.insert(self.accesses, *key);
        entry.last = self.accesses;
        entry.info.last_access = SystemTime::now();
        entry.info.access_count += 1;
        Some(entry.component.clone())
    }

    /// Takes a component in, and lets the least recently used go. One that is larger than all may be together is not
    /// kept, instead of all the others.
    pub(crate) fn insert(&mut self, key: ArtifactKey, component: Component) {
        let image = component.image_range();
        let artifact_bytes = image.end.addr() - image.start.addr();
        self.remove(&key);
        if artifact_bytes as u64 > self.max_bytes || self.max_entries == 0 {
            self.evictions += 1;
            return;
        }
        let now = SystemTime::now();
        let info = EntryInfo { key, artifact_bytes, created: now, last_access: now, access_count: 1 };
        self.accesses += 1;
        self.bytes += artifact_bytes as u64;
        self.by_access.insert(self.accesses, key);
        self.entries.insert(key, Entry { component, info, last: self.accesses });
        while self.entries.len() > self.max_entries || self.bytes > self.max_bytes {
            let Some((_, oldest)) = self.by_access.first_key_value().map(|(last, key)| (*last, *key)) else { break };
            self.remove(&oldest);
            self.evictions += 1;
        }
    }

    /// Lets a component go. `false`: it was not here.
    pub(crate) fn remove(&mut self, key: &ArtifactKey) -> bool {
        let Some(entry) = self.entries.remove(key) else { return false };
        self.by_access.remove(&entry.last);
        self.bytes -= entry.info.artifact_bytes as u64;
        true
    }

    /// Writes what it knows into the figures.
    pub(crate) fn report(&self, statistics: &mut Statistics) {
        let recent = self.by_access.values().rev();
        statistics.entries = recent.filter_map(|key| Some(self.entries.get(key)?.info.clone())).collect();
        statistics.bytes = self.bytes;
        statistics.evictions = self.evictions;
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::Engine;

    use super::*;
    use crate::key::Fingerprint;

    /// Ten thousand names for one component: what is kept depends on names and sizes alone.
    #[test]
    fn ten_thousand_entries_keep_their_order_and_their_sum() {
        let engine = Engine::default();
        let component = Component::new(&engine, wat::parse_str("(component)").unwrap()).unwrap();
        let fingerprint = Fingerprint::of(&engine);
        let key = |number: u32| ArtifactKey::new(&number.to_le_bytes(), fingerprint);
        let mut memory = Memory::new(1000, u64::MAX);
        for number in 0..10_000 {
            memory.insert(key(number), component.clone());
            assert!(memory.get(&key(number - number % 1000)).is_some(), "what is used stays");
        }
        let mut statistics = Statistics::default();
        memory.report(&mut statistics);
        assert_eq!((statistics.entries.len(), statistics.evictions), (1000, 9000));
        assert_eq!((statistics.entries[0].key, memory.by_access.len()), (key(9000), 1000));
        let sum: usize = statistics.entries.iter().map(|entry| entry.artifact_bytes).sum();
        assert_eq!(statistics.bytes, sum as u64);
        for number in 9000..10_000 {
            assert!(memory.remove(&key(number)));
        }
        assert!(!memory.remove(&key(9000)));
        assert_eq!((memory.bytes, memory.by_access.len(), memory.entries.len()), (0, 0, 0));
    }

    #[test]
    fn a_component_that_is_too_large_drives_nobody_out() {
        let engine = Engine::default();
        let compile = |text: &str| Component::new(&engine, wat::parse_str(text).unwrap()).unwrap();
        let small = compile("(component)");
        let large = compile(&format!("(component (core module (data \"{}\")))", "x".repeat(1 << 20)));
        let size = |component: &Component| {
            let image = component.image_range();
            (image.end.addr() - image.start.addr()) as u64
        };
        let fingerprint = Fingerprint::of(&engine);
        let key = |number: u32| ArtifactKey::new(&number.to_le_bytes(), fingerprint);
        let mut memory = Memory::new(10, 2 * size(&small));
        memory.insert(key(1), small.clone());
        memory.insert(key(2), large);
        assert!(memory.get(&key(1)).is_some() && memory.get(&key(2)).is_none());
        memory.insert(key(3), small.clone());
        memory.insert(key(4), small.clone());
        assert!(memory.get(&key(1)).is_none(), "two of them fit");
        assert_eq!((memory.bytes, memory.evictions), (2 * size(&small), 2));
        memory.insert(key(4), small.clone());
        assert_eq!((memory.bytes, memory.entries.len()), (2 * size(&small), 2), "one that comes again counts once");
    }
}
