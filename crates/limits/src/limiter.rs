//! What the engine asks before a guest's memory or table grows.

use std::fmt;

use wasmtime::ResourceLimiter;

use crate::{
    Limits,
    tracker::{MemoryTracker, MemoryUsage, PAGE_BYTES, pages},
};

/// The tables in one store. No source names a figure, so it is what the engine's validator allows one module; what
/// costs memory is their elements, which [`Limits::max_table_elements`] bounds.
pub const MAX_TABLES: usize = 100;

/// What a refused growth was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalKind {
    /// Bytes of linear memory.
    Memory,
    /// Elements of tables.
    TableElements,
}

/// A growth that was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Refusal {
    /// What was to grow.
    pub kind: RefusalKind,
    /// What there would be after the growth.
    pub asked: u64,
    /// What may be: the store's limit, or the memory's or table's own maximum where that is smaller. When the engine
    /// could not carry out a growth that the limits allow, what there was before it.
    pub limit: u64,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            RefusalKind::Memory => "bytes of memory",
            RefusalKind::TableElements => "table elements",
        };
        write!(f, "{} {what} asked for, {} allowed", self.asked, self.limit)
    }
}

/// Holds one store to the memory, table and instance limits of its [`Limits`], and counts.
///
/// A refused growth does not end the call: the guest sees -1, as WebAssembly has it, and most guests then trap. The
/// last refusal is kept, so that the host can say what such a trap means. A refused *initial* size makes the
/// instantiation fail. Too many instances, tables or memories do so too, and leave no refusal: the engine counts them.
///
/// Shared memories are not seen here; the host has to keep threads switched off.
#[derive(Debug)]
pub struct StoreLimiter {
    limits: Limits,
    memory_bytes: u64,
    peak_bytes: u64,
    table_elements: u64,
    /// Those that tables began with.
    first_table_elements: u64,
    refused_growths: u64,
    refused: Option<Refusal>,
    /// The last granted growth and the peak before it, until it is known to have failed.
    granted: Option<Granted>,
    tracker: Option<MemoryTracker>,
}

#[derive(Clone, Copy, Debug)]
struct Granted {
    kind: RefusalKind,
    added: u64,
    peak_before: u64,
}

impl StoreLimiter {
    /// A limiter for one store.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            memory_bytes: 0,
            peak_bytes: 0,
            table_elements: 0,
            first_table_elements: 0,
            refused_growths: 0,
            refused: None,
            granted: None,
            tracker: None,
        }
    }

    /// A limiter for one store, which also counts in a sum over all stores until it is dropped.
    #[must_use]
    pub fn with_tracker(limits: &Limits, tracker: &MemoryTracker) -> Self {
        tracker.store_made(limits.max_memory_bytes / PAGE_BYTES);
        Self { tracker: Some(tracker.clone()), ..Self::new(limits) }
    }

    /// What the store's memories use, in pages.
    #[must_use]
    pub fn usage(&self) -> MemoryUsage {
        MemoryUsage {
            current_pages: pages(self.memory_bytes),
            maximum_pages: self.limits.max_memory_bytes / PAGE_BYTES,
            peak_pages: pages(self.peak_bytes),
            refused_growths: self.refused_growths,
        }
    }

    /// The most that the store's memories have had together, in bytes.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    /// The instance is there: what tables have now is what they began with.
    pub fn instance_made(&mut self) {
        self.first_table_elements = self.table_elements;
    }

    /// Elements by which the store's tables have grown since then.
    #[must_use]
    pub fn grown_table_elements(&self) -> u64 {
        self.table_elements.saturating_sub(self.first_table_elements)
    }

    /// How many growths were not granted, of memories and of tables.
    #[must_use]
    pub fn refused_growths(&self) -> u64 {
        self.refused_growths
    }

    /// The last growth that was not granted.
    #[must_use]
    pub fn refused(&self) -> Option<Refusal> {
        self.refused
    }

    /// Forgets the refusals and begins the peak anew, for a store that serves another call. What its memories and tables
    /// have stays counted.
    pub fn begin_use(&mut self) {
        self.peak_bytes = self.memory_bytes;
        self.refused_growths = 0;
        self.refused = None;
        self.granted = None;
    }

    fn refuse(&mut self, kind: RefusalKind, asked: u64, limit: u64) {
        self.granted = None;
        self.refused = Some(Refusal { kind, asked, limit });
        self.refused_growths = self.refused_growths.saturating_add(1);
        if let Some(tracker) = &self.tracker {
            tracker.refused();
        }
    }

    fn grow(&mut self, kind: RefusalKind, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        let (used, limit) = match kind {
            RefusalKind::Memory => (self.memory_bytes, self.limits.max_memory_bytes),
            RefusalKind::TableElements => (self.table_elements, self.limits.max_table_elements.into()),
        };
        let added = desired.saturating_sub(current) as u64;
        // The limit holds for the sum, and so for each memory and table in it.
        let sum = used.saturating_add(added);
        if sum > limit {
            self.refuse(kind, sum, limit);
            return false;
        }
        // The engine would refuse this one itself, after it was counted.
        if let Some(maximum) = maximum.filter(|&maximum| desired > maximum) {
            self.refuse(kind, desired as u64, maximum as u64);
            return false;
        }
        self.granted = Some(Granted { kind, added, peak_before: self.peak_bytes });
        match kind {
            RefusalKind::Memory => {
                self.memory_bytes = sum;
                self.peak_bytes = self.peak_bytes.max(sum);
                if let Some(tracker) = &self.tracker {
                    tracker.grown(added);
                }
            }
            RefusalKind::TableElements => self.table_elements = sum,
        }
        true
    }

    /// The engine could not carry out a growth that was granted just now: takes it back. The peak over all stores keeps
    /// it, because others may have grown since.
    ///
    /// The engine also reports a growth that it never asked about, but only for memories with pages of one byte, which
    /// are a proposal that has to be switched on.
    fn failed(&mut self, kind: RefusalKind) {
        let granted = self.granted.filter(|granted| granted.kind == kind);
        let used = match kind {
            RefusalKind::Memory => &mut self.memory_bytes,
            RefusalKind::TableElements => &mut self.table_elements,
        };
        let asked = *used;
        if let Some(Granted { added, peak_before, .. }) = granted {
            *used = used.saturating_sub(added);
            if kind == RefusalKind::Memory {
                self.peak_bytes = peak_before;
                if let Some(tracker) = &self.tracker {
                    tracker.not_grown(added);
                }
            }
        }
        let limit = match kind {
            RefusalKind::Memory => self.memory_bytes,
            RefusalKind::TableElements => self.table_elements,
        };
        self.refuse(kind, asked, limit);
    }
}

impl ResourceLimiter for StoreLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(RefusalKind::Memory, current, desired, maximum))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed(RefusalKind::Memory);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(RefusalKind::TableElements, current, desired, maximum))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed(RefusalKind::TableElements);
        Ok(())
    }

    fn instances(&self) -> usize {
        self.limits.max_instances as usize
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        self.limits.max_memories as usize
    }
}

impl Drop for StoreLimiter {
    fn drop(&mut self) {
        if let Some(tracker) = &self.tracker {
            tracker.store_gone(self.limits.max_memory_bytes / PAGE_BYTES, self.memory_bytes);
        }
    }
}
