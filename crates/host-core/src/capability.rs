//! What a host offers to plugins.

use std::{any::Any, sync::Arc};

use wasmtime::component::Linker;

use crate::state::CallState;

/// The value that an operator gave to a grant, as in `grants = { database = "read" }`.
pub type GrantValue = serde_json::Value;

/// What a capability makes of a grant: kept with the plugin, and handed back by [`CallState::grant`].
pub type Granted = Arc<dyn Any + Send + Sync>;

/// A group of host functions that an operator grants by one name.
///
/// `link` runs once for each engine, `grant` once for each plugin that is loaded; neither runs during a call. The
/// host functions run on a fiber of the calling task: one that waits must be async (`func_wrap_async`), one that
/// blocks its thread starves every plugin on it.
///
/// A host function finds what it needs in [`CallState`]. It returns an error only to end the call: what the guest can
/// deal with is part of its WIT result. A failure that is not the guest's is a
/// [`HostFault`](crate::HostFault).
pub trait Capability: Send + Sync + 'static {
    /// The name of the grant. `None`: the functions carry no authority, and every plugin gets them.
    fn grant_name(&self) -> Option<&'static str>;

    /// A value that the grant takes, as TOML, for the hint of a refusal. For example `"read"` with its quotes.
    fn grant_example(&self) -> &'static str {
        "true"
    }

    /// The WIT interfaces that it offers, with versions, for example `tapline:host/database@0.1.0`.
    fn interfaces(&self) -> &'static [&'static str];

    /// Adds the functions of all its interfaces.
    ///
    /// # Errors
    ///
    /// What the linker says: a name that is defined twice.
    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()>;

    /// Checks the operator's value for `plugin` and returns what the functions will need during its calls.
    ///
    /// # Errors
    ///
    /// The value is not one that this capability takes; the text says what it takes instead.
    fn grant(&self, plugin: &str, value: &GrantValue) -> Result<Granted, String> {
        let _ = plugin;
        match value {
            GrantValue::Bool(true) => Ok(Arc::new(())),
            _ => Err(format!("it takes `true`, not {value}")),
        }
    }
}
