//! Where a plugin has no code yet: callers that have it brought, and those that wait for it.

use std::{cell::Cell, time::Duration};

use tapline_host_core::{CallError, Contributions, Fault, HostConfig, PluginSpec, Tap as _, metrics::SeriesLease};
use tapline_hostile::{Counters, Ground, Guest, INPUT, Letter, PATIENCE, Text, config, name};

use super::{End, at_every_point_then, polled};
use crate::nested;

const LAZY: &str = "lazy";

/// One place to wait, whatever for: one that is not given back would be missed at once.
fn settings() -> HostConfig {
    HostConfig { max_waiting: 1, max_wait: PATIENCE, ..config() }
}

/// A host with a plugin without its code, and after each round with another one of its name.
struct Lazy {
    ground: Ground,
    round: Cell<u32>,
    compiled_before: u64,
    /// What is counted of all of them.
    _counted: SeriesLease,
}

impl Lazy {
    async fn on(ground: Ground) -> Self {
        let lazy = Self {
            round: Cell::new(0),
            compiled_before: compiled(&ground),
            _counted: ground.host.metrics().lease(LAZY),
            ground,
        };
        lazy.load().await;
        lazy
    }

    /// What the plugin of this round answers.
    fn letter(&self) -> char {
        char::from_u32(65 + self.round.get()).unwrap()
    }

    async fn load(&self) {
        // No two of them are the same component: nothing is in the cache.
        let answer = format!("(call $step) (call $step) (i32.const {})", u32::from(self.letter()));
        let spec = PluginSpec::bytes(name(LAZY), Guest::new::<Letter>(answer).bytes());
        let plugin = self.ground.host.load_lazily(PluginSpec { max_concurrent_calls: Some(1), ..spec }).await.unwrap();
        assert!(!plugin.has_code());
    }

    async fn ask(&self) -> Result<Contributions<char>, CallError> {
        self.ground.host.dispatch(Letter, &INPUT).await
    }

    fn is_answered(&self, outcome: Result<Contributions<char>, CallError>, after: &str) {
        let outcome = outcome.unwrap();
        assert_eq!(outcome.answers, [(name(LAZY), self.letter())], "{after}: {:?}", outcome.failures);
    }

    fn counters(&self) -> Counters {
        self.ground.counters(LAZY)
    }

    /// The code was brought to its end, and once, whoever had gone; and two calls at once are answered, of which one
    /// has to wait. Then comes the next plugin.
    async fn next(&self, after: &str) {
        let Self { ground, round, .. } = self;
        ground.host.bring_all(|_, brought| brought.unwrap()).await;
        let (first, second) = tokio::join!(biased; self.ask(), self.ask());
        self.is_answered(first, after);
        self.is_answered(second, after);
        let rounds = u64::from(round.get()) + 1;
        assert_eq!(compiled(ground), self.compiled_before + rounds, "{after}: each of them once");
        assert!(ground.host.unload(&name(LAZY)).await.unwrap());
        ground.is_quiet(after).await;
        round.set(round.get() + 1);
        self.load().await;
    }
}

/// Plugins that the host has compiled.
fn compiled(ground: &Ground) -> u64 {
    ground.host.caches().iter().map(|cache| cache.compilations).sum()
}

#[tokio::test]
async fn while_its_code_is_brought() {
    let lazy = Lazy::on(Ground::with(settings(), |more| more).await).await;
    let ask = || lazy.ground.host.dispatch(Letter, &INPUT);
    let next = async |_, after: &str| lazy.next(after).await;
    let (polls, outcome) = at_every_point_then(&lazy.ground, LAZY, ask, next).await;
    assert_eq!(outcome.unwrap().answers.len(), 1);
    assert!(polls > 3, "the code, and two waits: {polls}");
    let (counters, polls) = (lazy.counters(), polls as u64);
    assert_eq!(counters.outcome("cancelled"), polls - 1, "{counters:?}");
    assert_eq!(counters.outcome("ok"), 2 * (polls + 1) + 1, "two in each round, and the last one: {counters:?}");
    assert_eq!(counters.calls(), 3 * polls + 2, "{counters:?}");
}

#[tokio::test]
async fn while_it_waits_for_code_that_another_call_has_brought() {
    let lazy = Lazy::on(Ground::with(settings(), |more| more).await).await;
    for times in 0.. {
        let before = lazy.counters();
        let (first, second, third) = tokio::join!(biased; lazy.ask(), polled(lazy.ask(), times), lazy.ask());
        let after = format!("{times} polls");
        lazy.is_answered(first, &after);
        // It comes when the second one has been polled once: that one has gone by then, or has the one place.
        let is_refused = times > 1;
        if is_refused {
            let failures = third.unwrap().failures;
            assert!(matches!(failures[0].fault, Fault::NoCodeYet { waited: Duration::ZERO }), "{after}: {failures:?}");
        } else {
            lazy.is_answered(third, &after);
        }
        let moved = lazy.counters().since(&before);
        let (begun, cancelled) = End::of(second.as_ref(), times).counts();
        assert_eq!((moved.calls(), moved.outcome("cancelled")), (2 + begun, cancelled), "{after}: {moved:?}");
        assert_eq!(moved.outcome("overloaded"), u64::from(is_refused), "{after}: {moved:?}");
        assert_eq!(moved.outcome("ok"), 2 + begun - cancelled - u64::from(is_refused), "{after}: {moved:?}");
        let done = second.map(|second| lazy.is_answered(second, &after)).is_some();
        lazy.next(&after).await;
        if done {
            assert!(times > 3, "the code, the turn, and two waits: {times}");
            break;
        }
    }
}

#[tokio::test]
async fn while_others_wait_for_the_code_that_it_has_brought() {
    let lazy = Lazy::on(Ground::with(settings(), |more| more).await).await;
    for times in 0.. {
        let before = lazy.counters();
        let (first, second) = tokio::join!(biased; polled(lazy.ask(), times), lazy.ask());
        let after = format!("{times} polls");
        lazy.is_answered(second, &after);
        let moved = lazy.counters().since(&before);
        let (begun, cancelled) = End::of(first.as_ref(), times).counts();
        assert_eq!((moved.calls(), moved.outcome("cancelled")), (1 + begun, cancelled), "{after}: {moved:?}");
        assert_eq!(moved.outcome("ok"), 1 + begun - cancelled, "{after}: {moved:?}");
        let done = first.map(|first| lazy.is_answered(first, &after)).is_some();
        lazy.next(&after).await;
        if done {
            assert!(times > 3, "the code, and two waits: {times}");
            break;
        }
    }
}

/// The caller of the call around it goes away.
#[tokio::test]
async fn while_a_call_within_it_has_code_brought() {
    let (ground, seen) = nested::ground(settings()).await;
    let outer = Guest::new::<Text>("(call $step) (drop (call $letters)) (call $step) (i32.const 0)");
    ground.load("outer", nested::guest(outer).bytes()).await;
    let lazy = Lazy::on(ground).await;
    let ask = || lazy.ground.host.dispatch(Text, &INPUT);
    let next = async |_, after: &str| lazy.next(after).await;
    let (polls, outcome) = at_every_point_then(&lazy.ground, "outer", ask, next).await;
    assert_eq!(outcome.unwrap().answers.len(), 1);
    assert!(polls > 5, "the code, and four waits: {polls}");
    let (counters, polls) = (lazy.counters(), polls as u64);
    let (asked, heard) = seen.letters();
    assert!(asked < polls && heard < asked && heard > 0, "it went away before, within and after the inner call");
    assert_eq!(counters.outcome("cancelled"), asked - heard, "{counters:?}");
    assert_eq!(counters.outcome("ok"), 2 * (polls + 1) + heard, "{counters:?}");
    assert_eq!(counters.calls(), 2 * (polls + 1) + asked, "{counters:?}");
    assert!(nested::finish(&lazy.ground, &seen, LAZY, Letter::NAME).await.is_empty());
}
