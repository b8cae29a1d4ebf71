//! Hostile guests: each tries one thing against a real host, which serves others before, during and after.
//!
//! The tests are in `tests/it`; here is what they share. It is no library for anybody else.
//!
//! - [`Ground`] is a host with a well-behaved plugin on it. [`Ground::survives`] is what every attack goes through.
//! - [`Attack`] is one row of a table: what a guest tries, and what has to become of it, down to the counters that move.
//! - [`Guest`] writes a component in the text format around a few instructions.
//! - [`World`] is what the host functions of this package share with a test: gates, counts, sizes.
//!
//! Every test has one thread, unless it says otherwise: a guest that does not give it back stops the test.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod attack;
mod counters;
mod ground;
mod guest;
mod tap;
mod world;

pub use attack::{ATTACK_TIME, Attack, BAD, Ends};
pub use counters::Counters;
pub use ground::{Ground, PATIENCE, config, name, time};
pub use guest::Guest;
pub use tap::{
    Choices, HostileTap, INPUT, Letter, List, Listen, Neighbour, Number, Strike, Struck, Text, Things, strike,
};
pub use world::{Thing, World};
