//! Tests of `tapline-limits` through its public interface.

#![expect(clippy::unwrap_used, reason = "helpers of tests may give up as well as tests")]

mod limiter;
mod limits;
mod names;
