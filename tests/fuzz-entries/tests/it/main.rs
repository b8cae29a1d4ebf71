//! What must hold for any bytes, and what follows from those that are accepted.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test itself would")]

mod answers;
mod documents;
mod functions;
mod inputs;
mod limits;
mod plugins;
mod settings;
mod statements;

/// How many inputs a property is tried with, where one input costs `microseconds`: about two seconds for each property,
/// in a build for tests.
fn cases(microseconds: u32) -> proptest::test_runner::Config {
    proptest::test_runner::Config::with_cases((2_000_000 / microseconds).clamp(16, 1000))
}
