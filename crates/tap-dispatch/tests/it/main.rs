//! Tests of `tapline-tap-dispatch` through its public interface.

#![expect(clippy::unwrap_used, reason = "helpers of tests may give up as well as tests")]

mod breaker;
mod fold;
mod order;
mod order_properties;
