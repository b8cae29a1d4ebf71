//! What goes wrong, and whose fault it is.

mod call;
mod load;

pub use self::{
    call::{CallError, Fault, GuestPanic, HostFault},
    load::{LoadError, NotOnDisk, is_scarcity},
};

/// Who has to act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The plugin: its author.
    Guest,
    /// The program that runs plugins, or one of its capabilities.
    Host,
    /// Whoever configured the host: a grant, a file, an order, a size.
    Operator,
}

/// The host could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// A setting is impossible.
    #[error("the setting `{setting}` is refused: {message}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// Why.
        message: String,
    },
    /// Two capabilities offer the same interface, or have the same name.
    #[error("`{name}` is offered twice")]
    OfferedTwice {
        /// The interface, grant or tap.
        name: String,
    },
    /// The engine refuses the settings, or memory for its pool is not to be had.
    #[error("the engine cannot be built")]
    Engine(#[source] wasmtime::Error),
    /// A host function could not be linked.
    #[error("the functions of `{interface}` cannot be linked")]
    Link {
        /// The first interface of the capability.
        interface: &'static str,
        /// Why.
        source: wasmtime::Error,
    },
    /// A name is not one that a plugin or a tap may have.
    #[error(transparent)]
    Name(#[from] tapline_tap_dispatch::NameError),
    /// A tap's failure policy does not fit the way its answers fold.
    #[error(transparent)]
    Contract(#[from] tapline_tap_dispatch::ContractError),
}
