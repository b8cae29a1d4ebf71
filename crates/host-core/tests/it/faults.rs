//! What a guest can do wrong while it runs. After each the host serves, and no slot is lost.

use tapline_host_core::{CallError, Fault, Host, HostConfig, Party, PluginSpec, limits::PartialLimits};
use wasmtime::Trap;

use crate::guests::{
    Number, Text, assert_serves, breaking, config, host, host_with, limits, name, number, number_with, panicking, spec,
    text, time, waiting,
};

/// Loads the plugin beside a good one, calls both, and returns the error of the bad one.
async fn fault_on(host: &Host, spec: PluginSpec) -> Fault {
    assert_serves(host).await;
    let bad = spec.name.clone();
    host.load(spec).await.unwrap();
    let outcome = host.dispatch(Number, &41).await.unwrap();
    assert_eq!(outcome.answers, [(name("well-behaved"), 42)], "its neighbour answers in the same dispatch");
    let [error]: [CallError; 1] = outcome.failures.try_into().unwrap();
    assert_eq!((error.plugin.as_ref(), error.tap.as_ref()), (bad.as_ref(), "number"));
    assert_counted(host, bad.as_ref(), "number", &error.fault);
    host.unload(&bad).await.unwrap();
    assert_serves(host).await;
    error.fault
}

/// The counter of exactly this outcome has moved.
fn assert_counted(host: &Host, plugin: &str, tap: &str, fault: &Fault) {
    let line = format!(
        "tapline_tap_invocations_total{{plugin=\"{plugin}\",tap=\"{tap}\",outcome=\"{}\"}} 1",
        fault.outcome().as_str()
    );
    let text = host.metrics().render().unwrap();
    assert!(text.contains(&line), "no `{line}` in\n{text}");
}

async fn fault(body: Vec<u8>) -> Fault {
    fault_on(&host(), spec("bad", body)).await
}

#[tokio::test]
async fn traps_are_named() {
    let cases = [
        ("(unreachable)", Trap::UnreachableCodeReached),
        ("(i32.div_u (local.get $x) (i32.const 0))", Trap::IntegerDivisionByZero),
        ("(i32.div_s (i32.const -2147483648) (i32.const -1))", Trap::IntegerOverflow),
        ("(i32.load (i32.const 0x7fffffff))", Trap::MemoryOutOfBounds),
        ("(i32.trunc_f32_s (f32.const nan))", Trap::BadConversionToInteger),
    ];
    for (body, expected) in cases {
        let fault = fault(number(body)).await;
        assert!(matches!(&fault, Fault::Trapped { trap, .. } if *trap == expected), "{body}: {fault}");
    }
}

#[tokio::test]
async fn bad_indirect_calls_are_traps() {
    let cases = [
        ("(call_indirect (i32.const 0))", Trap::IndirectCallToNull),
        ("(call_indirect (i32.const 99))", Trap::TableOutOfBounds),
        ("(call_indirect (param i64) (i64.const 0) (i32.const 1))", Trap::BadSignature),
    ];
    for (call, expected) in cases {
        let module = "(table 4 funcref) (func $f) (elem (i32.const 1) $f)";
        let fault = fault(number_with(module, &format!("{call} (i32.const 0)"))).await;
        assert!(matches!(&fault, Fault::Trapped { trap, .. } if *trap == expected), "{call}: {fault}");
    }
}

#[tokio::test]
async fn a_trap_says_where_when_the_file_has_names() {
    let fault = fault(number_with("(func $inner (unreachable))", "(call $inner) (i32.const 0)")).await;
    let Fault::Trapped { backtrace, .. } = &fault else { panic!("{fault}") };
    assert!(backtrace.contains("inner"), "{backtrace}");
}

#[tokio::test]
async fn an_endless_loop_ends_at_the_deadline_and_its_thread_serves_others_meanwhile() {
    // One thread for everything: if the loop did not yield, nothing else could run.
    let fault = fault_on(&host(), spec("bad", number("(loop (br 0)) (i32.const 0)")).limits(time(50))).await;
    assert!(matches!(&fault, Fault::TimedOut { limit } if limit.as_millis() == 50), "{fault}");
}

#[tokio::test]
async fn waiting_in_a_host_function_ends_at_the_deadline() {
    let fault = fault_on(&host(), spec("bad", waiting()).grant("gate", "open").limits(time(50))).await;
    assert!(matches!(fault, Fault::TimedOut { .. }), "{fault}");
}

#[tokio::test]
async fn endless_recursion_runs_out_of_stack() {
    let fault = fault(number_with("(func $f (call $f) (call $f))", "(call $f) (i32.const 0)")).await;
    assert!(matches!(fault, Fault::StackOverflow { limit: 1_048_576 }), "{fault}");
}

#[tokio::test]
async fn a_guest_that_gives_up_without_memory_is_out_of_memory() {
    let greedy =
        number("(if (i32.eq (memory.grow (i32.const 4000)) (i32.const -1)) (then (unreachable))) (i32.const 0)");
    let fault = fault(greedy).await;
    assert!(matches!(fault, Fault::OutOfMemory(_)), "{fault}");
}

#[tokio::test]
async fn a_refused_growth_is_minus_one_for_the_guest_and_is_counted() {
    let host = host();
    assert_serves(&host).await;
    host.load(spec("grower", number("(memory.grow (i32.const 4000))"))).await.unwrap();
    let answers = host.dispatch(Number, &0).await.unwrap().answers;
    assert!(answers.contains(&(name("grower"), u32::MAX)), "{answers:?}");
    let text = host.metrics().render().unwrap();
    assert!(text.contains("tapline_refused_growths_total{plugin=\"grower\"} 1"), "{text}");
}

#[tokio::test]
async fn memory_grows_up_to_the_limit_and_not_a_page_further() {
    let host = host();
    let two = PartialLimits { max_memory_bytes: Some(2 << 16), ..PartialLimits::default() };
    let body = "(i32.add (i32.mul (memory.grow (i32.const 1)) (i32.const 10)) (memory.grow (i32.const 1)))";
    host.load(spec("grower", number(body)).limits(two)).await.unwrap();
    let answers = host.dispatch(Number, &0).await.unwrap().answers;
    assert_eq!(answers, [(name("grower"), 10_u32.wrapping_sub(1))], "page 2 is granted, page 3 is not");
}

#[tokio::test]
async fn a_panic_reaches_the_host_as_message_file_and_line() {
    let fault = fault(panicking(b"it broke", "(unreachable)")).await;
    assert_eq!(fault.to_string(), "panicked: it broke (src/lib.rs:7:3)");
}

#[tokio::test]
async fn a_huge_panic_message_is_cut() {
    let fault = fault(panicking(&b"x".repeat(100_000), "(unreachable)")).await;
    let Fault::Panicked(panic) = &fault else { panic!("{fault}") };
    assert_eq!(panic.message.len(), 4096);
}

#[tokio::test]
async fn a_panic_message_that_is_not_text_is_a_fault_of_the_guest() {
    let fault = fault(panicking(b"\xff\xfe", "(unreachable)")).await;
    assert!(matches!(fault, Fault::BadAnswer { .. }), "{fault}");
}

#[tokio::test]
async fn a_reported_panic_without_a_trap_is_not_an_error() {
    let host = host();
    host.load(spec("odd", panicking(b"never mind", "(local.get $x)"))).await.unwrap();
    let outcome = host.dispatch(Number, &5).await.unwrap();
    assert_eq!(outcome.answers, [(name("odd"), 5)]);
}

#[tokio::test]
async fn answers_that_break_the_contract() {
    let cases = [
        ("100 MB", text(1600, 0, 100_000_000)),
        ("out of bounds", text(1, 65_000, 10_000)),
        ("a negative pointer", text(1, u32::MAX - 10, 5)),
        ("not text", text(1, 0, 5)),
    ];
    for (what, bytes) in cases {
        let host = host();
        host.load(spec("bad", bytes)).await.unwrap();
        let failed = host.dispatch(Text, &()).await;
        // The policy `first` skips a handler that fails: nobody answers.
        assert!(matches!(failed, Ok(None)) || what == "not text", "{what}: {failed:?}");
        assert_serves(&host).await;
    }
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
async fn a_full_pool_waits_with_a_bound_then_is_overloaded() {
    let small =
        HostConfig { pool_size: 1, max_wait: std::time::Duration::from_millis(20), limits: limits(10_000), ..config() };
    let (host, gate) = host_with(small);
    host.load(spec("slow", waiting()).grant("gate", "open")).await.unwrap();
    let (first, second) = tokio::join!(
        async {
            let outcome = host.dispatch(Number, &1).await.unwrap();
            outcome.answers
        },
        async {
            let outcome = host.dispatch(Number, &2).await.unwrap();
            gate.add_permits(1);
            outcome.failures
        }
    );
    assert_eq!(first, [(name("slow"), 1)]);
    assert!(matches!(second[0].fault, Fault::Overloaded { .. }), "{second:?}");
    gate.add_permits(10);
    assert_serves(&host).await;
}

#[tokio::test]
async fn the_queue_has_a_bound() {
    let (host, gate) = host_with(HostConfig { pool_size: 1, max_waiting: 2, limits: limits(10_000), ..config() });
    host.load(spec("slow", waiting()).grant("gate", "open")).await.unwrap();
    let numbers = [0, 1, 2, 3, 4];
    let release = async {
        tokio::task::yield_now().await;
        gate.add_permits(100);
    };
    let dispatches = numbers.iter().map(|number| host.dispatch(Number, number));
    let (outcomes, ()) = tokio::join!(futures_util::future::join_all(dispatches), release);
    let (mut answered, mut refused) = (0, 0);
    for outcome in outcomes.into_iter().map(Result::unwrap) {
        answered += outcome.answers.len();
        refused += outcome.failures.iter().filter(|error| matches!(error.fault, Fault::Overloaded { .. })).count();
    }
    assert_eq!((answered, refused), (3, 2), "one runs, two wait, two are refused");
    assert_serves(&host).await;
}

#[tokio::test]
async fn a_dropped_call_counts_as_cancelled_and_gives_back_its_slot() {
    let (host, gate) = host_with(config());
    host.load(spec("slow", waiting()).grant("gate", "open")).await.unwrap();
    {
        let call = host.dispatch(Number, &1);
        tokio::select! {
            biased;
            _ = call => panic!("the gate is closed"),
            () = tokio::task::yield_now() => {}
        }
    }
    let text = host.metrics().render().unwrap();
    let line = "tapline_tap_invocations_total{plugin=\"slow\",tap=\"number\",outcome=\"cancelled\"} 1";
    assert!(text.contains(line), "{text}");
    gate.add_permits(10);
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

#[tokio::test]
async fn a_panic_of_the_host_costs_one_call() {
    let host = host();
    assert_serves(&host).await;
    host.load(spec("bad", breaking()).grant("gate", "open")).await.unwrap();
    let outcome = host.dispatch(Number, &0).await.unwrap();
    assert_eq!(outcome.answers, [(name("well-behaved"), 1)]);
    let fault = &outcome.failures[0].fault;
    assert!(matches!(fault, Fault::HostPanicked { message } if message == "the host is broken"), "{fault}");
    assert_eq!(fault.party(), Party::Host);
    assert_counted(&host, "bad", "number", fault);
    assert_serves(&host).await;
}

#[tokio::test]
async fn a_capability_that_fails_is_not_the_guests_fault() {
    let host = host();
    host.load(spec("bad", breaking()).grant("gate", "open")).await.unwrap();
    let outcome = host.dispatch(Number, &1).await.unwrap();
    let fault = &outcome.failures[0].fault;
    assert_eq!(fault.to_string(), "the capability `gate` failed: it is stuck");
    assert_eq!(fault.party(), Party::Host);
    assert_counted(&host, "bad", "number", fault);
    assert_serves(&host).await;
}
