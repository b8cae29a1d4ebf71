//! From spans to traces.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use tracing::{
    Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, Filter},
    registry::LookupSpan,
};

use crate::{
    context::TraceContext,
    export::Exporter,
    trace::{Span, Trace},
    traces::Traces,
};

/// The target of the spans that are recorded, from the level `DEBUG` on.
pub const TARGET: &str = "tapline::trace";

/// Spans of one trace. A page of a list can make thousands of calls.
pub const MAX_SPANS: usize = 1000;

/// Longest value of a field, in bytes.
pub const MAX_FIELD_BYTES: usize = 512;

/// Makes a [`Trace`] of all spans within one that was made with [`TraceContext::begin`], keeps it, and exports it.
///
/// Requests that did nothing but answer, such as those of a probe or a scraper, are neither kept nor exported.
#[derive(Debug)]
pub struct Recorder {
    traces: Traces,
    exporter: Option<Exporter>,
}

impl Recorder {
    /// Keeps traces in `traces`.
    #[must_use]
    pub fn new(traces: Traces) -> Self {
        Self { traces, exporter: None }
    }

    /// Sends them as well, but for those whose caller has asked not to.
    #[must_use]
    pub fn export(mut self, exporter: Exporter) -> Self {
        self.exporter = Some(exporter);
        self
    }

    /// What a subscriber is given. Nothing but the spans of [`TARGET`] is enabled by it.
    pub fn layer<S>(self) -> impl Layer<S> + Send + Sync + 'static
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        Layer::<S>::with_filter(self, Spans)
    }

    fn finished(&self, building: &Building) {
        let BuildingSpans { spans, dropped } = std::mem::take(&mut *building.lock());
        if spans.len() < 2 {
            return;
        }
        let started_unix_us = building.began.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let trace = Arc::new(Trace {
            trace_id: building.context.trace().to_string(),
            started_unix_us: u64::try_from(started_unix_us).unwrap_or(u64::MAX),
            spans,
            dropped_spans: dropped,
        });
        if let Some(exporter) = self.exporter.as_ref().filter(|_| building.context.is_sampled()) {
            exporter.send(&building.context, building.began, &trace);
        }
        self.traces.keep(trace);
    }
}

/// Which spans are recorded.
struct Spans;

impl Spans {
    fn wants(metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target() == TARGET && *metadata.level() <= tracing::Level::DEBUG
    }
}

impl<S> Filter<S> for Spans {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        Self::wants(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Not `always`: the filters are asked again for each span. What a question about some event, such as `enabled!`, leaves
        // behind in them would otherwise be taken for the answer about the next span that everybody always wants.
        if Self::wants(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }
}

/// A trace that is not complete.
struct Building {
    context: TraceContext,
    began: SystemTime,
    clock: Instant,
    spans: Mutex<BuildingSpans>,
}

#[derive(Default)]
struct BuildingSpans {
    spans: Vec<Span>,
    dropped: u64,
}

impl Building {
    fn lock(&self) -> MutexGuard<'_, BuildingSpans> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nanoseconds since it began.
    fn now(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Adds a span within another one. What is in one that was left out is left out too.
    fn add_within(&self, parent: Option<usize>, name: &'static str, fields: Fields) -> Option<usize> {
        if parent.is_none() {
            self.lock().dropped += 1;
            return None;
        }
        self.add(name, parent, fields)
    }

    /// Adds a span, and says where it is. `None`: there are too many.
    fn add(&self, name: &'static str, parent: Option<usize>, fields: Fields) -> Option<usize> {
        let start_ns = self.now();
        let mut building = self.lock();
        if building.spans.len() == MAX_SPANS {
            building.dropped += 1;
            return None;
        }
        building.spans.push(Span { name: name.into(), parent, start_ns, duration_ns: 0, fields: fields.0 });
        Some(building.spans.len() - 1)
    }

    /// Does something to a span.
    fn change(&self, index: usize, change: impl FnOnce(&mut Span)) {
        if let Some(span) = self.lock().spans.get_mut(index) {
            change(span);
        }
    }
}

/// Which span of which trace one of the subscriber's spans is.
#[derive(Clone)]
struct Place {
    building: Arc<Building>,
    /// `None`: it is one too many.
    index: Option<usize>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let (building, index) = if let Some(request) = TraceContext::beginning() {
            let (began, clock) = (SystemTime::now(), Instant::now());
            let building = Arc::new(Building { context: request, began, clock, spans: Mutex::default() });
            let index = building.add(span.name(), None, fields);
            (building, index)
        } else {
            let parent = span.parent().and_then(|parent| parent.extensions().get::<Place>().cloned());
            // A span outside of any request is nobody's.
            let Some(Place { building, index: parent }) = parent else { return };
            let index = building.add_within(parent, span.name(), fields);
            (building, index)
        };
        span.extensions_mut().insert(Place { building, index });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some((building, index)) = place(id, &context) else { return };
        let mut fields = Fields::default();
        values.record(&mut fields);
        building.change(index, |span| span.fields.extend(fields.0));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some((building, index)) = place(&id, &context) else { return };
        let now = building.now();
        building.change(index, |span| span.duration_ns = now.saturating_sub(span.start_ns));
        if index == 0 {
            self.finished(&building);
        }
    }
}

fn place<S: Subscriber + for<'a> LookupSpan<'a>>(id: &Id, context: &Context<'_, S>) -> Option<(Arc<Building>, usize)> {
    let Place { building, index } = context.span(id)?.extensions().get::<Place>().cloned()?;
    Some((building, index?))
}

/// What is known of a span, as text.
#[derive(Default)]
struct Fields(BTreeMap<Cow<'static, str>, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Bounded(String::new());
        // It ends with an error where the text is full.
        let _ = write!(text, "{value:?}");
        self.0.insert(field.name().into(), text.0);
    }
}

/// Text that takes no more than so much, however long what is written into it.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_FIELD_BYTES - self.0.len();
        let fits = text.floor_char_boundary(room.min(text.len()));
        self.0.push_str(&text[..fits]);
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}
