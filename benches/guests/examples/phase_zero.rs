//! The phase 0 way: a bare core module. The host asks for room, writes JSON there, calls, and reads JSON back.

/// A safe way to the same thing: the host writes into a buffer that this guest owns.
#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "a core module exports its functions by their bare names")]
mod export {
    use std::sync::{Mutex, PoisonError};

    static ITEM: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    static ANSWER: Mutex<String> = Mutex::new(String::new());

    /// Room for an item of `length` bytes: its address.
    #[unsafe(no_mangle)]
    extern "C" fn room(length: usize) -> *mut u8 {
        let mut item = ITEM.lock().unwrap_or_else(PoisonError::into_inner);
        *item = vec![0; length];
        item.as_mut_ptr()
    }

    /// Does the work on what was written there. The address of the answer, then its length; 0 if there is none.
    #[unsafe(no_mangle)]
    extern "C" fn item_presave() -> u64 {
        let item = std::mem::take(&mut *ITEM.lock().unwrap_or_else(PoisonError::into_inner));
        let Ok(item) = String::from_utf8(item) else { return 0 };
        let Ok(text) = tapline_bench_guests::teaser::json(&item) else { return 0 };
        let mut answer = ANSWER.lock().unwrap_or_else(PoisonError::into_inner);
        *answer = text;
        (answer.as_ptr() as u64) << 32 | answer.len() as u64
    }
}
