//! The last traces, in bounded memory.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::trace::Trace;

/// Spans of all kept traces together. One takes up to a kilobyte or so, hardly ever more than 300 bytes.
pub const MAX_KEPT_SPANS: usize = 20_000;

/// Keeps the last traces. Cheap to clone; all clones keep the same ones.
#[derive(Clone, Debug)]
pub struct Traces {
    capacity: usize,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The oldest first.
    traces: VecDeque<Arc<Trace>>,
    spans: usize,
}

/// One line about a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// See [`Trace::trace_id`].
    pub trace_id: String,
    /// See [`Trace::started_unix_us`].
    pub started_unix_us: u64,
    /// The [label](crate::Span::label) of the request.
    pub label: String,
    /// What was asked for.
    pub path: String,
    /// With which status it was answered. Empty: not at all.
    pub status: String,
    /// In nanoseconds.
    pub duration_ns: u64,
    /// How many spans it has.
    pub spans: usize,
}

impl Traces {
    /// Keeps at most `capacity` traces, and fewer where they have more than [`MAX_KEPT_SPANS`] spans together.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, kept: Arc::default() }
    }

    /// The traces of this identifier, the last one first. A caller may use its identifier for more than one request.
    #[must_use]
    pub fn find(&self, trace_id: &str) -> Vec<Arc<Trace>> {
        self.kept().traces.iter().rev().filter(|trace| trace.trace_id == trace_id).cloned().collect()
    }

    /// All that are kept, the last one first.
    #[must_use]
    pub fn summaries(&self) -> Vec<Summary> {
        // Cheap while others wait for the lock; the texts are made after it.
        let traces: Vec<Arc<Trace>> = self.kept().traces.iter().rev().cloned().collect();
        traces.iter().filter_map(|trace| summary(trace)).collect()
    }

    pub(crate) fn keep(&self, trace: Arc<Trace>) {
        // Dropped after the lock is free.
        let mut gone = Vec::new();
        let mut kept = self.kept();
        kept.spans += trace.spans.len();
        kept.traces.push_back(trace);
        while kept.traces.len() > self.capacity || kept.spans > MAX_KEPT_SPANS {
            let Some(oldest) = kept.traces.pop_front() else { break };
            kept.spans -= oldest.spans.len();
            gone.push(oldest);
        }
        drop(kept);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn summary(trace: &Trace) -> Option<Summary> {
    let root = trace.root()?;
    let field = |name| root.field(name).unwrap_or_default().to_owned();
    Some(Summary {
        trace_id: trace.trace_id.clone(),
        started_unix_us: trace.started_unix_us,
        label: root.label(),
        path: field("path"),
        status: field("status"),
        duration_ns: root.duration_ns,
        spans: trace.spans.len(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::trace::Span;

    fn trace(id: &str, spans: usize) -> Arc<Trace> {
        let span = Span { name: "request".into(), parent: None, start_ns: 0, duration_ns: 1, fields: BTreeMap::new() };
        Arc::new(Trace { trace_id: id.to_owned(), started_unix_us: 0, spans: vec![span; spans], dropped_spans: 0 })
    }

    #[test]
    fn the_last_ones_stay() {
        let traces = Traces::new(2);
        for id in ["a", "b", "c"] {
            traces.clone().keep(trace(id, 1));
        }
        let kept: Vec<String> = traces.summaries().into_iter().map(|summary| summary.trace_id).collect();
        assert_eq!(kept, ["c", "b"]);
        assert!(traces.find("a").is_empty());
        assert_eq!(traces.find("b").len(), 1);
    }

    #[test]
    fn large_traces_leave_room_for_fewer() {
        let traces = Traces::new(1000);
        for id in ["a", "b", "c"] {
            traces.keep(trace(id, MAX_KEPT_SPANS / 2));
        }
        assert_eq!((traces.find("a").len(), traces.find("b").len(), traces.find("c").len()), (0, 1, 1));
        traces.keep(trace("d", MAX_KEPT_SPANS));
        assert_eq!(traces.summaries().len(), 1);
        traces.keep(trace("e", MAX_KEPT_SPANS + 1));
        assert!(traces.summaries().is_empty(), "one that is larger than all may be is not kept");
        traces.keep(trace("f", 1));
        assert_eq!(traces.find("f").len(), 1, "nothing is counted that is gone");
    }

    #[test]
    fn none_are_kept_where_none_are_wanted() {
        let traces = Traces::new(0);
        traces.keep(trace("a", 1));
        assert!(traces.summaries().is_empty());
    }

    #[test]
    fn requests_of_one_trace_are_all_found() {
        let traces = Traces::new(10);
        traces.keep(trace("a", 1));
        traces.keep(trace("a", 2));
        let found: Vec<usize> = traces.find("a").iter().map(|trace| trace.spans.len()).collect();
        assert_eq!(found, [2, 1]);
    }
}
