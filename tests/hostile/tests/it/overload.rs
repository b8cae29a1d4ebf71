//! More calls than there are slots, and more than there are places to wait.

use std::sync::Arc;

use futures_util::future::join_all;
use tapline_host_core::{Fault, HostConfig};
use tapline_hostile::{Ground, Guest, INPUT, Letter, PATIENCE, Text, config};
use tokio::{task::yield_now, time::timeout};

/// A host with two plugins that wait at the gate: one alone does not get all slots.
async fn ground(config: HostConfig) -> Ground {
    let ground = Ground::with(config, |builder| builder).await;
    ground.load("letters", Guest::new::<Letter>("(call $wait) (i32.const 65)").bytes()).await;
    ground.load("texts", Guest::new::<Text>("(call $wait) (i32.const 0)").bytes()).await;
    ground
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_thousand_calls_on_a_thousand_slots() {
    let ground = Arc::new(ground(HostConfig { pool_size: 1000, max_wait: PATIENCE, ..config() }).await);
    let calls: Vec<_> = (0..4000)
        .map(|number| {
            let ground = Arc::clone(&ground);
            tokio::spawn(async move {
                if number % 2 == 0 {
                    ground.host.dispatch(Letter, &INPUT).await.unwrap().answers.len()
                } else {
                    ground.host.dispatch(Text, &INPUT).await.unwrap().answers.len()
                }
            })
        })
        .collect();
    timeout(PATIENCE, async {
        while ground.host.slots().0 < 1000 {
            yield_now().await;
        }
    })
    .await
    .unwrap();
    // A thousand are alive, and whatever else comes waits: all of them answer.
    ground.world.gate.add_permits(4000);
    for call in calls {
        assert_eq!(timeout(PATIENCE, call).await.unwrap().unwrap(), 1);
    }
    for plugin in ["letters", "texts"] {
        let counters = ground.counters(plugin);
        assert_eq!((counters.outcome("ok"), counters.calls()), (2000, 2000), "{counters:?}");
    }
    ground.is_quiet("4000 calls").await;
}

#[tokio::test]
async fn what_finds_no_place_to_wait_is_told_at_once() {
    let settings = HostConfig { pool_size: 10, max_waiting: 20, max_wait: 10 * PATIENCE, ..config() };
    let ground = ground(settings).await;
    let calls = (0..100).map(|number| {
        let host = &ground.host;
        async move {
            let failures = if number % 2 == 0 {
                host.dispatch(Letter, &INPUT).await.unwrap().failures
            } else {
                host.dispatch(Text, &INPUT).await.unwrap().failures
            };
            let names = if number % 2 == 0 { ("letters", "letter") } else { ("texts", "text") };
            for error in &failures {
                assert_eq!((error.plugin.as_ref(), error.tap.as_ref()), names);
                assert!(matches!(error.fault, Fault::Overloaded { waited, .. } if waited.is_zero()), "{error}");
            }
            failures.len()
        }
    });
    let open = async {
        yield_now().await;
        // All have been polled once: ten are alive, twenty wait, and the others have their error.
        let refused = ["letters", "texts"].map(|plugin| ground.counters(plugin).outcome("overloaded"));
        assert_eq!(refused.iter().sum::<u64>(), 70, "{refused:?}");
        assert_eq!(ground.host.slots(), (10, 10));
        ground.world.gate.add_permits(30);
    };
    let both = async { tokio::join!(biased; join_all(calls), open).0 };
    let refused: usize = timeout(PATIENCE, both).await.unwrap().into_iter().sum();
    assert_eq!(refused, 70);
    ground.is_quiet("an overload").await;
}

#[tokio::test]
async fn a_wait_has_a_bound() {
    let settings = HostConfig { pool_size: 1, max_wait: std::time::Duration::from_millis(20), ..config() };
    let ground = ground(settings).await;
    let (first, second) = tokio::join!(biased; ground.host.dispatch(Letter, &INPUT), async {
        let second = ground.host.dispatch(Text, &INPUT).await;
        ground.world.gate.add_permits(1);
        second
    });
    assert_eq!(first.unwrap().answers.len(), 1);
    let failures = second.unwrap().failures;
    let [error] = failures.as_slice() else { panic!("{failures:?}") };
    assert_eq!((error.plugin.as_ref(), error.tap.as_ref()), ("texts", "text"));
    assert!(matches!(error.fault, Fault::Overloaded { waited, .. } if !waited.is_zero()), "{error}");
    let counters = ground.counters("texts");
    assert_eq!((counters.outcome("overloaded"), counters.calls()), (1, 1), "{counters:?}");
    ground.is_quiet("a wait").await;
}
