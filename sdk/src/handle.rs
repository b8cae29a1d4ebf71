//! An item that stays on the host's side.

use crate::{Header, Value};

#[cfg(target_arch = "wasm32")]
#[path = "handle/guest.rs"]
mod place;
#[cfg(not(target_arch = "wasm32"))]
#[path = "handle/native.rs"]
mod place;

/// An item on the host's side. Each method is one crossing, and nothing but its answer is copied.
///
/// A handle is good for the call that got it: the host refuses one that was kept, and the call ends in a trap. Clones
/// are handles to the same item. Natively a handle holds an [`Item`](crate::Item), see [`ItemHandle::from`].
#[derive(Clone, Debug)]
pub struct ItemHandle(place::Place);

/// Why a change was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// This tap reads items; only `item_presave` may change them.
    #[error("the item is read-only in this tap")]
    ReadOnly,
    /// The tap declared its `fields`, and this one is not among them.
    #[error("the tap did not declare this field")]
    NotDeclared,
    /// The name, the value or the sum of the changes breaks a rule.
    #[error("the change is not valid: {0}")]
    Invalid(
        /// Which rule.
        String,
    ),
}

impl ItemHandle {
    /// What every item has. Cheaper than asking for its parts one by one.
    #[must_use]
    pub fn header(&self) -> Header {
        self.0.header()
    }

    /// The identifier, unique in the site.
    #[must_use]
    pub fn id(&self) -> String {
        self.header().id
    }

    /// Grows by one with each save. 0 before the first.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.header().revision
    }

    /// The type of the item, for example `document`.
    #[must_use]
    pub fn kind(&self) -> String {
        self.header().kind
    }

    /// The title, as plain text.
    #[must_use]
    pub fn title(&self) -> String {
        self.0.title()
    }

    /// Who wrote it. May be empty.
    #[must_use]
    pub fn author(&self) -> String {
        self.header().author
    }

    /// Whether readers may see it, if no tap denies them.
    #[must_use]
    pub fn is_published(&self) -> bool {
        self.header().published
    }

    /// Whether it is shown on the front page.
    #[must_use]
    pub fn is_promoted(&self) -> bool {
        self.header().promoted
    }

    /// Whether it stays at the top of lists.
    #[must_use]
    pub fn is_sticky(&self) -> bool {
        self.header().sticky
    }

    /// When it was made, in seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn created(&self) -> i64 {
        self.header().created
    }

    /// When it was last saved, in seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn changed(&self) -> i64 {
        self.header().changed
    }

    /// What the field holds. None when there is no such field, or the tap did not declare it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<Value> {
        self.0.field(name)
    }

    /// The text of a field that holds text or formatted text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.0.text(name)
    }

    /// The number of a field that holds a whole one.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.field(name)?.as_integer()
    }

    /// The names of all fields that [`field`](Self::field) would find, sorted.
    #[must_use]
    pub fn field_names(&self) -> Vec<String> {
        self.0.field_names()
    }

    /// Replaces the title. The host applies it when the tap returns without an error.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]: the tap is not `item_presave`, or the title breaks a rule. Natively there is no host that would
    /// refuse, and this cannot fail.
    pub fn set_title(&self, title: &str) -> Result<(), ChangeError> {
        self.0.set_title(title)
    }

    /// Adds or replaces a field. The host applies it when the tap returns without an error.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]: the tap is not `item_presave` or did not declare the field, or the name or the value breaks a
    /// rule. Natively this cannot fail.
    pub fn set(&self, name: &str, value: impl Into<Value>) -> Result<(), ChangeError> {
        self.0.set(name, value.into())
    }

    /// Takes a field away. Removing one that is not there is no error.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]: the tap is not `item_presave` or did not declare the field. Natively this cannot fail.
    pub fn remove(&self, name: &str) -> Result<(), ChangeError> {
        self.0.remove(name)
    }
}
