//! Functions of SQLite that search in text, in linear time.
//!
//! SQLite's own compare what they look for at each place of what they look in. With two megabytes of the one and four of the
//! other that takes minutes, `trim` hours, and nothing interrupts one function: the connection would be lost for as long.

use std::{
    collections::HashSet,
    ffi::{CStr, c_int},
    ptr, slice,
};

use libsqlite3_sys as ffi;
use memchr::memmem;

use crate::config::MAX_BYTES;

/// How many different characters `trim` takes away: more than a script has. The set of them is not memory of SQLite's,
/// which is counted; with any characters in 4 MiB it would be 50 MB.
const MAX_CHARACTERS: usize = 1 << 16;

type Function = unsafe extern "C" fn(*mut ffi::sqlite3_context, c_int, *mut *mut ffi::sqlite3_value);

/// Names, numbers of arguments, and what takes the place of SQLite's own. `trim` with one argument is linear as it is.
const FUNCTIONS: [(&CStr, c_int, Function); 5] =
    [(c"instr", 2, instr), (c"replace", 3, replace), (c"trim", 2, trim), (c"ltrim", 2, ltrim), (c"rtrim", 2, rtrim)];

/// Puts them in the place of SQLite's own. `false`: SQLite has no memory.
///
/// # Safety
///
/// `db` is an open connection that nobody else uses.
pub(super) unsafe fn install(db: *mut ffi::sqlite3) -> bool {
    let flags = ffi::SQLITE_UTF8 | ffi::SQLITE_DETERMINISTIC | ffi::SQLITE_INNOCUOUS;
    FUNCTIONS.iter().all(|(name, arguments, function)| {
        // SAFETY: the caller's promise; the names are C strings, and the functions keep no state that could be freed.
        let done = unsafe {
            let name = name.as_ptr();
            ffi::sqlite3_create_function_v2(
                db,
                name,
                *arguments,
                flags,
                ptr::null_mut(),
                Some(*function),
                None,
                None,
                None,
            )
        };
        done == ffi::SQLITE_OK
    })
}

/// The bytes of an argument; what is not text is written as text. `None`: it is NULL, or there is no memory.
///
/// # Safety
///
/// `value` is an argument of the function that SQLite is calling. The bytes live until that returns.
unsafe fn bytes<'a>(value: *mut ffi::sqlite3_value) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise. The length is asked for after the pointer, as SQLite wants it, and both belong to the
    // same representation of the value, which nothing else asks to be another one.
    unsafe {
        let start = match ffi::sqlite3_value_type(value) {
            ffi::SQLITE_NULL => return None,
            ffi::SQLITE_BLOB => ffi::sqlite3_value_blob(value).cast::<u8>(),
            _ => ffi::sqlite3_value_text(value),
        };
        match usize::try_from(ffi::sqlite3_value_bytes(value)) {
            Ok(0) => Some(&[]),
            Ok(length) if !start.is_null() => Some(slice::from_raw_parts(start, length)),
            _ => None,
        }
    }
}

/// # Safety
///
/// `context` is that of the function that SQLite is calling.
unsafe fn answer(context: *mut ffi::sqlite3_context, text: &[u8]) {
    let encoding = ffi::SQLITE_UTF8 as u8;
    // SAFETY: the caller's promise; SQLite copies the text before it returns.
    unsafe {
        ffi::sqlite3_result_text64(context, text.as_ptr().cast(), text.len() as u64, ffi::SQLITE_TRANSIENT(), encoding);
    }
}

/// `instr(X, Y)`: the place of the first `Y` in `X`, from 1; in characters, or in bytes if both are bytes. 0: there is none.
unsafe extern "C" fn instr(context: *mut ffi::sqlite3_context, _: c_int, arguments: *mut *mut ffi::sqlite3_value) {
    // SAFETY: SQLite calls a function with as many arguments as it was registered for.
    unsafe {
        let (text, part) = (*arguments, *arguments.add(1));
        let in_bytes = [text, part].map(|value| ffi::sqlite3_value_type(value)) == [ffi::SQLITE_BLOB; 2];
        let (Some(text), Some(part)) = (bytes(text), bytes(part)) else { return };
        let place = memmem::find(text, part).map_or(0, |start| {
            let before = text[..start].iter().filter(|byte| in_bytes || !is_continuation(**byte));
            1 + before.count()
        });
        ffi::sqlite3_result_int64(context, place as i64);
    }
}

/// `replace(X, Y, Z)`: `X` with `Z` in the place of each `Y`.
unsafe extern "C" fn replace(context: *mut ffi::sqlite3_context, _: c_int, arguments: *mut *mut ffi::sqlite3_value) {
    // SAFETY: as for `instr`.
    unsafe {
        let (Some(text), Some(from)) = (bytes(*arguments), bytes(*arguments.add(1))) else { return };
        // As SQLite has it, for which a text ends at its first NUL.
        if from.first().is_none_or(|first| *first == 0) {
            return answer(context, text);
        }
        let Some(to) = bytes(*arguments.add(2)) else { return };
        let (mut replaced, mut done) = (Vec::new(), 0);
        let ends = memmem::find_iter(text, from).map(|start| (start, to)).chain([(text.len(), &[][..])]);
        for (end, with) in ends {
            // Ahead of it: this memory is not SQLite's, which counts its own.
            if replaced.len() + (end - done) + with.len() > MAX_BYTES {
                return ffi::sqlite3_result_error_toobig(context);
            }
            replaced.extend_from_slice(&text[done..end]);
            replaced.extend_from_slice(with);
            done = end + from.len();
        }
        answer(context, &replaced);
    }
}

unsafe extern "C" fn trim(context: *mut ffi::sqlite3_context, _: c_int, arguments: *mut *mut ffi::sqlite3_value) {
    // SAFETY: as for `instr`.
    unsafe { trim_ends(context, arguments, true, true) }
}

unsafe extern "C" fn ltrim(context: *mut ffi::sqlite3_context, _: c_int, arguments: *mut *mut ffi::sqlite3_value) {
    // SAFETY: as for `instr`.
    unsafe { trim_ends(context, arguments, true, false) }
}

unsafe extern "C" fn rtrim(context: *mut ffi::sqlite3_context, _: c_int, arguments: *mut *mut ffi::sqlite3_value) {
    // SAFETY: as for `instr`.
    unsafe { trim_ends(context, arguments, false, true) }
}

/// `trim(X, Y)`: `X` without the characters of `Y` at its ends.
///
/// # Safety
///
/// `context` and two arguments are those of the function that SQLite is calling.
unsafe fn trim_ends(
    context: *mut ffi::sqlite3_context,
    arguments: *mut *mut ffi::sqlite3_value,
    start: bool,
    end: bool,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let (Some(mut text), Some(set)) = (bytes(*arguments), bytes(*arguments.add(1))) else { return };
        // As SQLite has it, for which this text ends at its first NUL.
        let mut rest = set.split(|byte| *byte == 0).next().unwrap_or_default();
        let mut characters = HashSet::new();
        while !rest.is_empty() {
            if characters.len() == MAX_CHARACTERS {
                return ffi::sqlite3_result_error_toobig(context);
            }
            let (first, others) = rest.split_at(first_length(rest));
            characters.insert(first);
            rest = others;
        }
        while start && !text.is_empty() && characters.contains(&text[..first_length(text)]) {
            text = &text[first_length(text)..];
        }
        while end && !text.is_empty() {
            let last = text.iter().rposition(|byte| !is_continuation(*byte)).unwrap_or_default();
            if !characters.contains(&text[last..]) {
                break;
            }
            text = &text[..last];
        }
        answer(context, text);
    }
}

/// How long the first character is. Text in SQLite need not be UTF-8: any bytes are characters here.
fn first_length(text: &[u8]) -> usize {
    1 + text.iter().skip(1).take_while(|byte| is_continuation(**byte)).count()
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}
