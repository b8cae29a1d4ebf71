//! Tap contracts, the order of handlers, how their answers fold into one, and what a failure does.
//!
//! A *tap* is a named extension point, a *plugin* implements taps, and a *handler* is one plugin's implementation of
//! one tap. This crate decides in which [`Order`] the handlers of a tap stand, and what becomes of their answers.
//!
//! It does not call plugins: whoever uses it passes the handlers as values of any type and a closure that calls one.
//! It does no input or output, needs no particular async runtime and knows nothing of WebAssembly.
//!
//! - [`Contract`]: a tap's [`Policy`] (how answers fold) and [`OnFailure`] (what a failing handler does to the rest).
//! - [`resolve`]: turns what plugins and operator ask for ([`Placement`], [`Override`]) into an [`Order`].
//! - [`Breaker`]: keeps a handler from being called that fails again and again.
//! - [`collect`], [`alter`], [`notify`], [`vote`], [`first`]: call the handlers and fold what they answer. An answer's
//!   place is its handler's place in the order, whoever finishes first.
//!
//! ```
//! use tapline_tap_dispatch::{OnFailure, Placement, PluginName, TapName, collect, resolve};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let seo = Placement { weight: 10, ..Placement::default() };
//! let related = Placement { after: vec!["seo".to_owned()], ..Placement::default() };
//! let order = resolve(
//!     &TapName::new("item_view")?,
//!     vec![(PluginName::new("related")?, related), (PluginName::new("seo")?, seo)],
//! )?;
//! assert_eq!(order.plugins(), [PluginName::new("seo")?, PluginName::new("related")?]);
//!
//! // Real handlers are instances of plugins; here each answers with its own name.
//! let collected = collect(order.plugins(), OnFailure::Skip, || None, |plugin| async move {
//!     Ok::<_, std::io::Error>(plugin.to_string())
//! })
//! .await?;
//! assert_eq!(collected.answers, [(0, "seo".to_owned()), (1, "related".to_owned())]);
//! # Ok(())
//! # }
//! ```

mod breaker;
mod contract;
mod fold;
mod name;
mod order;
mod placement;

pub use breaker::{
    Breaker, BreakerChange, BreakerError, BreakerSettings, BreakerState, BreakerView, DEFAULT_BREAKER_FAILURES,
    DEFAULT_FIRST_OPEN, DEFAULT_MAX_OPEN, PartialBreaker, Pass,
};
pub use contract::{Contract, ContractError, OnFailure, Policy};
pub use fold::{Altered, Ballot, Collected, Found, Verdict, alter, collect, first, notify, vote};
pub use name::{NameError, PluginName, TapName};
pub use order::{Edge, Entry, Order, OrderError, Reason, Relation, resolve};
pub use placement::{Override, Placement};
