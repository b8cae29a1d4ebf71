//! Modules that attack their host: each limit holds for functions as for plugins.

use std::time::Duration;

use expect_test::expect;
use tapline_host_core::limits::Limits;

use crate::{limited, load, shown};

const HOSTILE: &str = r#"(module
    (memory 1)
    (table 1 funcref)
    (func (export "loop") (loop $again (br $again)))
    (func $deeper (export "recurse") (param i32) (result i32)
        (i32.add (i32.const 1) (call $deeper (i32.add (local.get 0) (i32.const 1)))))
    (func (export "grow")
        (loop $again
            (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
            (br $again)))
    (func (export "grow-table")
        (loop $again
            (if (i32.eq (table.grow (ref.null func) (i32.const 100)) (i32.const -1)) (then unreachable))
            (br $again)))
    (func (export "fine") (result i32) (i32.const 7)))"#;

#[tokio::test]
async fn limits_hold_and_others_are_served() {
    let limits = Limits::builder().max_execution_time(Duration::from_millis(200)).max_memory_bytes(1 << 20);
    let runtime = limited(limits);
    let module = load(&runtime, "hostile", HOSTILE).await;
    let mut text = String::new();
    for call in ["loop()", "recurse(0)", "grow()", "grow-table()"] {
        text += &shown(&module.call(call).await.unwrap_err());
        assert_eq!(module.call("fine()").await.unwrap().text(), "7");
    }
    expect![[r#"
        `loop` of `hostile`: did not end within 200ms
          hint: raise `max_execution_time_ms`
        `recurse` of `hostile`: ran out of its stack of 1048576 bytes
          hint: raise `max_stack_size_bytes`
        `grow` of `hostile`: failed after a limit stopped it: 1114112 bytes of memory asked for, 1048576 allowed
          hint: raise `max_memory_bytes`
        `grow-table` of `hostile`: failed after a limit stopped it: 1001 table elements asked for, 1000 allowed
          hint: raise `max_table_elements`
    "#]]
    .assert_eq(&text);
    assert_eq!(runtime.host().slots().0, 0, "every slot is free again");
}

#[tokio::test]
async fn fuel_runs_out() {
    let runtime = limited(Limits::builder().enable_fuel_metering(true));
    let module = load(&runtime, "hostile", HOSTILE).await;
    let error = module.call("loop()").await.unwrap_err();
    assert_eq!(error.to_string(), "`loop` of `hostile`: used up its 1000000 units of fuel");
}

#[tokio::test]
async fn a_start_function_that_never_ends() {
    let runtime = limited(Limits::builder().max_execution_time(Duration::from_millis(100)));
    let module = load(
        &runtime,
        "start",
        r#"(module (func $start (loop $again (br $again))) (start $start) (func (export "f")))"#,
    )
    .await;
    let error = module.call("f()").await.unwrap_err();
    assert_eq!(error.to_string(), "`f` of `start`: did not end within 100ms");
}

#[tokio::test]
async fn modules_that_need_more_than_there_is() {
    let mut text = String::new();
    for (limits, module) in [
        (Limits::builder().max_memory_bytes(1 << 16), r#"(module (memory 2) (func (export "f")))"#),
        (Limits::builder().max_table_elements(9), r#"(module (table 10 funcref) (func (export "f")))"#),
        (Limits::builder().max_functions(1), r#"(module (func) (func) (func (export "f")))"#),
        (Limits::builder(), r#"(module (memory 1) (memory 1) (func (export "f")))"#),
    ] {
        let bytes = wat::parse_str(module).unwrap();
        text += &shown(&limited(limits).load("large", bytes, None).await.map(drop).unwrap_err());
    }
    expect![[r#"
        plugin `large` needs 131072 bytes of memory, 65536 are allowed
          hint: raise the limit, if you trust it with that much
        plugin `large` needs 10 table elements, 9 are allowed
          hint: raise the limit, if you trust it with that much
        plugin `large` needs 3 functions, 1 are allowed
          hint: raise the limit, if you trust it with that much
        plugin `large` needs 2 memories, 1 are allowed
          hint: raise the limit, if you trust it with that much
    "#]]
    .assert_eq(&text);
}

#[tokio::test]
async fn more_exports_than_anybody_needs() {
    let exports: String = (0..10_001).map(|number| format!("(export \"f{number}\" (func 0))")).collect();
    let bytes = wat::parse_str(format!("(module (func) {exports})")).unwrap();
    let error = limited(Limits::builder()).load("many", bytes, None).await.map(drop).unwrap_err();
    expect![[r#"
        `many` cannot be run
          because: exports 10001 things, 10000 are allowed
          hint: export the functions that are called, and no others
    "#]]
    .assert_eq(&shown(&error));
}

/// A list of a hundred million bytes would be several gigabytes of values.
#[tokio::test]
async fn an_answer_that_is_too_large() {
    let bomb = r#"(component
        (core module $m (memory (export "memory") 1600)
            (func (export "f") (result i32)
                (i32.store (i32.const 4) (i32.const 100000000)) (i32.const 0)))
        (core instance $i (instantiate $m))
        (func (export "bytes") (result (list u8)) (canon lift (core func $i "f") (memory (core memory $i "memory"))))
        (func (export "text") (result string) (canon lift (core func $i "f") (memory (core memory $i "memory"))))
        (func (export "lists") (result (list (list u8))) (canon lift (core func $i "f") (memory (core memory $i "memory")))))"#;
    let runtime = limited(Limits::builder());
    let module = load(&runtime, "bomb", bomb).await;
    let mut text = String::new();
    for call in ["bytes()", "text()", "lists()"] {
        text += &shown(&module.call(call).await.unwrap_err());
    }
    expect![[r#"
        `bytes` of `bomb`: broke the contract: too much data is being copied between the host and the guest: fuel allocated for hostcalls has been exhausted
          hint: 
        `text` of `bomb`: broke the contract: too much data is being copied between the host and the guest: fuel allocated for hostcalls has been exhausted
          hint: 
        `lists` of `bomb`: broke the contract: list pointer/length out of bounds of memory
          hint: 
    "#]].assert_eq(&text);
}

/// A type that is small in the file and endless when it is written out.
#[tokio::test]
async fn a_type_that_doubles() {
    let mut types = String::from("(type $t0 (tuple u8 u8))");
    for level in 1..14 {
        types += &format!("(type $t{level} (tuple $t{0} $t{0}))", level - 1);
    }
    let doubling = format!(
        r#"(component {types}
            (core module $m (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
                (func (export "f") (param i32)))
            (core instance $i (instantiate $m))
            (func (export "f") (param "t" $t13)
                (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#
    );
    let runtime = limited(Limits::builder());
    let module = load(&runtime, "doubling", &doubling).await;
    let [signature] = &module.signatures()[..] else { unreachable!("it has one function") };
    assert!(signature.len() < 1100 && signature.ends_with('…'), "{signature}");
}
