//! What a fault says, what each call gets anew, and how a host stops. The guests that attack are in `tests/hostile`.

use std::time::Duration;

use tapline_host_core::{
    Fault, HostConfig, LoadError,
    limits::{Limits, PartialLimits},
};

use crate::guests::{
    Number, Text, assert_serves, config, host, host_with, limits, metric, name, number, number_with, spec, text,
    waiting,
};

#[tokio::test]
async fn a_trap_says_where_when_the_file_has_names() {
    let host = host();
    host.load(spec("bad", number_with("(func $inner (unreachable))", "(call $inner) (i32.const 0)"))).await.unwrap();
    let failures = host.dispatch(Number, &41).await.unwrap().failures;
    let Fault::Trapped { backtrace, .. } = &failures[0].fault else { panic!("{failures:?}") };
    assert!(backtrace.contains("inner"), "{backtrace}");
}

#[tokio::test]
async fn an_answer_below_the_limit_arrives_whole() {
    let host = host();
    host.load(spec("good", text(50, 64, 3_000_000))).await.unwrap();
    let (_, answer) = host.dispatch(Text, &()).await.unwrap().unwrap();
    assert_eq!(answer.len(), 3_000_000);
    assert!(answer.starts_with("hello\0"));
}

#[tokio::test]
async fn fuel_runs_out_and_is_given_anew_to_each_call() {
    let metered =
        PartialLimits { enable_fuel_metering: Some(true), fuel_limit: Some(10_000), ..PartialLimits::default() };
    let body = "(local $n i32) (loop (local.set $n (i32.add (local.get $n) (i32.const 1)))
                  (br_if 0 (i32.lt_u (local.get $n) (local.get $x)))) (local.get $n)";
    let host = host();
    host.load(spec("metered", number(body)).limits(metered)).await.unwrap();
    for _ in 0..20 {
        let outcome = host.dispatch(Number, &500).await.unwrap();
        assert_eq!(outcome.answers, [(name("metered"), 500)]);
    }
    let used = metric(&host, "tapline_fuel_used_total{plugin=\"metered\",tap=\"number\"}");
    let peak = metric(&host, "tapline_fuel_peak{plugin=\"metered\",tap=\"number\"}");
    assert!(peak > 2000 && peak < 10_000, "a turn of the loop costs a few units: {peak}");
    assert_eq!(used, 20 * peak, "the same work costs the same, each time");
    let outcome = host.dispatch(Number, &1_000_000).await.unwrap();
    assert!(matches!(outcome.failures[0].fault, Fault::OutOfFuel { limit: 10_000 }), "{:?}", outcome.failures);
    assert_eq!(metric(&host, "tapline_fuel_peak{plugin=\"metered\",tap=\"number\"}"), 10_000);
    assert_serves(&host).await;
}

#[tokio::test]
async fn a_dispatch_can_allow_less_than_a_plugin_has_and_never_more() {
    let few =
        Limits::builder().max_execution_time(Duration::from_millis(50)).max_memory_bytes(64 << 10).build().unwrap();
    let host = host();
    host.load(spec("spinner", number("(loop (br 0)) (unreachable)"))).await.unwrap();
    for _ in 0..10 {
        let outcome = host.dispatch_within(Number, &1, few).await.unwrap();
        let Fault::TimedOut { limit } = outcome.failures[0].fault else { panic!("{:?}", outcome.failures) };
        assert_eq!(limit, Duration::from_millis(50));
    }
    assert_eq!(host.breakers()[0].openings, 0, "the caller was in a hurry; the plugin may be fine");
    assert!(host.unload(&name("spinner")).await.unwrap());

    let grows = number("(memory.grow (i32.const 4))");
    let one_page = PartialLimits { max_memory_bytes: Some(2 << 16), ..PartialLimits::default() };
    host.load(spec("roomy", grows.clone())).await.unwrap();
    host.load(spec("narrow", grows).limits(one_page)).await.unwrap();
    let grown = async |limits: Limits| {
        let outcome = host.dispatch_within(Number, &1, limits).await.unwrap();
        outcome.answers.into_iter().map(|(_, before)| before).collect::<Vec<_>>()
    };
    assert_eq!(grown(few).await, [u32::MAX, u32::MAX]);
    assert_eq!(grown(Limits::default()).await, [u32::MAX, 1], "more than the plugin has is what the plugin has");
    assert_serves(&host).await;
}

/// What a plugin uses to be loaded and to be made ahead is no call's.
#[tokio::test]
async fn fuel_that_is_used_to_start_is_counted_for_no_call_but_its_own() {
    let metered = PartialLimits { enable_fuel_metering: Some(true), ..PartialLimits::default() };
    let work = "(func $work (local $n i32) (loop $l (local.set $n (i32.add (local.get $n) (i32.const 1)))
                  (br_if $l (i32.lt_u (local.get $n) (i32.const 900))))) (start $work)";
    let (host, _) = host_with(HostConfig { initial_pool_size: 3, ..config() });
    host.load(spec("p", number_with(work, "(local.get $x)")).limits(metered)).await.unwrap();
    let used = || metric(&host, "tapline_fuel_used_total{plugin=\"p\",tap=\"number\"}");
    assert_eq!(used(), 0, "nobody has called it");
    host.dispatch(Number, &1).await.unwrap();
    assert!(used() > 900, "a fresh instance starts within the call: {}", used());
}

/// Fuel counts where the plugin is metered, and nowhere else.
#[tokio::test]
async fn a_dispatch_can_allow_less_fuel_and_a_smaller_table() {
    let host = host();
    let metered =
        PartialLimits { enable_fuel_metering: Some(true), fuel_limit: Some(1_000_000), ..PartialLimits::default() };
    let counts = number(
        "(loop (global.set $count (i32.add (global.get $count) (i32.const 1))) (br_if 0 (i32.lt_u (global.get $count) (i32.const 1000)))) (local.get $x)",
    );
    host.load(spec("metered", counts.clone()).limits(metered)).await.unwrap();
    host.load(spec("plain", counts)).await.unwrap();
    let little = Limits::builder().enable_fuel_metering(true).fuel_limit(100).build().unwrap();
    let outcome = host.dispatch_within(Number, &1, little).await.unwrap();
    assert_eq!(outcome.answers, [(name("plain"), 1)]);
    assert!(matches!(outcome.failures[0].fault, Fault::OutOfFuel { limit: 100 }), "{:?}", outcome.failures);
    assert_eq!(host.dispatch(Number, &1).await.unwrap().answers.len(), 2);
    assert!(host.unload(&name("metered")).await.unwrap() && host.unload(&name("plain")).await.unwrap());

    let grows = "(table.grow $t (ref.null func) (i32.const 10))";
    host.load(spec("table", number_with("(table $t 5 funcref)", grows))).await.unwrap();
    let small = Limits::builder().max_table_elements(10).build().unwrap();
    let grown = async |limits| host.dispatch_within(Number, &1, limits).await.unwrap().answers;
    assert_eq!(grown(small).await, [(name("table"), u32::MAX)]);
    assert_eq!(grown(Limits::default()).await, [(name("table"), 5)]);
}

#[tokio::test]
async fn a_host_that_shuts_down_finishes_what_runs_and_refuses_the_rest() {
    let (host, gate) = host_with(config());
    host.load(spec("slow", waiting()).grant("gate", "open")).await.unwrap();
    let running = host.dispatch(Number, &1);
    let stopping = async {
        let (drained, refused) = tokio::join!(host.shut_down(crate::guests::PATIENCE), async {
            tokio::task::yield_now().await;
            let outcome = host.dispatch(Number, &2).await.unwrap();
            gate.add_permits(1);
            outcome.failures
        });
        (drained, refused)
    };
    let (finished, (drained, refused)) = tokio::join!(biased; running, stopping);
    assert_eq!(finished.unwrap().answers, [(name("slow"), 1)]);
    assert!(drained, "what ran was waited for");
    assert!(matches!(refused[0].fault, Fault::ShuttingDown), "{refused:?}");
}

#[tokio::test]
async fn what_runs_for_too_long_when_the_host_shuts_down_is_cut_off() {
    let patient = HostConfig { limits: limits(60_000), ..config() };
    let (host, _gate) = host_with(patient);
    host.load(spec("spins", number("(loop (br 0)) (unreachable)"))).await.unwrap();
    host.load(spec("waits", waiting()).grant("gate", "open")).await.unwrap();
    let running = host.dispatch(Number, &1);
    let (outcome, drained) = tokio::join!(biased; running, host.shut_down(Duration::from_millis(20)));
    assert!(!drained, "it says that they were cut off");
    let failures = outcome.unwrap().failures;
    assert!(failures.iter().all(|failure| matches!(failure.fault, Fault::ShuttingDown)), "{failures:?}");
    for plugin in ["spins", "waits"] {
        let counted = |outcome: &str| {
            let labels = format!("plugin=\"{plugin}\",tap=\"number\",outcome=\"{outcome}\"");
            metric(&host, &format!("tapline_tap_invocations_total{{{labels}}}"))
        };
        assert_eq!(["shutting_down", "timeout", "cancelled"].map(counted), [1, 0, 0], "{plugin}");
    }
    assert_eq!((failures.len(), host.slots().0, host.memory().usage().current_pages), (2, 0, 0));
    assert!(host.breakers().iter().all(|breaker| breaker.failures == 0), "that is nobody's failure");
}

#[tokio::test]
async fn a_plugin_that_is_being_tried_when_the_host_shuts_down_is_cut_off() {
    let (host, _gate) = host_with(HostConfig { limits: limits(60_000), ..config() });
    let spins = spec("spins", number_with("(func $start (loop (br 0))) (start $start)", "(local.get $x)"));
    let stopping = async {
        while host.slots().0 == 0 {
            tokio::task::yield_now().await;
        }
        host.shut_down(Duration::from_millis(20)).await
    };
    let (loaded, drained) = tokio::join!(biased; host.load(spins), stopping);
    let LoadError::Probe { source, .. } = loaded.unwrap_err() else { panic!("it never starts") };
    assert!(matches!(source.fault, Fault::ShuttingDown) && !drained, "{source}");
}
