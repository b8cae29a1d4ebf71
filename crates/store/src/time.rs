//! Points in time, as people write them and as items keep them.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};

/// Seconds since 1970-01-01 UTC, now.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Reads a date, a date with a time, or the same with an offset. What has no offset counts as UTC: a document means the
/// same on every machine.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp.as_second());
    }
    let local = match text.parse::<Date>() {
        // jiff also reads the date out of a longer text; then the time would be lost.
        Ok(date) if text.len() == "2026-01-31".len() => date.to_datetime(jiff::civil::Time::midnight()),
        _ => text.parse::<DateTime>().ok()?,
    };
    Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn forms() {
        assert_eq!(parse("1970-01-02"), Some(86_400));
        assert_eq!(parse("1970-01-01T00:01:00"), Some(60));
        assert_eq!(parse("1970-01-01 00:01"), Some(60));
        assert_eq!(parse("1970-01-01T00:01:00Z"), Some(60));
        assert_eq!(parse("1970-01-01T01:00:00+01:00"), Some(0));
        for bad in ["", "soon", "2026-13-01", "2026-02-30", "1", "2026-01"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
