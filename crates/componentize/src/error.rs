//! What can be wrong with a module, in the words of the person who built it.

use std::error::Error as StdError;

/// Why a module does not become a component.
///
/// The plugin's author is at fault in all of these, except [`Error::Trim`] and [`Error::Adapter`], which are mistakes
/// of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not begin as WebAssembly does.
    #[error("not a WebAssembly file")]
    NotWasm,
    /// The bytes are a component: there is nothing left to do.
    #[error("already a component, a core module is needed")]
    AlreadyComponent,
    /// The module is cut off or otherwise not valid.
    #[error("not a valid WebAssembly module")]
    Malformed {
        /// Where, and what was expected there.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Nothing in the module describes an export: a crate without `#[tap]`, or one that is not a `cdylib`.
    #[error("exports no tap")]
    NoTap,
    /// The module exports no function that can be called from outside.
    #[error("exports no function that can be called{}", first(left_out))]
    NoFunction {
        /// Those that it exports, and why they cannot be.
        left_out: Vec<(String, &'static str)>,
    },
    /// The module exports more than anybody needs.
    #[error("exports {exports} things, {max} are allowed")]
    TooManyExports {
        /// How many.
        exports: u32,
        /// How many there may be.
        max: usize,
    },
    /// The module imports something that neither the contract nor preview 1 of WASI has.
    #[error("imports `{}` from `{}`, which no host offers", shown(name), shown(module))]
    UnknownImport {
        /// The module of the import.
        module: String,
        /// The name within it.
        name: String,
    },
    /// The module imports a function of preview 1 that the adapter does not know.
    #[error("imports the WASI function `{}`, which the adapter does not have", shown(name))]
    UnknownWasi {
        /// The name of the function.
        name: String,
    },
    /// The module's exports and imports do not fit the contract that it carries.
    #[error("the module does not fit the interfaces that it declares")]
    Encode {
        /// What does not fit.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Leaving out what the module never runs went wrong.
    #[error("cannot trim the module")]
    Trim {
        /// At what.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The adapter or its interface does not build.
    #[error("the sealed adapter of this tool is broken")]
    Adapter {
        /// What is wrong with it.
        source: Box<dyn StdError + Send + Sync>,
    },
}

/// One of the functions that cannot be called, as an example.
fn first(left_out: &[(String, &'static str)]) -> String {
    left_out.first().map_or_else(String::new, |(name, reason)| format!(": `{}`, because {reason}", shown(name)))
}

/// The longest text of a module's author, in bytes, that is repeated.
const MAX_SHOWN: usize = 1000;

/// What a module says, for a terminal: short, and without what could move its cursor or begin a line.
fn shown(text: &str) -> String {
    let short = &text[..text.floor_char_boundary(MAX_SHOWN)];
    let mut shown = String::with_capacity(short.len());
    for character in short.chars() {
        if character.is_control() { shown.extend(character.escape_default()) } else { shown.push(character) }
    }
    if short.len() < text.len() {
        shown.push('…');
    }
    shown
}

impl Error {
    pub(crate) fn malformed(source: wasmparser::BinaryReaderError) -> Self {
        Self::Malformed { source: shown(&source.to_string()).into() }
    }

    pub(crate) fn encode(source: anyhow::Error) -> Self {
        Self::Encode { source: shown(&format!("{source:#}")).into() }
    }

    /// What to do about it, for the author of the plugin. None where the message says everything.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotWasm => "give the .wasm file that `cargo build --target wasm32-wasip1` wrote",
            Self::AlreadyComponent => "use the file as it is",
            Self::Malformed { .. } => "build the plugin again; the file may have been cut off",
            Self::NoTap => {
                "does the crate use #[tap], and was it built as a `cdylib`, as `cargo xtask build-plugins` does?"
            }
            Self::NoFunction { .. } => "export a function with numbers as parameters and at most one as its result",
            Self::TooManyExports { .. } => "export the functions that are called, and no others",
            Self::UnknownImport { .. } => {
                "an `extern` block or a C library of the plugin declares it; link the code into the plugin instead"
            }
            Self::UnknownWasi { .. } => {
                "the function is not part of WASI preview 1; build with Rust's own wasm32-wasip1"
            }
            Self::Encode { .. } => "build the plugin with the version of tapline-sdk that belongs to this tool",
            Self::Trim { .. } => "convert it with --no-trim, and report the module",
            Self::Adapter { .. } => return None,
        })
    }
}
