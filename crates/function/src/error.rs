//! What goes wrong, and whose fault it is.

use std::{io, path::PathBuf};

use tapline_host_core::{Fault, LoadError, Party, escape};

use crate::{benchmark::MIN_ITERATIONS, sandbox::SyscallPattern};

/// Why a module is not loaded, or a function not called, or without an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file has more bytes than a module may have.
    #[error("{} has more than {limit} bytes", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// How many it may have.
        limit: u64,
    },
    /// The hash that the bytes were to have is none.
    #[error("`{}` is no SHA-256: that has 64 hexadecimal digits", escape(given))]
    BadHash {
        /// What was given, at most 100 bytes.
        given: String,
    },
    /// The bytes have another hash than they were to have.
    #[error("`{module}` has the SHA-256 {found}, not {expected}")]
    OtherHash {
        /// The module.
        module: String,
        /// What was given.
        expected: String,
        /// What the bytes have.
        found: String,
    },
    /// The bytes are a core module that cannot be run.
    #[error("`{module}` cannot be run")]
    CoreModule {
        /// The module.
        module: String,
        /// Why.
        source: tapline_componentize::Error,
    },
    /// A core module imports what its sandbox does not allow.
    #[error("`{module}`: disallowed import: {}{}", functions.join(", "), why(denied_by.as_ref()))]
    Disallowed {
        /// The module.
        module: String,
        /// The functions of WASI preview 1.
        functions: Vec<String>,
        /// The pattern that denies it. None: they are not on the list of allowed ones.
        denied_by: Option<SyscallPattern>,
    },
    /// A core module imports WASI, and its sandbox has none.
    #[error("`{module}`: disallowed import: {}: WASI is off", functions.join(", "))]
    WasiOff {
        /// The module.
        module: String,
        /// The functions that it imports.
        functions: Vec<String>,
    },
    /// A setting is impossible.
    #[error("the setting `{setting}` is refused: {message}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// Why.
        message: String,
    },
    /// The host refuses the module.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What was written is no call.
    #[error("this is no call such as `fibonacci(10)`: {message}, at byte {position}")]
    BadCall {
        /// Where it goes wrong, in bytes from 0.
        position: usize,
        /// How.
        message: String,
    },
    /// The module has no function of this name.
    #[error("`{module}` has no function `{}`", escape(name))]
    UnknownFunction {
        /// The module.
        module: String,
        /// The name, at most 100 bytes.
        name: String,
        /// The functions with the nearest names, with their signatures; the nearest first.
        nearest: Vec<String>,
        /// How many it has.
        functions: usize,
    },
    /// Several interfaces of the module have a function of this name.
    #[error("`{module}` has several functions `{}`", escape(name))]
    AmbiguousFunction {
        /// The module.
        module: String,
        /// The name without its interface.
        name: String,
        /// Their full names.
        functions: Vec<String>,
    },
    /// The arguments do not fit the function.
    #[error("the arguments do not fit `{signature}`: {message}")]
    Arguments {
        /// The function with what it takes and returns.
        signature: String,
        /// What is wrong.
        message: String,
    },
    /// The function cannot be called in this way.
    #[error("`{}` of `{module}` cannot be called: {reason}", escape(function))]
    Unsupported {
        /// The module.
        module: String,
        /// The function.
        function: String,
        /// Why.
        reason: String,
    },
    /// The call has no answer.
    #[error("`{}` of `{module}`: {fault}", escape(function))]
    Call {
        /// The module.
        module: String,
        /// The function.
        function: String,
        /// What ended it.
        fault: Fault,
    },
    /// Too few iterations for percentiles that mean something.
    #[error("{iterations} iterations are too few, a benchmark has at least {MIN_ITERATIONS}")]
    TooFewIterations {
        /// How many were asked for.
        iterations: u32,
    },
    /// The host's own failure: a thread that ended.
    #[error("the host failed")]
    Host(#[source] tokio::task::JoinError),
}

fn why(denied_by: Option<&SyscallPattern>) -> String {
    denied_by.map_or_else(
        || ": not on the list of allowed functions".to_owned(),
        |pattern| match pattern.is_default() {
            true => " is denied by default".to_owned(),
            false => format!(" is denied by `{pattern}`"),
        },
    )
}

impl Error {
    /// Who has to act.
    #[must_use]
    pub fn party(&self) -> Party {
        match self {
            Self::Load(error) => error.party(),
            Self::Call { fault, .. } => fault.party(),
            Self::CoreModule { .. } => Party::Guest,
            Self::Host(_) => Party::Host,
            _ => Party::Operator,
        }
    }

    /// What to do, in one sentence, where there is something to do. It speaks of the fields of
    /// [`Sandbox`](crate::Sandbox); a program with flags of its own says it with those.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::CoreModule { source, .. } => {
                return match source {
                    tapline_componentize::Error::NotWasm => Some("give a .wasm file".to_owned()),
                    tapline_componentize::Error::Malformed { .. } => Some(
                        "build it again and copy the whole file; threads and 64-bit memory are not supported"
                            .to_owned(),
                    ),
                    source => source.hint().map(str::to_owned),
                };
            }
            Self::UnknownFunction { nearest, .. } if nearest.len() == 1 => format!("did you mean `{}`?", nearest[0]),
            Self::UnknownFunction { nearest, .. } => format!("the nearest are `{}`", nearest.join("`, `")),
            Self::AmbiguousFunction { functions, .. } => format!("name one in full: `{}`", functions.join("`, `")),
            Self::Load(LoadError::NotGranted { grant, .. }) => format!("if you trust it with that, grant `{grant}`"),
            Self::Load(LoadError::Disallowed { function, .. }) => {
                format!("if you trust it with `{function}`, change the allowed and denied functions")
            }
            Self::Load(LoadError::TooLarge { .. }) => "raise the limit, if you trust it with that much".to_owned(),
            Self::Load(LoadError::NotWasm { .. }) => "give a .wasm file".to_owned(),
            Self::Load(LoadError::Invalid { .. }) => "build it again, and copy the whole file".to_owned(),
            Self::Load(LoadError::UnknownImport { .. } | LoadError::Engine { .. }) => return None,
            Self::Load(error) => return error.hint(),
            Self::FileTooLarge { .. } => "raise `max_component_bytes`, if you trust it with that much".to_owned(),
            Self::Disallowed { denied_by: Some(pattern), .. } => format!("take `{pattern}` from the denied functions"),
            Self::Disallowed { functions, .. } => format!("if you trust it with them, allow {}", functions.join(",")),
            Self::Call { fault: Fault::TimedOut { .. }, .. } => "raise `max_execution_time_ms`".to_owned(),
            Self::Call { fault: Fault::OutOfFuel { .. }, .. } => "raise the fuel".to_owned(),
            Self::Call { fault: Fault::OutOfMemory(refusal), .. } => match refusal.kind {
                tapline_host_core::limits::RefusalKind::TableElements => "raise `max_table_elements`".to_owned(),
                _ => "raise `max_memory_bytes`".to_owned(),
            },
            Self::Call { fault: Fault::StackOverflow { .. }, .. } => "raise `max_stack_size_bytes`".to_owned(),
            Self::Call { fault, .. } => return fault.hint().map(str::to_owned),
            _ => return None,
        })
    }
}
