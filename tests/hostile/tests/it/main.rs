//! Attacks on a host, in tables, and what must hold beside them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod answers;
mod cancelled;
mod database;
mod floods;
mod memory;
mod nested;
mod overload;
mod panics;
mod sizes;
mod tenants;
mod time;
mod tracker;
mod traps;
mod world;
