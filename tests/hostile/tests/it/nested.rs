//! Host functions that dispatch a tap, so that a plugin can call itself through its host.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tapline_host_core::{
    CallError, CallState, Capability, Fault, Host, HostConfig, MAX_NESTED_CALLS, Party, PluginSpec, Tap as _,
};
use tapline_hostile::{ATTACK_TIME, Ground, Guest, INPUT, Letter, Number, PATIENCE, Text, config, name, time};
use tokio::time::Instant;
use wasmtime::{StoreContextMut, component::Linker};

use crate::cancelled::at_every_point;

/// Host functions of an integrator: `again` dispatches `number`, `letters` dispatches `letter`.
#[derive(Clone, Default)]
struct Nested(Arc<Seen>);

#[derive(Default)]
pub(crate) struct Seen {
    /// Taken out again at the end of a test: a host that holds itself would stay for ever.
    host: Mutex<Option<Host>>,
    failures: Mutex<Vec<CallError>>,
    deadlines: Mutex<Vec<Instant>>,
    /// How often `letters` was called, and how often its dispatch came to an end.
    letters: [AtomicU64; 2],
}

impl Seen {
    /// How often `letters` was called, and how often its dispatch came to an end.
    pub(crate) fn letters(&self) -> (u64, u64) {
        (self.letters[0].load(Relaxed), self.letters[1].load(Relaxed))
    }

    fn host(&self) -> Host {
        self.host.lock().unwrap().clone().unwrap()
    }

    /// Keeps what failed. The guest gets the number of answers.
    fn keep(&self, answers: usize, failures: Vec<CallError>) -> wasmtime::Result<(u32,)> {
        self.failures.lock().unwrap().extend(failures);
        Ok((answers as u32,))
    }
}

impl Capability for Nested {
    fn grant_name(&self) -> Option<&'static str> {
        None
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["hostile:test/nested@1.0.0"]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        let mut nested = linker.instance("hostile:test/nested@1.0.0")?;
        let seen = Arc::clone(&self.0);
        nested.func_wrap_async("again", move |store: StoreContextMut<'_, CallState>, (): ()| {
            let seen = Arc::clone(&seen);
            seen.deadlines.lock().unwrap().push(store.data().deadline());
            Box::new(async move {
                let outcome = seen.host().dispatch(Number, &INPUT).await?;
                seen.keep(outcome.answers.len(), outcome.failures)
            })
        })?;
        let seen = Arc::clone(&self.0);
        nested.func_wrap_async("letters", move |_: StoreContextMut<'_, CallState>, (): ()| {
            let seen = Arc::clone(&seen);
            Box::new(async move {
                seen.letters[0].fetch_add(1, Relaxed);
                let outcome = seen.host().dispatch(Letter, &INPUT).await?;
                seen.letters[1].fetch_add(1, Relaxed);
                seen.keep(outcome.answers.len(), outcome.failures)
            })
        })
    }
}

/// With the functions of this file for its core module.
pub(crate) fn guest(guest: Guest) -> Guest {
    guest
        .component(
            r#"(import "hostile:test/nested@1.0.0" (instance $nested
                 (export "again" (func (result u32))) (export "letters" (func (result u32)))))
               (core func $again (canon lower (func $nested "again")))
               (core func $letters (canon lower (func $nested "letters")))"#,
        )
        .function("again", "(result i32)")
        .function("letters", "(result i32)")
}

/// A host with the functions of this file.
pub(crate) async fn ground(config: HostConfig) -> (Ground, Arc<Seen>) {
    let nested = Nested::default();
    let seen = Arc::clone(&nested.0);
    let ground = Ground::with(config, |builder| builder.capability(nested)).await;
    *seen.host.lock().unwrap() = Some(ground.host.clone());
    (ground, seen)
}

/// What the nested calls of `plugin` failed with, all of them in its one tap. The host is let go.
pub(crate) async fn finish(ground: &Ground, seen: &Seen, plugin: &str, tap: &str) -> Vec<Fault> {
    ground.is_quiet("nested calls").await;
    seen.host.lock().unwrap().take();
    let failures = std::mem::take(&mut *seen.failures.lock().unwrap()).into_iter();
    let failures: Vec<_> = failures.filter(|error| error.plugin == name(plugin)).collect();
    assert!(failures.iter().all(|error| error.tap.as_ref() == tap), "{failures:?}");
    failures.into_iter().map(|error| error.fault).collect()
}

#[tokio::test]
async fn a_plugin_that_calls_itself_through_its_host() {
    let (ground, seen) = ground(HostConfig { pool_size: 100, ..config() }).await;
    ground.load("again", guest(Guest::number("(call $again)")).bytes()).await;
    let outcome = ground.beside(ground.host.dispatch(Number, &INPUT)).await.unwrap();
    // Each call got two answers, its own and its neighbour's; the innermost one none.
    assert_eq!(outcome.answers, [(name("again"), 2), (name("well-behaved"), INPUT + 1)]);
    let counters = ground.counters("again");
    let calls = MAX_NESTED_CALLS as u64 + 1;
    assert_eq!((counters.outcome("ok"), counters.outcome("too_deep"), counters.calls()), (calls, 1, calls + 1));
    let deadlines = std::mem::take(&mut *seen.deadlines.lock().unwrap());
    assert_eq!(deadlines.len() as u64, calls);
    assert!(deadlines.is_sorted_by(|outer, inner| outer >= inner), "no call has more time than the one around it");
    let faults = finish(&ground, &seen, "again", Number::NAME).await;
    let [fault @ Fault::TooDeep { limit: MAX_NESTED_CALLS }] = faults.as_slice() else { panic!("{faults:?}") };
    assert_eq!(fault.party(), Party::Guest);
}

#[tokio::test]
async fn a_plugin_that_calls_itself_without_end() {
    let (ground, seen) = ground(HostConfig { pool_size: 100, ..config() }).await;
    let bytes = guest(Guest::number("(loop (drop (call $again)) (br 0)) (i32.const 0)")).bytes();
    ground.host.load(PluginSpec::bytes(name("again"), bytes).limits(time(ATTACK_TIME))).await.unwrap();
    let outcome = ground.beside(ground.host.dispatch(Number, &INPUT)).await.unwrap();
    assert_eq!(outcome.answers, [(name("well-behaved"), INPUT + 1)]);
    let failure = &outcome.failures[0];
    assert_eq!((&failure.plugin, failure.tap.as_ref()), (&name("again"), Number::NAME));
    assert!(matches!(failure.fault, Fault::TimedOut { limit: ATTACK_TIME }), "{failure:?}");
    let faults = finish(&ground, &seen, "again", Number::NAME).await;
    assert!(!faults.is_empty() && faults.iter().all(|fault| matches!(fault, Fault::TooDeep { .. })), "{faults:?}");
    let counters = ground.counters("again");
    assert_eq!(counters.outcome("too_deep"), faults.len() as u64);
    assert_eq!(counters.outcome("timeout"), 1, "the outermost one: {counters:?}");
}

/// The inner call may take long by its own limit; the outer one is over before.
#[tokio::test]
async fn a_nested_call_ends_with_the_one_around_it() {
    let (ground, seen) = ground(config()).await;
    let outer = guest(Guest::number("(call $letters)")).bytes();
    ground.host.load(PluginSpec::bytes(name("outer"), outer).limits(time(ATTACK_TIME))).await.unwrap();
    ground.load("inner", Guest::new::<Letter>("(call $wait) (i32.const 65)").bytes()).await;
    let outcome = ground.beside(ground.host.dispatch(Number, &INPUT)).await.unwrap();
    assert_eq!(outcome.answers, [(name("well-behaved"), INPUT + 1)]);
    assert!(matches!(outcome.failures[0].fault, Fault::TimedOut { limit: ATTACK_TIME }), "{:?}", outcome.failures);
    // It was dropped, which is not held against it.
    let counters = ground.counters("inner");
    assert_eq!((counters.outcome("cancelled"), counters.calls()), (1, 1), "{counters:?}");
    assert!(finish(&ground, &seen, "inner", Letter::NAME).await.is_empty());
}

#[tokio::test]
async fn callers_that_go_away_before_within_and_after_a_nested_call() {
    let (ground, seen) = ground(config()).await;
    let outer = guest(Guest::new::<Text>("(call $step) (drop (call $letters)) (call $step) (i32.const 0)"));
    ground.load("outer", outer.bytes()).await;
    ground.load("inner", Guest::new::<Letter>("(call $step) (call $step) (i32.const 65)").bytes()).await;
    let (polls, outcome) = at_every_point(&ground, "outer", || ground.host.dispatch(Text, &INPUT)).await;
    assert_eq!(outcome.unwrap().answers.len(), 1);
    assert!(polls > 4, "four waits: {polls}");
    let (asked, heard) = seen.letters();
    assert!(asked < polls as u64 && heard < asked && heard > 0, "{asked} of {polls} calls asked, {heard} heard");
    let counters = ground.counters("inner");
    assert_eq!((counters.outcome("ok"), counters.outcome("cancelled")), (heard, asked - heard), "{counters:?}");
    assert_eq!(counters.calls(), asked, "{counters:?}");
    assert!(finish(&ground, &seen, "inner", Letter::NAME).await.is_empty());
}

/// A call that has a slot never waits for another one: two of them would wait for each other.
#[tokio::test]
async fn a_nested_call_that_finds_no_slot_is_told_at_once() {
    let (ground, seen) = ground(HostConfig { pool_size: 2, max_wait: 10 * PATIENCE, ..config() }).await;
    // Both take a slot and wait; whoever goes on first wants one more.
    for plugin in ["a", "b"] {
        let nests = Guest::new::<Text>("(call $wait) (drop (call $letters)) (i32.const 0)");
        ground.load(plugin, guest(nests).bytes()).await;
    }
    ground.load("inner", Guest::new::<Letter>("(i32.const 65)").bytes()).await;
    let open = async {
        while ground.host.slots().0 < 2 {
            tokio::task::yield_now().await;
        }
        ground.world.gate.add_permits(2);
    };
    let both = async { tokio::join!(biased; ground.host.dispatch(Text, &INPUT), open).0 };
    let outcome = tokio::time::timeout(PATIENCE, both).await.expect("they do not wait for each other").unwrap();
    assert_eq!(outcome.answers.len(), 2, "{:?}", outcome.failures);
    let faults = finish(&ground, &seen, "inner", Letter::NAME).await;
    assert!(
        !faults.is_empty()
            && faults.iter().all(|fault| matches!(fault, Fault::Overloaded { waited, .. } if waited.is_zero())),
        "{faults:?}"
    );
    assert_eq!(ground.counters("inner").outcome("overloaded"), faults.len() as u64);
}
