//! What the code stands on that `#[tap]` writes. Not for plugins: it changes without notice.

pub use crate::answer::{Answer, TapError};

#[cfg(target_arch = "wasm32")]
pub use crate::bindings::{start, taps::*};

/// The types of the contract under its own names, as they cross.
pub mod contract {
    #[cfg(target_arch = "wasm32")]
    pub use crate::bindings::types::ItemHandle;
    pub use crate::{
        Access, AccessRequest, ChangeError, CronRun, Field, FormattedText, Header, Operation, Reference, Value,
        answer::TapError,
        item::{ItemChanges, ItemRecord as Item},
        render::{Element, HeadEntry, Node, RenderRecord as RenderElement},
    };
}

/// Turns what the author's function returned into what crosses.
///
/// # Errors
///
/// See [`Answer::answer`].
pub fn answer<T, A: Answer<T>>(answer: A) -> Result<T, TapError> {
    answer.answer()
}

/// The bytes of a text whose length is known, for a static.
#[must_use]
pub const fn bytes<const N: usize>(text: &str) -> [u8; N] {
    match text.as_bytes().first_chunk() {
        Some(bytes) => *bytes,
        None => [0; N],
    }
}
