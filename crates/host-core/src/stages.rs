//! How long the stages of a start take: each by itself, and all together without what was waited for in between.

use std::{
    fmt,
    time::{Duration, Instant},
};

use tapline_tap_dispatch::PluginName;

/// A clock that is read at the end of each stage.
pub(crate) struct Stages {
    last: Instant,
    times: Vec<(&'static str, Duration)>,
}

impl Stages {
    pub(crate) fn begin() -> Self {
        Self { last: Instant::now(), times: Vec::new() }
    }

    pub(crate) fn end(&mut self, stage: &'static str) {
        let took = self.last.elapsed();
        self.end_with(stage, took);
    }

    /// Ends a stage that was measured where it happened: what else there was until now is no part of it.
    pub(crate) fn end_with(&mut self, stage: &'static str, took: Duration) {
        self.times.push((stage, took));
        self.skip();
    }

    /// Leaves out what there was since the last stage has ended: it was waited for.
    pub(crate) fn skip(&mut self) {
        self.last = Instant::now();
    }

    /// The time of all stages that have ended.
    pub(crate) fn took(&self) -> Duration {
        self.times.iter().map(|(_, time)| *time).sum()
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
        let mut stages = Stages::begin();
        stages.end_with("read", Duration::from_micros(150));
        stages.end_with("compile", Duration::from_millis(20));
        assert_eq!(stages.to_string(), "read 150.0µs, compile 20.0ms");
        assert_eq!(stages.took(), Duration::from_micros(20_150));
    }

    #[test]
    fn what_is_waited_for_is_in_no_stage() {
        let mut stages = Stages::begin();
        // As if the last stage had ended a minute ago.
        stages.last -= Duration::from_secs(60);
        stages.skip();
        stages.end("check");
        assert!(stages.took() < Duration::from_secs(60), "{stages}");
    }
}
