//! Every row of the table is moved through the public interface and shows in the text.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as it should be")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tapline_metrics::{
    CacheLevel, CompilationRefused, INSTRUMENTS, Instrument, Kind, LogLevel, Metrics, Outcome, Unit,
};

const TICK: Duration = Duration::from_micros(3);

/// Moves one instrument as a host does. A row that no method moves ends here.
fn move_instrument(metrics: &Metrics, name: &str) {
    let plugin = metrics.plugin("seo");
    match name {
        "tapline_tap_invocations_total" | "tapline_tap_duration_seconds" => {
            metrics.tap("seo", "item_view").record(Outcome::Ok, TICK);
        }
        "tapline_breaker_state" => metrics.tap("seo", "item_view").set_breaker_state(2),
        "tapline_breaker_openings_total" => metrics.tap("seo", "item_view").breaker_opened(),
        "tapline_fuel_used_total" | "tapline_fuel_peak" => metrics.tap("seo", "item_view").fuel_used(500),
        "tapline_instance_reuses_total" => plugin.instance_reused(),
        "tapline_stock_hits_total" => plugin.stock_hit(),
        "tapline_stock_made_total" => plugin.made_ahead(TICK),
        "tapline_instantiate_duration_seconds" => plugin.instantiated(TICK),
        "tapline_teardown_duration_seconds" => plugin.torn_down(TICK),
        "tapline_queue_wait_duration_seconds" => metrics.queue_waited(TICK),
        "tapline_memory_peak_bytes" => plugin.memory_peak(65_536),
        "tapline_refused_growths_total" => plugin.growths_refused(1),
        "tapline_pool_slots" => metrics.set_pool_slots(100),
        "tapline_pool_slots_in_use" => metrics.set_pool_slots_in_use(1),
        "tapline_pool_slots_idle" => metrics.set_pool_slots_idle(1),
        "tapline_cache_loads_total" => metrics.cache_loaded(CacheLevel::Disk),
        "tapline_compile_duration_seconds" => metrics.compiled(TICK),
        "tapline_compilations_refused_total" => metrics.compilation_refused(CompilationRefused::Memory),
        "tapline_host_call_duration_seconds" => metrics.host_call("database").record(TICK),
        "tapline_guest_output_dropped_bytes_total" => plugin.output_dropped(7),
        "tapline_log_lines_total" => plugin.log_line(LogLevel::Warn),
        "tapline_log_lines_dropped_total" => plugin.log_lines_dropped(2),
        "tapline_plugins_loaded" => metrics.set_plugins_loaded(6),
        "tapline_build_info" => metrics.set_build_info("0.1.0", "48.0.8"),
        other => panic!("no method moves {other}"),
    }
}

/// The samples of a text: name with labels, and value.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    };
    text.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

fn name_of(series: &str) -> &str {
    series.split('{').next().unwrap()
}

/// The sample that moves with every recording.
fn moving_sample(instrument: &Instrument) -> String {
    match instrument.kind {
        Kind::Histogram => format!("{}_count", instrument.name),
        _ => instrument.name.to_owned(),
    }
}

fn total(text: &str, name: &str) -> f64 {
    samples(text).iter().filter(|(series, _)| name_of(series) == name).map(|(_, value)| value).sum()
}

#[test]
fn every_row_is_moved_by_a_method_and_only_by_its_own() {
    for instrument in INSTRUMENTS {
        let metrics = Metrics::new();
        let name = moving_sample(instrument);
        for other in INSTRUMENTS.iter().filter(|other| !moves_too(other.name, instrument.name)) {
            move_instrument(&metrics, other.name);
        }
        let before = total(&metrics.render().unwrap(), &name);
        assert_eq!(before, 0.0, "{name} was moved by another instrument's method");
        move_instrument(&metrics, instrument.name);
        let after = total(&metrics.render().unwrap(), &name);
        assert!(after > before, "{name} did not move");
    }
}

/// One call of a handler moves both of its instruments, and so does the fuel of one.
fn moves_too(other: &str, name: &str) -> bool {
    let both = |family: &str| other.starts_with(family) && name.starts_with(family);
    let is_made = |it: &str| ["tapline_stock_made_total", "tapline_instantiate_duration_seconds"].contains(&it);
    other == name || both("tapline_tap_") || both("tapline_fuel_") || (is_made(other) && is_made(name))
}

#[test]
fn every_sample_belongs_to_a_row_and_has_its_labels() {
    let metrics = Metrics::new();
    INSTRUMENTS.iter().for_each(|instrument| move_instrument(&metrics, instrument.name));
    let text = metrics.render().unwrap();

    let mut seen = BTreeSet::new();
    for series in samples(&text).keys() {
        let name = name_of(series);
        let row = INSTRUMENTS.iter().find(|row| match row.kind {
            Kind::Histogram => ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(row.name)),
            _ => row.name == name,
        });
        let row = row.unwrap_or_else(|| panic!("{name} is in no row"));
        let labels = series[name.len()..].trim_matches(['{', '}']);
        let labels = labels.split(',').filter_map(|label| label.split_once('=')).map(|(label, _)| label);
        let labels: Vec<&str> = labels.filter(|label| *label != "le").collect();
        assert_eq!(labels, row.labels, "{series}");
        seen.insert(row.name);
    }
    assert_eq!(seen.len(), INSTRUMENTS.len(), "a row shows no sample");
}

#[test]
fn descriptors_and_the_end_are_as_the_format_wants_them() {
    let text = Metrics::new().render().unwrap();
    for row in INSTRUMENTS {
        let family = match row.kind {
            Kind::Counter => row.name.strip_suffix("_total").expect("counters end in _total"),
            Kind::Info => row.name.strip_suffix("_info").expect("information ends in _info"),
            _ => row.name,
        };
        let mut wanted =
            vec![format!("# HELP {family} {}", row.help), format!("# TYPE {family} {}", row.kind.as_str())];
        let unit = match row.unit {
            Unit::Seconds => Some("seconds"),
            Unit::Bytes => Some("bytes"),
            _ => None,
        };
        if let Some(unit) = unit {
            assert!(family.ends_with(&format!("_{unit}")), "{family} lacks its unit");
            wanted.push(format!("# UNIT {family} {unit}"));
        }
        for line in wanted {
            assert!(text.lines().any(|other| other == line), "no line {line:?}");
        }
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn every_outcome_has_its_own_series_and_the_snapshot_adds_them_up() {
    let metrics = Metrics::new();
    let tap = metrics.tap("seo", "item_view");
    for (index, outcome) in Outcome::ALL.iter().enumerate() {
        (0..=index).for_each(|_| tap.record(*outcome, Duration::from_millis(500)));
    }
    metrics.tap("audit-log", "item_insert");

    let text = metrics.render().unwrap();
    for (index, outcome) in Outcome::ALL.iter().enumerate() {
        let series = format!(
            "tapline_tap_invocations_total{{plugin=\"seo\",tap=\"item_view\",outcome=\"{}\"}}",
            outcome.as_str()
        );
        assert_eq!(samples(&text)[&series], (index + 1) as f64, "{series}");
    }

    let snapshots = metrics.tap_snapshots();
    let names: Vec<(&str, &str)> = snapshots.iter().map(|s| (s.plugin.as_str(), s.tap.as_str())).collect();
    assert_eq!(names, [("audit-log", "item_insert"), ("seo", "item_view")]);
    assert_eq!((snapshots[0].invocations, snapshots[0].failures, snapshots[0].total_seconds), (0, 0, 0.0));
    // One call with the first outcome, which is no failure, two with the second, and so on; half a second each.
    let calls: u64 = (1..=Outcome::ALL.len() as u64).sum();
    let expected = (calls, calls - 1, calls as f64 / 2.0);
    assert_eq!((snapshots[1].invocations, snapshots[1].failures, snapshots[1].total_seconds), expected);
}

#[test]
fn handles_of_the_same_names_share_their_figures() {
    let metrics = Metrics::new();
    metrics.tap("seo", "item_view").record(Outcome::Ok, TICK);
    metrics.clone().tap("seo", "item_view").record(Outcome::Ok, TICK);
    assert_eq!(metrics.tap_snapshots()[0].invocations, 2);
}

#[test]
fn the_peak_stays_and_slots_come_back() {
    let metrics = Metrics::new();
    metrics.plugin("seo").memory_peak(200);
    metrics.plugin("seo").memory_peak(100);
    metrics.set_pool_slots_in_use(1);
    let samples = samples(&metrics.render().unwrap());
    assert_eq!(samples["tapline_memory_peak_bytes{plugin=\"seo\"}"], 200.0);
    assert_eq!(samples["tapline_pool_slots_in_use"], 1.0);
}

#[test]
fn a_histogram_accumulates_and_its_bounds_read_as_seconds() {
    let metrics = Metrics::new();
    metrics.queue_waited(Duration::from_nanos(2_500));
    metrics.queue_waited(Duration::from_secs(31));
    let samples = samples(&metrics.render().unwrap());
    let bucket = |bound: &str| samples[&format!("tapline_queue_wait_duration_seconds_bucket{{le=\"{bound}\"}}")];
    assert_eq!([bucket("0.000001"), bucket("0.0000025"), bucket("30.0"), bucket("+Inf")], [0.0, 1.0, 1.0, 2.0]);
}

#[test]
fn a_name_with_quotes_and_line_ends_cannot_break_the_text() {
    let metrics = Metrics::new();
    metrics.tap("a\"} 1\nevil 2\\", "t").record(Outcome::Ok, TICK);
    let text = metrics.render().unwrap();
    assert!(text.contains(r#"plugin="a\"} 1\nevil 2\\""#));
    assert!(text.lines().all(|line| !line.starts_with("evil")));
}

#[test]
fn nothing_is_lost_when_threads_record_at_once() {
    let metrics = Metrics::new();
    let tap = metrics.tap("seo", "item_view");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let tap = tap.clone();
            scope.spawn(move || (0..10_000).for_each(|_| tap.record(Outcome::Ok, TICK)));
        }
    });
    let seen = &metrics.tap_snapshots()[0];
    assert_eq!(seen.invocations, 40_000);
    assert_eq!(seen.total_seconds, 0.12);
}

#[test]
fn disabled_metrics_take_everything_and_show_nothing() {
    let metrics = Metrics::disabled();
    INSTRUMENTS.iter().for_each(|instrument| move_instrument(&metrics, instrument.name));
    assert!(!metrics.is_enabled());
    assert_eq!(metrics.render().unwrap(), "# EOF\n");
    assert_eq!(metrics.tap_snapshots(), []);
}
