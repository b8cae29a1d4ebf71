//! Errors of the engine, which repeat names out of a guest's file.

use std::{borrow::Cow, fmt::Display, sync::Arc};

use tapline_cache::CacheError;

use crate::{
    diagnostics::MAX_MESSAGE,
    error::LoadError,
    text::{causes, cut, cut_display, escape},
};

impl LoadError {
    /// The same error, short, and without what could pass for a line of somebody else. A name in a file may be 100 000 bytes
    /// long and hold what a terminal obeys.
    pub(crate) fn made_readable(self) -> Self {
        match self {
            Self::Invalid { plugin, offset, message } => Self::Invalid { plugin, offset, message: readable(&message) },
            Self::Metadata { plugin, line, message } => Self::Metadata { plugin, line, message: readable(&message) },
            Self::Engine { plugin, source } => Self::Engine { plugin, source: readable_error(source) },
            Self::Signature { plugin, interface, source } => {
                Self::Signature { plugin, interface, source: readable_error(source) }
            }
            Self::Compile { plugin, source: CacheError::Compile { name, source } } => {
                let source = match changed(&causes(&*source).join(": ")) {
                    Some(text) => Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(text)),
                    None => source,
                };
                Self::Compile { plugin, source: CacheError::Compile { name, source } }
            }
            other => other,
        }
    }
}

/// What the engine says, for an error that keeps it as text.
pub(crate) fn readable(error: &dyn Display) -> String {
    escape(&cut_display(error, MAX_MESSAGE)).into_owned()
}

fn readable_error(error: wasmtime::Error) -> wasmtime::Error {
    // One byte more than is kept tells whether there is more.
    match changed(&cut_display(&error, MAX_MESSAGE + 1)) {
        Some(text) => wasmtime::Error::msg(text),
        None => error,
    }
}

/// The readable text, when it is another one. An error that is harmless keeps its type.
fn changed(text: &str) -> Option<String> {
    match escape(cut(text, MAX_MESSAGE)) {
        Cow::Borrowed(same) if same.len() == text.len() => None,
        safe => Some(safe.into_owned()),
    }
}
