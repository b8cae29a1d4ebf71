//! Ways to make limits: step by step, or from a part of a configuration file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{DEFAULT_FUEL_LIMIT, Limits, LimitsError, PAGE_BYTES};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Some of the limits, as a configuration file gives them. What is missing keeps the value of what lies below: see
/// [`PartialLimits::apply_to`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PartialLimits {
    /// See [`Limits::max_memory_bytes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory_bytes: Option<u64>,
    /// See [`Limits::max_table_elements`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_table_elements: Option<u32>,
    /// See [`Limits::max_instances`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_instances: Option<u32>,
    /// See [`Limits::max_functions`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_functions: Option<u32>,
    /// See [`Limits::max_memories`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memories: Option<u32>,
    /// See [`Limits::max_execution_time`]; in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_execution_time_ms: Option<u64>,
    /// See [`Limits::max_stack_size_bytes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stack_size_bytes: Option<u64>,
    /// See [`Limits::enable_fuel_metering`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_fuel_metering: Option<bool>,
    /// See [`Limits::fuel_limit`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel_limit: Option<u64>,
}

impl PartialLimits {
    /// Puts these limits over others. Metering that is switched on without a limit keeps the limit below, or has
    /// [`DEFAULT_FUEL_LIMIT`] when there is none.
    ///
    /// # Errors
    ///
    /// The same as [`LimitsBuilder::build`].
    pub fn apply_to(self, base: Limits) -> Result<Limits, LimitsError> {
        let metering = self.enable_fuel_metering.unwrap_or(base.enable_fuel_metering());
        let fuel = match (metering, self.fuel_limit) {
            (true, given) => given.or(base.fuel).or(Some(DEFAULT_FUEL_LIMIT)),
            (false, Some(fuel_limit)) => {
                return Err(LimitsError::FuelWithoutMetering { fuel_limit });
            }
            (false, None) => None,
        };
        check(Limits {
            max_memory_bytes: self.max_memory_bytes.unwrap_or(base.max_memory_bytes),
            max_table_elements: self.max_table_elements.unwrap_or(base.max_table_elements),
            max_instances: self.max_instances.unwrap_or(base.max_instances),
            max_functions: self.max_functions.unwrap_or(base.max_functions),
            max_memories: self.max_memories.unwrap_or(base.max_memories),
            max_execution_time_ms: self.max_execution_time_ms.unwrap_or(base.max_execution_time_ms),
            max_stack_size_bytes: self.max_stack_size_bytes.unwrap_or(base.max_stack_size_bytes),
            fuel,
        })
    }
}

impl From<Limits> for PartialLimits {
    fn from(limits: Limits) -> Self {
        Self {
            max_memory_bytes: Some(limits.max_memory_bytes),
            max_table_elements: Some(limits.max_table_elements),
            max_instances: Some(limits.max_instances),
            max_functions: Some(limits.max_functions),
            max_memories: Some(limits.max_memories),
            max_execution_time_ms: Some(limits.max_execution_time_ms),
            max_stack_size_bytes: Some(limits.max_stack_size_bytes),
            enable_fuel_metering: Some(limits.enable_fuel_metering()),
            fuel_limit: limits.fuel,
        }
    }
}

fn check(limits: Limits) -> Result<Limits, LimitsError> {
    let within = |field, value, min, max| {
        if (min..=max).contains(&value) { Ok(()) } else { Err(LimitsError::OutOfRange { field, value, min, max }) }
    };
    // Less than a page cannot be reached; 4 GiB is all that 32-bit addresses reach.
    within("max_memory_bytes", limits.max_memory_bytes, PAGE_BYTES, 4 * GIB)?;
    // The upper bounds of tables, functions and memories are those of WebAssembly's JavaScript interface, which the
    // engine's validator shares. A plugin without a table is possible.
    within("max_table_elements", limits.max_table_elements.into(), 0, 10_000_000)?;
    within("max_functions", limits.max_functions.into(), 1, 1_000_000)?;
    within("max_memories", limits.max_memories.into(), 1, 100)?;
    // The engine's own bound on the instances of a store.
    within("max_instances", limits.max_instances.into(), 1, 10_000)?;
    // A call that may take more than a day has no deadline worth the name.
    within("max_execution_time_ms", limits.max_execution_time_ms, 1, 24 * 3600 * 1000)?;
    // Below 64 KiB ordinary Rust code overflows. Each call has a native stack that is larger than this one, and 8 MiB
    // is what Linux gives a main thread.
    within("max_stack_size_bytes", limits.max_stack_size_bytes, 64 * KIB, 8 * MIB)?;
    if let Some(fuel) = limits.fuel {
        within("fuel_limit", fuel, 1, u64::MAX)?;
    }
    Ok(limits)
}

/// Makes [`Limits`] step by step, beginning with the defaults.
#[derive(Clone, Debug, Default)]
pub struct LimitsBuilder(PartialLimits);

impl LimitsBuilder {
    /// The bytes of memory of a store, 64 KiB to 4 GiB. Defaults to
    /// [`DEFAULT_MAX_MEMORY_BYTES`](crate::DEFAULT_MAX_MEMORY_BYTES), 128 MiB.
    #[must_use]
    pub fn max_memory_bytes(mut self, bytes: u64) -> Self {
        self.0.max_memory_bytes = Some(bytes);
        self
    }

    /// The table elements of a store, up to 10 000 000. Defaults to
    /// [`DEFAULT_MAX_TABLE_ELEMENTS`](crate::DEFAULT_MAX_TABLE_ELEMENTS), 1000.
    #[must_use]
    pub fn max_table_elements(mut self, elements: u32) -> Self {
        self.0.max_table_elements = Some(elements);
        self
    }

    /// The core instances of a store, 1 to 10 000. Defaults to
    /// [`DEFAULT_MAX_INSTANCES`](crate::DEFAULT_MAX_INSTANCES), 100.
    #[must_use]
    pub fn max_instances(mut self, instances: u32) -> Self {
        self.0.max_instances = Some(instances);
        self
    }

    /// The functions of a plugin, 1 to 1 000 000. Defaults to
    /// [`DEFAULT_MAX_FUNCTIONS`](crate::DEFAULT_MAX_FUNCTIONS), 10 000.
    #[must_use]
    pub fn max_functions(mut self, functions: u32) -> Self {
        self.0.max_functions = Some(functions);
        self
    }

    /// The memories of a store, 1 to 100. Defaults to [`DEFAULT_MAX_MEMORIES`](crate::DEFAULT_MAX_MEMORIES), 1.
    #[must_use]
    pub fn max_memories(mut self, memories: u32) -> Self {
        self.0.max_memories = Some(memories);
        self
    }

    /// The duration of a call, 1 millisecond to one day; parts of a millisecond are cut off. Defaults to
    /// [`DEFAULT_MAX_EXECUTION_TIME_MS`](crate::DEFAULT_MAX_EXECUTION_TIME_MS), 30 seconds.
    #[must_use]
    pub fn max_execution_time(mut self, time: Duration) -> Self {
        self.0.max_execution_time_ms = Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// The bytes of stack of a call, 64 KiB to 8 MiB. Defaults to
    /// [`DEFAULT_MAX_STACK_SIZE_BYTES`](crate::DEFAULT_MAX_STACK_SIZE_BYTES), 1 MiB.
    #[must_use]
    pub fn max_stack_size_bytes(mut self, bytes: u64) -> Self {
        self.0.max_stack_size_bytes = Some(bytes);
        self
    }

    /// Whether fuel is metered. Defaults to `false`.
    #[must_use]
    pub fn enable_fuel_metering(mut self, enable: bool) -> Self {
        self.0.enable_fuel_metering = Some(enable);
        self
    }

    /// The fuel of a call, at least 1; needs metering. Defaults to [`DEFAULT_FUEL_LIMIT`], 1 000 000, when metering is
    /// on, and to none otherwise.
    #[must_use]
    pub fn fuel_limit(mut self, fuel: u64) -> Self {
        self.0.fuel_limit = Some(fuel);
        self
    }

    /// The limits.
    ///
    /// # Errors
    ///
    /// [`LimitsError::OutOfRange`] when a value is outside the range that its setter names;
    /// [`LimitsError::FuelWithoutMetering`] when there is a fuel limit and metering is off.
    pub fn build(self) -> Result<Limits, LimitsError> {
        self.0.apply_to(Limits::DEFAULT)
    }
}
