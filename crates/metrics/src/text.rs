//! The two forms of the text that a scraper reads.

use crate::instrument::{INSTRUMENTS, Instrument, Kind};

/// A form of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextFormat {
    /// OpenMetrics 1.0, which every Prometheus from 2.5 on asks for.
    OpenMetrics,
    /// The older form, version 0.0.4: for whoever asks for nothing in particular.
    #[default]
    Prometheus,
}

impl TextFormat {
    /// What a scraper gets that sent this `Accept`.
    #[must_use]
    pub fn for_accept(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The older form of an OpenMetrics text: families have the names of their samples, and there are no units and no end.
pub(crate) fn older(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let described = line.strip_prefix("# ").and_then(|rest| {
            let (keyword, rest) = rest.split_once(' ')?;
            let (family, rest) = rest.split_once(' ')?;
            Some((keyword, row(family)?, rest))
        });
        match described {
            Some(("UNIT", ..)) => continue,
            Some(("TYPE", row, _)) if row.kind == Kind::Info => out.push_str(&format!("# TYPE {} gauge", row.name)),
            Some((keyword, row, rest)) => out.push_str(&format!("# {keyword} {} {rest}", row.name)),
            None if line == "# EOF" => continue,
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

fn row(family: &str) -> Option<&'static Instrument> {
    INSTRUMENTS.iter().find(|row| row.family() == family)
}
