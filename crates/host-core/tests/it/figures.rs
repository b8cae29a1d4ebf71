//! Which calls have a time, and how long the figures of a plugin are shown.

use std::time::Duration;

use futures_util::future::join_all;
use tapline_host_core::{BreakerSettings, Host, HostConfig, PluginSpec};

use crate::guests::{Number, config, host, host_with, limits, metric, metric_f64, name, number, spec, waiting};

/// How many calls of the plugin `p` ended so, and how many have a time.
fn ended(host: &Host, outcome: &str) -> (u64, u64) {
    let labels = "plugin=\"p\",tap=\"number\"";
    let ended = metric(host, &format!("tapline_tap_invocations_total{{{labels},outcome=\"{outcome}\"}}"));
    (ended, metric(host, &format!("tapline_tap_duration_seconds_count{{{labels}}}")))
}

/// Waits at the gate, one call at a time.
fn patient() -> PluginSpec {
    PluginSpec { max_concurrent_calls: Some(1), ..spec("p", waiting()).grant("gate", "open") }
}

#[tokio::test]
async fn a_call_that_gets_no_instance_is_counted_and_has_no_time() {
    let long = HostConfig { max_wait: Duration::from_millis(20), limits: limits(60_000), ..config() };
    let (host, gate) = host_with(long);
    host.load(patient()).await.unwrap();
    let others = async {
        tokio::select! {
            biased;
            _ = host.dispatch(Number, &2) => panic!("the gate is closed"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(ended(&host, "cancelled"), (1, 0), "it went away while it waited");
        assert_eq!(host.dispatch(Number, &3).await.unwrap().failures.len(), 1);
        assert_eq!(ended(&host, "overloaded"), (1, 0), "what it waited is no time of the plugin");
        gate.add_permits(1);
    };
    let (outcome, ()) = tokio::join!(biased; host.dispatch(Number, &1), others);
    assert_eq!(outcome.unwrap().answers.len(), 1);
    assert_eq!(ended(&host, "ok"), (1, 1));
}

/// The average is one of waits: no call can have waited longer than it may, however few were served.
#[tokio::test]
async fn the_average_wait_is_over_all_that_asked_for_a_slot() {
    let max_wait = Duration::from_millis(40);
    let (host, gate) = host_with(HostConfig { max_wait, limits: limits(60_000), ..config() });
    assert_eq!(host.pool_metrics().average_wait_ms, 0.0);
    host.load(patient()).await.unwrap();
    let others = async {
        for outcome in join_all((0..3).map(|_| host.dispatch(Number, &3))).await {
            assert_eq!(outcome.unwrap().failures.len(), 1);
        }
        let average = host.pool_metrics().average_wait_ms;
        let longest = metric_f64(&host, "tapline_queue_wait_duration_seconds_sum") * 1000.0 - 2.0 * 40.0;
        assert!((40.0..=longest).contains(&average), "three waited in vain: {average} of at most {longest}");
        gate.add_permits(1);
    };
    let (outcome, ()) = tokio::join!(biased; host.dispatch(Number, &1), others);
    assert_eq!(outcome.unwrap().answers.len(), 1);
    let sum = metric_f64(&host, "tapline_queue_wait_duration_seconds_sum") * 1000.0;
    let average = host.pool_metrics().average_wait_ms;
    assert!((average - sum / 4.0).abs() < 1e-6, "one of the four did not wait: {average}, {sum}");
}

#[tokio::test]
async fn a_call_that_goes_away_while_it_runs_has_a_time() {
    let (host, _gate) = host_with(HostConfig { limits: limits(60_000), ..config() });
    host.load(patient()).await.unwrap();
    tokio::select! {
        biased;
        _ = host.dispatch(Number, &1) => panic!("the gate is closed"),
        () = tokio::task::yield_now() => {}
    }
    assert_eq!(ended(&host, "cancelled"), (1, 1));
}

#[tokio::test]
async fn a_call_that_the_breaker_refuses_has_no_time() {
    let long = Duration::from_secs(3600);
    let breaker = BreakerSettings { enabled: true, failures: 1, first_open: long, max_open: long };
    let (host, _gate) = host_with(HostConfig { breaker, ..config() });
    host.load(spec("p", number("unreachable"))).await.unwrap();
    for _ in 0..4 {
        assert_eq!(host.dispatch(Number, &1).await.unwrap().failures.len(), 1);
    }
    assert_eq!(ended(&host, "trap"), (1, 1));
    assert_eq!(ended(&host, "breaker_open"), (3, 1));
}

#[tokio::test]
async fn a_call_whose_plugin_cannot_be_brought_has_no_time() {
    let host = host();
    host.load_lazily(spec("p", number("(i64.const 1)"))).await.unwrap();
    assert_eq!(host.dispatch(Number, &1).await.unwrap().failures.len(), 1);
    assert_eq!(ended(&host, "not_loaded"), (1, 0));
}

/// The samples of `/metrics` that name a plugin.
fn series(host: &Host) -> Vec<String> {
    let text = host.metrics().render().unwrap();
    let of_plugins = text.lines().filter(|line| line.contains("plugin=\"") || line.contains("module=\""));
    of_plugins.map(str::to_owned).collect()
}

const NONE: [String; 0] = [];

fn identity() -> Vec<u8> {
    number("(local.get $x)")
}

#[tokio::test]
async fn a_plugin_that_is_removed_leaves_no_series() {
    let host = host();
    for index in 0..100 {
        let plugin = format!("p{index}");
        host.load(spec(&plugin, identity())).await.unwrap();
        assert_eq!(host.dispatch(Number, &1).await.unwrap().answers.len(), 1);
        assert_ne!(series(&host), NONE);
        assert!(host.unload(&name(&plugin)).await.unwrap());
    }
    assert_eq!(series(&host), NONE);
    let runtime = host.runtime_metrics().unwrap();
    assert_eq!((runtime.total_executions, runtime.cold_starts), (100, 100), "what they did is in the sums");
}

#[tokio::test]
async fn a_plugin_that_is_refused_leaves_no_series() {
    let host = host();
    for index in 0..20 {
        host.load(spec(&format!("p{index}"), number("(i64.const 1)"))).await.unwrap_err();
        host.load(spec(&format!("q{index}"), b"no component".to_vec())).await.unwrap_err();
        host.load_functions(spec(&format!("r{index}"), number("(i64.const 1)"))).await.err().unwrap();
    }
    let applied = host.apply(vec![spec("s", number("(i64.const 1)"))]).await.unwrap();
    assert_eq!(applied.refused.len(), 1);
    assert_eq!(series(&host), NONE);
}

#[tokio::test]
async fn functions_leave_no_series_when_they_are_dropped() {
    let host = host();
    let functions = host.load_functions(spec("f", identity())).await.unwrap();
    assert!(series(&host).iter().any(|series| series.contains("artifact_size_bytes{") && series.contains("\"f\"")));
    drop(functions);
    assert_eq!(series(&host), NONE);
}

#[tokio::test]
async fn a_version_that_follows_another_goes_on_counting() {
    let host = host();
    host.load(spec("p", identity())).await.unwrap();
    host.dispatch(Number, &1).await.unwrap();
    let size = |host: &Host| {
        metric(host, "artifact_size_bytes{surface=\"server\",impl=\"wasm\",module=\"p\",service=\"tapline\"}")
    };
    let before = size(&host);
    host.replace(spec("p", number("(i64.const 1)"))).await.unwrap_err();
    assert_eq!((ended(&host, "ok"), size(&host)), ((1, 1), before), "a version that is refused changes nothing");
    let next = number("(i32.add (local.get $x) (i32.const 1))");
    let length = next.len() as u64;
    host.replace(spec("p", next)).await.unwrap();
    host.dispatch(Number, &1).await.unwrap();
    assert_eq!((ended(&host, "ok"), size(&host)), ((2, 2), length));
    host.unload(&name("p")).await.unwrap();
    host.load(spec("p", identity())).await.unwrap();
    assert_eq!(ended(&host, "ok"), (0, 0), "it begins anew");
}

#[tokio::test]
async fn a_call_that_is_running_when_its_plugin_is_removed_is_counted() {
    let (host, gate) = host_with(HostConfig { limits: limits(60_000), ..config() });
    host.load(patient()).await.unwrap();
    let unload = async {
        assert!(host.unload(&name("p")).await.unwrap());
        assert_eq!(ended(&host, "ok"), (0, 0), "the last call is still to come");
        gate.add_permits(1);
    };
    let (outcome, ()) = tokio::join!(biased; host.dispatch(Number, &1), unload);
    assert_eq!(outcome.unwrap().answers.len(), 1);
    assert_eq!(host.runtime_metrics().unwrap().total_executions, 1);
    assert_eq!(series(&host), NONE);
}
