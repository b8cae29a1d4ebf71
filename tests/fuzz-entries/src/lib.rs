//! Entry points for hostile bytes, one function each, which property tests and fuzz targets call.
//!
//! An entry takes bytes that somebody hostile wrote and hands them to the same public functions that a user calls. It
//! panics when a promise does not hold, and only then: an input that is refused is an input that was dealt with. What
//! follows from an accepted input is checked as far as there is something to compare with.
//!
//! | entry | bytes | promise |
//! |---|---|---|
//! | [`load`] | a file that claims to be a plugin | it is loaded or refused; its taps end within their limits |
//! | [`run`] | a core module, which becomes a plugin | whatever its code does is the guest's fault, and costs one call |
//! | [`call`] | the text of a call, as `tapline run` takes it | refused, or answered with values that can be written again |
//! | [`function`] | a module for `tapline run` | it is loaded or refused; its functions end within their limits |
//! | [`metadata`] | the section `tapline:taps` | it is read or refused; what is read can be written and read again |
//! | [`answer`] | the memory from which answers are lifted | a page gets clean markup, an item keeps its rules |
//! | [`config`] | `tapline.toml`, variables in comments | every accepted limit can be applied; errors know their line |
//! | [`document`] | a Markdown file, a line of JSON | an item, or an error at a line that exists |
//! | [`sql`] | parameters and a statement | nothing is written, and the answer is within its bounds |
//!
//! The fuzz targets in `fuzz/` are these functions and nothing else. What fuzzing found lies in `regressions/`, one
//! directory for each entry, and is run by the tests.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a promise that does not hold is a panic: that is what the callers look for"
)]

mod answer;
mod config;
mod document;
mod function;
mod guest;
mod host;
mod load;
mod markup;
mod mutate;
mod sql;

pub use answer::{Answer, Changes, Head, Node, Render, answer, encode_changes, encode_render};
pub use config::config;
pub use document::document;
pub use function::{call, function};
pub use guest::component;
pub use load::{load, metadata, run};
pub use markup::assert_clean;
pub use mutate::{modules, mutate, mutate_module, replace_module};
pub use sql::{round_trip, sql};

/// An entry with its name, which is that of its fuzz target and of its directories of inputs.
pub type Entry = (&'static str, fn(&[u8]));

/// Every entry.
pub const ENTRIES: [Entry; 9] = [
    ("answer", |bytes| drop(answer(bytes))),
    ("call", |bytes| drop(call(bytes))),
    ("config", |bytes| drop(config(bytes))),
    ("document", |bytes| drop(document(bytes))),
    ("function", |bytes| drop(function(bytes))),
    ("load", |bytes| drop(load(bytes))),
    ("metadata", |bytes| drop(metadata(bytes))),
    ("run", |bytes| drop(run(bytes))),
    ("sql", |bytes| drop(sql(bytes))),
];
