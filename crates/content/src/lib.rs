//! Items, render elements and the standard taps, as the host sees them.
//!
//! It gives a host of content its taps: [`register`] adds them to a host that is being built. It stores nothing and
//! renders no page; `tapline-store` and `tapline-server` do.
//!
//! - [`Item`] is what taps get: a header that every item has, and named fields.
//! - [`Contribution`] is what a plugin adds to a page: checked, escaped and cleaned.
//! - The taps are types, [`ItemView`] for one, which go into [`Host::dispatch`](tapline_host_core::Host::dispatch).
//!
//! ```
//! use tapline_content::clean;
//!
//! let markup = r#"<p onclick="steal()">Hi <script>alert(1)</script><a href="javascript:x">there</a></p>"#;
//! assert_eq!(clean(markup), r#"<p>Hi <a rel="noopener noreferrer">there</a></p>"#);
//! ```

mod handle;
mod item;
mod render;
mod taps;

pub use handle::{ContentTypes, INTERFACE};
pub use item::{
    Changes, Field, FormattedText, Header, Item, ItemError, MAX_FIELD_NAME, MAX_FIELDS, MAX_ID, MAX_TITLE, Reference,
    Value,
};
pub use render::{
    Contribution, MAX_ATTRIBUTES, MAX_DEPTH, MAX_FORMATTING, MAX_HEAD, MAX_NODES, MAX_REPAIRED_TAGS, MAX_TAG, MAX_TEXT,
    RenderError, clean,
};
pub use taps::{
    AccessQuestion, AccessRequest, Cron, CronRun, ItemAccess, ItemDelete, ItemInsert, ItemPresave, ItemUpdate,
    ItemView, Operation, Updated, register,
};
