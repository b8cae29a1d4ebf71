//! Leaves out what a plugin never runs.
//!
//! The standard library brings its own panic hook into every module: it prints the message and a backtrace to standard
//! error, for which it needs input and output, the environment, the working directory and the C library's allocator.
//! No option of the stable compiler leaves it out. In a plugin that reports its panics to the host it is dead: the SDK
//! sets its own hook before the author's function runs. Only the linker cannot know that.
//!
//! # What is cut
//!
//! [`names`] knows two groups of functions of the standard library by name: those that a panic or a failed allocation
//! passes through, and those that print. A call from the first group into the second becomes `unreachable`, and so does
//! the code after it up to the end of its block. So does, wherever it stands, a call that writes to standard error
//! without `std::io` if nothing but an abort follows: a "fatal runtime error". Calls from anywhere else stay, so
//! `println!`, `eprintln!` and files work as before. Then everything is left out that nothing reaches any more:
//! functions, imports, types, and, where the linker says what refers to what, entries of the table and data.
//!
//! Nothing is cut in a module that does not import the host's function for panics: there the standard hook is the one
//! that speaks.
//!
//! # Why that is right
//!
//! Each cut call lies on a path that ends in an abort, or in the standard hook. So a cut that is reached changes a trap
//! with a text on standard error into a trap without one, and never into anything but a trap:
//!
//! - A panic before the SDK has set its hook, in `cabi_realloc` for instance: a trap without a message.
//! - A panic inside the hook: the host hears of neither, and sees the trap.
//! - A failed allocation: a trap without "memory allocation of N bytes failed". The host knows what it has refused.
//! - A plugin that takes the hook away (`std::panic::take_hook`): a trap without a message.
//!
//! What is *reached* is decided in one of two ways. A function whose address is taken lies in the table, and its
//! address is a number like any other. Without further knowledge every entry of the table and every byte of the data
//! counts as reached. A module linked with `--emit-relocs` says of each number in code and data whether it is an
//! address, and of what. Then a table entry counts if reached code or data holds its address, a piece of data likewise:
//! the rule by which the linker itself has collected garbage, and as exact as that. Each relocation is compared with
//! the number at its place; one that does not agree, or a construct that these rules do not cover (see
//! [`links`](self::links)), and all of the table and the data stays.
//!
//! A table entry that goes becomes null: a call through it traps.
//!
//! Debug information speaks of places in the code and is lost; names of functions stay.

mod links;
mod live;
mod module;
mod names;
mod rewrite;

use std::convert::Infallible;
use std::error::Error as StdError;

use wasm_encoder::reencode;

use self::live::Live;
use self::module::Module;
use crate::Error;

type Result<T> = std::result::Result<T, reencode::Error<Infallible>>;

/// The same module without what it never runs. It is valid if `module` is.
pub(crate) fn trim(module: &[u8]) -> std::result::Result<Vec<u8>, Error> {
    let failed = |source: Box<dyn StdError + Send + Sync>| Error::Trim { source };
    let parsed = Module::parse(module).map_err(|error| failed(error.into()))?;
    let live = Live::find(&parsed).map_err(|error| failed(error.into()))?;
    let trimmed = rewrite::rewrite(module, &parsed, &live).map_err(|error| failed(error.into()))?;
    wasmparser::validate(&trimmed).map_err(|error| failed(error.into()))?;
    Ok(trimmed)
}

#[cfg(test)]
mod tests;
