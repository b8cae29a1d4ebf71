//! The page for operators: what is loaded, what it does, and what to change.

use std::{collections::BTreeMap, fmt::Write as _};

use askama::Template;
use tapline_host_core::{
    BreakerState, BreakerStatus, CodeFailure, Plugin, Policy, RefusedChange, Target,
    cache::DiskState,
    causes,
    metrics::{Metrics, StageSnapshot, TapSnapshot, process},
};

use crate::{
    action::{Outcome, words_of},
    advice::advice,
    form::FormToken,
    health::subject,
    history::Rates,
    server::Server,
};

/// The drawing of one minute, in its own units.
const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 24.0;

#[derive(Template)]
#[template(path = "panel.html")]
struct Panel<'a> {
    site: &'a str,
    outcome: Option<Outcome>,
    /// What the forms carry. None: nothing can be changed.
    token: Option<&'a str>,
    can_reload: bool,
    version: &'static str,
    uptime: String,
    enabled: bool,
    /// What was to change and did not.
    refused: Vec<String>,
    advice: Vec<String>,
    plugins: Vec<PluginRow>,
    orders: Vec<TapOrder>,
    stages: Vec<StageRow>,
    targets: Vec<TargetRow>,
    figures: Vec<(&'static str, String)>,
}

struct PluginRow {
    name: String,
    enabled: bool,
    /// Whether it has a vote: without it, what it denies is shown.
    votes: bool,
    version: String,
    file: String,
    grants: String,
    rate: String,
    errors: String,
    /// Whether a handler is not called, there is no code to call, or calls have failed in the last minute.
    is_bad: bool,
    /// Why its code could not be brought, and since when.
    no_code: Option<String>,
    memory: String,
    refused: u64,
    started: String,
    line: Option<Line>,
    taps: Vec<TapRow>,
}

struct TapRow {
    tap: String,
    calls: u64,
    failures: u64,
    p50: String,
    p99: String,
    breaker: &'static str,
}

/// The last minute as a line, and in words for who does not see it.
struct Line {
    points: String,
    words: String,
}

/// What comes before a call, one stage at a time.
struct StageRow {
    stage: &'static str,
    count: u64,
    average: String,
    p50: String,
    p99: String,
}

struct TargetRow {
    name: &'static str,
    target: String,
    actual: String,
    met: &'static str,
}

struct TapOrder {
    tap: String,
    entries: Vec<(String, i32, String)>,
}

/// What all handlers do, read once for the whole page.
struct Seen<'a> {
    metrics: &'a Metrics,
    taps: &'a BTreeMap<(&'a str, &'a str), &'a TapSnapshot>,
    breakers: &'a [BreakerStatus],
}

/// `outcome`: what became of the action after which the page is asked for.
pub(crate) fn render(server: &Server, outcome: Option<Outcome>) -> Result<String, askama::Error> {
    let host = server.host();
    let (metrics, breakers) = (host.metrics(), host.breakers());
    let snapshots = metrics.tap_snapshots();
    let taps: BTreeMap<_, _> = snapshots.iter().map(|tap| ((tap.plugin.as_str(), tap.tap.as_str()), tap)).collect();
    let seen = Seen { metrics, taps: &taps, breakers: &breakers };
    let order = |tap: &tapline_host_core::Contract| {
        let order = host.order(tap.tap().as_str())?;
        let entries = order.entries().iter().map(|entry| {
            let reasons: Vec<String> = entry.reasons.iter().map(ToString::to_string).collect();
            (entry.plugin.to_string(), entry.weight, reasons.join("; "))
        });
        Some(TapOrder { tap: tap.tap().to_string(), entries: entries.collect() })
    };
    Panel {
        site: &server.config().title,
        outcome,
        token: server.form_token().map(FormToken::as_str),
        can_reload: server.config().specs.is_some(),
        version: env!("CARGO_PKG_VERSION"),
        uptime: duration(server.uptime().as_secs()),
        enabled: host.metrics().is_enabled(),
        refused: host.refused_changes().iter().map(refused).collect(),
        advice: advice(host, server.history().concurrency()),
        plugins: host.plugins().iter().map(|plugin| plugin_row(server, plugin, &seen)).collect(),
        orders: host.taps().filter_map(order).collect(),
        stages: metrics.stages().iter().map(stage_row).collect(),
        targets: targets(server),
        figures: figures(server),
    }
    .render()
}

fn plugin_row(server: &Server, plugin: &Plugin, seen: &Seen<'_>) -> PluginRow {
    let host = server.host();
    let name = plugin.name().as_str();
    // Each handler has a breaker: what an earlier version handled is not among them.
    let handlers = || seen.breakers.iter().filter(|breaker| breaker.plugin == *plugin.name());
    let row = |breaker: &BreakerStatus| {
        let tap = breaker.tap.as_str();
        let did = seen.taps.get(&(name, tap));
        TapRow {
            tap: tap.to_owned(),
            calls: did.map_or(0, |did| did.invocations),
            failures: did.map_or(0, |did| did.failures),
            p50: seconds(did.map_or(0.0, |did| did.p50_seconds)),
            p99: seconds(did.map_or(0.0, |did| did.p99_seconds)),
            breaker: breaker.state.as_str(),
        }
    };
    let taps: Vec<TapRow> = handlers().map(row).collect();
    let is_vote = |tap: &str| host.taps().any(|it| it.policy() == Policy::Vote && it.tap().as_str() == tap);
    let rates = server.history().rates(name);
    let figures = seen.metrics.plugin_snapshot(name);
    let key = plugin.key().visible_name();
    PluginRow {
        enabled: host.is_enabled(plugin.name()),
        votes: taps.iter().any(|row| is_vote(&row.tap)),
        version: plugin.manifest().taps.first().map_or_else(|| "–".to_owned(), |record| record.version.clone()),
        file: key.get(..12).unwrap_or(&key).to_owned(),
        grants: if plugin.grant_names().is_empty() { "none".to_owned() } else { plugin.grant_names().join(", ") },
        rate: format!("{:.1}", rates.mean),
        errors: format!("{:.1} %", rates.error_rate * 100.0),
        is_bad: rates.error_rate > 0.0
            || plugin.code_failure().is_some()
            || taps.iter().any(|tap| tap.breaker == BreakerState::Open.as_str()),
        no_code: plugin.code_failure().as_ref().map(no_code),
        memory: figures.as_ref().map_or_else(|| "–".to_owned(), |figures| bytes(figures.memory_peak_bytes)),
        refused: figures.as_ref().map_or(0, |figures| figures.refused_growths),
        started: figures.map_or_else(|| "–".to_owned(), |figures| format!("{:.1} ms", figures.last_start_ms)),
        line: line(&rates),
        taps,
        name: name.to_owned(),
    }
}

fn refused(change: &RefusedChange) -> String {
    let since = duration(change.since.elapsed().unwrap_or_default().as_secs());
    let hint = change.hint.as_ref().map(|hint| format!(" To mend it: {hint}.")).unwrap_or_default();
    let told = subject(change);
    format!("For {since} this host has not run what it was told to run, of `{told}`: {}.{hint}", change.reason)
}

fn no_code(failure: &CodeFailure) -> String {
    let CodeFailure { error, since, retry_in, .. } = failure;
    let failing = duration(since.elapsed().unwrap_or_default().as_secs());
    let tries = match retry_in.as_secs() {
        0 => "The next call tries again.".to_owned(),
        seconds => format!("A call tries again in {seconds} s, and Reload at once."),
    };
    format!("Not called for {failing}, because its code could not be brought: {} {tries}", words_of(error))
}

/// `None`: less than two seconds are known.
fn line(rates: &Rates) -> Option<Line> {
    let calls = &rates.calls;
    let last = calls.last().filter(|_| calls.len() > 1)?;
    let most = calls.iter().copied().fold(0.0, f64::max);
    let mut points = String::new();
    for (index, value) in calls.iter().enumerate() {
        let x = index as f64 / (calls.len() - 1) as f64 * WIDTH;
        let y = HEIGHT - 1.0 - value / most.max(1.0) * (HEIGHT - 2.0);
        let _ = write!(points, "{x:.1},{y:.1} ");
    }
    let words = format!("Calls for each second in the last {} seconds: at most {most:.0}, now {last:.0}", calls.len());
    Some(Line { points: points.trim_end().to_owned(), words })
}

fn targets(server: &Server) -> Vec<TargetRow> {
    let host = server.host();
    let row = |it: Target| TargetRow {
        name: it.name,
        target: it.target,
        actual: it.actual.map_or_else(|| "–".to_owned(), |actual| format!("{actual:.2}")),
        met: match it.actual {
            None => "not measured yet",
            Some(_) if it.met => "met",
            Some(_) => "not met",
        },
    };
    let measured = host.metrics().is_enabled().then(|| host.validate_performance().targets);
    measured.into_iter().flatten().map(row).collect()
}

fn stage_row(it: &StageSnapshot) -> StageRow {
    let time = |ms: f64| seconds(ms / 1000.0);
    let [average, p50, p99] = [it.average_ms, it.p50_ms, it.p99_ms].map(time);
    StageRow { stage: it.stage.as_str(), count: it.count, average, p50, p99 }
}

fn figures(server: &Server) -> Vec<(&'static str, String)> {
    let host = server.host();
    let (in_use, limit) = host.slots();
    let caches = host.caches();
    let sum = |of: fn(&tapline_host_core::cache::Statistics) -> u64| caches.iter().map(of).sum::<u64>();
    let mut figures = vec![("Slots of the pool in use", format!("{in_use} of {limit}"))];
    let pool = host.pool_metrics();
    figures.push(("Instances that wait for a call", pool.idle_vms.to_string()));
    figures.push((
        "Calls that found an instance, and that made theirs",
        format!("{} and {}", pool.pool_hits, pool.pool_misses),
    ));
    if let Some(queue) = host.metrics().queue_metrics() {
        figures.push(("Calls that waited for a slot", format!("{} of {}", queue.waits, queue.calls)));
        figures.push(("Mean of those waits", format!("{:.2} ms", queue.average_wait_ms)));
    }
    if let Some(concurrency) = server.history().concurrency() {
        figures.push(("Most calls at once in the last minute", format!("{concurrency:.2}")));
    }
    if let Some(runtime) = host.runtime_metrics() {
        figures.push(("Instances whose code was there", format!("{:.1} %", runtime.cache_hit_rate * 100.0)));
        figures.push((
            "Start of a plugin (compile or load artifact, instantiate fresh), median and p99",
            format!("{:.1} and {:.1} ms", runtime.p50_cold_start_ms, runtime.p99_cold_start_ms),
        ));
    }
    figures.push(("Compiled plugins on disk", on_disk(&host.disk_state())));
    figures.push(("Compiled plugins that could not be kept there", sum(|cache| cache.failed_writes).to_string()));
    figures.push(("Compiled plugins in memory", sum(|cache| cache.entries.len() as u64).to_string()));
    let found = format!("{} and {}", sum(|cache| cache.memory_hits), sum(|cache| cache.disk_hits));
    figures.push(("Plugins found compiled, in memory and on disk", found));
    figures.push(("Plugins compiled", sum(|cache| cache.compilations).to_string()));
    figures.push(("Compiled plugins that had to leave", sum(|cache| cache.evictions).to_string()));
    let memory = host.memory().usage();
    let pages = |pages: u64| bytes(pages.saturating_mul(64 << 10));
    figures.push((
        "Memory of instances, now and at most",
        format!("{} and {}", pages(memory.current_pages), pages(memory.peak_pages)),
    ));
    figures.push(("Refused growths", memory.refused_growths.to_string()));
    if let Some(resident) = process::resident_bytes() {
        figures.push(("Memory of the process", bytes(resident)));
    }
    figures
}

fn on_disk(state: &DiskState) -> String {
    match state {
        DiskState::Ready { directory } => format!("kept in {}", directory.display()),
        DiskState::Unusable { directory, reason } => {
            format!("not kept in {}: {}", directory.display(), causes(reason).join(": "))
        }
        _ => "not kept: no directory is configured".to_owned(),
    }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        0.0 => "–".to_owned(),
        it if it < 0.000_01 => format!("{:.1} µs", it * 1e6),
        it if it < 0.001 => format!("{:.0} µs", it * 1e6),
        it if it < 1.0 => format!("{:.1} ms", it * 1e3),
        it => format!("{it:.1} s"),
    }
}

fn bytes(bytes: u64) -> String {
    match bytes {
        it if it < 1 << 20 => format!("{} KiB", it >> 10),
        it => format!("{:.1} MiB", it as f64 / f64::from(1 << 20)),
    }
}

fn duration(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    if hours > 0 { format!("{hours} h {minutes} min") } else { format!("{minutes} min {} s", seconds % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        let shown = [0.0, 0.000_000_52, 0.000_09, 0.0123, 4.0].map(seconds);
        assert_eq!(shown, ["–", "0.5 µs", "90 µs", "12.3 ms", "4.0 s"]);
        assert_eq!([2048, 3 << 19].map(bytes), ["2 KiB", "1.5 MiB"]);
        assert_eq!([61, 7265].map(duration), ["1 min 1 s", "2 h 1 min"]);
    }

    #[test]
    fn a_line_has_a_point_for_each_second() {
        let rates = |calls: &[f64]| Rates { calls: calls.to_vec(), ..Rates::default() };
        let drawn = line(&rates(&[0.0, 10.0, 5.0])).unwrap();
        assert_eq!(drawn.points, "0.0,23.0 60.0,1.0 120.0,12.0");
        assert_eq!(drawn.words, "Calls for each second in the last 3 seconds: at most 10, now 5");
        assert!(line(&rates(&[1.0])).is_none());
        assert_eq!(line(&rates(&[0.0, 0.0])).unwrap().points, "0.0,23.0 120.0,23.0");
    }
}
