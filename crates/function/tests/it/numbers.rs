//! Core modules.

use expect_test::expect;
use tapline_function::Val;

use crate::{NUMBERS, load, runtime};

#[tokio::test]
async fn functions_of_numbers() {
    let runtime = runtime();
    let module = load(&runtime, "numbers", NUMBERS).await;
    expect![[r#"
        Half_Of(f64) -> f64
        divide(s32, s32) -> s32
        fibonacci(s32) -> s64
        mean(f32, f32) -> f32
        nothing()"#]]
    .assert_eq(&module.signatures().join("\n"));
    expect![[r#"
        [
            (
                "pair",
                "it returns more than one value",
            ),
            (
                "vector",
                "it takes or returns a vector or a reference",
            ),
        ]
    "#]]
    .assert_debug_eq(&module.left_out());
    for (call, answer) in [
        ("fibonacci(10)", "55"),
        ("fibonacci( 1 )", "1"),
        ("Half_Of(5)", "2.5"),
        ("mean(1.5, 2.5)", "2"),
        ("divide(-7, 2)", "-3"),
        ("divide(-2147483648, 1)", "-2147483648"),
        ("nothing()", ""),
        ("Half_Of(nan)", "nan"),
        ("Half_Of(-inf)", "-inf"),
    ] {
        assert_eq!(module.call(call).await.unwrap().text(), answer, "{call}");
    }
}

#[tokio::test]
async fn values_instead_of_text() {
    let runtime = runtime();
    let module = load(&runtime, "numbers", NUMBERS).await;
    let answer = module.execute("fibonacci", &[Val::S32(10)]).await.unwrap();
    assert!(matches!(answer.value, Some(Val::S64(55))), "{answer:?}");
    let answer = module.execute("nothing", &[]).await.unwrap();
    assert!(answer.value.is_none(), "{answer:?}");
    for (arguments, message) in [
        (vec![Val::U32(10)], "argument 1: `10` is no s32"),
        (vec![], "0 arguments are given, and it takes 1"),
        (vec![Val::S32(1), Val::S32(2)], "2 arguments are given, and it takes 1"),
    ] {
        let error = module.execute("fibonacci", &arguments).await.unwrap_err().to_string();
        assert_eq!(error, format!("the arguments do not fit `fibonacci(s32) -> s64`: {message}"));
    }
}

#[tokio::test]
async fn each_call_has_memory_of_its_own() {
    let runtime = runtime();
    let counter = load(
        &runtime,
        "counter",
        r#"(module (memory 1) (global $count (mut i32) (i32.const 0))
            (func (export "count") (result i32)
                (global.set $count (i32.add (global.get $count) (i32.const 1)))
                (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
                (i32.add (global.get $count) (i32.load (i32.const 0)))))"#,
    )
    .await;
    for _ in 0..3 {
        assert_eq!(counter.call("count()").await.unwrap().text(), "2");
    }
}

#[tokio::test]
async fn what_an_initializer_prepared_is_there() {
    let runtime = runtime();
    let module = load(
        &runtime,
        "prepared",
        r#"(module (global $x (mut i32) (i32.const 0))
            (func (export "_initialize") (global.set $x (i32.const 7)))
            (func (export "x") (result i32) (global.get $x)))"#,
    )
    .await;
    assert_eq!(module.signatures(), ["x() -> s32"]);
    assert_eq!(module.call("x()").await.unwrap().text(), "7");
}

#[tokio::test]
async fn time_fuel_and_memory_are_told() {
    let runtime =
        crate::limited(tapline_host_core::limits::Limits::builder().enable_fuel_metering(true).fuel_limit(100_000));
    let module = load(
        &runtime,
        "pages",
        r#"(module (memory 2)
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#,
    )
    .await;
    let small = module.call("grow(0)").await.unwrap();
    let large = module.call("grow(3)").await.unwrap();
    assert_eq!((small.peak_memory_bytes, large.peak_memory_bytes), (2 << 16, 5 << 16));
    assert!(small.fuel.is_some_and(|fuel| (1..100).contains(&fuel)), "{small:?}");
    assert!(module.times().compile.is_some() && module.times().load_artifact.is_none());
}

#[tokio::test]
async fn the_same_bytes_are_compiled_once() {
    let runtime = runtime();
    let first = load(&runtime, "one", NUMBERS).await;
    let second = load(&runtime, "two", NUMBERS).await;
    assert!(first.times().compile.is_some());
    let times = second.times();
    assert!(times.compile.is_none() && times.load_artifact.is_none(), "it was in memory: {times:?}");
    assert_eq!(second.call("fibonacci(10)").await.unwrap().text(), "55");
}

#[tokio::test]
async fn many_calls_at_once() {
    let runtime = runtime();
    let module = load(&runtime, "numbers", NUMBERS).await;
    let calls = (0..100).map(|number| {
        let module = module.clone();
        async move { module.call(&format!("divide({number}, 1)")).await.unwrap().text() }
    });
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().enumerate().all(|(number, answer)| *answer == number.to_string()), "{answers:?}");
}

/// Where the limits allow more than one memory, a module may have them.
#[tokio::test]
async fn several_memories() {
    let module = r#"(module (memory $a 1) (memory $b 1)
        (func (export "f") (result i32)
            (i32.store $b (i32.const 0) (i32.const 7)) (i32.add (i32.load $a (i32.const 0)) (i32.load $b (i32.const 0)))))"#;
    let runtime = crate::limited(tapline_host_core::limits::Limits::builder().max_memories(2));
    assert_eq!(load(&runtime, "memories", module).await.call("f()").await.unwrap().text(), "7");
}
