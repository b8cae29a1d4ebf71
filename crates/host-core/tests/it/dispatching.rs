//! Well-behaved plugins: order, concurrency, and what crosses. That memory is fresh is shown in `tests/hostile`.

use std::sync::Arc;

use tapline_host_core::{Host, PluginName};

use crate::guests::{Number, PATIENCE, config, host, host_with, name, number, spec, waiting};

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
