//! Callers that go away, at every point at which they can.

mod kept;
mod lazy;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use tapline_host_core::{Fault, HostConfig, PluginSpec};
use tapline_hostile::{ATTACK_TIME, Ground, Guest, INPUT, Letter, Number, PATIENCE, Text, config, name, strike, time};

/// Polls a future so often and no further, then drops it. `Some`: it was done by then.
pub(crate) async fn polled<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// What became of a call that was polled so often and then dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nobody polled it: there was no call.
    NotBegun,
    /// It had begun.
    Cancelled,
    /// It was done.
    Done,
}

impl End {
    pub(crate) fn of<T>(done: Option<&T>, times: usize) -> Self {
        match done {
            Some(_) => Self::Done,
            None if times == 0 => Self::NotBegun,
            None => Self::Cancelled,
        }
    }

    /// How many calls that makes, and how many of them were cancelled.
    pub(crate) fn counts(self) -> (u64, u64) {
        match self {
            Self::NotBegun => (0, 0),
            Self::Cancelled => (1, 1),
            Self::Done => (1, 0),
        }
    }
}

/// Drops the future that `call` makes after 0 polls, after 1, and so on until one is done. After each nothing is left
/// of it, and the calls of `plugin` are counted: as cancelled if they had begun, and once. Returns how many polls the
/// last one took, and what came of it.
pub(crate) async fn at_every_point<F: Future>(
    ground: &Ground,
    plugin: &str,
    call: impl Fn() -> F,
) -> (usize, F::Output) {
    at_every_point_then(ground, plugin, call, async |_, after: &str| ground.is_quiet(after).await).await
}

/// [`at_every_point`] where something may be left of a call, such as an instance for the next one: `quiet` sees to it
/// that it is what there has to be.
pub(crate) async fn at_every_point_then<F: Future>(
    ground: &Ground,
    plugin: &str,
    call: impl Fn() -> F,
    quiet: impl AsyncFn(End, &str),
) -> (usize, F::Output) {
    for times in 0.. {
        let before = ground.counters(plugin);
        let done = polled(call(), times).await;
        let moved = ground.counters(plugin).since(&before);
        let end = End::of(done.as_ref(), times);
        assert_eq!((moved.calls(), moved.outcome("cancelled")), end.counts(), "{times}: {moved:?}");
        quiet(end, &format!("{times} polls")).await;
        if let Some(output) = done {
            return (times, output);
        }
    }
    unreachable!("some call is done in the end")
}

#[tokio::test]
async fn in_a_loop() {
    let ground = Ground::new().await;
    let spec = PluginSpec::bytes(name("loops"), Guest::number("(loop (br 0)) (i32.const 0)").bytes());
    ground.host.load(spec.limits(time(ATTACK_TIME))).await.unwrap();
    let (_, outcome) = at_every_point(&ground, "loops", || ground.host.dispatch(Number, &INPUT)).await;
    let failures = outcome.unwrap().failures;
    assert!(matches!(failures[0].fault, Fault::TimedOut { .. }), "{failures:?}");
}

#[tokio::test]
async fn in_a_host_function() {
    let ground = Ground::new().await;
    ground.load("steps", Guest::number(format!("{} (i32.const 7)", "(call $step)".repeat(10))).bytes()).await;
    let (polls, outcome) = at_every_point(&ground, "steps", || ground.host.dispatch(Number, &INPUT)).await;
    assert!(polls >= 10, "ten waits make ten polls: {polls}");
    assert_eq!(outcome.unwrap().answers[0], (name("steps"), 7));
}

#[tokio::test]
async fn while_its_instance_is_made() {
    let ground = Ground::new().await;
    // The body waits for nothing: every wait is one of the start.
    let guest = Guest::new::<Letter>("(i32.const 65)")
        .with(&format!("(func $start {}) (start $start)", "(call $step)".repeat(5)))
        .memory("3");
    ground.load("starts", guest.bytes()).await;
    let (polls, outcome) = at_every_point(&ground, "starts", || ground.host.dispatch(Letter, &INPUT)).await;
    assert!(polls > 5, "five waits before there is an instance: {polls}");
    assert_eq!(outcome.unwrap().answers, [(name("starts"), 'A')]);
}

#[tokio::test]
async fn in_the_queue() {
    let cases = [
        // For the turn of its plugin, of which one call may run; there are slots.
        (8, "letters", strike::<Letter>(), 1),
        // For the one slot, which another plugin has.
        (1, "texts", strike::<Text>(), 0),
    ];
    for (pool_size, plugin, second, calls_of_first) in cases {
        // One place to wait: one that is not given back would be missed at once.
        let settings = HostConfig { pool_size, max_waiting: 1, max_wait: PATIENCE, ..config() };
        let ground = Ground::with(settings, |more| more).await;
        let letters = Guest::new::<Letter>("(call $step) (call $step) (i32.const 65)").bytes();
        let letters = PluginSpec { max_concurrent_calls: Some(1), ..PluginSpec::bytes(name("letters"), letters) };
        ground.host.load(letters).await.unwrap();
        ground.load("texts", Guest::new::<Text>("(call $step) (call $step) (i32.const 0)").bytes()).await;
        for times in 0.. {
            let before = ground.counters(plugin);
            let (first, second) = tokio::join!(
                biased;
                ground.host.dispatch(Letter, &INPUT),
                polled(second(&ground.host), times),
            );
            assert_eq!(first.unwrap().answers, [(name("letters"), 'A')], "{times}");
            let moved = ground.counters(plugin).since(&before);
            ground.is_quiet(&format!("{times} polls")).await;
            let (begun, cancelled) = End::of(second.as_ref(), times).counts();
            assert_eq!((moved.calls(), moved.outcome("cancelled")), (calls_of_first + begun, cancelled), "{moved:?}");
            assert_eq!(moved.outcome("ok"), calls_of_first + begun - cancelled, "{moved:?}");
            if let Some(second) = second {
                assert_eq!(second.answers.len(), 1, "{second:?}");
                assert!(times > 2, "one poll in the queue, and some with the guest: {times}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn with_several_handlers_on_their_way() {
    let ground = Ground::new().await;
    let plugins = ["none", "three", "nine"];
    for (plugin, steps) in plugins.into_iter().zip([0, 3, 9]) {
        let guest = Guest::new::<Letter>(format!("{} (i32.const 65)", "(call $step)".repeat(steps)));
        ground.load(plugin, guest.bytes()).await;
    }
    let mut some_were_done = false;
    for times in 0.. {
        let before = plugins.map(|plugin| ground.counters(plugin));
        let done = polled(ground.host.dispatch(Letter, &INPUT), times).await;
        ground.is_quiet(&format!("{times} polls")).await;
        let mut ok = 0;
        for (plugin, before) in plugins.into_iter().zip(&before) {
            let moved = ground.counters(plugin).since(before);
            // One that is done stays done, whatever becomes of the others.
            assert_eq!(moved.calls(), u64::from(times > 0), "{plugin} after {times} polls");
            assert_eq!(moved.calls(), moved.outcome("ok") + moved.outcome("cancelled"), "{plugin} after {times} polls");
            ok += moved.outcome("ok");
        }
        some_were_done |= (1..3).contains(&ok);
        if let Some(outcome) = done {
            assert_eq!((ok, some_were_done), (3, true));
            assert_eq!(outcome.unwrap().answers, ["nine", "none", "three"].map(|plugin| (name(plugin), 'A')));
            break;
        }
    }
}

#[tokio::test]
async fn while_loading() {
    let ground = Ground::new().await;
    let bytes = Guest::number("(local.get $x)")
        .with("(func $start (call $step) (call $step) (call $step)) (start $start)")
        .bytes();
    for times in 0.. {
        let done = polled(ground.host.load(PluginSpec::bytes(name("slow"), bytes.clone())), times).await;
        ground.is_quiet(&format!("{times} polls")).await;
        let loaded = ground.host.plugins().iter().any(|plugin| *plugin.name() == name("slow"));
        assert_eq!(loaded, done.is_some(), "a plugin is loaded, or there is nothing of it");
        if let Some(loaded) = done {
            loaded.unwrap();
            assert!(times > 2, "three waits and a compilation: {times}");
            break;
        }
    }
    assert_eq!(ground.host.dispatch(Number, &INPUT).await.unwrap().answers[0], (name("slow"), INPUT));
}

#[tokio::test]
async fn a_deadline_a_caller_and_a_shutdown_are_told_apart() {
    let ground = Ground::new().await;
    let waits = Guest::new::<Letter>("(call $wait) (i32.const 65)").bytes();
    ground.host.load(PluginSpec::bytes(name("waits"), waits).limits(time(ATTACK_TIME))).await.unwrap();
    let late = ground.host.dispatch(Letter, &INPUT).await.unwrap().failures;
    assert!(matches!(late[0].fault, Fault::TimedOut { limit: ATTACK_TIME }), "{late:?}");
    assert!(polled(ground.host.dispatch(Letter, &INPUT), 1).await.is_none());
    assert!(ground.host.shut_down(PATIENCE).await);
    let stopped = ground.host.dispatch(Letter, &INPUT).await.unwrap().failures;
    assert!(matches!(stopped[0].fault, Fault::ShuttingDown), "{stopped:?}");
    let counters = ground.counters("waits");
    assert_eq!(["timeout", "cancelled", "shutting_down"].map(|outcome| counters.outcome(outcome)), [1, 1, 1]);
    assert_eq!(counters.calls(), 3, "{counters:?}");
}
