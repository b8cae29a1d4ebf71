//! What a host has loaded changes while it serves.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use futures_util::future::join_all;
use tapline_host_core::{
    Alter, Applied, BreakerState, Call, CallError, CallState, Capability, Fault, Host, HostConfig, Interface,
    LoadError, Override, PluginSource, PluginSpec, Refused, RefusedChange, Reuse, Signature, Tap,
};
use tokio::sync::Semaphore;
use wasmtime::{StoreContextMut, component::Linker};

use crate::guests::{
    Gate, NUMBER, Number, PATIENCE, assert_serves, component, config, host, host_with, limits, metric, name, number,
    number_with, spec, time, waiting,
};

/// The same function as [`Number`]; each plugin gets what the one before it made.
struct Steps;

impl Tap for Steps {
    const NAME: &'static str = "steps";
    const INTERFACES: &'static [Interface] = &[Interface { name: NUMBER, function: "run", mode: "full" }];
    type Policy = Alter;
    type Input = u32;
    type Answer = u32;

    fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        signature.is::<(u32,), (u32,)>()
    }

    async fn call(call: &mut Call, input: &u32) -> Result<u32, CallError> {
        Ok(call.invoke::<(u32,), (u32,)>((*input,)).await?.0)
    }
}

fn patient() -> HostConfig {
    HostConfig { limits: limits(60_000), max_wait: PATIENCE, ..config() }
}

/// Answers with its version.
fn version(plugin: &str, version: u32) -> PluginSpec {
    spec(plugin, number(&format!("(i32.const {version})")))
}

async fn versions(host: &Host) -> Vec<(String, u32)> {
    let outcome = host.dispatch(Number, &0).await.unwrap();
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    outcome.answers.into_iter().map(|(plugin, version)| (plugin.to_string(), version)).collect()
}

fn expected(answers: &[(&str, u32)]) -> Vec<(String, u32)> {
    answers.iter().map(|(plugin, version)| ((*plugin).to_owned(), *version)).collect()
}

fn order(value: serde_json::Value) -> BTreeMap<String, Override> {
    BTreeMap::from([("number".to_owned(), serde_json::from_value(value).unwrap())])
}

fn names(applied: &Applied) -> [Vec<&str>; 4] {
    [&applied.added, &applied.replaced, &applied.reordered, &applied.removed]
        .map(|names| names.iter().map(|name| name.as_str()).collect())
}

#[tokio::test]
async fn the_old_version_ends_what_it_began_and_goes_with_the_last_of_it() {
    let (host, gate) = host_with(patient());
    let old = Arc::downgrade(&host.load(spec("p", waiting()).grant("gate", "open")).await.unwrap());
    let under_way = tokio::spawn({
        let host = host.clone();
        async move { host.dispatch(Number, &7).await.unwrap().answers }
    });
    while host.slots().0 == 0 {
        tokio::task::yield_now().await;
    }
    let new = host.replace(version("p", 2)).await.unwrap();
    assert_eq!(versions(&host).await, expected(&[("p", 2)]));
    assert!(Arc::ptr_eq(&new, &host.plugins()[0]));
    assert!(old.upgrade().is_some(), "it still has a call to end");
    gate.add_permits(1);
    assert_eq!(under_way.await.unwrap(), [(name("p"), 7)]);
    assert!(old.upgrade().is_none(), "the last call took it away");
    assert_serves(&host).await;
}

#[tokio::test]
async fn one_dispatch_never_mixes_versions() {
    let gate = Arc::new(Semaphore::new(0));
    let builder = Host::builder().config(patient()).tap::<Number>().tap::<Steps>();
    let host = builder.capability(Gate(Arc::clone(&gate))).build().unwrap();
    let add =
        |number: u32| spec("b-adds", crate::guests::number(&format!("(i32.add (local.get $x) (i32.const {number}))")));
    host.load(spec("a-waits", waiting()).grant("gate", "open")).await.unwrap();
    host.load(add(1)).await.unwrap();
    let dispatch = host.dispatch(Steps, 100);
    // Between its two handlers one is replaced, then removed, and another one comes.
    let (outcome, ()) = tokio::join!(biased; dispatch, async {
        host.replace(add(1000)).await.unwrap();
        host.unload(&name("b-adds")).await.unwrap();
        host.load(version("c-late", 5)).await.unwrap();
        gate.add_permits(1);
    });
    assert_eq!(outcome.unwrap().state, 101);
    gate.add_permits(1);
    assert_eq!(host.dispatch(Steps, 100).await.unwrap().state, 5);
}

#[tokio::test]
async fn a_version_that_fails_its_checks_leaves_the_old_one_and_says_why() {
    let host = host();
    host.load(version("p", 1)).await.unwrap();
    let good = number("(i32.const 2)");
    let cycle = PluginSpec { order: order(serde_json::json!({ "after": ["q"], "before": ["q"] })), ..version("p", 2) };
    host.load(version("q", 1)).await.unwrap();
    type IsTheReason = fn(&LoadError) -> bool;
    let bad: [(PluginSpec, IsTheReason); 8] = [
        (spec("p", b"no wasm".to_vec()), |error| matches!(error, LoadError::NotWasm { .. })),
        (spec("p", good[..good.len() / 2].to_vec()), |error| matches!(error, LoadError::Invalid { .. })),
        (spec("p", component("")), |error| matches!(error, LoadError::NoTap { .. })),
        (spec("p", waiting()), |error| matches!(error, LoadError::NotGranted { .. })),
        (version("p", 2).grant("mail", true), |error| matches!(error, LoadError::UnknownGrant { .. })),
        (PluginSpec::file(name("p"), "missing.wasm"), |error| matches!(error, LoadError::Read { .. })),
        (
            spec("p", number_with("(func $start (loop (br 0))) (start $start)", "(i32.const 2)")).limits(time(20)),
            |error| matches!(error, LoadError::Probe { .. }),
        ),
        (cycle, |error| matches!(error, LoadError::Order(_))),
    ];
    for (spec, is_it) in bad {
        let error = host.replace(spec.clone()).await.unwrap_err();
        assert!(is_it(&error), "{error:?}");
        assert_eq!(versions(&host).await, expected(&[("p", 1), ("q", 1)]), "{error}");
        // As part of a set, it is told and the rest goes on.
        match host.apply(vec![spec, version("q", 1)]).await {
            Ok(applied) => {
                assert!(is_it(&applied.refused[0].error) && names(&applied).concat().is_empty(), "{applied:?}");
            }
            Err(error) => assert!(is_it(&error), "{error:?}"),
        }
        assert_eq!(versions(&host).await, expected(&[("p", 1), ("q", 1)]), "{error}");
    }
    let missing = host.replace(version("nobody", 1)).await.unwrap_err();
    assert!(matches!(missing, LoadError::NotLoaded { .. }), "{missing}");
    assert_eq!(missing.to_string(), "no plugin is called `nobody`, so there is none to replace");
}

fn reasons(applied: &Applied) -> Vec<&LoadError> {
    applied.refused.iter().map(|refused| &*refused.error).collect()
}

/// One that keeps everybody waiting until it is stopped must not do so with every change of another.
#[tokio::test]
async fn what_took_long_to_be_refused_is_not_tried_again_at_once() {
    let host = host();
    let endless = number_with("(func $start (loop (br 0))) (start $start)", "(i32.const 2)");
    let slow = |limit: u64| spec("slow", endless.clone()).limits(time(limit));
    // It counts how often an instance of the plugin is tried.
    let tries = || metric(&host, "tapline_loads_refused_total{reason=\"start\"}");
    host.apply(vec![slow(1_000), version("p", 1)]).await.unwrap();
    assert_eq!(tries(), 1);
    let applied = host.apply(vec![slow(1_000), version("p", 2)]).await.unwrap();
    assert!(matches!(reasons(&applied)[..], [LoadError::Probe { .. }]) && applied.refused[0].is_known, "{applied:?}");
    assert_eq!((tries(), versions(&host).await), (1, expected(&[("p", 2)])));
    assert!(applied.refused[0].retry_in.as_secs() > 10, "{applied:?}");
    // With other settings, as another file, and when somebody believes in it, it is tried; and by whoever asks for it alone.
    host.apply(vec![slow(900), version("p", 2)]).await.unwrap();
    assert_eq!(tries(), 2);
    host.forgive_refused();
    host.apply(vec![slow(900), version("p", 2)]).await.unwrap();
    assert_eq!(tries(), 3);
    let misspelt = order(serde_json::json!({ "after": ["q"] })).into_values().next().unwrap();
    let misspelt = BTreeMap::from([("numbr".to_owned(), misspelt)]);
    host.apply(vec![PluginSpec { order: misspelt, ..version("new", 1) }, version("p", 2)]).await.unwrap();
    let applied = host.apply(vec![version("new", 1), slow(900), version("p", 2)]).await.unwrap();
    assert_eq!(applied.added, [name("new")], "what was wrong is right");
    assert_eq!(tries(), 4, "it was not told to be there in between");
    let applied = host.apply(vec![version("slow", 3), version("p", 2)]).await.unwrap();
    assert_eq!(applied.added, [name("slow")]);
    host.replace(slow(900)).await.unwrap_err();
    assert_eq!(tries(), 5);
}

/// The plugins about which the host was told something that it does not follow.
fn unfollowed(host: &Host) -> Vec<Option<String>> {
    let plugin = |change: RefusedChange| Some(change.plugin?.as_str().to_owned());
    host.refused_changes().into_iter().map(plugin).collect()
}

#[tokio::test]
async fn what_is_refused_stands_there_until_it_is_not() {
    let host = host();
    assert!(host.apply(vec![version("p", 1), version("q", 1)]).await.unwrap().refused.is_empty());
    assert_eq!(unfollowed(&host), []);
    let broken = || spec("p", b"no wasm".to_vec());
    let applied = host.apply(vec![broken(), version("q", 1), spec("new", b"no wasm".to_vec())]).await.unwrap();
    let [p, new] = &applied.refused[..] else { panic!("{applied:?}") };
    assert_eq!((p.plugin.as_str(), p.serves_on, new.plugin.as_str(), new.serves_on), ("p", true, "new", false));
    assert_eq!(unfollowed(&host), [Some("new".to_owned()), Some("p".to_owned())]);
    let first = host.refused_changes().remove(1);
    assert!(first.reason.contains("`p`") && first.hint.is_some(), "{first:?}");
    // The same again is no news, and what is right again is gone.
    host.apply(vec![broken(), version("q", 1)]).await.unwrap();
    assert_eq!(unfollowed(&host), [Some("p".to_owned())]);
    assert_eq!(host.refused_changes()[0].since, first.since);
    host.replace(version("p", 2)).await.unwrap();
    assert_eq!(unfollowed(&host), []);
    // Of all together nobody knows what they are to be.
    host.apply(vec![version("p", 1), version("p", 2)]).await.unwrap_err();
    assert_eq!(unfollowed(&host), [None]);
    host.note_refused_change("the file cannot be read".to_owned(), None);
    assert_eq!(host.refused_changes()[0].reason, "the file cannot be read");
    host.apply(vec![version("p", 1), broken()]).await.unwrap_err();
    host.apply(vec![broken()]).await.unwrap();
    assert_eq!(unfollowed(&host), [Some("p".to_owned())]);
    assert!(host.unload(&name("p")).await.unwrap());
    assert_eq!(unfollowed(&host), []);
    host.apply(vec![broken()]).await.unwrap();
    host.load(version("p", 1)).await.unwrap();
    assert_eq!(unfollowed(&host), [], "it was loaded otherwise");
    // What nobody can tell is the same for as long as it is said, whatever is told in between.
    host.note_refused_change("a file that is no plugin".to_owned(), None);
    let since = host.refused_changes()[0].since;
    host.apply(vec![version("p", 1)]).await.unwrap();
    assert_eq!(unfollowed(&host), []);
    host.note_refused_change("a file that is no plugin".to_owned(), None);
    assert_eq!(host.refused_changes()[0].since, since);
}

#[tokio::test]
async fn what_an_operator_takes_away_is_taken_away() {
    let (host, gate) = host_with(config());
    let gated = || spec("gated", waiting()).grant("gate", "open");
    host.apply(vec![gated(), version("q", 1)]).await.unwrap();
    // A new file that needs more than it is granted leaves the old one where it is.
    let greedy = || spec("q", waiting());
    let applied = host.apply(vec![gated(), greedy()]).await.unwrap();
    assert!(matches!(reasons(&applied)[..], [LoadError::NotGranted { .. }]) && applied.refused[0].serves_on);
    let denied = || PluginSpec { deny_functions: vec!["test:host/gate".parse().unwrap()], ..gated() };
    for taken in [spec("gated", waiting()), denied()] {
        let applied = host.apply(vec![taken, version("q", 1)]).await.unwrap();
        assert!(matches!(&applied.refused[..], [Refused { serves_on: false, .. }]), "{applied:?}");
        assert_eq!(applied.removed, [name("gated")]);
        assert_eq!(versions(&host).await, expected(&[("q", 1)]));
        assert_eq!(unfollowed(&host), [Some("gated".to_owned())]);
        // Given again, it is there again.
        let applied = host.apply(vec![gated(), version("q", 1)]).await.unwrap();
        assert_eq!((applied.added, unfollowed(&host).len()), (vec![name("gated")], 0));
        gate.add_permits(1);
        assert_eq!(host.dispatch(Number, &7).await.unwrap().answers.len(), 2);
    }
    // Whatever else is wrong at the same time.
    host.apply(vec![gated(), version("q", 1), version("r", 1)]).await.unwrap();
    let turned = |plugin: &str, other: &str| PluginSpec {
        order: order(serde_json::json!({ "after": [other], "before": [other] })),
        ..version(plugin, 1)
    };
    let cycle = host.apply(vec![turned("q", "r"), version("r", 1), spec("gated", waiting())]).await.unwrap_err();
    assert!(matches!(cycle, LoadError::Order(_)), "{cycle}");
    assert_eq!(versions(&host).await, expected(&[("q", 1), ("r", 1)]));
    // And where it alone is told anew.
    host.apply(vec![gated(), version("q", 1)]).await.unwrap();
    let refused = host.replace(spec("gated", waiting())).await.unwrap_err();
    assert!(matches!(refused, LoadError::NotGranted { .. }), "{refused}");
    assert_eq!((versions(&host).await, unfollowed(&host)), (expected(&[("q", 1)]), vec![Some("gated".to_owned())]));
    host.apply(vec![gated(), version("q", 1)]).await.unwrap();
    // `false` is no grant, where it was one.
    let broken = PluginSpec { source: PluginSource::Bytes(b"no wasm".to_vec().into()), ..gated().grant("gate", false) };
    let applied = host.apply(vec![broken, version("q", 1)]).await.unwrap();
    assert!(matches!(&applied.refused[..], [Refused { serves_on: false, .. }]), "{applied:?}");
}

#[tokio::test]
async fn a_disabled_plugin_that_goes_and_comes_again_stays_disabled() {
    let host = host();
    host.apply(vec![version("p", 1), version("q", 1)]).await.unwrap();
    host.disable(&name("p")).await.unwrap();
    host.apply(vec![version("q", 1)]).await.unwrap();
    host.apply(vec![version("p", 2), version("q", 1)]).await.unwrap();
    assert_eq!(versions(&host).await, expected(&[("q", 1)]));
    host.enable(&name("p")).await.unwrap();
    assert_eq!(versions(&host).await, expected(&[("p", 2), ("q", 1)]));
    // Also when it was taken out by itself; and one that was loaded by itself is enabled.
    host.disable(&name("p")).await.unwrap();
    host.unload(&name("p")).await.unwrap();
    host.apply(vec![version("p", 3), version("q", 1)]).await.unwrap();
    assert_eq!(versions(&host).await, expected(&[("q", 1)]));
    host.apply(vec![version("q", 1)]).await.unwrap();
    host.load(version("p", 4)).await.unwrap();
    host.apply(vec![version("q", 1)]).await.unwrap();
    host.apply(vec![version("p", 2), version("q", 1)]).await.unwrap();
    assert_eq!(versions(&host).await, expected(&[("p", 2), ("q", 1)]));
    // One that was enabled comes so.
    host.apply(vec![version("q", 1)]).await.unwrap();
    host.apply(vec![version("p", 1), version("q", 1)]).await.unwrap();
    assert_eq!(versions(&host).await, expected(&[("p", 1), ("q", 1)]));
}

#[tokio::test]
async fn disabled_plugins_are_not_called_until_they_are_enabled() {
    let host = host();
    host.load(version("p", 1)).await.unwrap();
    host.load(version("q", 1)).await.unwrap();
    assert!(host.disable(&name("p")).await.unwrap());
    assert_eq!(versions(&host).await, expected(&[("q", 1)]));
    assert!(!host.is_enabled(&name("p")) && host.is_enabled(&name("q")));
    assert_eq!(host.plugins().len(), 2, "it is still loaded");
    host.replace(version("p", 2)).await.unwrap();
    assert_eq!(versions(&host).await, expected(&[("q", 1)]), "a new version of it is not called either");
    assert!(host.enable(&name("p")).await.unwrap());
    assert_eq!(versions(&host).await, expected(&[("p", 2), ("q", 1)]));
    for answer in
        [host.disable(&name("x")).await, host.enable(&name("x")).await, host.reorder(&name("x"), BTreeMap::new()).await]
    {
        assert!(!answer.unwrap(), "there is no such plugin");
    }
    assert!(!host.is_enabled(&name("x")));
}

#[tokio::test]
async fn the_order_changes_without_loading_anything() {
    let host = host();
    let p = host.load(version("p", 1)).await.unwrap();
    host.load(version("q", 1)).await.unwrap();
    assert!(host.reorder(&name("p"), order(serde_json::json!({ "after": ["q"] }))).await.unwrap());
    assert_eq!(versions(&host).await, expected(&[("q", 1), ("p", 1)]));
    let error = host.reorder(&name("q"), order(serde_json::json!({ "after": ["p"] }))).await.unwrap_err();
    assert!(matches!(error, LoadError::Order(_)), "{error}");
    assert_eq!(versions(&host).await, expected(&[("q", 1), ("p", 1)]));
    let misspelt = || BTreeMap::from([("numbr".to_owned(), Override::default())]);
    let error = host.reorder(&name("p"), misspelt()).await.unwrap_err();
    assert!(matches!(error, LoadError::UnknownTap { .. }), "{error}");
    let as_before = PluginSpec { order: order(serde_json::json!({ "after": ["q"] })), ..version("p", 1) };
    let applied = host.apply(vec![as_before, PluginSpec { order: misspelt(), ..version("q", 1) }]).await.unwrap();
    assert!(matches!(reasons(&applied)[..], [LoadError::UnknownTap { .. }]), "{applied:?}");
    assert_eq!(names(&applied).concat(), [""; 0]);
    // What no sequence of single changes can do.
    let turned = PluginSpec { order: order(serde_json::json!({ "after": ["p"] })), ..version("q", 1) };
    let applied = host.apply(vec![version("p", 1), turned]).await.unwrap();
    assert_eq!(names(&applied), [vec![], vec![], vec!["p", "q"], vec![]]);
    assert_eq!(versions(&host).await, expected(&[("p", 1), ("q", 1)]));
    assert!(Arc::ptr_eq(&p, &host.plugins()[0]), "nobody loaded it again");
}

#[tokio::test]
async fn a_set_is_applied_in_one_step_and_what_is_the_same_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file.wasm");
    let write = |version: u32| std::fs::write(&path, number(&format!("(i32.const {version})"))).unwrap();
    let file = || PluginSpec::file(name("file"), &path);
    let host = host();
    write(1);
    let applied =
        host.apply(vec![file(), version("gone", 1), version("limited", 1), version("same", 1)]).await.unwrap();
    assert_eq!(names(&applied), [vec!["file", "gone", "limited", "same"], vec![], vec![], vec![]]);
    let same = Arc::clone(&host.plugins()[3]);

    write(2);
    let set = || vec![file(), version("limited", 1).limits(time(500)), version("new", 1), version("same", 1)];
    let applied = host.apply(set()).await.unwrap();
    assert_eq!(names(&applied), [vec!["new"], vec!["file", "limited"], vec![], vec!["gone"]]);
    assert_eq!(versions(&host).await, expected(&[("file", 2), ("limited", 1), ("new", 1), ("same", 1)]));
    assert!(Arc::ptr_eq(&same, &host.plugins()[3]));
    assert_eq!(host.plugins()[1].limits().max_execution_time().as_millis(), 500);

    // A file that is no plugin any more, then the old one again: nothing was lost, nothing is new.
    std::fs::write(&path, "something else").unwrap();
    let applied = host.apply(set()).await.unwrap();
    assert!(matches!(reasons(&applied)[..], [LoadError::NotWasm { .. }]), "{applied:?}");
    assert_eq!(versions(&host).await[0], ("file".to_owned(), 2));
    write(2);
    assert!(host.apply(set()).await.unwrap().is_nothing());

    let twice = host.apply(vec![version("a", 1), version("a", 2)]).await.unwrap_err();
    assert!(matches!(twice, LoadError::Duplicate { .. }), "{twice}");
    assert_eq!(host.plugins().len(), 4);
    assert_eq!(metric(&host, "tapline_plugins_loaded"), 4);
    assert_eq!(names(&host.apply(vec![]).await.unwrap())[3].len(), 4);
    assert_serves(&host).await;
}

#[tokio::test]
async fn what_belongs_to_one_version_does_not_outlive_it() {
    let host = host();
    let reused = |body: &str| PluginSpec { reuse: Some(Reuse::default()), ..spec("p", number(body)) };
    let count = "(global.set $count (i32.add (global.get $count) (i32.const 1))) (global.get $count)";
    host.load(reused(count)).await.unwrap();
    assert_eq!(versions(&host).await, expected(&[("p", 1)]));
    assert_eq!(versions(&host).await, expected(&[("p", 2)]));
    assert_eq!(host.slots().0, 1);
    host.replace(reused(count)).await.unwrap();
    assert_eq!(host.slots().0, 0, "the instance of the old version gave its slot back");
    assert_eq!(versions(&host).await, expected(&[("p", 1)]));
    host.disable(&name("p")).await.unwrap();
    assert_eq!(host.slots().0, 0);
    host.enable(&name("p")).await.unwrap();
    assert_eq!(versions(&host).await, expected(&[("p", 1)]));
    assert_eq!(versions(&host).await, expected(&[("p", 2)]), "instances are kept again");

    host.replace(spec("p", number("(unreachable)"))).await.unwrap();
    while host.breakers()[0].state != BreakerState::Open {
        host.dispatch(Number, &0).await.unwrap();
    }
    assert_eq!(metric(&host, "tapline_breaker_state{plugin=\"p\",tap=\"number\"}"), 2);
    host.replace(version("p", 3)).await.unwrap();
    assert_eq!(versions(&host).await, expected(&[("p", 3)]), "a version that is mended is called at once");
    assert_eq!(metric(&host, "tapline_breaker_state{plugin=\"p\",tap=\"number\"}"), 0);
}

/// A host function that dispatches the tap that it is called from.
#[derive(Clone, Default)]
struct Again(Arc<Mutex<Option<Host>>>);

impl Capability for Again {
    fn grant_name(&self) -> Option<&'static str> {
        None
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["test:host/again@1.0.0"]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        let again = self.clone();
        linker.instance("test:host/again@1.0.0")?.func_wrap_async(
            "again",
            move |_: StoreContextMut<'_, CallState>, (): ()| {
                let host = again.0.lock().unwrap().clone().unwrap();
                Box::new(async move {
                    host.replace(version("p", 2)).await.map_err(|error| wasmtime::Error::msg(error.to_string()))?;
                    let outcome = host.dispatch(Number, &0).await?;
                    Ok((outcome.answers[0].1,))
                })
            },
        )
    }
}

#[tokio::test]
async fn a_dispatch_within_a_call_begins_then_and_sees_what_is_loaded_then() {
    let again = Again::default();
    let builder = Host::builder().config(patient()).tap::<Number>();
    let host = builder.capability(again.clone()).build().unwrap();
    *again.0.lock().unwrap() = Some(host.clone());
    let bytes = component(&format!(
        r#"(import "test:host/again@1.0.0" (instance $host (export "again" (func (result u32)))))
           (core func $again (canon lower (func $host "again")))
           (core module $m
             (import "" "again" (func $again (result i32)))
             (func (export "run") (param i32) (result i32) (i32.add (i32.const 100) (call $again))))
           (core instance $i (instantiate $m (with "" (instance (export "again" (func $again))))))
           (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "{NUMBER}" (instance $e))"#
    ));
    host.load(spec("p", bytes)).await.unwrap();
    assert_eq!(versions(&host).await, expected(&[("p", 102)]), "the new version within the old one");
    assert_eq!(versions(&host).await, expected(&[("p", 2)]));
    again.0.lock().unwrap().take();
}

#[tokio::test]
async fn of_many_reloads_at_once_the_last_one_stays() {
    let host = host();
    host.load(version("p", 0)).await.unwrap();
    let storm = join_all((1..=30).map(|number| host.replace(version("p", number)))).await;
    assert!(storm.iter().all(Result::is_ok));
    assert_eq!(versions(&host).await, expected(&[("p", 30)]));
    // One that is removed in the middle stays removed.
    let p = name("p");
    let (replaced, removed) = tokio::join!(biased; host.replace(version("p", 99)), host.unload(&p));
    assert!(removed.unwrap());
    assert!(matches!(replaced, Err(LoadError::NotLoaded { .. })), "{replaced:?}");
    assert_serves(&host).await;
}

/// All slots are taken and calls wait, in every moment of a thousand reloads of two plugins. Both change in one step, so
/// that a dispatch that saw one old and one new version would show.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reloads_under_full_load_lose_no_request() {
    const RELOADS: u32 = 1000;
    const VERSIONS: u32 = 4;
    let config = HostConfig { pool_size: 4, ..patient() };
    let (host, _) = host_with(config);
    let both = |number: u32| vec![version("a", number % VERSIONS), version("b", number % VERSIONS)];
    host.apply(both(0)).await.unwrap();
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let visitors: Vec<_> = (0..8)
        .map(|_| {
            let (host, done, answered) = (host.clone(), Arc::clone(&done), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut asked = 0;
                while !done.load(Relaxed) {
                    asked += 1;
                    let outcome = host.dispatch(Number, &0).await.unwrap();
                    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
                    let [(a, first), (b, second)] = &outcome.answers[..] else { panic!("{outcome:?}") };
                    assert_eq!((a.as_str(), b.as_str(), first), ("a", "b", second), "two versions in one dispatch");
                    answered.fetch_add(1, Relaxed);
                }
                asked
            })
        })
        .collect();
    for number in 1..=RELOADS {
        let applied = host.apply(both(number)).await.unwrap();
        assert_eq!(names(&applied)[1], ["a", "b"], "{applied:?}");
    }
    done.store(true, Relaxed);
    let mut asked = 0;
    for visitor in visitors {
        asked += visitor.await.unwrap();
    }
    assert_eq!(answered.load(Relaxed), asked);
    assert!(asked > u64::from(RELOADS), "there was load: {asked} dispatches");
    assert_eq!(versions(&host).await, expected(&[("a", RELOADS % VERSIONS), ("b", RELOADS % VERSIONS)]));
    assert_serves(&host).await;
}

/// Plugins come and go and change places while all slots are taken. Whatever a dispatch sees was loaded together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_plugins_that_come_and_go_loses_no_request() {
    const ROUNDS: u32 = 300;
    const VERSIONS: u32 = 4;
    let (host, _) = host_with(HostConfig { pool_size: 4, ..patient() });
    let set = |number: u32| {
        let extra = [(number % 2 == 1).then_some("c"), (number % 3 == 1).then_some("d")];
        let names = ["a", "b"].into_iter().chain(extra.into_iter().flatten());
        names.map(|name| version(name, number % VERSIONS)).collect::<Vec<_>>()
    };
    host.apply(set(0)).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let visitors: Vec<_> = (0..8)
        .map(|_| {
            let (host, done) = (host.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut asked = 0;
                while !done.load(Relaxed) {
                    asked += 1;
                    let outcome = host.dispatch(Number, &0).await.unwrap();
                    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
                    let names: Vec<&str> = outcome.answers.iter().map(|(name, _)| name.as_str()).collect();
                    // `b` alone may be missing: it is switched off now and then.
                    assert!(names.contains(&"a"), "{names:?}");
                    let first = outcome.answers[0].1;
                    assert!(outcome.answers.iter().all(|(_, version)| *version == first), "{:?}", outcome.answers);
                }
                asked
            })
        })
        .collect();
    for number in 1..=ROUNDS {
        host.apply(set(number)).await.unwrap();
        match number % 4 {
            1 => assert!(host.disable(&name("b")).await.unwrap()),
            3 => assert!(host.enable(&name("b")).await.unwrap()),
            _ => {
                let last = Override { weight: Some(i32::try_from(number).unwrap()), ..Override::default() };
                assert!(host.reorder(&name("a"), [("number".to_owned(), last)].into()).await.unwrap());
            }
        }
    }
    host.apply(set(0)).await.unwrap();
    done.store(true, Relaxed);
    for visitor in visitors {
        assert!(visitor.await.unwrap() > 0, "there was load");
    }
    assert_eq!(versions(&host).await, expected(&[("a", 0), ("b", 0)]));
    let text = host.metrics().render().unwrap();
    for gone in ["plugin=\"c\"", "plugin=\"d\""] {
        assert!(!text.contains(gone), "the series go with their plugin");
    }
    assert_serves(&host).await;
}

#[tokio::test]
async fn a_host_that_stops_refuses_new_versions_too() {
    let host = host();
    host.load(version("p", 1)).await.unwrap();
    assert!(host.shut_down(PATIENCE).await);
    let error = host.replace(version("p", 2)).await.unwrap_err();
    let LoadError::Probe { source, .. } = error else { panic!("{error}") };
    assert!(matches!(source.fault, Fault::ShuttingDown));
}
