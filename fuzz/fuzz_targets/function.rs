//! See the entry of the same name in `tests/fuzz-entries`.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|bytes: &[u8]| drop(tapline_fuzz_entries::function(bytes)));

// Bytes alone seldom get past the first check: half of the time a module is changed into another valid one.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 2 == 0
        && let Some(changed) = tapline_fuzz_entries::mutate_module(&data[..size], seed.into(), seed % 4 == 0)
        && changed.len() <= max_size
    {
        data[..changed.len()].copy_from_slice(&changed);
        return changed.len();
    }
    fuzzer_mutate(data, size, max_size)
});
