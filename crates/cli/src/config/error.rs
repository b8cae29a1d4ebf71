//! What is wrong with a configuration.

use std::path::PathBuf;

use tapline_host_core::{NameError, PluginName, limits::LimitsError};

use super::setting::Setting;

/// The configuration cannot be used. The operator has to act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// Nothing has this key.
    #[error("{}:{line}: nothing is called `{key}`", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key with the tables that it is in.
        key: String,
        /// The key that was probably meant.
        nearest: Option<String>,
        /// The keys that its table takes.
        known: Vec<String>,
    },
    /// The value of a key cannot be used.
    #[error("{}:{line}: `{key}`: {message}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key with the tables that it is in.
        key: String,
        /// What is wrong with its value.
        message: String,
    },
    /// No variable of ours has this name.
    #[error("no variable is called `{name}`")]
    UnknownVariable {
        /// The name.
        name: String,
        /// The variable that was probably meant.
        nearest: Option<&'static str>,
        /// The variables that there are.
        known: &'static [&'static str],
    },
    /// The value of a variable cannot be used.
    #[error("`{name}` is `{value}`, not {expected}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// Two variables say different things.
    #[error(
        "`TAPLINE_WASM_MEMORY_LIMIT_MB` says {bytes} bytes and `TAPLINE_WASM_MEMORY_LIMIT_PAGES` says {bytes_of_pages}"
    )]
    Unequal {
        /// What the one says.
        bytes: u64,
        /// What the other says.
        bytes_of_pages: u64,
    },
    /// Two settings that cannot hold together.
    #[error("{one} contradicts {other}")]
    Contradiction {
        /// The one, with where it comes from.
        one: Box<Setting>,
        /// The other.
        other: Box<Setting>,
        /// What to do.
        hint: &'static str,
    },
    /// A setting that cannot hold, whoever gave it.
    #[error("{setting} is refused: {message}")]
    Refused {
        /// The setting, with where it comes from.
        setting: Box<Setting>,
        /// Why.
        message: String,
    },
    /// The plugin directory cannot be read.
    #[error("cannot read the plugin directory {}", path.display())]
    PluginDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the plugin directory has a name that no plugin can have.
    #[error("{}", path.display())]
    PluginFileName {
        /// The file.
        path: PathBuf,
        /// Why.
        source: NameError,
    },
    /// A file of the plugin directory is not taken as a plugin.
    #[error("{}: {message}", path.display())]
    PluginFile {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// A plugin has a path, and another file in the plugin directory has its name.
    #[error("plugin `{plugin}` is {} by its `path`, and {} by its name", own.display(), path.display())]
    PluginTwice {
        /// The plugin.
        plugin: PluginName,
        /// What its table says.
        own: PathBuf,
        /// The file in the plugin directory.
        path: PathBuf,
    },
    /// The program cannot start itself as a worker.
    #[error("the system does not say where this program lies")]
    NoProgram(#[source] std::io::Error),
    /// The limits contradict themselves.
    #[error("the limits are refused")]
    Limits(#[source] LimitsError),
}

impl ConfigError {
    /// What to do, in one sentence, where there is something to do.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } => "give its path with --config, or leave it out for the defaults".to_owned(),
            Self::UnknownKey { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
            Self::UnknownKey { known, .. } => format!("known are {}", known.join(", ")),
            Self::Unequal { .. } => "a page has 65536 bytes: give one of the two, or the same to both".to_owned(),
            Self::UnknownVariable { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
            Self::UnknownVariable { known, .. } => format!("known are {}", known.join(", ")),
            Self::Contradiction { hint, .. } => (*hint).to_owned(),
            Self::PluginDirectory { .. } => {
                "make the directory, or take `plugin_directory` out of [host]; nothing but plugins belongs there"
                    .to_owned()
            }
            Self::PluginFileName { source, .. } => format!("rename the file: {}", source.hint()),
            Self::PluginFile { .. } => {
                "copy the file itself to the directory, or name it with `path` in a table of [plugins]".to_owned()
            }
            Self::PluginTwice { plugin, path, .. } => {
                format!("take `path` out of [plugins.{plugin}], or {} out of the directory", path.display())
            }
            Self::NoProgram(_) => "compile in this program: set `worker` to false in [host.compilation]".to_owned(),
            Self::Limits(error) => return error.hint(),
            _ => return None,
        })
    }
}
