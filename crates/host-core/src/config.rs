//! How a host is set up.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use tapline_limits::Limits;

use crate::error::HostError;

/// Instances that may be alive at the same time.
pub const DEFAULT_POOL_SIZE: u32 = 100;
/// Compiled plugins kept in memory.
pub const DEFAULT_CACHE_SIZE: usize = 1000;
/// Calls that may wait for an instance. One more is refused at once.
pub const DEFAULT_MAX_WAITING: usize = 10_000;
/// How long a call may wait for an instance.
pub const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(5);
/// Bytes that cross from a guest to the host at once: one answer, or the arguments of one host call.
pub const DEFAULT_MAX_ANSWER_BYTES: usize = 4 << 20;
/// Handles that one call may hold.
pub const DEFAULT_MAX_HANDLES: usize = 1000;

/// How hard the compiler tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
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

/// The settings of a [`Host`](crate::Host). Plain data: start from `default()` and change what differs.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Instances that may be alive at the same time. The address space for all of them is reserved at start: 4 GiB
    /// each, of which only touched pages cost memory. Defaults to [`DEFAULT_POOL_SIZE`].
    pub pool_size: u32,
    /// Calls that may wait for an instance; one more gets `Overloaded` at once. Defaults to [`DEFAULT_MAX_WAITING`].
    pub max_waiting: usize,
    /// How long a call may wait for an instance before it gets `Overloaded`. Defaults to [`DEFAULT_MAX_WAIT`].
    pub max_wait: Duration,
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
    /// Where compiled plugins are kept between runs. Defaults to nowhere.
    pub cache_directory: Option<PathBuf>,
    /// Whether calls are counted and timed. Defaults to yes.
    pub enable_metrics: bool,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
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
            max_waiting: DEFAULT_MAX_WAITING,
            max_wait: DEFAULT_MAX_WAIT,
            limits: Limits::default(),
            max_answer_bytes: DEFAULT_MAX_ANSWER_BYTES,
            max_handles: DEFAULT_MAX_HANDLES,
            cache_size: DEFAULT_CACHE_SIZE,
            cache_directory: None,
            enable_metrics: true,
            optimisation: Optimisation::default(),
            parallel_compilation: true,
            pagemap_scan: PagemapScan::default(),
        }
    }
}

impl HostConfig {
    /// Refuses settings that cannot work.
    pub(crate) fn check(&self) -> Result<(), HostError> {
        let refuse = |setting, message: &str| Err(HostError::Setting { setting, message: message.to_owned() });
        if self.pool_size == 0 {
            return refuse("pool_size", "a pool of 0 instances can run nothing");
        }
        if self.pool_size > 20_000 {
            return refuse("pool_size", "more than 20 000 instances do not fit into the address space");
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
