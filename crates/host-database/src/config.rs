//! What one statement may use, what the operator sets, and what a grant means.

use std::time::Duration;

use tapline_host_core::GrantValue;

/// Rows that one query may return: the contract's figure.
pub const MAX_ROWS: usize = 1000;
/// Bytes that one query may return, and the longest value that SQLite makes on the way: the contract's figure. Counted
/// are the names of the columns, text and bytes by their length, and 8 for a number or a boolean.
pub const MAX_BYTES: usize = 4 << 20;
/// Columns that one query may return. The figure that SQLite's page on security recommends for statements of strangers.
pub const MAX_COLUMNS: usize = 100;
/// Bytes that SQLite may allocate for one statement, beyond what its connection has: the values that it works on, what
/// it sorts, groups and remembers, and the copies of its rows. It is sixteen values of [`MAX_BYTES`], or a sort of a
/// hundred thousand rows of 500 bytes.
pub const MAX_MEMORY: usize = 64 << 20;
/// Longest statement, in bytes.
pub const MAX_SQL_BYTES: usize = 64 << 10;
/// Parameters that one statement may have: as many as rows, for a list of keys from another query.
pub const MAX_PARAMETERS: usize = 1000;

/// What one plugin may have of the connections at the same time, in hundredths.
const SHARE_PERCENT: usize = 75;

/// Connections for plugins.
pub const DEFAULT_MAX_CONNECTIONS: u32 = 4;
/// How long a query waits for a connection.
pub const DEFAULT_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a query waits for somebody else's lock.
pub const DEFAULT_BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// How plugins reach the database. Plain data: start from `default()` and change what differs.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// Connections for all plugins together; each has a thread. A query that finds none free waits, in order.
    /// Defaults to [`DEFAULT_MAX_CONNECTIONS`].
    ///
    /// One plugin has at most three quarters of them at a time, rounded up, and leaves one to others if there are
    /// several: of 4 it has 3, of 2 one, and of 1 that one. What it asks beyond that waits for its own queries, in
    /// order. Two plugins that are slow together can still have them all.
    ///
    /// **Memory**: with a hostile statement on it a connection holds less than 100 MiB, and the parameters twice. That
    /// is 72 MiB for the statement ([`MAX_MEMORY`], and 8 MiB so that a row can be copied), 6 MiB that the connection
    /// keeps for later ones (pages and compiled statements), 8 MiB for the answer, and up to 12 MiB outside of SQLite's
    /// memory while `replace` runs.
    pub max_connections: u32,
    /// How long a query waits for a connection before it gets `unavailable`, the wait for its plugin's own queries
    /// included. The deadline of its call ends the wait as well. Defaults to [`DEFAULT_ACQUIRE_TIMEOUT`].
    pub acquire_timeout: Duration,
    /// How long a query waits for a lock that somebody else has on the database before it gets `unavailable`. A call
    /// that ends earlier does not end this wait: the connection is busy until then. Defaults to
    /// [`DEFAULT_BUSY_TIMEOUT`].
    pub busy_timeout: Duration,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            max_connections: DEFAULT_MAX_CONNECTIONS,
            acquire_timeout: DEFAULT_ACQUIRE_TIMEOUT,
            busy_timeout: DEFAULT_BUSY_TIMEOUT,
        }
    }
}

impl DatabaseConfig {
    /// How many connections one plugin may have at the same time.
    pub(crate) fn share(&self) -> usize {
        let all = self.max_connections as usize;
        (all * SHARE_PERCENT).div_ceil(100).min(all.saturating_sub(1)).max(1)
    }
}

/// The name of the grant.
pub(crate) const GRANT: &str = "database";
/// The one value that it takes, as TOML.
pub(crate) const GRANT_EXAMPLE: &str = "\"read\"";

/// Checks an operator's value for the grant.
pub(crate) fn check_grant(value: &GrantValue) -> Result<(), String> {
    match value.as_str() {
        Some("read") => Ok(()),
        _ => Err(format!("it takes {GRANT_EXAMPLE}, not {value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_plugin_leaves_a_connection_to_others() {
        for (max_connections, share) in [(1, 1), (2, 1), (3, 2), (4, 3), (5, 4), (8, 6), (100, 75)] {
            let config = DatabaseConfig { max_connections, ..DatabaseConfig::default() };
            assert_eq!(config.share(), share, "{max_connections}");
        }
    }

    #[test]
    fn the_grant_takes_one_word() {
        assert_eq!(check_grant(&GrantValue::from("read")), Ok(()));
        assert_eq!(check_grant(&GrantValue::from("write")), Err(r#"it takes "read", not "write""#.to_owned()));
        assert_eq!(check_grant(&GrantValue::from(true)), Err(r#"it takes "read", not true"#.to_owned()));
        assert_eq!(check_grant(&GrantValue::from("Read")), Err(r#"it takes "read", not "Read""#.to_owned()));
    }
}
