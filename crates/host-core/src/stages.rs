//! How long the stages of a load take, for the warning about a slow one.

use std::{
    fmt,
    time::{Duration, Instant},
};

use tapline_tap_dispatch::PluginName;

/// A clock that is read at the end of each stage.
pub(crate) struct Stages {
    started: Instant,
    last: Instant,
    times: Vec<(&'static str, Duration)>,
}

impl Stages {
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self { started: now, last: now, times: Vec::new() }
    }

    pub(crate) fn end(&mut self, stage: &'static str) {
        let now = Instant::now();
        self.times.push((stage, now - self.last));
        self.last = now;
    }

    /// The time of all stages that have ended.
    pub(crate) fn took(&self) -> Duration {
        self.last - self.started
    }

    /// Warns about a load that took longer than its target.
    pub(crate) fn judge(&self, plugin: &PluginName, target: Option<Duration>) {
        let took = self.took();
        let Some(target) = target.filter(|target| took > *target) else { return };
        let slowest = self.times.iter().max_by_key(|(_, time)| *time).map_or("", |(stage, _)| *stage);
        tracing::warn!(%plugin, ?took, ?target, slowest, stages = %self, "a plugin was loaded slower than its target");
    }
}

impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (stage, time)) in self.times.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{stage} {time:.1?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_in_their_order() {
        let now = Instant::now();
        let times = vec![("read", Duration::from_micros(150)), ("compile", Duration::from_millis(20))];
        let stages = Stages { started: now, last: now, times };
        assert_eq!(stages.to_string(), "read 150.0µs, compile 20.0ms");
    }
}
