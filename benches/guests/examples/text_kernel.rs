//! The text kernel alone, as a core module: what vector instructions do for it, without anything else in the clock.

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "a core module exports its functions by their bare names")]
mod export {
    use std::sync::{Mutex, PoisonError};

    use tapline_bench_guests::text::{self, Count};

    static TEXT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

    /// Room for a text of `length` bytes: its address.
    #[unsafe(no_mangle)]
    extern "C" fn room(length: usize) -> *mut u8 {
        let mut text = TEXT.lock().unwrap_or_else(PoisonError::into_inner);
        *text = vec![0; length];
        text.as_mut_ptr()
    }

    /// Counts `times` times, and adds up everything that was counted.
    #[unsafe(no_mangle)]
    extern "C" fn count(times: u32) -> u64 {
        run(times, text::count)
    }

    /// The same, sixteen bytes at a time whatever the machine has: so that `count` is seen to be the faster one.
    #[unsafe(no_mangle)]
    extern "C" fn count_blocks(times: u32) -> u64 {
        run(times, text::blocks)
    }

    fn run(times: u32, count: fn(&str) -> Count) -> u64 {
        let bytes = TEXT.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(text) = std::str::from_utf8(&bytes) else { return 0 };
        let mut sum = 0;
        for _ in 0..times {
            let Count { tags, characters, lines } = count(std::hint::black_box(text));
            sum += tags + characters + lines;
        }
        sum
    }
}
