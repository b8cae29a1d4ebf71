//! What a fault says, what each call gets anew, and how a host stops. The guests that attack are in `tests/hostile`.

use tapline_host_core::{Fault, limits::PartialLimits};

use crate::guests::{
    Number, Text, assert_serves, config, host, host_with, name, number, number_with, spec, text, waiting,
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
    let outcome = host.dispatch(Number, &1_000_000).await.unwrap();
    assert!(matches!(outcome.failures[0].fault, Fault::OutOfFuel { limit: 10_000 }), "{:?}", outcome.failures);
    assert_serves(&host).await;
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
async fn a_shutdown_has_a_bound() {
    let (host, _gate) = host_with(config());
    host.load(spec("slow", waiting()).grant("gate", "open")).await.unwrap();
    let running = host.dispatch(Number, &1);
    let (_, drained) = tokio::join!(biased; running, host.shut_down(std::time::Duration::from_millis(20)));
    assert!(!drained);
}
