//! Why there is no page.

use tapline_content::ItemError;
use tapline_host_core::{CallError, Fault, Party, PluginName};
use tapline_store::StoreError;

/// There is no page to show.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// There is no such item.
    #[error("there is no item `{id}`")]
    NotFound {
        /// The identifier.
        id: String,
    },
    /// The item is not published, or a plugin denies it.
    #[error("the item `{id}` may not be shown{}", because(denied_by))]
    Denied {
        /// The identifier.
        id: String,
        /// The plugins that denied it, or that failed and so denied it. None: the item is not published.
        denied_by: Vec<PluginName>,
    },
    /// The host is overloaded or shutting down. The same request may succeed later.
    #[error("the host cannot take the request now")]
    Busy(#[source] CallError),
    /// A plugin failed in a way that ends the page.
    #[error("the page could not be made")]
    Dispatch(#[source] CallError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread of this program ended before it had written a part of the page: the program is ending, or there is a defect in it.
    #[error("a thread ended before it had written its part of the page")]
    Thread(#[source] tokio::task::JoinError),
    /// The template failed.
    #[error("the page could not be written")]
    Template(#[from] askama::Error),
}

impl PageError {
    /// Whether host or store has more to do than it can, so that the same request may succeed in a moment.
    pub(crate) fn is_busy(&self) -> bool {
        match self {
            Self::Busy(_) => true,
            Self::Store(error) => error.is_busy(),
            _ => false,
        }
    }

    /// Who has to act.
    #[must_use]
    pub fn party(&self) -> Party {
        match self {
            Self::Store(error) => error.party(),
            Self::Dispatch(error) | Self::Busy(error) => error.fault.party(),
            Self::Template(_) | Self::Thread(_) => Party::Host,
            Self::NotFound { .. } | Self::Denied { .. } => Party::Operator,
        }
    }
}

impl From<CallError> for PageError {
    fn from(error: CallError) -> Self {
        if is_busy(&error) { Self::Busy(error) } else { Self::Dispatch(error) }
    }
}

impl From<ItemError> for PageError {
    fn from(error: ItemError) -> Self {
        Self::Store(error.into())
    }
}

/// Whether the plugin did not even get to run, and may run when the request comes again.
pub(crate) fn is_busy(error: &CallError) -> bool {
    matches!(error.fault, Fault::Overloaded { .. } | Fault::NoCodeYet { .. } | Fault::ShuttingDown)
}

/// Whether the host as a whole is busy, rather than one slow plugin: without that one there is still a page.
pub(crate) fn is_host_busy(error: &CallError) -> bool {
    matches!(error.fault, Fault::Overloaded { share: None, .. } | Fault::ShuttingDown)
}

fn because(plugins: &[PluginName]) -> String {
    let names: Vec<String> = plugins.iter().map(|plugin| format!("`{plugin}`")).collect();
    if names.is_empty() { ": it is not published".to_owned() } else { format!(": denied by {}", names.join(", ")) }
}
