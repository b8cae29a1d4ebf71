//! What goes wrong, and whose fault it is.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use tapline_tap_dispatch::{OrderError, PluginName, TapName};

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

/// Why a plugin was not loaded. Nothing of it ran, except for [`LoadError::Probe`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    #[error("plugin `{plugin}`: cannot read {}", path.display())]
    Read {
        /// The plugin's name.
        plugin: PluginName,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are not WebAssembly.
    #[error("plugin `{plugin}` is not WebAssembly: it starts with {found:02x?}")]
    NotWasm {
        /// The plugin's name.
        plugin: PluginName,
        /// The first bytes, at most eight.
        found: Vec<u8>,
    },
    /// The file is a core module, not a component.
    #[error("plugin `{plugin}` is a core module, not a component")]
    CoreModule {
        /// The plugin's name.
        plugin: PluginName,
    },
    /// The component is cut off or damaged, or uses a feature that plugins may not use.
    #[error("plugin `{plugin}` is damaged or uses what plugins may not use, at byte {offset:#x}: {message}")]
    Invalid {
        /// The plugin's name.
        plugin: PluginName,
        /// Where validation stopped.
        offset: usize,
        /// What the validator says.
        message: String,
    },
    /// The component exports no tap that this host knows.
    #[error("plugin `{plugin}` exports no tap of this host; it exports {}", list(exports))]
    NoTap {
        /// The plugin's name.
        plugin: PluginName,
        /// What it does export.
        exports: Vec<String>,
    },
    /// The component wants an interface that this host does not have.
    #[error("plugin `{plugin}`: disallowed import: {interface} is not offered by this host")]
    UnknownImport {
        /// The plugin's name.
        plugin: PluginName,
        /// The interface as the plugin names it, with its version.
        interface: String,
        /// The closest interface that the host has, when there is one.
        nearest: Option<String>,
    },
    /// The component wants an interface that the operator has not granted.
    #[error("plugin `{plugin}`: disallowed import: {interface} needs the grant `{grant}`")]
    NotGranted {
        /// The plugin's name.
        plugin: PluginName,
        /// The interface as the plugin names it.
        interface: String,
        /// The name of the grant.
        grant: &'static str,
        /// A value that the grant takes, as TOML.
        example: &'static str,
    },
    /// The configuration grants something that no capability of this host is called.
    #[error("plugin `{plugin}`: no capability is called `{grant}`; this host has {}", list(known))]
    UnknownGrant {
        /// The plugin's name.
        plugin: PluginName,
        /// The name in the configuration.
        grant: String,
        /// The capabilities of this host.
        known: Vec<String>,
    },
    /// The value of a grant is not one that the capability takes.
    #[error("plugin `{plugin}`: the value of the grant `{grant}` is refused: {message}")]
    BadGrant {
        /// The plugin's name.
        plugin: PluginName,
        /// The name of the grant.
        grant: &'static str,
        /// What the capability says.
        message: String,
    },
    /// A plugin of this name is loaded already.
    #[error("two plugins are called `{plugin}`")]
    Duplicate {
        /// The name.
        plugin: PluginName,
    },
    /// The component implements one tap in two ways.
    #[error("plugin `{plugin}` implements the tap `{tap}` twice: `{}` and `{}`", interfaces[0], interfaces[1])]
    TapTwice {
        /// The plugin's name.
        plugin: PluginName,
        /// The tap.
        tap: TapName,
        /// The interfaces.
        interfaces: [&'static str; 2],
    },
    /// The metadata in the custom section `tapline:taps` cannot be read.
    #[error("plugin `{plugin}`: line {line} of its tap metadata cannot be read: {message}")]
    Metadata {
        /// The plugin's name.
        plugin: PluginName,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// The component needs more than its limits or the pool allow.
    #[error("plugin `{plugin}` needs {needs} {what}, {limit} are allowed")]
    TooLarge {
        /// The plugin's name.
        plugin: PluginName,
        /// What there is too much of.
        what: &'static str,
        /// How much it needs.
        needs: u64,
        /// How much it may have.
        limit: u64,
    },
    /// A function has another signature than the tap.
    #[error("plugin `{plugin}`: `{interface}` does not have the signature that this host calls")]
    Signature {
        /// The plugin's name.
        plugin: PluginName,
        /// The interface.
        interface: String,
        /// What differs.
        source: wasmtime::Error,
    },
    /// The engine refuses the component: an import has another type than the host's, or code generation failed.
    #[error("plugin `{plugin}` does not fit this host")]
    Engine {
        /// The plugin's name.
        plugin: PluginName,
        /// What the engine says.
        source: wasmtime::Error,
    },
    /// The plugin could not be compiled.
    #[error("plugin `{plugin}` cannot be compiled")]
    Compile {
        /// The plugin's name.
        plugin: PluginName,
        /// What the compiler says.
        source: tapline_cache::CacheError,
    },
    /// The plugin failed when the host made its first instance.
    #[error("plugin `{plugin}` cannot be instantiated")]
    Probe {
        /// The plugin's name.
        plugin: PluginName,
        /// What happened.
        source: Box<CallError>,
    },
    /// The order of a tap has no solution with this plugin in it.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// A plugin's limits name what the whole host has in common.
    #[error("plugin `{plugin}`: `{setting}` is one for the whole host, {host} here; a plugin cannot have {wished}")]
    HostWide {
        /// The plugin's name.
        plugin: PluginName,
        /// The setting.
        setting: &'static str,
        /// Its value for the host.
        host: u64,
        /// What the plugin's configuration says.
        wished: u64,
    },
    /// The plugin's limits contradict themselves.
    #[error("plugin `{plugin}`: its limits are refused")]
    Limits {
        /// The plugin's name.
        plugin: PluginName,
        /// Why.
        source: tapline_limits::LimitsError,
    },
}

impl LoadError {
    /// Who has to act.
    #[must_use]
    pub fn party(&self) -> Party {
        match self {
            Self::NoTap { .. }
            | Self::TapTwice { .. }
            | Self::Metadata { .. }
            | Self::Signature { .. }
            | Self::Probe { .. } => Party::Guest,
            _ => Party::Operator,
        }
    }

    /// What to do, in one sentence, where there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::CoreModule { .. } => {
                "build it with `cargo xtask build-plugins`, which turns the module into a component".to_owned()
            }
            Self::NotWasm { .. } => "give the path of the `.wasm` file that the plugin's build wrote".to_owned(),
            Self::Invalid { .. } => "build the plugin again, and copy the whole file".to_owned(),
            Self::NoTap { .. } => {
                "put `#[tap]` on a function, or check that plugin and host have the same version of the contract"
                    .to_owned()
            }
            Self::UnknownImport { nearest: Some(nearest), .. } => {
                format!("this host offers `{nearest}`: build the plugin against that version, or use a newer host")
            }
            Self::NotGranted { plugin, grant, example, .. } => {
                format!(
                    "if you trust the plugin with it, add to tapline.toml: [plugins.{plugin}.grants] {grant} = {example}"
                )
            }
            Self::HostWide { setting, .. } => {
                format!("take `{setting}` out of the plugin's limits, or set it under [host.limits]")
            }
            Self::Duplicate { .. } => "give one of them another name in tapline.toml".to_owned(),
            Self::TooLarge { what: "tables" | "memories", .. } => {
                "build the plugin as one module: a slot of the pool has room for no more".to_owned()
            }
            Self::TooLarge { .. } => {
                "raise the limit in tapline.toml, if you trust the plugin with that much".to_owned()
            }
            Self::Signature { .. } | Self::Engine { .. } => {
                "build the plugin against the SDK of this host's version".to_owned()
            }
            _ => return None,
        })
    }
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "nothing".to_owned() } else { format!("`{}`", items.join("`, `")) }
}

/// One handler did not answer: which, and why.
///
/// Cheap to clone: a dispatch hands the same error to the metrics, the log and its caller.
#[derive(Clone, Debug, thiserror::Error)]
#[error("plugin `{plugin}`, tap `{tap}`: {fault}")]
pub struct CallError {
    /// The plugin.
    pub plugin: PluginName,
    /// The tap.
    pub tap: TapName,
    /// What happened.
    pub fault: Fault,
}

/// What ended a call. The variants say who is at fault; see [`Fault::party`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The tap returned an error.
    Returned {
        /// The author's words, at most 4096 bytes.
        message: String,
    },
    /// The tap panicked.
    Panicked(GuestPanic),
    /// The guest did what WebAssembly forbids.
    Trapped {
        /// Which trap.
        trap: wasmtime::Trap,
        /// Where, as far as names are known.
        backtrace: String,
    },
    /// The call did not end before its deadline. The deadline covers guest code, host functions and SQL.
    TimedOut {
        /// The time that it had.
        limit: Duration,
    },
    /// The call used up its fuel.
    OutOfFuel {
        /// The fuel that it had.
        limit: u64,
    },
    /// The guest failed after its memory, a table or another counted thing could not grow.
    OutOfMemory(tapline_limits::Refusal),
    /// The guest's stack ran out.
    StackOverflow {
        /// The stack that it had, in bytes.
        limit: u64,
    },
    /// The answer, or an argument of a host call, breaks the contract.
    BadAnswer {
        /// How.
        reason: String,
    },
    /// A host function failed for a reason that is not the guest's.
    HostFunction {
        /// The capability.
        capability: &'static str,
        /// Why.
        message: String,
    },
    /// The host itself panicked during the call, in a host function or in the check of the answer.
    HostPanicked {
        /// The panic's message.
        message: String,
    },
    /// No instance became free in time, or too many calls were waiting.
    Overloaded {
        /// How long the call waited.
        waited: Duration,
    },
    /// The host is shutting down.
    ShuttingDown,
    /// The engine failed in a way that none of the others describes.
    Engine {
        /// What it says.
        message: String,
    },
}

impl Fault {
    /// Who has to act.
    #[must_use]
    pub fn party(&self) -> Party {
        match self {
            Self::HostFunction { .. } | Self::HostPanicked { .. } | Self::Engine { .. } => Party::Host,
            Self::Overloaded { .. } | Self::ShuttingDown => Party::Operator,
            _ => Party::Guest,
        }
    }

    /// The label of this fault in the metrics.
    #[must_use]
    pub fn outcome(&self) -> tapline_metrics::Outcome {
        use tapline_metrics::Outcome;
        match self {
            Self::Returned { .. } => Outcome::GuestError,
            Self::Panicked(_) => Outcome::Panic,
            Self::Trapped { .. } => Outcome::Trap,
            Self::TimedOut { .. } => Outcome::Timeout,
            Self::OutOfFuel { .. } => Outcome::OutOfFuel,
            Self::OutOfMemory(_) => Outcome::OutOfMemory,
            Self::StackOverflow { .. } => Outcome::StackOverflow,
            Self::BadAnswer { .. } => Outcome::BadAnswer,
            Self::HostFunction { .. } | Self::HostPanicked { .. } | Self::Engine { .. } => Outcome::HostError,
            Self::Overloaded { .. } => Outcome::Overloaded,
            Self::ShuttingDown => Outcome::ShuttingDown,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Returned { message } => write!(f, "returned an error: {message}"),
            Self::Panicked(panic) => write!(f, "panicked: {panic}"),
            Self::Trapped { trap, backtrace } if backtrace.is_empty() => write!(f, "trapped: {trap}"),
            Self::Trapped { trap, backtrace } => write!(f, "trapped: {trap}\n{backtrace}"),
            Self::TimedOut { limit } => write!(f, "did not end within {limit:?}"),
            Self::OutOfFuel { limit } => write!(f, "used up its {limit} units of fuel"),
            Self::OutOfMemory(refusal) => write!(f, "failed after a limit stopped it: {refusal}"),
            Self::StackOverflow { limit } => write!(f, "ran out of its stack of {limit} bytes"),
            Self::BadAnswer { reason } => write!(f, "broke the contract: {reason}"),
            Self::HostFunction { capability, message } => {
                write!(f, "the capability `{capability}` failed: {message}")
            }
            Self::HostPanicked { message } => {
                write!(f, "made the host panic, which is a defect of the host: {message}")
            }
            Self::Overloaded { waited } => write!(f, "the host is overloaded: no instance was free after {waited:?}"),
            Self::ShuttingDown => f.write_str("the host is shutting down"),
            Self::Engine { message } => write!(f, "the engine failed: {message}"),
        }
    }
}

/// What a plugin said about its panic, and where it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestPanic {
    /// The panic's message, at most 4096 bytes.
    pub message: String,
    /// The file, as the compiler named it, at most 512 bytes.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1.
    pub column: u32,
}

impl fmt::Display for GuestPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{}:{})", self.message, self.file, self.line, self.column)
    }
}

/// A capability's own failure, which is not the guest's fault. Host functions return it to end the call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the capability `{capability}` failed: {message}")]
pub struct HostFault {
    /// The capability.
    pub capability: &'static str,
    /// Why.
    pub message: Arc<str>,
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
