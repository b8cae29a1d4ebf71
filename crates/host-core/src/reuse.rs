//! Instances that serve more than one call.

use serde::{Deserialize, Serialize};

use crate::{capability::Capability, config::HostConfig, error::LoadError, plugin::PluginSpec};

/// The most calls that one instance may serve.
pub const MAX_USES: u32 = 1000;

/// Lets the instances of one plugin serve several calls, one after another. Without it each call has a fresh one.
///
/// **It gives isolation up.** What a call leaves in the guest's memory, globals and tables, the next call finds: a plugin can
/// show one visitor what it saw of another, and a call that corrupted its memory harms the next. What still holds: calls at
/// the same time never share an instance, plugins never do, and every call has its own deadline, fuel, output and counters.
///
/// An instance is dropped after [`max_uses`](Self::max_uses) calls, after any call that did not end with an answer, when
/// handles of the host are left over from a call, when it has grown to more than half of its memory, when its plugin is
/// removed, and when another call needs its slot of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Reuse {
    /// Calls that one instance serves, 1 to [`MAX_USES`]. Defaults to [`MAX_USES`].
    pub max_uses: u32,
    /// Whether the plugin may be reused although it has a grant through which it sees what belongs to users; see
    /// [`Capability::carries_user_data`](crate::Capability::carries_user_data). Such a plugin is refused otherwise. Defaults
    /// to no.
    pub with_user_data: bool,
}

impl Default for Reuse {
    fn default() -> Self {
        Self { max_uses: MAX_USES, with_user_data: false }
    }
}

/// Refuses a plugin whose instances must not be reused, or not so often.
pub(crate) fn check(
    config: &HostConfig,
    capabilities: &[Box<dyn Capability>],
    spec: &PluginSpec,
) -> Result<(), LoadError> {
    let Some(reuse) = spec.reuse else { return Ok(()) };
    let plugin = spec.name.clone();
    if !config.enable_reuse {
        return Err(LoadError::ReuseOff { plugin });
    }
    if !(1..=MAX_USES).contains(&reuse.max_uses) {
        let message = format!("an instance serves 1 to {MAX_USES} calls, not {}", reuse.max_uses);
        return Err(LoadError::Setting { plugin, setting: "reuse.max_uses", message });
    }
    let mut with_data = capabilities.iter().filter(|capability| capability.carries_user_data());
    let granted = with_data.find_map(|known| known.grant_name().filter(|grant| spec.grants.contains_key(*grant)));
    match granted {
        Some(grant) if !reuse.with_user_data => Err(LoadError::ReuseWithUserData { plugin, grant }),
        _ => Ok(()),
    }
}
