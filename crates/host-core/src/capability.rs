//! What a host offers to plugins.

use std::{any::Any, sync::Arc};

use wasmtime::component::Linker;

use crate::state::CallState;

/// The value that an operator gave to a grant, as in `grants = { database = "read" }`.
pub type GrantValue = serde_json::Value;

/// What a capability makes of a grant: kept with the plugin, and handed back by [`CallState::grant`].
pub type Granted = Arc<dyn Any + Send + Sync>;

/// What a capability lets a plugin reach outside of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reach {
    /// Other machines.
    Network,
    /// Files.
    Files,
}

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

    /// Whether a plugin with this grant sees what belongs to users: rows, files, requests. Such a plugin is not
    /// [reused](crate::Reuse), because a call would find what an earlier one has seen, unless the operator insists.
    /// Defaults to yes. A capability that answers no hands out nothing that differs from call to call.
    fn carries_user_data(&self) -> bool {
        true
    }

    /// What it lets a plugin reach outside of the host that is granted `value`. A host that
    /// [allows no such thing](crate::HostConfig::network_access) refuses the grant. Defaults to nothing: whoever writes a
    /// capability that opens files or connections says so here.
    fn reaches(&self, value: &GrantValue) -> Option<Reach> {
        let _ = value;
        None
    }

    /// The WIT interfaces that it offers, with versions, for example `tapline:host/database@0.1.0`.
    fn interfaces(&self) -> &'static [&'static str];

    /// Whether one of its interfaces is what a plugin asks for: the same, or a version of it that may only have added
    /// something since. A function that is missing all the same makes the load fail.
    fn offers(&self, interface: &str) -> bool {
        self.interfaces().iter().any(|offered| serves(offered, interface))
    }

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

/// Whether an interface that a host offers is the one that a plugin asks for. As the linker sees it, a version fits those
/// that may only add to it: with `0.2.12` come `0.2.0` and its like.
fn serves(offered: &str, wanted: &str) -> bool {
    fn family(interface: &str) -> (&str, Option<&str>) {
        let Some((name, version)) = interface.split_once('@') else { return (interface, None) };
        if version.contains(['-', '+']) {
            return (name, Some(version));
        }
        let mut parts = version.splitn(3, '.');
        let length = match (parts.next(), parts.next()) {
            (Some("0"), Some("0")) | (_, None) => version.len(),
            (Some("0"), Some(minor)) => 2 + minor.len(),
            (Some(major), _) => major.len(),
            (None, _) => 0,
        };
        (name, version.get(..length))
    }
    offered == wanted || (family(offered) == family(wanted) && family(offered).1.is_some())
}

#[cfg(test)]
mod tests {
    use super::serves;

    #[test]
    fn versions_that_may_only_add_serve_each_other() {
        for (offered, wanted, expected) in [
            ("wasi:io/poll@0.2.12", "wasi:io/poll@0.2.12", true),
            ("wasi:io/poll@0.2.12", "wasi:io/poll@0.2.0", true),
            ("wasi:io/poll@0.2.12", "wasi:io/poll@0.3.0", false),
            ("wasi:io/poll@0.2.12", "wasi:io/poll@0.20.0", false),
            ("wasi:io/poll@0.2.12", "wasi:io/streams@0.2.12", false),
            ("a:b/c@1.2.0", "a:b/c@1.0.0", true),
            ("a:b/c@1.2.0", "a:b/c@2.0.0", false),
            ("a:b/c@1.2.0", "a:b/c@10.2.0", false),
            ("a:b/c@0.0.1", "a:b/c@0.0.2", false),
            ("a:b/c@0.2.0-rc", "a:b/c@0.2.0", false),
            ("a:b/c@0.2.0", "a:b/c", false),
            ("a:b/c", "a:b/c", true),
        ] {
            assert_eq!(serves(offered, wanted), expected, "{offered} {wanted}");
        }
    }
}
