//! What `cron` gets.

/// A run of `cron`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronRun {
    /// When it started, in seconds since 1970-01-01 UTC.
    pub now: i64,
    /// When the one before started, in the same unit. None: this is the first.
    pub previous: Option<i64>,
}
