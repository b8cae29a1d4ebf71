//! The limits themselves.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{LimitsBuilder, LimitsError, PartialLimits};

/// Memory of a store by default: 128 MiB.
pub const DEFAULT_MAX_MEMORY_BYTES: u64 = 128 * 1024 * 1024;
/// Table elements of a store by default.
pub const DEFAULT_MAX_TABLE_ELEMENTS: u32 = 1000;
/// Core instances of a store by default.
pub const DEFAULT_MAX_INSTANCES: u32 = 100;
/// Functions of a plugin by default.
pub const DEFAULT_MAX_FUNCTIONS: u32 = 10_000;
/// Memories of a store by default.
pub const DEFAULT_MAX_MEMORIES: u32 = 1;
/// Duration of a call by default, in milliseconds.
pub const DEFAULT_MAX_EXECUTION_TIME_MS: u64 = 30_000;
/// Stack of a call by default: 1 MiB.
pub const DEFAULT_MAX_STACK_SIZE_BYTES: u64 = 1024 * 1024;
/// Fuel of a call by default, where metering is on.
pub const DEFAULT_FUEL_LIMIT: u64 = 1_000_000;

/// What one call of a plugin may use. Always a combination that makes sense: see [`LimitsBuilder::build`].
///
/// In a file it has the names of [`PartialLimits`]; what is missing there has its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "PartialLimits", into = "PartialLimits")]
pub struct Limits {
    pub(crate) max_memory_bytes: u64,
    pub(crate) max_table_elements: u32,
    pub(crate) max_instances: u32,
    pub(crate) max_functions: u32,
    pub(crate) max_memories: u32,
    pub(crate) max_execution_time_ms: u64,
    pub(crate) max_stack_size_bytes: u64,
    /// `None`: metering is off.
    pub(crate) fuel: Option<u64>,
}

impl Limits {
    /// The defaults, as a constant for the presets.
    pub(crate) const DEFAULT: Self = Self {
        max_memory_bytes: DEFAULT_MAX_MEMORY_BYTES,
        max_table_elements: DEFAULT_MAX_TABLE_ELEMENTS,
        max_instances: DEFAULT_MAX_INSTANCES,
        max_functions: DEFAULT_MAX_FUNCTIONS,
        max_memories: DEFAULT_MAX_MEMORIES,
        max_execution_time_ms: DEFAULT_MAX_EXECUTION_TIME_MS,
        max_stack_size_bytes: DEFAULT_MAX_STACK_SIZE_BYTES,
        fuel: None,
    };

    /// A builder that begins with the defaults.
    #[must_use]
    pub fn builder() -> LimitsBuilder {
        LimitsBuilder::default()
    }

    /// The bytes that all linear memories of one store may have together. [`StoreLimiter`](crate::StoreLimiter)
    /// enforces it; the guest sees a refused growth as -1. Memory that the host uses on a guest's behalf is not in it.
    #[must_use]
    pub fn max_memory_bytes(&self) -> u64 {
        self.max_memory_bytes
    }

    /// The elements that all tables of one store may have together. [`StoreLimiter`](crate::StoreLimiter) enforces it;
    /// the guest sees a refused growth as -1.
    #[must_use]
    pub fn max_table_elements(&self) -> u32 {
        self.max_table_elements
    }

    /// The core instances in one store: a component has one for each core module that it instantiates. The engine
    /// enforces it through [`StoreLimiter`](crate::StoreLimiter), when the plugin is instantiated.
    #[must_use]
    pub fn max_instances(&self) -> u32 {
        self.max_instances
    }

    /// The functions that the plugin's code may define. The host enforces it when it loads the plugin, before it
    /// compiles anything. It bounds their number, not their size.
    #[must_use]
    pub fn max_functions(&self) -> u32 {
        self.max_functions
    }

    /// The linear memories in one store. The engine enforces it through [`StoreLimiter`](crate::StoreLimiter), when
    /// the plugin is instantiated.
    #[must_use]
    pub fn max_memories(&self) -> u32 {
        self.max_memories
    }

    /// How long one call may take, guest code and host functions together. The host's deadline around the call
    /// enforces it, a host function that blocks its thread without awaiting is seen only when it returns.
    #[must_use]
    pub fn max_execution_time(&self) -> Duration {
        Duration::from_millis(self.max_execution_time_ms)
    }

    /// The bytes of stack that guest code may use. The engine enforces it with a trap. It is a setting of the engine,
    /// so plugins that share an engine share the value.
    #[must_use]
    pub fn max_stack_size_bytes(&self) -> u64 {
        self.max_stack_size_bytes
    }

    /// Whether executed instructions are counted. Counting slows guest code down and needs an engine of its own.
    #[must_use]
    pub fn enable_fuel_metering(&self) -> bool {
        self.fuel.is_some()
    }

    /// The fuel that one call may use: about one unit for each instruction. The engine enforces it with a trap, where
    /// metering is on; 0 where it is off. Waiting costs no fuel: the deadline bounds it.
    #[must_use]
    pub fn fuel_limit(&self) -> u64 {
        self.fuel.unwrap_or(0)
    }

    /// The smaller value of each limit. Fuel is metered when either side meters it.
    #[must_use]
    pub fn smallest(self, other: Self) -> Self {
        Self {
            max_memory_bytes: self.max_memory_bytes.min(other.max_memory_bytes),
            max_table_elements: self.max_table_elements.min(other.max_table_elements),
            max_instances: self.max_instances.min(other.max_instances),
            max_functions: self.max_functions.min(other.max_functions),
            max_memories: self.max_memories.min(other.max_memories),
            max_execution_time_ms: self.max_execution_time_ms.min(other.max_execution_time_ms),
            max_stack_size_bytes: self.max_stack_size_bytes.min(other.max_stack_size_bytes),
            fuel: match (self.fuel, other.fuel) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl TryFrom<PartialLimits> for Limits {
    type Error = LimitsError;

    fn try_from(partial: PartialLimits) -> Result<Self, LimitsError> {
        partial.apply_to(Self::DEFAULT)
    }
}
