//! What a plugin author depends on: items, render elements, host functions and the tap attribute.
//!
//! A plugin is a library crate whose functions carry [`#[tap]`](tap). Each such function is called by the host when its
//! moment comes: when a page is shown, before an item is stored, when somebody asks for access. The function stays an
//! ordinary one, so `cargo test` runs it natively; built for `wasm32-wasip1` and made a component, it is exported
//! together with a note of what it asked for.
//!
//! This crate is not a host and starts none. Natively its host functions reach a double: [`log`] drops what it gets and
//! [`database`] is not there, unless `tapline-sdk-testing` says otherwise. It holds no ABI that an author needs to know.
//!
//! Three nouns: an [`Item`] is what the site is about, an [`ItemHandle`] is the same item left on the host's side until a
//! field is asked for, and a [`RenderElement`] is what a plugin adds to a page.
//!
//! ```
//! use tapline_sdk::{Item, RenderElement, tap};
//!
//! #[tap]
//! fn item_view(item: &Item) -> RenderElement {
//!     match item.text("subtitle") {
//!         Some(subtitle) => RenderElement::element("p").class("subtitle").text(subtitle),
//!         None => RenderElement::empty(),
//!     }
//! }
//!
//! let item = Item::builder("readme").field("subtitle", "Read me first").build();
//! assert_eq!(item_view(&item).to_html(), r#"<p class="subtitle">Read me first</p>"#);
//! ```

#[doc(hidden)]
pub mod __rt;
mod access;
mod answer;
#[cfg(any(target_arch = "wasm32", test))]
mod arena;
mod cron;
pub mod database;
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub mod double;
mod handle;
mod item;
pub mod log;
mod render;
mod value;

#[cfg(target_arch = "wasm32")]
mod bindings;

pub use access::{Access, AccessRequest, Operation};
pub use cron::CronRun;
pub use handle::{ChangeError, ItemHandle};
pub use item::{Field, Header, Item, ItemBuilder};
pub use render::RenderElement;
pub use tapline_sdk_macros::tap;
pub use value::{FormattedText, Reference, Value};
