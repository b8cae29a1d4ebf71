//! A trace that is complete.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

/// What happened in one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Trace {
    /// 32 hexadecimal digits. A caller that makes several requests in one trace of its own has several of these with one
    /// identifier.
    pub trace_id: String,
    /// When the request began, in microseconds since 1970.
    pub started_unix_us: u64,
    /// The request first, and each span after the one that it belongs to.
    pub spans: Vec<Span>,
    /// Spans beyond [`MAX_SPANS`](crate::MAX_SPANS), which are not here.
    pub dropped_spans: u64,
}

impl Trace {
    /// The span of the request.
    #[must_use]
    pub fn root(&self) -> Option<&Span> {
        self.spans.first()
    }
}

/// A piece of the work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Span {
    /// What kind of work: `request`, `dispatch`, `handler`, `host_call` or `sql`, and whatever else is instrumented.
    pub name: Cow<'static, str>,
    /// The span that this one belongs to, by its place in the trace. `None`: it is the request.
    pub parent: Option<usize>,
    /// Nanoseconds from the start of the request.
    pub start_ns: u64,
    /// In nanoseconds. A span ends when everything in it has.
    pub duration_ns: u64,
    /// What else is known, such as `plugin`, `tap` and `outcome`.
    pub fields: BTreeMap<Cow<'static, str>, String>,
}

impl Span {
    /// The value of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// A name for people, that says which of its kind it is and has few values: `GET /item/{id}`, `dispatch item_view`,
    /// `seo.item_view`.
    #[must_use]
    pub fn label(&self) -> String {
        let field = |name| self.field(name).unwrap_or("?");
        match &*self.name {
            "request" => format!("{} {}", field("method"), self.field("route").unwrap_or("(no such address)")),
            "dispatch" => format!("dispatch {}", field("tap")),
            "handler" => format!("{}.{}", field("plugin"), field("tap")),
            "host_call" => field("function").to_owned(),
            other => other.to_owned(),
        }
    }

    /// Whether it did not end as it should: what a handler's outcome or an answer's status says.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.field("outcome").is_some_and(|outcome| outcome != "ok")
            || self.field("status").is_some_and(|status| status.starts_with('5'))
    }
}
