//! Guests of the gates: one piece of work for every way in which an item can cross.
//!
//! The examples of this package are the guests; each is a few lines around a function of this library. Natively the same
//! functions are the oracle that every answer is compared with, and the arm that shows what WebAssembly costs.
//!
//! - [`teaser`] is the tap of gate 1: three fields read, one written; [`render`] is its work without the SDK.
//! - [`plan`] reads and writes as many fields as its item says, for the break-even map.
//! - [`json`] is an item as a host without typed values would send it.
//! - [`text`] is a kernel over text that vector instructions make faster.

pub mod json;
pub mod plan;
pub mod render;
pub mod teaser;
pub mod text;
