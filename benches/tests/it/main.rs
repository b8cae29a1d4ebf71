//! Runs the programs of the benches: small, with counts and answers checked and no time judged.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop the test")]

mod gates;
mod guard;
