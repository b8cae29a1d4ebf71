//! Limits by name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{DEFAULT_FUEL_LIMIT, Limits, LimitsError};

const MIB: u64 = 1024 * 1024;

/// Limits for one kind of plugin. What a preset does not name has its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Preset {
    /// Long computations: 60 seconds, 10 million units of fuel.
    CpuIntensive,
    /// Large data: 512 MiB.
    MemoryIntensive,
    /// Code of strangers: 5 seconds, 32 MiB, fuel metered.
    Untrusted,
    /// Taps of a page: 64 MiB.
    Tap,
    /// Extraction of text from documents: 256 MiB.
    Extract,
}

impl Preset {
    /// All presets.
    pub const ALL: [Self; 5] = [Self::CpuIntensive, Self::MemoryIntensive, Self::Untrusted, Self::Tap, Self::Extract];
    const NAMES: [&str; 5] = ["cpu-intensive", "memory-intensive", "untrusted", "tap", "extract"];

    /// The limits.
    #[must_use]
    pub fn limits(self) -> Limits {
        let base = Limits::DEFAULT;
        match self {
            Self::CpuIntensive => Limits { max_execution_time_ms: 60_000, fuel: Some(10_000_000), ..base },
            Self::MemoryIntensive => Limits { max_memory_bytes: 512 * MIB, ..base },
            Self::Untrusted => Limits {
                max_execution_time_ms: 5000,
                max_memory_bytes: 32 * MIB,
                fuel: Some(DEFAULT_FUEL_LIMIT),
                ..base
            },
            Self::Tap => Limits { max_memory_bytes: 64 * MIB, ..base },
            Self::Extract => Limits { max_memory_bytes: 256 * MIB, ..base },
        }
    }

    /// The name in configuration files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Preset {
    type Err = LimitsError;

    fn from_str(name: &str) -> Result<Self, LimitsError> {
        let found = Self::ALL.into_iter().find(|preset| preset.as_str() == name);
        found.ok_or_else(|| LimitsError::unknown("preset", name, &Self::NAMES))
    }
}

impl TryFrom<String> for Preset {
    type Error = LimitsError;

    fn try_from(name: String) -> Result<Self, LimitsError> {
        name.parse()
    }
}

impl From<Preset> for String {
    fn from(preset: Preset) -> Self {
        preset.as_str().to_owned()
    }
}
