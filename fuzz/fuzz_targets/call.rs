//! See the entry of the same name in `tests/fuzz-entries`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(tapline_fuzz_entries::call(bytes)));
