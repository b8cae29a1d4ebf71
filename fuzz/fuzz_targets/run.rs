//! See the entry of the same name in `tests/fuzz-entries`. The bytes are not the module: they are what it is made from, so
//! that all of them are valid.
#![no_main]

#[path = "../../tests/fuzz-entries/smith.rs"]
mod smith;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(module) = smith::module(bytes) {
        drop(tapline_fuzz_entries::run(&module));
    }
});
