//! What the environment says.

use std::{ffi::OsString, path::PathBuf, str::FromStr};

use clap::ValueEnum;
use tapline_host_core::limits::PAGE_BYTES;

use super::{
    error::ConfigError,
    setting::{Given, Secret},
};
use crate::{arguments::LogFormat, keys::nearest};

/// All variables that the program reads. Another one with this prefix is an error: somebody meant something by it.
const PREFIX: &str = "TAPLINE_";
pub(super) const VARIABLES: [&str; 18] = [
    "TAPLINE_CONFIG",
    "TAPLINE_DATABASE_URL",
    "TAPLINE_LISTEN",
    "TAPLINE_OPERATOR_TOKEN",
    "TAPLINE_LOG",
    "TAPLINE_LOG_FORMAT",
    "TAPLINE_OTLP_ENDPOINT",
    "TAPLINE_CACHE_DIRECTORY",
    "TAPLINE_WASM_MAX_POOL_SIZE",
    "TAPLINE_WASM_INITIAL_POOL_SIZE",
    "TAPLINE_WASM_MEMORY_LIMIT_MB",
    "TAPLINE_WASM_MEMORY_LIMIT_PAGES",
    "TAPLINE_WASM_ENABLE_SIMD",
    "TAPLINE_WASM_ENABLE_AOT_CACHE",
    "TAPLINE_WASM_ENABLE_REUSE",
    "TAPLINE_WASM_ENABLE_METRICS",
    "TAPLINE_WASM_COLD_START_TARGET_MS",
    "TAPLINE_WASM_TIMEOUT_SECS",
];

const NUMBER: &str = "a whole number from 1";
const TRUTH: &str = "true or false";
const TEXT: &str = "something";

/// Variables that are set. The others leave the file's word.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) config: Option<PathBuf>,
    pub(super) database: Option<Given<String>>,
    pub(super) listen: Option<Given<String>>,
    pub(super) operator_token: Option<Given<Secret>>,
    pub(super) log: Option<Given<String>>,
    pub(super) log_format: Option<Given<LogFormat>>,
    pub(super) otlp_endpoint: Option<Given<String>>,
    pub(super) cache_directory: Option<Given<PathBuf>>,
    pub(super) max_pool_size: Option<Given<u32>>,
    pub(super) initial_pool_size: Option<Given<u32>>,
    pub(super) max_memory_bytes: Option<Given<u64>>,
    pub(super) enable_simd: Option<Given<bool>>,
    pub(super) enable_aot_cache: Option<Given<bool>>,
    pub(super) enable_reuse: Option<Given<bool>>,
    pub(super) enable_metrics: Option<Given<bool>>,
    pub(super) cold_start_target_ms: Option<Given<u64>>,
    pub(super) max_execution_time_ms: Option<Given<u64>>,
}

impl Environment {
    /// Takes the variables that are meant for this program out of all of them.
    pub(super) fn read<K, V>(variables: impl IntoIterator<Item = (K, V)>) -> Result<Self, ConfigError>
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let mut set = Vec::new();
        for (name, value) in variables {
            // A name that is no text is nobody's here.
            let Ok(name) = name.into().into_string() else { continue };
            if !name.starts_with(PREFIX) {
                continue;
            }
            let Some(known) = VARIABLES.into_iter().find(|known| *known == name) else {
                let nearest = nearest(&name, VARIABLES);
                return Err(ConfigError::UnknownVariable { name, nearest, known: &VARIABLES });
            };
            set.push((known, value.into()));
        }
        // In the order of the table, so that of two that are wrong always the same is complained about.
        set.sort_by_key(|(name, _)| VARIABLES.iter().position(|known| known == name));
        Self::fill(&set)
    }

    fn fill(set: &[(&'static str, OsString)]) -> Result<Self, ConfigError> {
        let mut it = Self::default();
        let (mut mebibytes, mut pages) = (None, None);
        for (name, value) in set {
            let given = Variable { name, value };
            match *name {
                "TAPLINE_CONFIG" => it.config = Some(given.path()?.1),
                "TAPLINE_DATABASE_URL" => it.database = Some(given.text()?),
                "TAPLINE_LISTEN" => it.listen = Some(given.text()?),
                "TAPLINE_OPERATOR_TOKEN" => it.operator_token = Some(given.secret()?),
                "TAPLINE_LOG" => it.log = Some(given.text()?),
                "TAPLINE_LOG_FORMAT" => it.log_format = Some(given.log_format()?),
                "TAPLINE_OTLP_ENDPOINT" => it.otlp_endpoint = Some(given.text()?),
                "TAPLINE_CACHE_DIRECTORY" => it.cache_directory = Some(given.path()?),
                "TAPLINE_WASM_MAX_POOL_SIZE" => it.max_pool_size = Some(given.number()?),
                "TAPLINE_WASM_INITIAL_POOL_SIZE" => it.initial_pool_size = Some(given.number()?),
                "TAPLINE_WASM_MEMORY_LIMIT_MB" => mebibytes = Some(given.number::<u64>()?),
                "TAPLINE_WASM_MEMORY_LIMIT_PAGES" => pages = Some(given.number::<u64>()?),
                "TAPLINE_WASM_ENABLE_SIMD" => it.enable_simd = Some(given.truth()?),
                "TAPLINE_WASM_ENABLE_AOT_CACHE" => it.enable_aot_cache = Some(given.truth()?),
                "TAPLINE_WASM_ENABLE_REUSE" => it.enable_reuse = Some(given.truth()?),
                "TAPLINE_WASM_ENABLE_METRICS" => it.enable_metrics = Some(given.truth()?),
                "TAPLINE_WASM_COLD_START_TARGET_MS" => it.cold_start_target_ms = Some(given.number()?),
                "TAPLINE_WASM_TIMEOUT_SECS" => {
                    let (name, seconds) = given.number::<u64>()?;
                    it.max_execution_time_ms = Some((name, seconds.saturating_mul(1000)));
                }
                // None of the table comes here: the test below goes through it.
                _ => {}
            }
        }
        let mebibytes = mebibytes.map(|(name, number)| (name, number.saturating_mul(1 << 20)));
        let pages = pages.map(|(name, number)| (name, number.saturating_mul(PAGE_BYTES)));
        if let (Some((_, bytes)), Some((_, bytes_of_pages))) = (mebibytes, pages)
            && bytes != bytes_of_pages
        {
            return Err(ConfigError::Unequal { bytes, bytes_of_pages });
        }
        it.max_memory_bytes = mebibytes.or(pages);
        Ok(it)
    }
}

/// One variable that is set.
struct Variable<'a> {
    name: &'static str,
    value: &'a OsString,
}

impl Variable<'_> {
    fn refused(&self, expected: &'static str) -> ConfigError {
        ConfigError::Variable { name: self.name, value: self.value.to_string_lossy().into_owned(), expected }
    }

    fn text(&self) -> Result<Given<String>, ConfigError> {
        let text = self.value.to_str().filter(|text| !text.is_empty());
        Ok((self.name, text.ok_or_else(|| self.refused(TEXT))?.to_owned()))
    }

    /// The error does not repeat what was given.
    fn secret(&self) -> Result<Given<Secret>, ConfigError> {
        let secret = self.value.to_str().and_then(|text| Secret::try_from(text.to_owned()).ok());
        let refused = ConfigError::Variable { name: self.name, value: String::new(), expected: TEXT };
        Ok((self.name, secret.ok_or(refused)?))
    }

    fn path(&self) -> Result<Given<PathBuf>, ConfigError> {
        if self.value.is_empty() { Err(self.refused(TEXT)) } else { Ok((self.name, PathBuf::from(self.value))) }
    }

    fn parse<T: FromStr>(&self, expected: &'static str, fits: impl Fn(&T) -> bool) -> Result<Given<T>, ConfigError> {
        let parsed = self.value.to_str().and_then(|text| text.trim().parse().ok()).filter(fits);
        Ok((self.name, parsed.ok_or_else(|| self.refused(expected))?))
    }

    fn number<T: FromStr + Default + PartialEq>(&self) -> Result<Given<T>, ConfigError> {
        self.parse(NUMBER, |number| *number != T::default())
    }

    fn truth(&self) -> Result<Given<bool>, ConfigError> {
        self.parse(TRUTH, |_| true)
    }

    fn log_format(&self) -> Result<Given<LogFormat>, ConfigError> {
        let format = self.value.to_str().and_then(|text| LogFormat::from_str(text, false).ok());
        Ok((self.name, format.ok_or_else(|| self.refused("human or json"))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_of_the_table_is_read() {
        for name in VARIABLES {
            // One of these is a value that the variable takes.
            let read = ["7", "true", "human"].map(|value| Environment::read([(name, value)]));
            assert!(read.iter().any(Result::is_ok), "{name}: {read:?}");
            let refused = Environment::read([(name, "")]).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("`{name}` is ``, not ")), "{refused}");
        }
    }

    #[test]
    fn the_variables_of_others() {
        assert!(Environment::read([("PATH", "x"), ("TAPLINES", "x"), ("WASM_TIMEOUT_SECS", "x")]).is_ok());
    }
}
