//! Settings of a whole host by name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{DEFAULT_FUEL_LIMIT, Limits, LimitsError};

/// How a host is set up as a whole. What a profile does not name has the value of [`Profile::Default`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Profile {
    /// Pool of 100, cache of 1000, default limits.
    #[default]
    Default,
    /// Pool of 500, cache of 5000.
    HighTraffic,
    /// Pool of 10, cache of 100, tracing on, 300 seconds for a call.
    Development,
    /// No network and no files; 64 MiB, 10 seconds, fuel metered.
    Secure,
}

/// What a [`Profile`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProfileSettings {
    /// Instances that can exist at the same time.
    pub pool_size: usize,
    /// Compiled plugins that stay in the cache.
    pub cache_size: usize,
    /// Whether traces are recorded.
    pub enable_tracing: bool,
    /// Whether a plugin may be granted the network.
    pub network_access: bool,
    /// Whether a plugin may be granted files.
    pub filesystem_access: bool,
    /// The limits of a call.
    pub limits: Limits,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Self; 4] = [Self::Default, Self::HighTraffic, Self::Development, Self::Secure];
    const NAMES: [&str; 4] = ["default", "high-traffic", "development", "secure"];

    /// What the profile stands for.
    #[must_use]
    pub fn settings(self) -> ProfileSettings {
        let base = ProfileSettings {
            pool_size: 100,
            cache_size: 1000,
            enable_tracing: false,
            network_access: true,
            filesystem_access: true,
            limits: Limits::DEFAULT,
        };
        match self {
            Self::Default => base,
            Self::HighTraffic => ProfileSettings { pool_size: 500, cache_size: 5000, ..base },
            Self::Development => ProfileSettings {
                pool_size: 10,
                cache_size: 100,
                enable_tracing: true,
                limits: Limits { max_execution_time_ms: 300_000, ..Limits::DEFAULT },
                ..base
            },
            Self::Secure => ProfileSettings {
                network_access: false,
                filesystem_access: false,
                limits: Limits {
                    max_memory_bytes: 64 * 1024 * 1024,
                    max_execution_time_ms: 10_000,
                    fuel: Some(DEFAULT_FUEL_LIMIT),
                    ..Limits::DEFAULT
                },
                ..base
            },
        }
    }

    /// The name in configuration files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = LimitsError;

    fn from_str(name: &str) -> Result<Self, LimitsError> {
        let found = Self::ALL.into_iter().find(|profile| profile.as_str() == name);
        found.ok_or_else(|| LimitsError::unknown("profile", name, &Self::NAMES))
    }
}

impl TryFrom<String> for Profile {
    type Error = LimitsError;

    fn try_from(name: String) -> Result<Self, LimitsError> {
        name.parse()
    }
}

impl From<Profile> for String {
    fn from(profile: Profile) -> Self {
        profile.as_str().to_owned()
    }
}
