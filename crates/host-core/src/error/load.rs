//! Why a plugin is not loaded.

use std::{io, path::PathBuf, time::Duration};

use tapline_cache::CacheError;
use tapline_metrics::{CompilationRefused, LoadRefused};
use tapline_tap_dispatch::{OrderError, PluginName, TapName};

use super::{CallError, Fault, Party};
use crate::functions::FunctionPattern;

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
    /// The component is loaded for its functions, and exports none.
    #[error("plugin `{plugin}` exports no function; it exports {}", list(exports))]
    NoFunction {
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
    /// The component wants a function that the operator's patterns do not let it have.
    #[error("plugin `{plugin}`: disallowed import: {function} {}", why_disallowed(denied_by.as_ref()))]
    Disallowed {
        /// The plugin's name.
        plugin: PluginName,
        /// The function's full name, as in [`Manifest::imported_functions`](crate::Manifest::imported_functions).
        function: String,
        /// The pattern that denies it. None: there is a list of allowed functions, and it is not on it.
        denied_by: Option<FunctionPattern>,
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
    /// The configuration gives the plugin a place in a tap that this host does not have.
    #[error("plugin `{plugin}`: `order` speaks of the tap `{tap}`, and this host has none of that name")]
    UnknownTap {
        /// The plugin's name.
        plugin: PluginName,
        /// The name in the configuration.
        tap: String,
        /// The taps of this host.
        known: Vec<String>,
    },
    /// The configuration gives the plugin a place in a tap that it does not implement.
    #[error("plugin `{plugin}`: `order` speaks of the tap `{tap}`, which the plugin does not implement")]
    OrderOfOtherTap {
        /// The plugin's name.
        plugin: PluginName,
        /// The name in the configuration.
        tap: String,
        /// The taps that it implements.
        implemented: Vec<String>,
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
    /// The configuration grants what this host lets no plugin have.
    #[error("plugin `{plugin}`: the grant `{grant}` is refused: `{setting}` is switched off for the whole host")]
    AccessOff {
        /// The plugin's name.
        plugin: PluginName,
        /// The name of the grant.
        grant: &'static str,
        /// The setting that switches it off.
        setting: &'static str,
    },
    /// A plugin of this name is loaded already.
    #[error("two plugins are called `{plugin}`")]
    Duplicate {
        /// The name.
        plugin: PluginName,
    },
    /// No plugin of this name is loaded that could be replaced.
    #[error("no plugin is called `{plugin}`, so there is none to replace")]
    NotLoaded {
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
    /// Compiling the plugin takes longer than it may.
    #[error("plugin `{plugin}` was not compiled within {limit:?}")]
    CompileTimedOut {
        /// The plugin's name.
        plugin: PluginName,
        /// The time that it had.
        limit: Duration,
    },
    /// Compiling the plugin takes more memory than the worker may have.
    #[error("compiling plugin `{plugin}` takes more than {limit} bytes of memory")]
    CompileOutOfMemory {
        /// The plugin's name.
        plugin: PluginName,
        /// The bytes that the worker had.
        limit: u64,
    },
    /// As many plugins as may be compiled at once were being compiled, and none was done in time.
    #[error("plugin `{plugin}` is not compiled: {running} others were, and none was done within {waited:?}")]
    CompilersBusy {
        /// The plugin's name.
        plugin: PluginName,
        /// How many may be compiled at once.
        running: usize,
        /// How long this one waited.
        waited: Duration,
    },
    /// The plugin's file is another one than when it was loaded, and what was compiled from that one is gone.
    #[error("plugin `{plugin}`: its file has changed since it was loaded")]
    Changed {
        /// The plugin's name.
        plugin: PluginName,
    },
    /// The plugin's code was to be loaded from the directory for compiled code.
    #[error("plugin `{plugin}`: its code is not loaded from disk: {why}")]
    NotOnDisk {
        /// The plugin's name.
        plugin: PluginName,
        /// Why.
        #[source]
        why: NotOnDisk,
    },
    /// The plugin uses instructions that are switched off for this host.
    #[error("plugin `{plugin}` uses {feature}, which is switched off")]
    FeatureOff {
        /// The plugin's name.
        plugin: PluginName,
        /// What it uses, for example `SIMD`.
        feature: &'static str,
        /// The setting that switches it off.
        setting: &'static str,
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
    /// A setting of the plugin is impossible.
    #[error("plugin `{plugin}`: the setting `{setting}` is refused: {message}")]
    Setting {
        /// The plugin's name.
        plugin: PluginName,
        /// Which, as it is called in a configuration file.
        setting: &'static str,
        /// Why.
        message: String,
    },
    /// The plugin is to be reused, and this host reuses none.
    #[error("plugin `{plugin}`: its instances are to be reused, which is switched off")]
    ReuseOff {
        /// The plugin's name.
        plugin: PluginName,
    },
    /// The plugin is to be reused, and what it is granted would let one call see what another saw of users.
    #[error(
        "plugin `{plugin}`: its instances are to be reused, and the grant `{grant}` shows it what belongs to users"
    )]
    ReuseWithUserData {
        /// The plugin's name.
        plugin: PluginName,
        /// The grant.
        grant: &'static str,
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

/// Why code is not loaded from the directory for compiled code.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotOnDisk {
    /// The host has no such directory.
    #[error("there is no directory for compiled code")]
    NoDirectory,
    /// The directory cannot be used.
    #[error("the directory for compiled code cannot be used")]
    Unusable(#[source] CacheError),
    /// The directory has no such file: it could not be written, or has made room for others.
    #[error("the directory for compiled code has no file of it")]
    Gone,
    /// Somebody else has loaded it meanwhile.
    #[error("it is in memory again, because somebody else loaded it")]
    InMemory,
    /// The file was refused, as one that is damaged is, and the plugin was compiled anew.
    #[error("its file was refused, and it was compiled anew")]
    Refused,
}

impl LoadError {
    /// Who has to act.
    #[must_use]
    pub fn party(&self) -> Party {
        match self {
            Self::NoTap { .. }
            | Self::NoFunction { .. }
            | Self::TapTwice { .. }
            | Self::Metadata { .. }
            | Self::Signature { .. } => Party::Guest,
            // The pool may have been full, or the host about to stop.
            Self::Probe { source, .. } => source.fault.party(),
            Self::Compile { source, .. } if source.fault() == tapline_cache::Fault::Guest => Party::Guest,
            _ => Party::Operator,
        }
    }

    /// Whether it says nothing about the plugin or its code, but that the host or its machine had too much to do: there was no slot
    /// in which it could be tried, no place to compile it, no file descriptor, no memory, no process to be had. To load it again later
    /// may be all that it takes.
    #[must_use]
    pub fn is_of_the_moment(&self) -> bool {
        match self {
            Self::Probe { source, .. } => matches!(source.fault, Fault::Overloaded { .. } | Fault::ShuttingDown),
            Self::CompilersBusy { .. } => true,
            Self::Read { source, .. } => is_scarcity(source),
            Self::Compile { source: CacheError::NoWorker { source, .. }, .. } => is_scarcity(source),
            _ => false,
        }
    }

    /// Why, for the metrics.
    pub(crate) fn reason(&self) -> LoadRefused {
        match self {
            Self::CompilersBusy { .. } => LoadRefused::Busy,
            Self::Probe { .. } if self.is_of_the_moment() => LoadRefused::Busy,
            Self::Read { .. } | Self::Changed { .. } | Self::NotOnDisk { .. } => LoadRefused::Read,
            Self::NotWasm { .. } | Self::CoreModule { .. } | Self::Invalid { .. } | Self::Metadata { .. } => {
                LoadRefused::Invalid
            }
            Self::UnknownImport { .. } => LoadRefused::Import,
            Self::NotGranted { .. } | Self::Disallowed { .. } => LoadRefused::NotGranted,
            Self::UnknownGrant { .. } | Self::BadGrant { .. } | Self::AccessOff { .. } => LoadRefused::Grant,
            Self::NoTap { .. } | Self::NoFunction { .. } | Self::TapTwice { .. } | Self::Signature { .. } => {
                LoadRefused::Export
            }
            Self::CompileTimedOut { .. } | Self::CompileOutOfMemory { .. } => LoadRefused::CompileLimit,
            Self::TooLarge { .. } => LoadRefused::TooLarge,
            Self::Compile { .. } | Self::FeatureOff { .. } => LoadRefused::Compile,
            Self::Probe { .. } => LoadRefused::Start,
            Self::Order(_) | Self::UnknownTap { .. } | Self::OrderOfOtherTap { .. } => LoadRefused::Order,
            Self::HostWide { .. }
            | Self::Setting { .. }
            | Self::ReuseOff { .. }
            | Self::ReuseWithUserData { .. }
            | Self::Limits { .. } => LoadRefused::Setting,
            Self::Duplicate { .. } | Self::NotLoaded { .. } => LoadRefused::Name,
            Self::Engine { .. } => LoadRefused::Engine,
        }
    }

    /// The limit of compilation that the plugin ran into, for the metrics.
    pub(crate) fn compilation_refused(&self) -> Option<CompilationRefused> {
        Some(match self {
            Self::TooLarge { what: "bytes" | "bytes in one function", .. } => CompilationRefused::Size,
            Self::CompileTimedOut { .. } => CompilationRefused::Time,
            Self::CompileOutOfMemory { .. } => CompilationRefused::Memory,
            Self::CompilersBusy { .. } => CompilationRefused::Busy,
            _ => return None,
        })
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
                    "if you trust the plugin with it, add under [plugins.{plugin}] in tapline.toml: \
                     grants = {{ {grant} = {example} }}"
                )
            }
            Self::UnknownGrant { grant: name, known, .. } | Self::UnknownTap { tap: name, known, .. } => {
                return nearest(name, known).map(|near| format!("did you mean `{near}`?")).or_else(|| match self {
                    // The error itself lists the grants.
                    Self::UnknownTap { .. } => Some(format!("this host has {}", list(known))),
                    _ => None,
                });
            }
            Self::OrderOfOtherTap { implemented, .. } => {
                format!("take it out; the plugin implements {}", list(implemented))
            }
            Self::Disallowed { plugin, function, denied_by: None } => {
                format!(
                    "if you trust the plugin with it, add \"{function}\" to `allow_functions` under [plugins.{plugin}]"
                )
            }
            Self::Disallowed { plugin, .. } => {
                format!("change `deny_functions` under [plugins.{plugin}], or run it without the plugin")
            }
            Self::HostWide { setting, .. } => {
                format!("take `{setting}` out of the plugin's limits, or set it under [host.limits]")
            }
            Self::Duplicate { .. } => "give one of them another name in tapline.toml".to_owned(),
            Self::NotLoaded { .. } => "load it instead; the names are those of the configuration".to_owned(),
            Self::ReuseOff { plugin } => {
                format!("take [plugins.{plugin}.reuse] out of tapline.toml, or set `enable_reuse` under [host]")
            }
            Self::ReuseWithUserData { plugin, .. } => format!(
                "take [plugins.{plugin}.reuse] out of tapline.toml; `with_user_data = true` in it accepts that one call may \
                 see what another saw"
            ),
            Self::TooLarge { what: "tables" | "memories" | "nested components", .. } => {
                "build the plugin as one module: a slot of the pool has room for no more".to_owned()
            }
            Self::CompileTimedOut { .. } => {
                "raise `timeout_ms` under [host.compilation], if you trust the plugin with that much; a build with \
                 optimisation is smaller"
                    .to_owned()
            }
            Self::CompileOutOfMemory { .. } => {
                "raise `max_memory_bytes` under [host.compilation], if you trust the plugin with that much".to_owned()
            }
            Self::CompilersBusy { .. } => {
                "load it again later, or compile in workers, which end in time: `worker` under [host.compilation]"
                    .to_owned()
            }
            Self::NotOnDisk { why: NotOnDisk::NoDirectory, .. } => {
                "give the host one: `directory` under [cache]".to_owned()
            }
            Self::NotOnDisk { why: NotOnDisk::Unusable(reason), .. } => return reason.hint().map(str::to_owned),
            Self::NotOnDisk { why: NotOnDisk::InMemory, .. } => "load it while nobody else does".to_owned(),
            Self::NotOnDisk { .. } => {
                "see in the log why it was not kept, and how much the directory may have".to_owned()
            }
            Self::Changed { .. } => "load it again, and have its new file checked like that of any other".to_owned(),
            Self::FeatureOff { setting, .. } => {
                format!("set `{setting}` to true under [host], or build the plugin without it")
            }
            Self::TooLarge { what: "bytes" | "bytes in one function", .. } => {
                "raise the limit under [host.compilation], if you trust the plugin with that much".to_owned()
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

/// Whether the system has not enough of something: descriptors, memory, processes, or a disk that answers. To try again later may
/// be all that it takes.
#[must_use]
pub fn is_scarcity(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let scarce = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::IO, Errno::NOBUFS];
    Errno::from_io_error(error).is_some_and(|error| scarce.contains(&error))
}

fn why_disallowed(denied_by: Option<&FunctionPattern>) -> String {
    denied_by.map_or_else(
        || "is not on the list of allowed functions".to_owned(),
        |pattern| format!("is denied by `{pattern}`"),
    )
}

/// The known name that was probably meant.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    // The distance is quadratic in the length; what is longer than this resembles no name of ours.
    let name = (name.len() <= 64).then_some(name)?;
    let distances = known.iter().map(|near| (strsim::damerau_levenshtein(name, near), near.as_str()));
    distances.min().filter(|(distance, near)| *distance <= near.len().max(name.len()) / 2).map(|(_, near)| near)
}

/// The first of them: how many there are may be a guest's choice.
fn list(items: &[String]) -> String {
    const SHOWN: usize = 20;
    match items {
        [] => "nothing".to_owned(),
        items if items.len() <= SHOWN => format!("`{}`", items.join("`, `")),
        items => format!("`{}` and {} more", items[..SHOWN].join("`, `"), items.len() - SHOWN),
    }
}
