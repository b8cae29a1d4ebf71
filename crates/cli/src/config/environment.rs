//! What the environment says, beside the variables that stand for flags.

use std::{path::PathBuf, str::FromStr};

use tapline_host_core::limits::PAGE_BYTES;

use super::error::ConfigError;

/// Variables that are set. The others leave the file's word.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) cache_directory: Option<PathBuf>,
    pub(super) pool_size: Option<u32>,
    pub(super) max_memory_bytes: Option<u64>,
    pub(super) max_execution_time_ms: Option<u64>,
    pub(super) enable_metrics: Option<bool>,
    pub(super) enable_aot_cache: Option<bool>,
}

const NUMBER: &str = "a whole number from 1";
const TRUTH: &str = "true or false";

impl Environment {
    pub(super) fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let number = |name| value::<u64>(&lookup, name, NUMBER, |value| *value > 0);
        let truth = |name| value::<bool>(&lookup, name, TRUTH, |_| true);
        let bytes = number("TAPLINE_WASM_MEMORY_LIMIT_MB")?.map(|mebibytes| mebibytes.saturating_mul(1 << 20));
        let pages = number("TAPLINE_WASM_MEMORY_LIMIT_PAGES")?.map(|pages| pages.saturating_mul(PAGE_BYTES));
        if let (Some(bytes), Some(bytes_of_pages)) = (bytes, pages)
            && bytes != bytes_of_pages
        {
            return Err(ConfigError::Unequal { bytes, bytes_of_pages });
        }
        Ok(Self {
            cache_directory: lookup("TAPLINE_CACHE_DIRECTORY").filter(|path| !path.is_empty()).map(PathBuf::from),
            pool_size: value(&lookup, "TAPLINE_WASM_MAX_POOL_SIZE", NUMBER, |size: &u32| *size > 0)?,
            max_memory_bytes: bytes.or(pages),
            max_execution_time_ms: number("TAPLINE_WASM_TIMEOUT_SECS")?.map(|seconds| seconds.saturating_mul(1000)),
            enable_metrics: truth("TAPLINE_WASM_ENABLE_METRICS")?,
            enable_aot_cache: truth("TAPLINE_WASM_ENABLE_AOT_CACHE")?,
        })
    }
}

fn value<T: FromStr>(
    lookup: impl Fn(&str) -> Option<String>,
    name: &'static str,
    expected: &'static str,
    fits: impl Fn(&T) -> bool,
) -> Result<Option<T>, ConfigError> {
    let Some(value) = lookup(name) else { return Ok(None) };
    match value.trim().parse() {
        Ok(parsed) if fits(&parsed) => Ok(Some(parsed)),
        _ => Err(ConfigError::Variable { name, value, expected }),
    }
}
