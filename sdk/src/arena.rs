//! The allocator of a plugin: small, because an instance serves one call and is thrown away.
//!
//! Blocks have the sizes of powers of two and are cut from an arena from below. A block that is given back waits in the list
//! of its size, so that an instance which serves many calls does not grow with them. It takes less than 1 KiB of code, where
//! the C library's takes 12, and most calls find all they need in the first pages, which exist from the start.

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    ptr,
};

/// The smallest block, and the alignment that every block has.
const UNIT: usize = 16;

/// Blocks of `UNIT << n` bytes for `n` up to here: 1 GiB, a quarter of what an address reaches.
const SIZES: usize = 27;

/// Where memory comes from.
pub(crate) trait Source {
    /// At least `bytes` more of memory: from where to where. None: there is no more. Memory that begins where the last
    /// piece ended makes it longer.
    fn more(&self, bytes: usize) -> Option<(usize, usize)>;
}

pub(crate) struct Arena<S> {
    source: S,
    /// What is not yet cut: from where to where.
    rest: Cell<(usize, usize)>,
    /// The first free block of each size. A free block begins with the address of the next one, 0 ends the list.
    free: [Cell<usize>; SIZES],
}

impl<S: Source> Arena<S> {
    pub(crate) const fn new(source: S) -> Self {
        Self { source, rest: Cell::new((0, 0)), free: [const { Cell::new(0) }; SIZES] }
    }

    /// Cuts `bytes` off the rest.
    fn cut(&self, bytes: usize, align: usize) -> Option<usize> {
        loop {
            let (start, end) = self.rest.get();
            let block = start.checked_next_multiple_of(align)?;
            let next = block.checked_add(bytes)?;
            if start != 0 && next <= end {
                self.rest.set((next, end));
                return Some(block);
            }
            let (from, to) = self.source.more(bytes.checked_add(align)?)?;
            self.rest.set((if from == end { start } else { from }, to));
        }
    }
}

/// Which size a block of this layout has. None: it is larger than the largest, or aligned more strictly than blocks are.
/// Such a block is cut to measure and never used again.
fn size(layout: Layout) -> Option<usize> {
    let index = layout.size().max(UNIT).next_power_of_two().trailing_zeros() - UNIT.trailing_zeros();
    (layout.align() <= UNIT && (index as usize) < SIZES).then_some(index as usize)
}

#[expect(unsafe_code, reason = "an allocator hands out raw memory")]
// SAFETY: each block is cut once from memory that the source gives to the arena alone, and is in use or in one list, never
// both. A list holds blocks of one size, all aligned to `UNIT`.
unsafe impl<S: Source> GlobalAlloc for Arena<S> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = match size(layout) {
            Some(size) => {
                let free = &self.free[size];
                match free.get() {
                    0 => self.cut(UNIT << size, UNIT),
                    block => {
                        // SAFETY: the block is free, its first word is the link that `dealloc` wrote.
                        free.set(unsafe { *ptr::with_exposed_provenance::<usize>(block) });
                        Some(block)
                    }
                }
            }
            None => self.cut(layout.size(), layout.align()),
        };
        block.map_or(ptr::null_mut(), ptr::with_exposed_provenance_mut)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(size) = size(layout) {
            let next = self.free[size].replace(block.expose_provenance());
            // SAFETY: the caller gives the block up, and it is at least `UNIT` long and aligned.
            unsafe { block.cast::<usize>().write(next) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller promises that `bytes` fits into a layout of this alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        if size(layout).is_some() && size(layout) == size(wanted) {
            return block;
        }
        // SAFETY: the two blocks do not overlap and both hold the smaller of the sizes.
        unsafe {
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(bytes));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod plugin {
    use std::{arch::wasm32, cell::Cell};

    use super::{Arena, Source};

    /// What exists from the start. An item of 2.4 KB and the answer to it take less than a quarter.
    const START: usize = 64 * 1024;
    const PAGE: usize = 64 * 1024;

    /// The least to ask for: growing costs the host a system call.
    const GROWTH: usize = 4;

    /// Uninitialised memory is part of the module's first pages and takes no room in its file. The heap that the linker
    /// provides stays with the C library, in case that a plugin brings C code which allocates.
    #[repr(align(16))]
    struct First(#[expect(dead_code, reason = "only its address is used")] Cell<[u8; START]>);

    struct Memory(Cell<bool>);

    #[expect(unsafe_code, reason = "a global allocator is shared by all threads, and a plugin has one")]
    // SAFETY: the target has no threads.
    unsafe impl Sync for First {}
    #[expect(unsafe_code, reason = "as above")]
    // SAFETY: as above.
    unsafe impl Sync for Arena<Memory> {}

    static FIRST: First = First(Cell::new([0; START]));

    #[global_allocator]
    static ARENA: Arena<Memory> = Arena::new(Memory(Cell::new(false)));

    impl Source for Memory {
        fn more(&self, bytes: usize) -> Option<(usize, usize)> {
            if !self.0.replace(true) && bytes <= START {
                let from = (&raw const FIRST).expose_provenance();
                return Some((from, from + START));
            }
            let pages = bytes.div_ceil(PAGE).max(GROWTH);
            match wasm32::memory_grow(0, pages) {
                usize::MAX => None,
                // The last page ends at 4 GiB, one more than an address can say.
                before => Some((before * PAGE, (before * PAGE).saturating_add(pages * PAGE))),
            }
        }
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "the tests call the allocator as the standard library does")]
mod tests {
    use super::*;

    /// Hands out one buffer in pieces, with a hole after each third one.
    struct Pieces {
        buffer: Vec<u128>,
        taken: Cell<usize>,
        count: Cell<usize>,
    }

    impl Source for Pieces {
        fn more(&self, bytes: usize) -> Option<(usize, usize)> {
            let start = self.buffer.as_ptr().expose_provenance();
            let hole = if self.count.replace(self.count.get() + 1) % 3 == 2 { UNIT } else { 0 };
            let from = self.taken.get() + hole;
            let to = from + bytes.next_multiple_of(1024);
            (to <= self.buffer.len() * size_of::<u128>()).then(|| {
                self.taken.set(to);
                (start + from, start + to)
            })
        }
    }

    fn arena(bytes: usize) -> Arena<Pieces> {
        Arena::new(Pieces { buffer: vec![0; bytes / 16], taken: Cell::new(0), count: Cell::new(0) })
    }

    /// A cheap generator of numbers (Marsaglia's xorshift): the test is the same at every run.
    fn random(state: &mut u64) -> usize {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state as usize
    }

    #[test]
    fn blocks_keep_what_is_written_to_them() {
        let arena = arena(1 << 20);
        let mut live: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let mut state = 0x2545_f491_4f6c_dd1d;
        for round in 0..20_000_u32 {
            let mark = round as u8;
            let choice = random(&mut state) % 5;
            if choice < 2 || live.len() < 8 {
                let align = 1 << (random(&mut state) % 5);
                let layout = Layout::from_size_align(random(&mut state) % 900 + 1, align).unwrap();
                let block = unsafe { arena.alloc(layout) };
                assert!(!block.is_null() && block.addr() % align == 0);
                unsafe { block.write_bytes(mark, layout.size()) };
                live.push((block, layout, mark));
            } else if choice < 4 || live.len() > 60 {
                let (block, layout, mark) = live.swap_remove(random(&mut state) % live.len());
                assert!((0..layout.size()).all(|at| unsafe { *block.add(at) } == mark));
                unsafe { arena.dealloc(block, layout) };
            } else {
                let place = random(&mut state) % live.len();
                let (block, layout, old) = live[place];
                let bytes = random(&mut state) % 900 + 1;
                let moved = unsafe { arena.realloc(block, layout, bytes) };
                assert!((0..layout.size().min(bytes)).all(|at| unsafe { *moved.add(at) } == old));
                unsafe { moved.write_bytes(mark, bytes) };
                live[place] = (moved, Layout::from_size_align(bytes, layout.align()).unwrap(), mark);
            }
        }
        assert!(arena.source.taken.get() < 256 * 1024, "{} bytes", arena.source.taken.get());
    }

    #[test]
    fn a_strict_alignment_is_kept() {
        let arena = arena(64 * 1024);
        let layout = Layout::from_size_align(8, 4096).unwrap();
        let block = unsafe { arena.alloc(layout) };
        assert_eq!(block.addr() % 4096, 0);
        unsafe { arena.dealloc(block, layout) };
    }

    #[test]
    fn no_memory_is_null_and_no_panic() {
        let arena = arena(4096);
        let huge = Layout::from_size_align(isize::MAX as usize - 64, 16).unwrap();
        assert!(unsafe { arena.alloc(huge) }.is_null());
        let small = Layout::from_size_align(1024, 1).unwrap();
        assert!(!unsafe { arena.alloc(small) }.is_null());
        let mut blocks = 1;
        while !unsafe { arena.alloc(small) }.is_null() {
            blocks += 1;
        }
        assert!(blocks <= 4);
    }
}
