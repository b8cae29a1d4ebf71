//! Where the file says what a host refuses.

use tapline_host_core::LoadError;

use super::Config;

impl Config {
    /// The file and the line of what is wrong with a plugin. `None`: it is in none, the plugin itself is at fault.
    pub(crate) fn place_of(&self, error: &LoadError) -> Option<String> {
        let file = self.file.as_ref()?;
        let key = key_of(error)?;
        let mut part = key.as_str();
        let line = loop {
            match self.lines.get(part) {
                Some(line) => break line,
                // What is not given is refused because of what is: it is in the same table.
                None => part = part.rsplit_once('.').map(|(table, _)| table).filter(|table| *table != "plugins")?,
            }
        };
        Some(format!("{}:{line}", file.display()))
    }
}

/// The key that is at fault.
fn key_of(error: &LoadError) -> Option<String> {
    let (plugin, key) = match error {
        LoadError::UnknownGrant { plugin, grant, .. } => (plugin, format!("grants.{grant}")),
        LoadError::BadGrant { plugin, grant, .. } | LoadError::AccessOff { plugin, grant, .. } => {
            (plugin, format!("grants.{grant}"))
        }
        LoadError::UnknownTap { plugin, tap, .. } | LoadError::OrderOfOtherTap { plugin, tap, .. } => {
            (plugin, format!("order.{tap}"))
        }
        LoadError::Setting { plugin, setting, .. } => (plugin, (*setting).to_owned()),
        LoadError::HostWide { plugin, setting, .. } => (plugin, format!("limits.{setting}")),
        LoadError::ReuseOff { plugin } | LoadError::ReuseWithUserData { plugin, .. } => (plugin, "reuse".to_owned()),
        LoadError::Read { plugin, .. } => (plugin, "path".to_owned()),
        _ => return None,
    };
    Some(format!("plugins.{plugin}.{key}"))
}
