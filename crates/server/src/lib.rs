//! The web pages of a host: a list of items, a page for each with what every plugin added, metrics and health.
//!
//! There is no address that changes an item, and only an operator changes what is called. It knows no plugin by name
//! and no account: every reader is anonymous, and `item_access` is asked for each item that is shown.
//!
//! - [`Server`] holds a host and a store, makes pages, and serves them.
//! - Every request has an identifier: that of the caller's trace, or a new one. It is in the answer, in every event of
//!   the request, and in its [trace](tapline_telemetry).
//! - [`Page`] is one page of an item; [`PageError`] says why there is none.
//! - [`SpecSource`] says where a plugin is loaded from again.
//!
//! | address | what |
//! |---|---|
//! | `/`, `/?page=2` | published items |
//! | `/item/ID` | one item, with what plugins add |
//! | `/metrics` | the instruments, for Prometheus |
//! | `/status` | the plugins and what they did, the pool, memory and cache, as JSON |
//! | `/health/live`, `/health/ready` | whether the process answers; whether it can do its work |
//! | `/item/ID?explain` | the page with what became of every call of a plugin, for operators |
//! | `/_tapline/trace`, `/_tapline/trace/ID` | the last traces, and those of one request, as JSON, for operators |
//! | `/_tapline` | the same as `/status` to look at, with the last minute, for operators |
//! | `/_tapline/plugins/NAME/ACTION` | `enable`, `disable` or `reload`: what the buttons of that page post to |
//!
//! ```
//! use tapline_content::register;
//! use tapline_host_core::{Host, HostConfig};
//! use tapline_server::{PageError, Server, ServerConfig};
//! use tapline_store::Store;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let config = HostConfig { pool_size: 10, ..HostConfig::default() };
//! let host = register(Host::builder().config(config)).build()?;
//! let store = Store::open("sqlite::memory:").await?;
//! let server = Server::new(host, store, ServerConfig::default());
//! assert!(matches!(server.item_page("none").await, Err(PageError::NotFound { .. })));
//! // `server.serve(listener, shutdown)` answers requests until `shutdown` is ready.
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run()).unwrap();
//! ```

mod action;
mod advice;
mod body;
mod connections;
mod count;
mod error;
mod form;
mod health;
mod heavy;
mod history;
mod operator;
mod page;
mod panel;
mod request;
mod respond;
mod scrape;
mod seldom;
mod server;
mod status;

pub use action::SpecSource;
pub use error::PageError;
pub use operator::OperatorToken;
pub use page::{Page, Timing};
pub use server::{
    DEFAULT_CLIENT_TIMEOUT, DEFAULT_DRAIN, DEFAULT_MAX_CONNECTIONS, DEFAULT_PAGE_SIZE, DEFAULT_TITLE, Server,
    ServerConfig,
};
