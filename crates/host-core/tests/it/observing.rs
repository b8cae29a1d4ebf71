//! What is told of calls: to whoever watches, and as figures of the host.

use tapline_host_core::{
    HostConfig, MAX_OBSERVATIONS,
    metrics::{Deployment, Outcome, Surface},
    observed,
};

use crate::guests::{Number, config, host, host_with, name, number, spec, waiting};

#[tokio::test]
async fn whoever_watches_is_told_of_its_own_calls() {
    let host = host();
    host.load(spec("good", number("(local.get $x)"))).await.unwrap();
    host.load(spec("trap", number("unreachable"))).await.unwrap();
    host.dispatch(Number, &1).await.unwrap();
    let (outcome, mut seen) = observed(host.dispatch(Number, &1)).await;
    assert_eq!(outcome.unwrap().answers.len(), 1);
    seen.sort_by(|a, b| a.plugin.cmp(&b.plugin));
    let what: Vec<_> = seen.iter().map(|call| (call.plugin.clone(), call.tap.to_string(), call.outcome)).collect();
    let tap = || "number".to_owned();
    assert_eq!(what, [(name("good"), tap(), Outcome::Ok), (name("trap"), tap(), Outcome::Trap)]);
    for call in &seen {
        assert!(!call.cpu.is_zero() && call.cpu <= call.took, "{call:?}");
        let used = call.used.unwrap();
        assert_eq!((used.fuel, used.peak_memory_bytes, used.host_calls), (None, 65_536, 0));
    }
}

#[tokio::test]
async fn a_call_that_waits_is_not_running() {
    let (host, gate) = host_with(config());
    host.load(spec("p", waiting()).grant("gate", "open")).await.unwrap();
    let wait = std::time::Duration::from_millis(20);
    let open = async {
        while host.slots().0 < 1 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(wait).await;
        gate.add_permits(1);
    };
    let ((outcome, seen), ()) = tokio::join!(observed(host.dispatch(Number, &5)), open);
    assert_eq!(outcome.unwrap().answers.len(), 1);
    assert!(seen[0].took >= wait && seen[0].cpu + wait <= seen[0].took, "{seen:?}");
}

#[tokio::test]
async fn what_is_told_is_bounded() {
    let host = host();
    host.load(spec("p", number("(local.get $x)"))).await.unwrap();
    let many = async {
        for _ in 0..=MAX_OBSERVATIONS {
            host.dispatch(Number, &1).await.unwrap();
        }
    };
    assert_eq!(observed(many).await.1.len(), MAX_OBSERVATIONS);
}

#[tokio::test]
async fn figures_of_the_host_as_a_whole() {
    let deployment = Deployment { surface: Surface::Edge, service: "shop".to_owned() };
    let (host, _gate) = host_with(HostConfig { deployment, ..config() });
    host.load(spec("p", number("(local.get $x)"))).await.unwrap();
    host.load(spec("trap", number("unreachable"))).await.unwrap();
    for _ in 0..3 {
        host.dispatch(Number, &1).await.unwrap();
    }
    let runtime = host.runtime_metrics().unwrap();
    assert_eq!((runtime.cold_starts, runtime.warm_starts, runtime.active_vms), (2, 6, 0));
    assert_eq!((runtime.total_executions, runtime.failed_executions), (6, 3));
    // Eight instances, two of which had to be compiled for.
    assert_eq!((runtime.cache_hit_rate, runtime.memory_bytes), (0.75, 0));
    assert!(runtime.p50_cold_start_ms > 0.0 && runtime.p50_cold_start_ms <= runtime.p99_cold_start_ms);
    let queue = host.metrics().queue_metrics().unwrap();
    assert_eq!((queue.calls, queue.waits, queue.average_wait_ms), (6, 0, 0.0));
    assert_eq!(host.metrics().riptide()["riptide_wasm_aot_cache_misses"], 2.0);
    let caches = host.caches();
    assert_eq!((caches.len(), caches[0].compilations), (1, 2));
    let text = host.metrics().render().unwrap();
    assert!(
        text.contains("startup_seconds_count{surface=\"edge\",impl=\"wasm\",module=\"p\",service=\"shop\"} 1"),
        "{text}"
    );
    let (uncounted, _gate) = host_with(HostConfig { enable_metrics: false, ..config() });
    assert_eq!((uncounted.runtime_metrics(), uncounted.metrics().queue_metrics()), (None, None));
    assert!(!uncounted.is_shutting_down());
    uncounted.shut_down(std::time::Duration::ZERO).await;
    assert!(uncounted.is_shutting_down());
}
