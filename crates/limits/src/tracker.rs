//! What all stores use of their memory together.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// The size of a page of linear memory: 64 KiB.
pub const PAGE_BYTES: u64 = 64 * 1024;

/// Memory in pages of 64 KiB, of one store or of all stores together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryUsage {
    /// In use now.
    pub current_pages: u64,
    /// What the limit allows; over all stores, the sum of the limits of those that live.
    pub maximum_pages: u64,
    /// The greatest value that `current_pages` has had.
    pub peak_pages: u64,
    /// Growths that were asked for and not granted, of memories and of tables.
    pub refused_growths: u64,
}

/// The sum over all stores whose limiter was made with it. Clones share one sum.
///
/// Each limiter adds the difference of every growth and gives back the rest when it is dropped, so the sum is right at
/// any time without asking a store. The values are read one by one: while other threads run, a [`MemoryUsage`] is no
/// snapshot of one moment.
#[derive(Clone, Debug, Default)]
pub struct MemoryTracker(Arc<Sums>);

#[derive(Debug, Default)]
struct Sums {
    current_bytes: AtomicU64,
    maximum_pages: AtomicU64,
    peak_bytes: AtomicU64,
    refused_growths: AtomicU64,
}

impl MemoryTracker {
    /// What all stores use now. The peak and the refused growths include stores that are gone.
    #[must_use]
    pub fn usage(&self) -> MemoryUsage {
        MemoryUsage {
            current_pages: pages(self.0.current_bytes.load(Relaxed)),
            maximum_pages: self.0.maximum_pages.load(Relaxed),
            peak_pages: pages(self.0.peak_bytes.load(Relaxed)),
            refused_growths: self.0.refused_growths.load(Relaxed),
        }
    }

    pub(crate) fn store_made(&self, maximum_pages: u64) {
        self.0.maximum_pages.fetch_add(maximum_pages, Relaxed);
    }

    pub(crate) fn grown(&self, bytes: u64) {
        let current = self.0.current_bytes.fetch_add(bytes, Relaxed).saturating_add(bytes);
        // A load is cheaper than a write that changes nothing, and nearly every call stays below the peak.
        if current > self.0.peak_bytes.load(Relaxed) {
            self.0.peak_bytes.fetch_max(current, Relaxed);
        }
    }

    pub(crate) fn not_grown(&self, bytes: u64) {
        self.0.current_bytes.fetch_sub(bytes, Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.0.refused_growths.fetch_add(1, Relaxed);
    }

    pub(crate) fn store_gone(&self, maximum_pages: u64, current_bytes: u64) {
        self.0.maximum_pages.fetch_sub(maximum_pages, Relaxed);
        self.0.current_bytes.fetch_sub(current_bytes, Relaxed);
    }
}

pub(crate) fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_BYTES)
}
