//! Guests that do not come back, and guests that use up what they have.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tapline_host_core::{Fault, LoadError, PluginSpec, limits::PartialLimits};
use tapline_hostile::{
    ATTACK_TIME, Attack, Ground, Guest, INPUT, Letter, Listen, Number, PATIENCE, Text, fault, name, refused, time,
};

#[tokio::test]
async fn guests_without_end() {
    let ground = Ground::new().await;
    let endless = [
        ("a loop", Guest::number("(loop (br 0)) (i32.const 0)")),
        ("calls that return", Guest::number("(loop (call $f) (br 0)) (i32.const 0)").with("(func $f)")),
        ("tail calls", Guest::number("(call $f) (i32.const 0)").with("(func $f (return_call $f))")),
        (
            "bulk instructions",
            Guest::number("(loop (memory.fill (i32.const 0) (local.get $x) (i32.const 1048576)) (br 0)) (i32.const 0)")
                .memory("16"),
        ),
        ("host calls", Guest::number("(loop (drop (call $count)) (br 0)) (i32.const 0)")),
        ("host calls that wait a little", Guest::number("(loop (call $step) (br 0)) (i32.const 0)")),
        ("a host call that waits for ever", Guest::number("(call $wait) (i32.const 0)")),
        ("what comes after a good answer", Guest::new::<Text>("(i32.const 0)").after("(loop (br 0))")),
        ("making room for arguments", Guest::new::<Listen>("(i32.const 0)").realloc("(loop (br 0)) (i32.const 0)")),
    ];
    for (what, guest) in endless {
        ground.survives(Attack::endless(what, &guest)).await;
    }
}

/// A guest that spins comes back to its thread at each tick. The thread then has to look at timers as well: if it only went
/// on with the next task that is ready, it would do so once in sixty turns.
#[tokio::test]
async fn a_spinning_guest_does_not_keep_its_thread_from_timers() {
    let ground = Ground::new().await;
    ground.load("spins", Guest::new::<Letter>("(loop (br 0)) (i32.const 65)").bytes()).await;
    let turns = Arc::new(AtomicUsize::new(0));
    let spinning = tokio::spawn({
        let (turns, dispatch) = (Arc::clone(&turns), ground.host.dispatch(Letter, &INPUT));
        async move {
            let mut dispatch = pin!(dispatch);
            poll_fn(|context| {
                turns.fetch_add(1, Relaxed);
                dispatch.as_mut().poll(context)
            })
            .await
        }
    });
    for _ in 0..3 {
        let before = turns.load(Relaxed);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let turns = turns.load(Relaxed) - before;
        assert!((1..20).contains(&turns), "a timer of one turn came after {turns}");
    }
    spinning.abort();
    assert!(spinning.await.unwrap_err().is_cancelled());
    ground.is_quiet("a guest that spins").await;
}

/// Each of these waits is over at once, and takes from what the task may do in one turn: until nothing is left for the
/// timer of its deadline.
#[tokio::test]
async fn waits_that_use_up_the_turn_of_their_task() {
    let ground = Ground::new().await;
    ground.world.gate.add_permits(1 << 40);
    let waits = Guest::number("(loop (call $wait) (br 0)) (i32.const 0)");
    ground.survives(Attack::endless("waits that are over at once", &waits)).await;
    let drains = Guest::number("(call $drain) (i32.const 0)");
    ground.survives(Attack::endless("a host function that never runs out of them", &drains)).await;
}

#[tokio::test]
async fn starts_without_end() {
    let ground = Ground::new().await;
    let endless = Guest::number("(local.get $x)").with("(func $start (loop (br 0))) (start $start)");
    let refusal = refused!("start", LoadError::Probe { source, .. }
        if matches!(source.fault, Fault::TimedOut { limit } if limit == ATTACK_TIME));
    ground.survives(Attack::new("a start function", &endless, refusal).limits(time(ATTACK_TIME))).await;

    // Behaves while it is loaded, which is the first time, and loops the second time.
    let patient = Guest::number("(local.get $x)")
        .with("(func $start (if (i32.eqz (i32.and (call $count) (i32.const 1))) (then (loop (br 0))))) (start $start)");
    ground.survives(Attack::endless("a start function that waits for its time", &patient)).await;
}

#[tokio::test]
async fn recursion_without_end() {
    let ground = Ground::new().await;
    let deep = [
        ("one function", "(func $f (call $f) (call $f))"),
        ("two functions", "(func $f (call $g) (call $g)) (func $g (call $f) (call $f))"),
        (
            "through a table",
            "(table 1 funcref) (elem (i32.const 0) $f) (func $f (call_indirect (i32.const 0)) (call $f))",
        ),
        (
            "large frames",
            "(func $f (local i64 i64 i64 i64 i64 i64 i64 i64) (local $a v128) (local $b v128)
               (local.set $a (v128.load (i32.const 0))) (local.set $b (v128.load (i32.const 16)))
               (call $f) (v128.store (i32.const 0) (local.get $a)) (v128.store (i32.const 16) (local.get $b)))",
        ),
    ];
    for (what, module) in deep {
        let guest = Guest::number("(call $f) (i32.const 0)").with(module);
        ground.survives(Attack::new(what, &guest, fault!(Fault::StackOverflow { limit: 1_048_576 }))).await;
    }
}

#[tokio::test]
async fn more_fuel_than_there_is() {
    let ground = Ground::new().await;
    let metered =
        PartialLimits { enable_fuel_metering: Some(true), fuel_limit: Some(10_000), ..PartialLimits::default() };
    let guest = Guest::number("(loop (br 0)) (i32.const 0)");
    let attack = Attack::new("a loop", &guest, fault!(Fault::OutOfFuel { limit: 10_000 }));
    ground.survives(attack.limits(metered).moves("tapline_fuel_used_total")).await;
}

/// Calls that run out of their time take none from another one, which spins on the same thread all the while.
#[tokio::test]
async fn the_end_of_one_call_does_not_shorten_anothers() {
    let ground = Ground::new().await;
    let spins = Guest::number("(loop (br 0)) (i32.const 0)");
    for plugin in ["short-a", "short-b", "short-c"] {
        let spec = PluginSpec::bytes(name(plugin), spins.bytes()).limits(time(ATTACK_TIME));
        ground.host.load(spec).await.unwrap();
    }
    ground
        .load("long", Guest::number("(loop $next (br_if $next (i32.eqz (call $try-wait)))) (i32.const 0)").bytes())
        .await;
    let timed_out = |plugin: &&str| ground.counters(plugin).outcome("timeout") == 1;
    let open = async {
        while !["short-a", "short-b", "short-c"].iter().all(timed_out) {
            tokio::task::yield_now().await;
        }
        // Only now can the long one end, and it is still there to do so.
        ground.world.gate.add_permits(1);
    };
    let both = async { tokio::join!(ground.host.dispatch(Number, &INPUT), open).0 };
    let outcome = tokio::time::timeout(PATIENCE, both).await.unwrap().unwrap();
    assert_eq!(outcome.answers, [(name("long"), 0), (name("well-behaved"), INPUT + 1)]);
    assert_eq!(outcome.failures.len(), 3, "{:?}", outcome.failures);
    ground.is_quiet("calls that ended at their own time").await;
}
