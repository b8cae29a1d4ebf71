//! What is in memory, and the figures about it.

use std::collections::HashMap;
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
    /// Components that left memory to make room.
    pub evictions: u64,
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

/// The components in memory: at most a given number, the least recently used leaves first.
#[derive(Debug)]
pub(crate) struct Memory {
    capacity: usize,
    entries: HashMap<ArtifactKey, Entry>,
    accesses: u64,
    evictions: u64,
}

impl Memory {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, entries: HashMap::new(), accesses: 0, evictions: 0 }
    }

    /// The component, which counts as an access.
    pub(crate) fn get(&mut self, key: &ArtifactKey) -> Option<Component> {
        let entry = self.entries.get_mut(key)?;
        self.accesses += 1;
        entry.last = self.accesses;
        entry.info.last_access = SystemTime::now();
        entry.info.access_count += 1;
        Some(entry.component.clone())
    }

    pub(crate) fn insert(&mut self, key: ArtifactKey, component: Component) {
        let now = SystemTime::now();
        let image = component.image_range();
        let info = EntryInfo {
            key,
            artifact_bytes: image.end.addr() - image.start.addr(),
            created: now,
            last_access: now,
            access_count: 1,
        };
        self.accesses += 1;
        self.entries.insert(key, Entry { component, info, last: self.accesses });
        // A walk over all entries, at most once for each load: 1000 entries take some microseconds.
        while self.entries.len() > self.capacity {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.last).map(|(key, _)| *key);
            let Some(oldest) = oldest else { break };
            self.entries.remove(&oldest);
            self.evictions += 1;
        }
    }

    /// Writes what it knows into the figures.
    pub(crate) fn report(&self, statistics: &mut Statistics) {
        let mut entries: Vec<&Entry> = self.entries.values().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.last));
        statistics.entries = entries.into_iter().map(|entry| entry.info.clone()).collect();
        statistics.evictions = self.evictions;
    }
}
