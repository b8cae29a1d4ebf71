//! A host whose own code fails: one call pays for it.

use tapline_host_core::{
    Call, CallError, Collect, Fault, Interface, LoadError, Party, PluginSpec, Reuse, Signature, Tap,
};
use tapline_hostile::{Attack, Ends, Ground, Guest, INPUT, Number, config, fault, name, refused};

#[tokio::test]
async fn host_functions_that_fail() {
    let ground = Ground::new().await;
    let fails = |how: u32| Guest::number(format!("(call $fail (i32.const {how})) (i32.const 0)"));
    let later = Guest::number("(call $fail-later (i32.const 0)) (i32.const 0)");
    let inside = fails(0).with(
        "(func $start (if (i32.gt_u (call $count) (i32.const 1)) (then (call $fail (i32.const 0))))) (start $start)",
    );
    let attacks = [
        Attack::new(
            "a panic",
            &fails(0),
            fault!(fault @ Fault::HostPanicked { message } if message == "the host is broken" && fault.party() == Party::Host),
        ),
        Attack::new(
            "a panic after a wait",
            &later,
            fault!(Fault::HostPanicked { message } if message == "the host is broken after a wait"),
        ),
        Attack::new("a panic while the instance is made", &inside, fault!(Fault::HostPanicked { .. })),
        Attack::new(
            "a panic while the plugin is loaded",
            &fails(0).with("(func $start (call $fail (i32.const 0))) (start $start)"),
            refused!("start", LoadError::Probe { source, .. } if matches!(source.fault, Fault::HostPanicked { .. })),
        ),
        Attack::new(
            "a failure",
            &fails(1),
            fault!(fault @ Fault::HostFunction { capability: "test", message } if message == "it is stuck" && fault.party() == Party::Host),
        ),
    ];
    for attack in attacks {
        ground.survives(attack).await;
    }
}

/// What a host function keeps for a call is dropped with it, at any of its ends, and may panic then.
#[tokio::test]
async fn what_fails_when_it_is_dropped() {
    let ground = Ground::new().await;
    for (what, how) in [("two values that the call keeps", 0), ("a resource", 1)] {
        let keeps = |then: &str| Guest::number(format!("(call $fail-at-end (i32.const {how})) {then}"));
        let attacks = [
            Attack::new(what, &keeps("(i32.const 7)"), Ends::Answer("7")),
            Attack::new(what, &keeps("(unreachable)"), fault!(Fault::Trapped { .. })),
            Attack::endless(what, &keeps("(loop (br 0)) (i32.const 0)")),
            Attack::endless(what, &keeps("(call $wait) (i32.const 0)")),
        ];
        for attack in attacks {
            ground.survives(attack).await;
        }
    }
    let waits = Guest::number("(call $fail-at-end (i32.const 2)) (i32.const 0)");
    ground.survives(Attack::endless("what a wait holds", &waits)).await;
}

#[tokio::test]
async fn what_fails_when_it_is_dropped_between_two_uses() {
    let ground = Ground::new().await;
    let mut spec =
        PluginSpec::bytes(name("again"), Guest::number("(call $fail-at-end (i32.const 0)) (i32.const 7)").bytes());
    spec.reuse = Some(Reuse::default());
    ground.host.load(spec).await.unwrap();
    for _ in 0..3 {
        let outcome = ground.host.dispatch(Number, &INPUT).await.unwrap();
        assert_eq!(outcome.answers[0], (name("again"), 7));
    }
    ground.host.unload(&name("again")).await.unwrap();
    ground.is_quiet("instances that were kept").await;
}

/// A tap whose own check of the answer panics.
#[derive(Default)]
struct Broken;

impl Tap for Broken {
    const NAME: &'static str = "broken";
    const INTERFACES: &'static [Interface] = Number::INTERFACES;
    type Policy = Collect;
    type Input = u32;
    type Answer = u32;

    fn check(interface: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        Number::check(interface, signature)
    }

    async fn call(call: &mut Call, input: &u32) -> Result<u32, CallError> {
        let answer = Number::call(call, input).await?;
        assert!(answer != INPUT, "nobody thought of {INPUT}");
        Ok(answer)
    }
}

#[tokio::test]
async fn a_tap_that_fails() {
    let ground = Ground::with(config(), |builder| builder.tap::<Broken>()).await;
    ground.load("echo", Guest::number("(local.get $x)").bytes()).await;
    let outcome = ground.beside(ground.host.dispatch(Broken, &INPUT)).await.unwrap();
    assert_eq!(outcome.answers, [(name("well-behaved"), INPUT + 1)]);
    let [error] = outcome.failures.as_slice() else { panic!("{:?}", outcome.failures) };
    assert_eq!((error.plugin.as_ref(), error.tap.as_ref()), ("echo", "broken"));
    assert!(matches!(&error.fault, Fault::HostPanicked { message } if message == "nobody thought of 41"), "{error}");
    assert_eq!(ground.counters("echo").outcome("host_error"), 1);
    ground.is_quiet("a tap that panics").await;
    assert_eq!(ground.host.dispatch(Broken, &7).await.unwrap().answers[0], (name("echo"), 7));
}
