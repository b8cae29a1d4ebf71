//! How a host is set up.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tapline_limits::{Limits, Profile};
use tapline_metrics::Deployment;
use tapline_tap_dispatch::BreakerSettings;

use crate::{capability::Reach, compile::Compilation, error::HostError};

/// Instances that may be alive at the same time.
pub const DEFAULT_POOL_SIZE: u32 = 100;
/// Instances made when a plugin is loaded: the one with which the host sees that it starts.
pub const DEFAULT_INITIAL_POOL_SIZE: u32 = 1;
/// Compiled plugins kept in memory.
pub const DEFAULT_CACHE_SIZE: usize = 1000;
/// Calls that may wait for an instance. One more is refused at once.
pub const DEFAULT_MAX_WAITING: usize = 10_000;
/// How long a call may wait for an instance.
pub const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(5);
/// The share of the pool that one plugin may have, in percent: most of it, and never all.
pub const DEFAULT_PLUGIN_SHARE_PERCENT: u32 = 75;
/// Bytes that cross from a guest to the host at once: one answer, or the arguments of one host call.
pub const DEFAULT_MAX_ANSWER_BYTES: usize = 4 << 20;
/// Handles that one call may hold.
pub const DEFAULT_MAX_HANDLES: usize = 1000;

/// From when on a call is slow: far above what a page has time for, and far below the deadline of a call.
pub const DEFAULT_SLOW_CALL: Duration = Duration::from_secs(1);

/// How hard the compiler tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Optimisation {
    /// Compile fast.
    None,
    /// Run fast.
    #[default]
    Speed,
    /// Run fast, and keep the code small where that costs nothing.
    SpeedAndSize,
}

/// The settings of a [`Host`](crate::Host). Plain data: start from `default()`, or from a [`Profile`], and change what
/// differs.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Instances that may be alive at the same time. The address space for all of them is reserved at start: 4 GiB
    /// each, of which only touched pages cost memory. Defaults to [`DEFAULT_POOL_SIZE`].
    pub pool_size: u32,
    /// Instances that are made, all at once, when a plugin is loaded, and dropped again: as many slots of the pool then
    /// have the plugin's memory ready. Slots that are taken are left out, and those beyond the plugin's share. Defaults to [`DEFAULT_INITIAL_POOL_SIZE`].
    pub initial_pool_size: u32,
    /// Calls that may wait for an instance; one more gets `Overloaded` at once. Defaults to [`DEFAULT_MAX_WAITING`].
    pub max_waiting: usize,
    /// How long a call may wait for an instance before it gets `Overloaded`. Defaults to [`DEFAULT_MAX_WAIT`].
    pub max_wait: Duration,
    /// The share of `pool_size` that the calls of one plugin may have at the same time, in percent, rounded up and at least
    /// one; and the share of `max_waiting` that may wait. However slow a plugin is, the rest is for the others; a plugin's
    /// own [`max_concurrent_calls`](crate::PluginSpec::max_concurrent_calls) replaces the share of the pool. It stops one
    /// plugin, not several that are slow together. Defaults to [`DEFAULT_PLUGIN_SHARE_PERCENT`].
    pub plugin_share_percent: u32,
    /// When a handler that fails again and again is no longer called, and for how long. Each handler has a circuit breaker
    /// of its own; a plugin's own settings replace these. Defaults to [`BreakerSettings::default`].
    pub breaker: BreakerSettings,
    /// What any call may use. A plugin's own limits can lower this, never raise it. Defaults to
    /// [`Limits::default`].
    pub limits: Limits,
    /// Bytes that may cross from a guest to the host at once: one answer, or the arguments of one host call. A guest that
    /// hands over more gets `BadAnswer`. It bounds what is read from the guest's memory; what the host makes of it can be a
    /// few times larger, an empty string being larger than its length. Defaults to [`DEFAULT_MAX_ANSWER_BYTES`].
    pub max_answer_bytes: usize,
    /// Handles that one call may hold, and resources that the host keeps for it. Defaults to
    /// [`DEFAULT_MAX_HANDLES`].
    pub max_handles: usize,
    /// Compiled plugins kept in memory. Defaults to [`DEFAULT_CACHE_SIZE`].
    pub cache_size: usize,
    /// Bytes of compiled code kept in memory, and in the directory. Defaults to
    /// [`DEFAULT_MAX_BYTES`](crate::cache::DEFAULT_MAX_BYTES).
    pub cache_max_bytes: u64,
    /// Where compiled plugins are kept between runs. Defaults to nowhere.
    pub cache_directory: Option<PathBuf>,
    /// Whether a plugin may be granted what [reaches](crate::Capability::reaches) other machines. A load that grants it all
    /// the same is refused. Defaults to yes.
    pub network_access: bool,
    /// Whether a plugin may be granted what [reaches](crate::Capability::reaches) files. Defaults to yes.
    pub filesystem_access: bool,
    /// Whether calls are counted and timed. Defaults to yes.
    pub enable_metrics: bool,
    /// What the metrics say of where this host runs, and what it is called. Defaults to a server called `tapline`.
    pub deployment: Deployment,
    /// Whether a plugin may ask for one instance that serves several of its calls. Defaults to yes; it is each plugin's
    /// own setting that asks.
    pub enable_reuse: bool,
    /// A load that takes longer is warned about, with the time of each of its stages: read, check, compile or load artifact,
    /// link, instantiate fresh. Defaults to none: nothing is warned about.
    pub cold_start_target: Option<Duration>,
    /// A call that takes longer, from taking an instance to the decoded answer, is warned about with its plugin, its tap and
    /// its time: so many in a second as there are lines of a plugin, [`MAX_LOG_LINES_PER_SECOND`](crate::MAX_LOG_LINES_PER_SECOND).
    /// Calls are timed for the metrics or for an observer; where [`enable_metrics`](Self::enable_metrics) is off, one that nobody
    /// [observes](crate::observed) is never slow. None: nothing is warned about. Defaults to [`DEFAULT_SLOW_CALL`].
    pub slow_call: Option<Duration>,
    /// Whether plugins may use vector instructions. One that does is refused where they may not. Defaults to yes.
    pub enable_simd: bool,
    /// What compiling a plugin may cost.
    pub compilation: Compilation,
    /// How hard the compiler tries. Defaults to speed.
    pub optimisation: Optimisation,
    /// Whether one plugin is compiled on all cores. Defaults to yes.
    pub parallel_compilation: bool,
    /// Whether dirty pages are found by asking the kernel (Linux 6.7 and later). Defaults to
    /// [`PagemapScan::WhenSafe`].
    pub pagemap_scan: PagemapScan,
}

/// Whether an instance's dirty pages are found by asking the kernel, when its memory is given back.
///
/// It makes a call several times cheaper. It is unsafe where a page can be swapped out: the engine does not see that
/// such a page was dirty, and the next tenant could read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PagemapScan {
    /// Only where no page can be swapped out, and the kernel knows how. See
    /// [`swap_is_impossible`](crate::swap_is_impossible).
    #[default]
    WhenSafe,
    /// Never.
    Off,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            pool_size: DEFAULT_POOL_SIZE,
            initial_pool_size: DEFAULT_INITIAL_POOL_SIZE,
            max_waiting: DEFAULT_MAX_WAITING,
            max_wait: DEFAULT_MAX_WAIT,
            plugin_share_percent: DEFAULT_PLUGIN_SHARE_PERCENT,
            breaker: BreakerSettings::default(),
            limits: Limits::default(),
            max_answer_bytes: DEFAULT_MAX_ANSWER_BYTES,
            max_handles: DEFAULT_MAX_HANDLES,
            cache_size: DEFAULT_CACHE_SIZE,
            cache_max_bytes: tapline_cache::DEFAULT_MAX_BYTES,
            cache_directory: None,
            network_access: true,
            filesystem_access: true,
            enable_metrics: true,
            deployment: Deployment::default(),
            enable_reuse: true,
            cold_start_target: None,
            slow_call: Some(DEFAULT_SLOW_CALL),
            enable_simd: true,
            compilation: Compilation::default(),
            optimisation: Optimisation::default(),
            parallel_compilation: true,
            pagemap_scan: PagemapScan::default(),
        }
    }
}

/// What the profile says about a host. Of its settings only `enable_tracing` is the program's own affair.
impl From<Profile> for HostConfig {
    fn from(profile: Profile) -> Self {
        let settings = profile.settings();
        Self {
            pool_size: u32::try_from(settings.pool_size).unwrap_or(u32::MAX),
            cache_size: settings.cache_size,
            limits: settings.limits,
            network_access: settings.network_access,
            filesystem_access: settings.filesystem_access,
            ..Self::default()
        }
    }
}

impl HostConfig {
    /// Whether a plugin may be granted what reaches so far, and the setting that says so.
    pub(crate) fn access(&self, reach: Reach) -> (bool, &'static str) {
        match reach {
            Reach::Network => (self.network_access, "network_access"),
            Reach::Files => (self.filesystem_access, "filesystem_access"),
        }
    }

    /// One plugin's share of so many slots or places.
    #[must_use]
    pub fn share_of(&self, whole: usize) -> usize {
        let hundredths = whole.saturating_mul(self.plugin_share_percent as usize);
        hundredths.div_ceil(100).min(whole)
    }

    /// Refuses settings that cannot work, as a host does that is built with them.
    ///
    /// # Errors
    ///
    /// [`HostError::Setting`]: which one, and why.
    pub fn check(&self) -> Result<(), HostError> {
        let refuse = |setting, message: &str| Err(HostError::Setting { setting, message: message.to_owned() });
        if self.pool_size == 0 {
            return refuse("pool_size", "a pool of 0 instances can run nothing");
        }
        if self.pool_size > 20_000 {
            return refuse("pool_size", "more than 20 000 instances do not fit into the address space");
        }
        if self.initial_pool_size > self.pool_size {
            return refuse("initial_pool_size", "it is more than `pool_size`");
        }
        let compilation = &self.compilation;
        if compilation.max_concurrent == 0 || compilation.timeout.is_zero() {
            return refuse("compilation", "without a place and time for a compilation no plugin can be loaded");
        }
        if !(1..=100).contains(&self.plugin_share_percent) {
            return refuse("plugin_share_percent", "a share is 1 to 100 percent");
        }
        if let Err(error) = self.breaker.check() {
            return refuse("breaker", &error.to_string());
        }
        if self.cache_size == 0 {
            return refuse("cache_size", "a plugin that is loaded needs a place in the cache");
        }
        if self.max_answer_bytes == 0 {
            return refuse("max_answer_bytes", "an answer needs at least one byte");
        }
        Ok(())
    }
}
