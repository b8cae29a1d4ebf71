//! Well-behaved plugins: fresh memory, order, concurrency, and what crosses.

use std::{sync::Arc, time::Duration};

use tapline_host_core::{Host, HostConfig, PagemapScan, PluginName};

use crate::guests::{Number, PATIENCE, config, host, host_with, limits, name, number, number_with, spec, waiting};

#[tokio::test]
async fn every_call_has_fresh_memory_globals_and_tables() {
    for pagemap_scan in [PagemapScan::WhenSafe, PagemapScan::Off] {
        let (host, _) = host_with(HostConfig { pool_size: 1, pagemap_scan, ..config() });
        // Counts in a global, in memory far apart, and in a table; answers with everything that was there before.
        let body = "(local $seen i32) (local $at i32)
            (local.set $seen (global.get $count))
            (global.set $count (i32.const 1))
            (loop
              (local.set $seen (i32.add (local.get $seen) (i32.load (local.get $at))))
              (i32.store (local.get $at) (i32.const 1))
              (local.set $at (i32.add (local.get $at) (i32.const 8192)))
              (br_if 0 (i32.lt_u (local.get $at) (i32.const 3211264))))
            (if (i32.eqz (ref.is_null (table.get (i32.const 3)))) (then (local.set $seen (i32.const 1000000))))
            (table.set (i32.const 3) (ref.func $run))
            (local.get $seen)";
        let module =
            "(table 8 funcref) (elem declare func $run) (func $grow (drop (memory.grow (i32.const 48)))) (start $grow)";
        host.load(spec("dirty", number_with(module, body))).await.unwrap();
        for _ in 0..50 {
            assert_eq!(host.dispatch(Number, &0).await.unwrap().answers, [(name("dirty"), 0)]);
        }
    }
}

#[tokio::test]
async fn a_dispatch_without_handlers_is_empty() {
    let outcome = host().dispatch(Number, &1).await.unwrap();
    assert!(outcome.answers.is_empty() && outcome.failures.is_empty());
}

#[tokio::test]
async fn waits_of_one_dispatch_overlap() {
    let (host, gate) = host_with(config());
    for plugin in ["a", "b", "c"] {
        host.load(spec(plugin, waiting()).grant("gate", "open")).await.unwrap();
    }
    // The gate opens only when all three wait at it: one after the other would never end.
    let all_wait = async {
        while host.slots().0 < 3 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(3);
    };
    let both = async { tokio::join!(host.dispatch(Number, &5), all_wait).0 };
    let outcome = tokio::time::timeout(PATIENCE, both).await.unwrap().unwrap();
    assert_eq!(outcome.answers, ["a", "b", "c"].map(|plugin| (name(plugin), 5)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_instances_are_alive_at_once() {
    let (host, gate) = host_with(HostConfig { pool_size: 1000, limits: limits(60_000), ..HostConfig::default() });
    host.load(spec("slow", waiting()).grant("gate", "open")).await.unwrap();
    let calls: Vec<_> = (0..1000_u32)
        .map(|number| {
            let host = host.clone();
            tokio::spawn(async move { host.dispatch(Number, &number).await.unwrap().answers[0].1 })
        })
        .collect();
    tokio::time::timeout(PATIENCE, async {
        while host.slots().0 < 1000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
    gate.add_permits(1000);
    for (number, call) in (0_u32..).zip(calls) {
        assert_eq!(call.await.unwrap(), number);
    }
    assert_eq!(host.slots(), (0, 1000));
}

#[tokio::test]
async fn a_plugin_that_is_removed_is_not_called_again() {
    let host = host();
    host.load(spec("p", number("(local.get $x)"))).await.unwrap();
    assert!(host.unload(&name("p")).await.unwrap());
    assert!(!host.unload(&name("p")).await.unwrap());
    assert!(host.dispatch(Number, &1).await.unwrap().answers.is_empty());
    assert!(host.order("number").is_none());
}

#[tokio::test]
async fn the_operators_order_replaces_the_authors() {
    let host = host();
    let with_weight = |plugin: &str, weight: i32| {
        let mut spec = spec(plugin, number("(local.get $x)"));
        let order = serde_json::from_value(serde_json::json!({ "weight": weight })).unwrap();
        spec.order.insert("number".to_owned(), order);
        spec
    };
    host.load(with_weight("a", 10)).await.unwrap();
    host.load(with_weight("b", -10)).await.unwrap();
    assert_eq!(host.order("number").unwrap().plugins(), ["b", "a"].map(name));
}

#[tokio::test]
async fn an_order_that_goes_round_is_refused_and_leaves_the_host_as_it_was() {
    let host = host();
    let after = |plugin: &str, other: &str| {
        let mut spec = spec(plugin, number("(local.get $x)"));
        let order = serde_json::from_value(serde_json::json!({ "after": [other] })).unwrap();
        spec.order.insert("number".to_owned(), order);
        spec
    };
    host.load(after("a", "b")).await.unwrap();
    let error = host.load(after("b", "a")).await.unwrap_err().to_string();
    assert!(error.contains('a') && error.contains('b') && error.contains("number"), "{error}");
    assert_eq!(host.order("number").unwrap().plugins(), [name("a")]);
}

#[tokio::test]
async fn clones_are_the_same_host() {
    let host: Host = host();
    host.clone().load(spec("p", number("(local.get $x)"))).await.unwrap();
    let names: Vec<PluginName> = host.plugins().iter().map(|plugin| plugin.name().clone()).collect();
    assert_eq!(names, [name("p")]);
    let plugin: Arc<_> = Arc::clone(&host.plugins()[0]);
    assert_eq!(plugin.manifest().memories, 1);
}
