//! One plugin's share of the pool.

use std::time::Duration;

use futures_util::future::join_all;
use tapline_host_core::{Fault, HostConfig, LoadError};

use crate::guests::{Number, PATIENCE, config, host_with, limits, name, number, spec, waiting};

/// A pool of four, of which one plugin may have three; calls may take long, and wait long.
fn pool_of_four() -> HostConfig {
    HostConfig { pool_size: 4, limits: limits(60_000), max_wait: PATIENCE, ..config() }
}

#[tokio::test]
async fn a_plugin_that_hangs_in_all_that_it_may_have_leaves_the_rest_to_the_others() {
    let (host, gate) = host_with(pool_of_four());
    let slow = host.load(spec("slow", waiting()).grant("gate", "open")).await.unwrap();
    assert_eq!(slow.max_concurrent_calls(), 3, "three quarters");
    // The slow ones are asked by a host of their own tap, so that the good plugin is not part of their dispatches.
    let hanging: Vec<_> = (0..50_u32)
        .map(|number| {
            let host = host.clone();
            tokio::spawn(async move { host.dispatch(Number, &number).await.unwrap() })
        })
        .collect();
    while host.slots().0 < 3 {
        tokio::task::yield_now().await;
    }
    // Everything that could take the fourth slot has had its turn.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(host.slots(), (3, 4), "the other 47 wait in the plugin's own line");

    host.load(spec("good", crate::guests::text(1, 64, 5))).await.unwrap();
    for _ in 0..20 {
        let (plugin, answer) = host.dispatch(crate::guests::Text, &()).await.unwrap().unwrap();
        assert_eq!((plugin, answer.as_str()), (name("good"), "hello"), "served at once, beside the line");
    }
    gate.add_permits(50);
    for (number, call) in (0_u32..).zip(hanging) {
        assert_eq!(call.await.unwrap().answers, [(name("slow"), number)]);
    }
    assert_eq!(host.slots().0, 0);
}

#[tokio::test]
async fn a_plugins_own_line_has_a_bound_and_what_is_beyond_is_refused_at_once() {
    let (host, gate) = host_with(HostConfig { max_waiting: 8, ..pool_of_four() });
    host.load(spec("slow", waiting()).grant("gate", "open")).await.unwrap();
    let numbers: Vec<u32> = (0..12).collect();
    let dispatches = join_all(numbers.iter().map(|number| host.dispatch(Number, number)));
    let (outcomes, ()) = tokio::join!(biased; dispatches, async { gate.add_permits(100) });
    let (mut answered, mut refused) = (0, Vec::new());
    for outcome in outcomes.into_iter().map(Result::unwrap) {
        answered += outcome.answers.len();
        refused.extend(outcome.failures);
    }
    assert_eq!((answered, refused.len()), (9, 3), "three run, six of eight places are theirs, three are refused");
    for error in &refused {
        assert!(matches!(error.fault, Fault::Overloaded { share: Some(3), waited: Duration::ZERO }), "{error}");
    }
    let text = host.metrics().render().unwrap();
    let line = "tapline_tap_invocations_total{plugin=\"slow\",tap=\"number\",outcome=\"overloaded\"} 3";
    assert!(text.contains(line), "{text}");
    assert_eq!(host.slots().0, 0);
}

#[tokio::test]
async fn whoever_waits_too_long_for_a_turn_is_refused_and_hears_whose_fault_it_is() {
    let (host, gate) = host_with(HostConfig { max_wait: Duration::from_millis(20), ..pool_of_four() });
    let mut one_at_a_time = spec("slow", waiting()).grant("gate", "open");
    one_at_a_time.max_concurrent_calls = Some(1);
    host.load(one_at_a_time).await.unwrap();
    let (first, second) = tokio::join!(host.dispatch(Number, &1), async {
        let outcome = host.dispatch(Number, &2).await.unwrap();
        gate.add_permits(1);
        outcome.failures
    });
    assert_eq!(first.unwrap().answers, [(name("slow"), 1)]);
    assert!(matches!(second[0].fault, Fault::Overloaded { share: Some(1), .. }), "{second:?}");
    assert!(second[0].fault.hint().unwrap().contains("max_concurrent_calls"));
    assert_eq!(host.slots().0, 0);
}

#[tokio::test]
async fn the_share_is_rounded_up_and_a_plugins_own_number_replaces_it() {
    let cases = [
        (1, 75, None, 1),
        (2, 75, None, 2),
        (8, 75, None, 6),
        (8, 1, None, 1),
        (8, 100, None, 8),
        (8, 75, Some(2), 2),
        (8, 75, Some(8), 8),
        (8, 75, Some(1000), 8),
    ];
    for (pool_size, plugin_share_percent, own, expected) in cases {
        let (host, _) = host_with(HostConfig { pool_size, plugin_share_percent, ..config() });
        let mut spec = spec("p", number("(local.get $x)"));
        spec.max_concurrent_calls = own;
        let plugin = host.load(spec).await.unwrap();
        assert_eq!(plugin.max_concurrent_calls(), expected, "{pool_size} slots, {plugin_share_percent} %, {own:?}");
    }
}

#[tokio::test]
async fn numbers_that_cannot_work_are_refused() {
    let (host, _) = host_with(config());
    let mut none = spec("p", number("(local.get $x)"));
    none.max_concurrent_calls = Some(0);
    let error = host.load(none).await.unwrap_err();
    assert!(matches!(error, LoadError::Setting { setting: "max_concurrent_calls", .. }), "{error}");
    for plugin_share_percent in [0, 101] {
        let config = HostConfig { plugin_share_percent, ..config() };
        let error = tapline_host_core::Host::builder().config(config).build().err().unwrap();
        assert!(error.to_string().contains("plugin_share_percent"), "{error}");
    }
}

#[tokio::test]
async fn those_that_wait_for_a_turn_hear_at_once_that_the_host_stops() {
    let (host, gate) = host_with(pool_of_four());
    host.load(spec("slow", waiting()).grant("gate", "open")).await.unwrap();
    let running = join_all([0, 1, 2].iter().map(|number| host.dispatch(Number, number)));
    // They run one after the other up to their first wait, in this order.
    let (ran, waited, drained) = tokio::join!(biased; running, host.dispatch(Number, &3), async {
        let (drained, ()) = tokio::join!(host.shut_down(PATIENCE), async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            gate.add_permits(3);
        });
        drained
    });
    assert!(ran.into_iter().all(|outcome| outcome.unwrap().answers.len() == 1));
    let failures = waited.unwrap().failures;
    assert!(matches!(failures[0].fault, Fault::ShuttingDown), "{failures:?}");
    assert!(drained);
}

#[tokio::test]
async fn a_wait_without_end_is_no_panic() {
    let (host, gate) =
        host_with(HostConfig { pool_size: 1, max_wait: Duration::MAX, limits: limits(60_000), ..config() });
    host.load(spec("slow", waiting()).grant("gate", "open")).await.unwrap();
    let both = async { tokio::join!(biased; host.dispatch(Number, &1), host.dispatch(Number, &2)) };
    let (outcomes, ()) = tokio::join!(biased; both, async { gate.add_permits(2) });
    assert_eq!(outcomes.0.unwrap().answers.len() + outcomes.1.unwrap().answers.len(), 2);
}

/// The engine keeps the free slots of a large pool in several lists, and looks through one after the other. When others take
/// and give back meanwhile, it may miss the slot that a call has a right to.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pool_that_is_full_all_the_time_has_a_slot_for_every_turn() {
    let whole = HostConfig { plugin_share_percent: 100, ..config() };
    let (host, gate) = host_with(HostConfig { pool_size: 128, max_wait: Duration::from_secs(60), ..whole });
    host.load(spec("waiting", waiting()).grant("gate", "open")).await.unwrap();
    let callers = (0..400).map(|_| {
        let host = host.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                let outcome = host.dispatch(Number, &1).await.unwrap();
                assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    // Each call waits for a moment, so that all slots are taken.
    let opening = tokio::spawn(async move {
        loop {
            gate.add_permits(16);
            tokio::task::yield_now().await;
        }
    });
    for caller in callers {
        caller.await.unwrap();
    }
    opening.abort();
}
