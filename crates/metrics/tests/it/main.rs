//! Every row of the table is moved through the public interface and shows in the text.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tapline_metrics::{
    CacheLevel, CompilationRefused, Deployment, INSTRUMENTS, Instrument, Kind, LoadRefused, LogLevel, Metrics, Outcome,
    Surface, TextFormat, markdown,
};

const TICK: Duration = Duration::from_micros(3);

type Action = fn(&Metrics);

/// What a host tells its metrics, and the rows that this moves: all of them, and no other. A row that is in no list ends
/// here, and so does a method that moves what it should not.
const ACTIONS: &[(Action, &[&str])] = &[
    (
        |it| it.tap("seo", "item_view").record(Outcome::Ok, TICK),
        &["tapline_tap_invocations_total", "tapline_tap_duration_seconds", "op_latency_ms"],
    ),
    (|it| it.tap("seo", "item_view").refused(Outcome::Overloaded), &["tapline_tap_invocations_total"]),
    (|it| it.tap("seo", "item_view").ran(TICK), &["tapline_tap_cpu_seconds", "op_cpu_us"]),
    (|it| it.tap("seo", "item_view").set_breaker_state(2), &["tapline_breaker_state"]),
    (|it| it.tap("seo", "item_view").breaker_opened(), &["tapline_breaker_openings_total"]),
    (|it| it.tap("seo", "item_view").fuel_used(500), &["tapline_fuel_used_total", "tapline_fuel_peak"]),
    (
        |it| it.plugin("seo").instantiated(TICK),
        &[
            "tapline_instantiate_duration_seconds",
            "wasm_instantiates_total",
            "wasm_cache_hits_total",
            "wasm_cache_hit_rate",
            "wasm_warm_start_duration_ms",
        ],
    ),
    (
        |it| it.plugin("seo").started(TICK, CacheLevel::Compiled),
        &[
            "startup_ms",
            "startup_seconds",
            "wasm_instantiates_total",
            "wasm_cache_misses_total",
            "wasm_cold_start_duration_ms",
            "riptide_wasm_cold_start_time_ms",
        ],
    ),
    (
        |it| it.plugin("seo").started(TICK, CacheLevel::Disk),
        &[
            "startup_ms",
            "startup_seconds",
            "wasm_instantiates_total",
            "wasm_cache_hits_total",
            "wasm_cache_hit_rate",
            "wasm_cold_start_duration_ms",
            "riptide_wasm_cold_start_time_ms",
        ],
    ),
    (|it| it.plugin("seo").set_artifact_size(30_000), &["artifact_size_bytes"]),
    (|it| it.plugin("seo").torn_down(TICK), &["tapline_teardown_duration_seconds"]),
    (|it| it.plugin("seo").instance_reused(), &["tapline_instance_reuses_total"]),
    (
        |it| it.plugin("seo").taken_from_stock(TICK),
        &["tapline_stock_hits_total", "tapline_stock_take_duration_seconds"],
    ),
    (
        |it| it.plugin("seo").made_ahead(TICK),
        &[
            "tapline_stock_made_total",
            "tapline_instantiate_duration_seconds",
            "wasm_instantiates_total",
            "wasm_cache_hits_total",
            "wasm_cache_hit_rate",
            "wasm_warm_start_duration_ms",
        ],
    ),
    (|it| it.plugin("seo").epoch_yielded(), &["tapline_epoch_yields_total"]),
    (|it| it.plugin("seo").memory_peak(65_536), &["tapline_memory_peak_bytes"]),
    (|it| it.plugin("seo").growths_refused(1), &["tapline_refused_growths_total"]),
    (|it| it.plugin("seo").output_dropped(7), &["tapline_guest_output_dropped_bytes_total"]),
    (|it| it.plugin("seo").log_line(LogLevel::Warn), &["tapline_log_lines_total"]),
    (|it| it.plugin("seo").log_lines_dropped(2), &["tapline_log_lines_dropped_total"]),
    (|it| it.share_log_lines_lost(Arc::new(AtomicU64::new(1))), &["tapline_log_lines_lost_total"]),
    (|it| it.queue_waited(TICK), &["tapline_queue_wait_duration_seconds"]),
    (|it| it.set_pool_slots(100), &["tapline_pool_slots"]),
    (|it| it.set_pool_slots_in_use(1), &["tapline_pool_slots_in_use", "wasm_active_vms"]),
    (|it| it.set_pool_slots_idle(1), &["tapline_pool_slots_idle", "wasm_idle_vms"]),
    (|it| it.set_pool_resident(65_536), &["tapline_pool_resident_bytes"]),
    (|it| it.set_memory(1, 0, 0), &["riptide_wasm_memory_pages"]),
    (|it| it.set_memory(0, 1, 0), &["riptide_wasm_peak_memory_pages"]),
    (|it| it.set_memory(0, 0, 1), &["riptide_wasm_grow_failed_total"]),
    (|it| it.cache_loaded(CacheLevel::Disk), &["tapline_cache_loads_total", "riptide_wasm_aot_cache_hits"]),
    (|it| it.cache_loaded(CacheLevel::Compiled), &["tapline_cache_loads_total", "riptide_wasm_aot_cache_misses"]),
    (|it| it.load_refused(LoadRefused::NotGranted), &["tapline_loads_refused_total"]),
    (|it| it.plugin("seo").host_call_refused("database"), &["tapline_host_call_refusals_total"]),
    (|it| it.compilation_refused(CompilationRefused::Memory), &["tapline_compilations_refused_total"]),
    (|it| it.compiled(TICK), &["tapline_compile_duration_seconds"]),
    (|it| it.artifact_loaded(TICK), &["tapline_load_artifact_duration_seconds"]),
    (|it| it.set_process_start(TICK), &["tapline_process_start_duration_seconds"]),
    (|it| it.host_call("database").record(TICK), &["tapline_host_call_duration_seconds"]),
    (|it| it.host_call("database").answered(7), &["tapline_host_call_bytes_total"]),
    (|it| it.set_health(1), &["tapline_health"]),
    (|it| it.set_plugins_loaded(6), &["tapline_plugins_loaded"]),
    (|it| it.set_build_info("0.1.0", "48.0.8"), &["tapline_build_info"]),
    (|it| it.route(Some("/item/{id}")).answered(TICK), &["http_requests_total", "process_cpu_seconds_total"]),
];

/// What moves by itself, because the system says it.
const OF_THE_SYSTEM: [&str; 2] = ["rss_bytes", "process_cpu_seconds_total"];

fn move_everything(metrics: &Metrics) {
    ACTIONS.iter().for_each(|(act, _)| act(metrics));
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
fn every_row_is_moved_by_its_actions_and_by_no_other() {
    let rows = |metrics: &Metrics| -> BTreeMap<&str, f64> {
        let text = metrics.render().unwrap();
        INSTRUMENTS.iter().map(|row| (row.name, total(&text, &moving_sample(row)))).collect()
    };
    let mut moved: BTreeSet<&str> = OF_THE_SYSTEM.into();
    for (index, (act, expected)) in ACTIONS.iter().enumerate() {
        let metrics = Metrics::new();
        let before = rows(&metrics);
        act(&metrics);
        let seen: BTreeSet<&str> = rows(&metrics)
            .into_iter()
            .filter(|(name, value)| value > &before[name])
            .map(|(name, _)| name)
            .filter(|name| expected.contains(name) || !OF_THE_SYSTEM.contains(name))
            .collect();
        assert_eq!(seen, expected.iter().copied().collect(), "action {index}");
        moved.extend(seen);
    }
    let unmoved: Vec<&str> = INSTRUMENTS.iter().map(|row| row.name).filter(|name| !moved.contains(name)).collect();
    assert!(unmoved.is_empty(), "no method moves {unmoved:?}");
}

#[test]
fn every_sample_belongs_to_a_row_and_has_its_labels() {
    let metrics = Metrics::new();
    move_everything(&metrics);
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
        if let Some(unit) = row.unit.as_str() {
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
fn a_number_that_is_shared_is_shown_as_it_stands() {
    let (metrics, lost) = (Metrics::new(), Arc::new(AtomicU64::new(0)));
    metrics.share_log_lines_lost(Arc::clone(&lost));
    lost.fetch_add(7, Relaxed);
    assert_eq!(samples(&metrics.render().unwrap())["tapline_log_lines_lost_total"], 7.0);
}

/// Everything that a plugin can record.
fn work(metrics: &Metrics, plugin: &str) {
    let (of_plugin, of_tap) = (metrics.plugin(plugin), metrics.tap(plugin, "item_view"));
    of_plugin.started(TICK, CacheLevel::Compiled);
    of_plugin.instantiated(TICK);
    of_plugin.taken_from_stock(TICK);
    of_plugin.host_call_refused("database");
    of_plugin.set_artifact_size(7);
    of_tap.record(Outcome::Ok, TICK);
    of_tap.record(Outcome::Trap, TICK);
    of_tap.ran(TICK);
}

fn mentions(metrics: &Metrics, plugin: &str) -> bool {
    metrics.render().unwrap().contains(&format!("\"{plugin}\""))
}

#[test]
fn series_go_with_the_last_lease_of_their_plugin() {
    let metrics = Metrics::new();
    let (old, new, other) = (metrics.lease("seo"), metrics.lease("seo"), metrics.lease("other"));
    work(&metrics, "seo");
    work(&metrics, "other");
    drop(old);
    assert_eq!(metrics.tap_snapshots()[1].invocations, 2, "the version that follows goes on counting");
    drop(new);
    assert!(!mentions(&metrics, "seo") && mentions(&metrics, "other"), "{}", metrics.render().unwrap());
    assert_eq!(metrics.tap_snapshots().len(), 1);
    metrics.plugin_snapshot("seo");
    assert!(!mentions(&metrics, "seo"), "whoever looks makes no series");

    let _again = metrics.lease("seo");
    work(&metrics, "seo");
    assert_eq!(metrics.tap_snapshots()[1].invocations, 2, "it begins anew");
    drop(other);
    drop(Metrics::disabled().lease("seo"));
}

#[test]
fn what_plugins_counted_that_are_gone_stays_in_the_sums() {
    let metrics = Metrics::new();
    work(&metrics, "stays");
    let of_the_host = || {
        let of_no_plugin = |series: &String| !series.contains("plugin=") && !series.contains("module=");
        let mut samples = samples(&metrics.render().unwrap());
        samples.retain(|series, _| of_no_plugin(series) && !OF_THE_SYSTEM.contains(&name_of(series)));
        let figures = (metrics.runtime_metrics().unwrap(), metrics.queue_metrics().unwrap(), metrics.stages());
        (samples, figures, metrics.pool_counts())
    };
    for _ in 0..2 {
        let lease = metrics.lease("gone");
        work(&metrics, "gone");
        let before = of_the_host();
        drop(lease);
        assert_eq!(of_the_host(), before);
    }
    assert!(!metrics.render().unwrap().contains("plugin=\"\"") && !metrics.render().unwrap().contains("module=\"\""));
    assert_eq!(metrics.runtime_metrics().unwrap().total_executions, 6);
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
    move_everything(&metrics);
    assert!(!metrics.is_enabled());
    assert_eq!(metrics.render().unwrap(), "# EOF\n");
    assert_eq!(metrics.tap_snapshots(), []);
    assert_eq!((metrics.runtime_metrics(), metrics.queue_metrics()), (None, None));
    assert_eq!(metrics.stages(), []);
    assert!(metrics.riptide().is_empty());
}

/// No stage of a start is added to another.
#[test]
fn each_stage_of_a_start_has_figures_of_its_own() {
    let metrics = Metrics::new();
    let seen = || -> Vec<(&str, u64, f64)> {
        metrics.stages().iter().map(|it| (it.stage.as_str(), it.count, it.average_ms)).collect()
    };
    let names = ["process start", "compile", "load artifact", "instantiate fresh", "take from stock"];
    assert_eq!(seen(), names.map(|name| (name, 0, 0.0)));
    metrics.set_process_start(Duration::from_millis(9));
    metrics.compiled(Duration::from_millis(40));
    metrics.artifact_loaded(Duration::from_micros(250));
    for micros in [4, 6] {
        metrics.plugin("seo").instantiated(Duration::from_micros(micros));
    }
    metrics.plugin("seo").taken_from_stock(Duration::from_nanos(500));
    let (counts, averages) = ([1, 1, 1, 2, 1], [9.0, 40.0, 0.25, 0.005, 0.0005]);
    let expected: Vec<_> = (0..names.len()).map(|stage| (names[stage], counts[stage], averages[stage])).collect();
    assert_eq!(seen(), expected);
    let fresh = metrics.stages()[3];
    let percentiles = [fresh.p50_ms, fresh.p95_ms, fresh.p99_ms];
    assert!(fresh.p50_ms > 0.0 && percentiles.is_sorted() && fresh.p99_ms <= 0.01, "{fresh:?}");
    assert_eq!((metrics.stages()[0].p50_ms, metrics.stages()[0].p99_ms), (9.0, 9.0));
}

/// The documentation is written from the table: `UPDATE_EXPECT=1 cargo test -p tapline-metrics`.
#[test]
fn the_documentation_shows_the_table() {
    let head = "---\ntitle: Metrics\nauthor: The Tapline developers\ndate: 2026-11-21\ntags: [reference, operators]\n\
                summary: Every instrument of /metrics, its unit and labels, what it means, and what to ask for.\n---\n# Metrics\n\nWhat `/metrics` shows, written from the one table in `crates/metrics/src/instrument.rs` by its test. \
                [Operations](operations.md) says which of them to look at, and when. `cargo xtask observability --check` asks each query. \
                A quantile of what did not happen in the last five minutes is no number.\n\n";
    expect_test::expect_file!["../../../../docs/metrics.md"].assert_eq(&format!("{head}{}", markdown()));
}

/// The names that other documents have given, verbatim.
#[test]
fn the_names_of_the_documents_are_there() {
    for name in [
        "startup_ms",
        "startup_seconds",
        "rss_bytes",
        "artifact_size_bytes",
        "op_cpu_us",
        "op_latency_ms",
        "wasm_instantiates_total",
        "wasm_cache_hits_total",
        "process_cpu_seconds_total",
        "http_requests_total",
        "wasm_cold_start_duration_ms",
        "wasm_warm_start_duration_ms",
        "wasm_cache_hit_rate",
        "wasm_cache_misses_total",
        "wasm_active_vms",
        "wasm_idle_vms",
        "riptide_wasm_memory_pages",
        "riptide_wasm_grow_failed_total",
        "riptide_wasm_peak_memory_pages",
        "riptide_wasm_cold_start_time_ms",
        "riptide_wasm_aot_cache_hits",
        "riptide_wasm_aot_cache_misses",
    ] {
        assert!(INSTRUMENTS.iter().any(|row| row.name == name), "{name}");
    }
}

#[test]
fn the_older_form_has_names_of_samples_and_no_units() {
    let metrics = Metrics::new();
    move_everything(&metrics);
    let text = metrics.render_as(TextFormat::Prometheus).unwrap();
    for row in INSTRUMENTS {
        let kind = if row.kind == Kind::Info { "gauge" } else { row.kind.as_str() };
        for line in [format!("# HELP {} {}", row.name, row.help), format!("# TYPE {} {kind}", row.name)] {
            assert!(text.lines().any(|other| other == line), "no line {line:?}");
        }
    }
    assert!(!text.contains("# UNIT") && !text.contains("# EOF"));
    let newer: Vec<String> = samples(&metrics.render().unwrap()).into_keys().collect();
    assert_eq!(samples(&text).into_keys().collect::<Vec<_>>(), newer, "the samples are the same");
    assert_eq!(TextFormat::for_accept("application/openmetrics-text; version=1.0.0"), TextFormat::OpenMetrics);
    assert_eq!(TextFormat::for_accept("text/html, */*"), TextFormat::Prometheus);
}

#[test]
fn labels_say_where_the_host_runs() {
    let deployment = Deployment { surface: Surface::Edge, service: "shop".to_owned() };
    let metrics = Metrics::of(deployment);
    metrics.plugin("seo").started(Duration::from_millis(3), CacheLevel::Disk);
    metrics.route(None).answered(TICK);
    let samples = samples(&metrics.render().unwrap());
    let module = "{surface=\"edge\",impl=\"wasm\",module=\"seo\",service=\"shop\"}";
    assert_eq!(samples[&format!("startup_ms{module}")], 3.0);
    assert_eq!(samples[&format!("startup_seconds_count{module}")], 1.0);
    let route = "{surface=\"edge\",impl=\"wasm\",service=\"shop\",route=\"other\"}";
    assert_eq!(samples[&format!("http_requests_total{route}")], 1.0);
    assert_eq!("edge".parse::<Surface>(), Ok(Surface::Edge));
    assert!("moon".parse::<Surface>().is_err());
}

#[test]
fn a_time_is_shown_in_the_unit_of_its_name() {
    let metrics = Metrics::new();
    metrics.tap("seo", "item_view").record(Outcome::Ok, Duration::from_millis(2));
    metrics.tap("seo", "cron").record(Outcome::Ok, Duration::from_millis(3));
    metrics.tap("seo", "cron").ran(Duration::from_micros(4));
    let samples = samples(&metrics.render().unwrap());
    let module = "{surface=\"server\",impl=\"wasm\",module=\"seo\",service=\"tapline\"}";
    assert_eq!(samples[&format!("op_latency_ms_sum{module}")], 5.0);
    assert_eq!(samples[&format!("op_cpu_us_sum{module}")], 4.0);
    let bucket = "surface=\"server\",impl=\"wasm\",module=\"seo\",service=\"tapline\"";
    assert_eq!(samples[&format!("op_latency_ms_bucket{{le=\"2.5\",{bucket}}}")], 1.0);
    assert_eq!(samples[&format!("op_cpu_us_bucket{{le=\"5.0\",{bucket}}}")], 1.0);
}

#[test]
fn the_cpu_time_of_all_routes_is_that_of_the_process() {
    let metrics = Metrics::new();
    metrics.route(Some("/")).answered(Duration::from_nanos(1));
    let sum = |text: &str| total(text, "process_cpu_seconds_total");
    let before = tapline_metrics::process::cpu_time().as_secs_f64();
    let shown = sum(&metrics.render().unwrap());
    let after = tapline_metrics::process::cpu_time().as_secs_f64();
    assert!((before..=after).contains(&shown), "{before} {shown} {after}");
    // More than the process had is the clock's affair; the rest never falls.
    metrics.route(Some("/")).answered(Duration::from_secs(3600));
    let text = metrics.render().unwrap();
    let rest = "process_cpu_seconds_total{surface=\"server\",impl=\"wasm\",service=\"tapline\",route=\"other\"}";
    assert!(samples(&text)[rest] >= before - 1e-6);
}

#[test]
fn the_figures_of_the_runtime_come_from_the_same_instruments() {
    let metrics = Metrics::new();
    let (plugin, tap) = (metrics.plugin("seo"), metrics.tap("seo", "item_view"));
    plugin.started(Duration::from_millis(20), CacheLevel::Compiled);
    plugin.started(Duration::from_millis(2), CacheLevel::Disk);
    (0..6).for_each(|_| plugin.instantiated(Duration::from_micros(5)));
    (0..6).for_each(|_| tap.record(Outcome::Ok, TICK));
    tap.record(Outcome::Trap, TICK);
    tap.record(Outcome::BreakerOpen, TICK);
    metrics.queue_waited(Duration::from_millis(4));
    metrics.set_pool_slots(10);
    metrics.set_pool_slots_in_use(3);
    metrics.set_pool_slots_idle(1);
    metrics.set_memory(2, 5, 1);

    let seen = metrics.runtime_metrics().unwrap();
    assert_eq!((seen.cold_starts, seen.warm_starts, seen.active_vms), (2, 6, 2));
    assert_eq!((seen.total_executions, seen.failed_executions, seen.memory_bytes), (8, 2, 131_072));
    assert_eq!((seen.average_cold_start_ms, seen.average_warm_start_ms), (11.0, 0.005));
    assert_eq!((seen.p50_cold_start_ms, seen.p95_cold_start_ms, seen.p99_cold_start_ms), (2.0, 20.0, 20.0));
    // Eight instances, one of them compiled for.
    assert_eq!(seen.cache_hit_rate, 0.875);

    let queue = metrics.queue_metrics().unwrap();
    assert_eq!((queue.calls, queue.waits, queue.average_wait_ms), (7, 1, 4.0));

    let riptide = metrics.riptide();
    assert_eq!(riptide.len(), 6);
    assert_eq!((riptide["riptide_wasm_memory_pages"], riptide["riptide_wasm_cold_start_time_ms"]), (2.0, 2.0));
    assert_eq!((riptide["riptide_wasm_peak_memory_pages"], riptide["riptide_wasm_grow_failed_total"]), (5.0, 1.0));
}
