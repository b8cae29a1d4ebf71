//! The host against well-behaved, broken and hostile plugins.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod breaker;
mod bringing;
mod compiling;
mod dispatching;
mod faults;
mod figures;
mod guests;
mod lazy;
mod loading;
mod observing;
mod own_tap;
mod profiling;
mod reloading;
mod reports;
mod reuse;
mod share;
mod spans;
mod stock;
mod typed;
