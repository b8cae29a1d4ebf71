//! The question that `item_access` answers, and its answer.

/// What somebody wants to do with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// See it.
    View,
    /// Change it.
    Update,
    /// Delete it.
    Delete,
}

#[cfg(target_arch = "wasm32")]
impl Operation {
    /// The case with this number in the contract; the canonical ABI has checked that there is one.
    pub(crate) fn _lift(case: u8) -> Self {
        match case {
            0 => Self::View,
            1 => Self::Update,
            _ => Self::Delete,
        }
    }
}

/// A question to `item_access`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRequest {
    /// What is asked for.
    pub operation: Operation,
    /// Who asks. None: an anonymous reader.
    pub account: Option<String>,
    /// When, in seconds since 1970-01-01 UTC. A sealed plugin has no clock of its own.
    pub now: i64,
}

/// A vote on a request. One [`Deny`](Self::Deny) outweighs every [`Allow`](Self::Allow), and a plugin that fails denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Nothing speaks against it.
    Allow,
    /// Not this plugin's concern.
    Neutral,
    /// No, whatever the others say.
    Deny,
}
