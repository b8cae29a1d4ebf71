//! Items in a SQLite database: import of documents, and saves that run the taps.
//!
//! A save asks the plugins first (`item_presave`), stores, and tells them afterwards (`item_insert`, `item_update`).
//! It does not decide who may read or change an item, and it renders nothing: a server does both.
//!
//! - [`Store`] is one database. Cheap to clone; all clones share its connections.
//! - [`Saved`] says what a save came to, and which plugins failed to hear of it.
//! - [`import`] reads Markdown and JSON lines into a store, and reports what it could not read as [`Bad`].
//!
//! ```
//! use tapline_content::{Header, Item, register};
//! use tapline_host_core::{Host, HostConfig};
//! use tapline_store::{Outcome, Store};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let config = HostConfig { pool_size: 10, ..HostConfig::default() };
//! let host = register(Host::builder().config(config)).build()?;
//! let store = Store::open("sqlite::memory:").await?;
//!
//! let header = Header {
//!     id: "hello".into(),
//!     revision: 0,
//!     kind: "document".into(),
//!     title: "Hello".into(),
//!     author: "".into(),
//!     published: true,
//!     promoted: false,
//!     sticky: false,
//!     created: 0,
//!     changed: 0,
//! };
//! let saved = store.save(&host, Item::new(header, [])?).await?;
//! assert_eq!(saved.outcome, Outcome::Inserted);
//!
//! let stored = store.load("hello").await?.expect("it was saved");
//! assert_eq!(stored.header().revision, 1);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run()).unwrap();
//! ```

mod connections;
mod document;
mod error;
mod import;
mod save;
mod store;
mod time;

pub use document::{DocumentError, MAX_DOCUMENT, MAX_FRONT_MATTER, parse_json_line, parse_markdown};
pub use error::StoreError;
pub use import::{Bad, ImportReport, Progress, import};
pub use save::{Deleted, Outcome, Saved};
pub use store::{
    DEFAULT_BUSY_TIMEOUT, DEFAULT_MAX_CONNECTIONS, DEFAULT_MAX_WAIT, DEFAULT_MAX_WAITING, Store, StoreConfig,
};
