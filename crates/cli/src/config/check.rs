//! What a setting has to be beyond its type.

use tapline_host_core::{HostConfig, HostError};
use tracing_subscriber::EnvFilter;

use super::{error::ConfigError, setting::Resolver};

/// What `[log] filter` and `--log` take.
pub(crate) const LOG_FILTERS: &str = "a level such as info, or a filter such as info,tapline_host_core=debug";

/// Refuses an address that cannot be one. A name in it is looked up later.
pub(super) fn listen(it: &Resolver, address: &str) -> Result<(), ConfigError> {
    let parts = address.rsplit_once(':');
    match parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
        true => Ok(()),
        false => Err(it.refused("server.listen", "it is no ADDRESS:PORT such as 127.0.0.1:8380")),
    }
}

/// Refuses what is no filter for the log.
pub(super) fn log(it: &Resolver, filter: &str) -> Result<(), ConfigError> {
    match EnvFilter::try_new(filter) {
        Ok(_) => Ok(()),
        Err(_) => Err(it.refused("log.filter", &format!("it takes {LOG_FILTERS}"))),
    }
}

/// Refuses what a host would refuse later, when nobody knows any more who said it.
pub(super) fn host(it: &Resolver, config: &HostConfig) -> Result<(), ConfigError> {
    let Err(HostError::Setting { setting, message }) = config.check() else { return Ok(()) };
    let key = match setting {
        "cache_size" => "cache.size".to_owned(),
        other => format!("host.{other}"),
    };
    Err(it.refused(&key, &message))
}
