//! What a tap may return.

use std::fmt::Display;

use crate::{Access, RenderElement};

/// A failed tap, as it crosses.
#[derive(Debug, PartialEq, Eq)]
pub struct TapError {
    pub(crate) message: String,
}

/// What a tap returns: a `T`, or a `Result` of one with any error that can be displayed.
#[diagnostic::on_unimplemented(
    message = "a tap that answers with `{T}` cannot return `{Self}`",
    label = "expected `{T}` or `Result<{T}, E>`",
    note = "write `-> {T}`, or `-> Result<{T}, E>` with an error that implements `Display`"
)]
pub trait Answer<T> {
    /// The answer as it crosses.
    ///
    /// # Errors
    ///
    /// What the author's function returned as an error, as text.
    fn answer(self) -> Result<T, TapError>;
}

macro_rules! plain {
    ($($type:ty),*) => {
        $(impl Answer<Self> for $type {
            fn answer(self) -> Result<Self, TapError> {
                Ok(self)
            }
        })*
    };
}

plain!((), Access, RenderElement);

impl<T, E: Display> Answer<T> for Result<T, E> {
    fn answer(self) -> Result<T, TapError> {
        self.map_err(|error| TapError { message: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_answers_and_results_are_answers() {
        assert_eq!(Access::Deny.answer(), Ok(Access::Deny));
        assert_eq!(Ok::<_, String>(Access::Allow).answer(), Ok(Access::Allow));
        let failed = Err::<Access, _>("no date").answer();
        assert_eq!(failed, Err(TapError { message: "no date".to_owned() }));
    }
}
