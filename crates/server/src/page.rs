//! The page of an item and the list of items.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use askama::Template;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{Timestamp, tz::TimeZone};
use tapline_content::{
    AccessQuestion, AccessRequest, Contribution, Header, Item, ItemAccess, ItemView, Operation, Value,
};
use tapline_host_core::{Ballot, Observation, PluginName, Tap, observed};
use tapline_telemetry::TARGET;
use tracing::Instrument;

use crate::{
    body,
    error::{PageError, is_busy, is_host_busy},
    request,
    server::Server,
};

/// Items of a list that are asked for at the same time. Enough to let their waits overlap; a list must not take the
/// whole pool.
const CONCURRENT_QUESTIONS: usize = 8;

/// One page: of an item, or of the list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The whole document.
    pub html: String,
    /// How long each part took.
    pub timing: Timing,
    /// What became of every call of a plugin, in the order in which they ended.
    pub calls: Vec<Observation>,
}

impl Page {
    /// The value of the header `Server-Timing`, which the tools of browsers show: the parts of the page, and the time that
    /// each plugin took for each tap, all its calls together. Those that took longest come first, and are at most
    /// [`MAX_TIMED_CALLS`]. Times are in milliseconds.
    pub(crate) fn server_timing(&self) -> String {
        let mut sums: BTreeMap<(&str, &str), Duration> = BTreeMap::new();
        for call in &self.calls {
            *sums.entry((call.plugin.as_str(), call.tap.as_str())).or_default() += call.took;
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(_, took)| Reverse(*took));
        let mut header = self.timing.header();
        for ((plugin, tap), took) in sums.into_iter().take(MAX_TIMED_CALLS) {
            let milliseconds = took.as_secs_f64() * 1000.0;
            header.push_str(&format!(", {plugin}.{tap};dur={milliseconds:.3}"));
        }
        header
    }
}

/// Plugins with their taps in one `Server-Timing`. Proxies refuse headers of more than some kilobytes.
const MAX_TIMED_CALLS: usize = 50;

/// How long the parts of a page took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// Reading the item, or the list, from the store.
    pub load: Duration,
    /// Asking `item_access`. Of a list: for each of its items, which are read for that.
    pub access: Duration,
    /// Running `item_view`. A list has none of it.
    pub dispatch: Duration,
    /// Rendering the body and writing the page.
    pub render: Duration,
}

impl Timing {
    /// The value of the header `Server-Timing`. Times are in milliseconds.
    pub(crate) fn header(&self) -> String {
        let part = |name: &str, time: Duration| format!("{name};dur={:.3}", time.as_secs_f64() * 1000.0);
        let parts =
            [("load", self.load), ("access", self.access), ("dispatch", self.dispatch), ("render", self.render)];
        let total = parts.iter().map(|(_, time)| *time).sum();
        let mut all: Vec<String> = parts.into_iter().map(|(name, time)| part(name, time)).collect();
        all.push(part("total", total));
        all.join(", ")
    }
}

/// Tells how long one part took after the other.
struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the last part ended.
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now - std::mem::replace(&mut self.0, now)
    }
}

/// A date for people and for machines.
pub(crate) struct Date {
    machine: String,
    people: String,
}

impl Date {
    /// `None`: the item has no date, or one that no calendar holds.
    fn new(seconds: i64) -> Option<Self> {
        let day = Timestamp::from_second(seconds).ok().filter(|_| seconds != 0)?.to_zoned(TimeZone::UTC);
        Some(Self { machine: day.strftime("%Y-%m-%d").to_string(), people: day.strftime("%-d %B %Y").to_string() })
    }
}

#[derive(Template)]
#[template(path = "item.html")]
struct ItemPage<'a> {
    site: &'a str,
    title: &'a str,
    kind: &'a str,
    author: &'a str,
    date: Option<Date>,
    tags: Vec<&'a str>,
    body: &'a str,
    contributions: &'a [Added],
    silent: &'a [PluginName],
    explained: Option<Vec<Explained>>,
    /// The identifier of the request, for operators.
    request: Option<String>,
}

/// What became of one call of a plugin, for an operator.
struct Explained {
    tap: String,
    /// Its place among the handlers of the tap, from 1.
    place: usize,
    plugin: PluginName,
    outcome: &'static str,
    took: String,
    cpu: String,
    fuel: String,
    memory: String,
    host_calls: String,
}

/// What one plugin added.
struct Added {
    plugin: PluginName,
    head: String,
    body: String,
}

#[derive(Template)]
#[template(path = "list.html")]
struct ListPage<'a> {
    site: &'a str,
    page: u32,
    more: bool,
    rows: Vec<Row>,
}

struct Row {
    id: Arc<str>,
    title: Arc<str>,
    kind: Arc<str>,
    author: Arc<str>,
    sticky: bool,
    date: Option<Date>,
}

impl From<Header> for Row {
    fn from(header: Header) -> Self {
        Self {
            date: Date::new(header.created),
            id: header.id,
            title: header.title,
            kind: header.kind,
            author: header.author,
            sticky: header.sticky,
        }
    }
}

impl Server {
    /// Makes the page of an item, as an anonymous reader sees it.
    ///
    /// A plugin that fails in `item_view` is left out, counted and logged; readers learn no more than its name.
    ///
    /// # Errors
    ///
    /// There is no such item, it may not be shown, the host is overloaded, or the store fails.
    pub async fn item_page(&self, id: &str) -> Result<Page, PageError> {
        self.make(id, Audience::Everybody).await
    }

    /// The same with a table of what became of every call of a plugin: for operators.
    ///
    /// # Errors
    ///
    /// As [`Server::item_page`].
    pub async fn explained_page(&self, id: &str) -> Result<Page, PageError> {
        self.make(id, Audience::Operators).await
    }

    async fn make(&self, id: &str, audience: Audience) -> Result<Page, PageError> {
        let (mut timing, mut clock) = (Timing::default(), Clock::start());
        let load = tracing::debug_span!(target: TARGET, "load");
        let item =
            self.store().load(id).instrument(load).await?.ok_or_else(|| PageError::NotFound { id: id.to_owned() })?;
        timing.load = clock.lap();
        let (asked, mut calls) = observed(self.ask(Arc::clone(&item))).await;
        asked?;
        timing.access = clock.lap();
        let (view, of_view) = observed(self.host().dispatch(ItemView, &item)).await;
        let view = view?;
        calls.extend(of_view);
        if let Some(busy) = view.failures.iter().find(|failure| is_host_busy(failure)) {
            return Err(PageError::Busy(busy.clone()));
        }
        timing.dispatch = clock.lap();
        let render = tracing::debug_span!(target: TARGET, "render");
        let body = body::render(self, &item).instrument(render).await?;
        let silent: Vec<PluginName> = view.failures.into_iter().map(|failure| failure.plugin).collect();
        let contributions = self.added(view.answers).await?;
        let header = item.header();
        let html = ItemPage {
            site: &self.config().title,
            title: &header.title,
            kind: &header.kind,
            author: &header.author,
            date: Date::new(header.created),
            tags: labels(&item),
            body: &body,
            contributions: &contributions,
            silent: &silent,
            explained: (audience == Audience::Operators).then(|| self.explain(&calls)),
            request: request::id().map(|id| id.to_string()),
        }
        .render()?;
        timing.render = clock.lap();
        Ok(Page { html, timing, calls })
    }

    /// What the plugins added, as markup.
    async fn added(&self, answers: Vec<(PluginName, Contribution)>) -> Result<Vec<Added>, PageError> {
        let size = answers.iter().map(|(_, added)| added.size()).sum();
        let markup = |(plugin, added): (_, Contribution)| Added { plugin, head: added.head(), body: added.body() };
        self.heavy().run(size, move || answers.into_iter().map(markup).collect()).await
    }

    /// In the order of the taps, and of their handlers.
    fn explain(&self, calls: &[Observation]) -> Vec<Explained> {
        let milliseconds = |time: Duration| format!("{:.3}", time.as_secs_f64() * 1000.0);
        let or_none = |number: Option<u64>| number.map_or_else(|| "–".to_owned(), |number| number.to_string());
        let mut explained: Vec<Explained> = calls
            .iter()
            .map(|call| {
                let order = self.host().order(call.tap.as_str());
                let place = order.and_then(|order| order.plugins().iter().position(|plugin| *plugin == call.plugin));
                Explained {
                    tap: call.tap.to_string(),
                    place: place.map_or(0, |place| place + 1),
                    plugin: call.plugin.clone(),
                    outcome: call.outcome.as_str(),
                    took: milliseconds(call.took),
                    cpu: milliseconds(call.cpu),
                    fuel: or_none(call.used.and_then(|used| used.fuel)),
                    memory: or_none(call.used.map(|used| used.peak_memory_bytes / 1024)),
                    host_calls: or_none(call.used.map(|used| used.host_calls)),
                }
            })
            .collect();
        explained.sort_by(|a, b| (&a.tap, a.place).cmp(&(&b.tap, b.place)));
        explained
    }

    /// Makes a page of the list, counted from 1. What an anonymous reader may not see is left out.
    ///
    /// # Errors
    ///
    /// The host is overloaded, or the store fails.
    pub async fn list_page(&self, page: u32) -> Result<Page, PageError> {
        let (mut timing, mut clock) = (Timing::default(), Clock::start());
        let page = page.max(1);
        let size = self.config().page_size.max(1);
        let offset = size.saturating_mul(page - 1);
        let mut headers = self.store().list(size.saturating_add(1), offset).await?;
        let more = headers.len() > size as usize;
        headers.truncate(size as usize);
        timing.load = clock.lap();
        let (shown, calls) = observed(self.all_visible(headers)).await;
        let rows = shown?.into_iter().map(Row::from).collect();
        timing.access = clock.lap();
        let html = ListPage { site: &self.config().title, page, more, rows }.render()?;
        timing.render = clock.lap();
        Ok(Page { html, timing, calls })
    }

    /// Those that an anonymous reader may see, in their order.
    async fn all_visible(&self, headers: Vec<Header>) -> Result<Vec<Header>, PageError> {
        if self.host().order(ItemAccess::NAME).is_none() {
            return Ok(headers);
        }
        let questions = stream::iter(headers).map(|header| self.visible(header)).buffered(CONCURRENT_QUESTIONS);
        questions.try_filter_map(async |header| Ok(header)).try_collect().await
    }

    /// `None`: the reader may not see it, or it has just been deleted.
    async fn visible(&self, header: Header) -> Result<Option<Header>, PageError> {
        let Some(item) = self.store().load(&header.id).await? else { return Ok(None) };
        match self.ask(item).await {
            Ok(()) => Ok(Some(header)),
            Err(PageError::Denied { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether an anonymous reader may see an item.
    async fn ask(&self, item: Arc<Item>) -> Result<(), PageError> {
        let id = item.header().id.to_string();
        if !item.header().published {
            return Err(PageError::Denied { id, denied_by: Vec::new() });
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let request = AccessRequest { operation: Operation::View, account: None, now };
        let decision = self.host().dispatch(ItemAccess, &AccessQuestion { item, request }).await?;
        if let Some(busy) = decision.failures.iter().find(|failure| is_busy(failure)) {
            return Err(PageError::Busy(busy.clone()));
        }
        match decision.ballot {
            Ballot::Deny => Err(PageError::Denied { id, denied_by: decision.denied_by }),
            Ballot::Allow | Ballot::Neutral => Ok(()),
        }
    }
}

/// For whom a page is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    Everybody,
    Operators,
}

fn labels(item: &Item) -> Vec<&str> {
    let references = match item.field("tags") {
        Some(Value::References(many)) => &many[..],
        Some(Value::Reference(one)) => std::slice::from_ref(one),
        _ => &[],
    };
    references.iter().map(|tag| if tag.label.is_empty() { &*tag.id } else { &*tag.label }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timing() {
        let ms = Duration::from_millis;
        let timing = Timing { load: ms(1), access: ms(2), dispatch: ms(3), render: Duration::from_micros(4) };
        assert_eq!(
            timing.header(),
            "load;dur=1.000, access;dur=2.000, dispatch;dur=3.000, render;dur=0.004, total;dur=6.004"
        );
    }

    #[test]
    fn dates() {
        let date = Date::new(1_769_817_600).unwrap();
        assert_eq!((date.machine.as_str(), date.people.as_str()), ("2026-01-31", "31 January 2026"));
        assert!(Date::new(0).is_none());
        assert!(Date::new(i64::MAX).is_none());
    }
}
