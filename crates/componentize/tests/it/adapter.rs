//! The sealed adapter at work: plugins that call WASI from their tap, run by an engine.

use tapline_componentize::componentize;
use wasmtime::component::{Component, ComponentType, Lift, Linker, Lower};
use wasmtime::{Engine, Store, StoreContextMut};

use crate::{CALL_FD_WRITE, FD_WRITE, cron, plugin};

#[derive(ComponentType, Lower)]
#[component(record)]
struct CronRun {
    now: i64,
    previous: Option<i64>,
}

#[derive(ComponentType, Lift, Debug)]
#[component(record)]
struct TapError {
    #[component(name = "message")]
    _message: String,
}

type Written = Vec<(u32, Vec<u8>)>;

/// Runs the tap once and gives what it wrote, or the trap.
fn run(imports: &str, body: &str) -> wasmtime::Result<Written> {
    let component = componentize(&plugin(&cron(imports, body))).unwrap();
    let engine = Engine::default();
    let component = Component::new(&engine, component.bytes)?;
    let mut linker: Linker<Written> = Linker::new(&engine);
    linker.instance("tapline:host/diagnostics@0.1.0")?.func_wrap(
        "output",
        |mut store: StoreContextMut<'_, Written>, (descriptor, bytes): (u32, Vec<u8>)| {
            store.data_mut().push((descriptor, bytes));
            Ok(())
        },
    )?;
    let mut store = Store::new(&engine, Written::new());
    let instance = linker.instantiate(&mut store, &component)?;
    let interface = instance.get_export_index(&mut store, None, "tapline:content/cron@0.1.0").unwrap();
    let function = instance.get_export_index(&mut store, Some(&interface), "cron").unwrap();
    let cron = instance.get_typed_func::<(CronRun,), (Result<(), TapError>,)>(&mut store, function)?;
    let (answer,) = cron.call(&mut store, (CronRun { now: 0, previous: None },))?;
    assert!(answer.is_ok());
    Ok(store.into_data())
}

/// Code that traps unless `expression` is `expected`.
fn expect(expression: &str, expected: i32) -> String {
    format!("(if (i32.ne {expression} (i32.const {expected})) (then (unreachable)))")
}

#[test]
fn the_check_of_these_tests_can_fail() {
    assert!(run("", &expect("(i32.const 1)", 2)).is_err());
}

#[test]
fn output_reaches_the_host() {
    assert_eq!(run(FD_WRITE, CALL_FD_WRITE).unwrap(), [(1, b"hello".to_vec())]);
}

#[test]
fn every_buffer_is_written_and_counted() {
    // Three buffers at 200: "hello", an empty one, "ell"; the count of bytes goes to 16.
    let body = format!(
        "(i64.store (i32.const 200) (i64.const 0x5_0000_0020))
         (i64.store (i32.const 208) (i64.const 0))
         (i64.store (i32.const 216) (i64.const 0x3_0000_0021)) {} {}",
        expect("(call $fd_write (i32.const 2) (i32.const 200) (i32.const 3) (i32.const 16))", 0),
        expect("(i32.load (i32.const 16))", 8),
    );
    assert_eq!(run(FD_WRITE, &body).unwrap(), [(2, b"hello".to_vec()), (2, b"ell".to_vec())]);
}

#[test]
fn only_standard_output_and_error_are_open() {
    for descriptor in [0, 3, 4, -1, i32::MIN, i32::MAX] {
        let call = format!("(call $fd_write (i32.const {descriptor}) (i32.const 8) (i32.const 1) (i32.const 16))");
        assert_eq!(run(FD_WRITE, &expect(&call, 8)).unwrap(), [], "descriptor {descriptor}");
    }
}

#[test]
fn a_pointer_outside_the_memory_ends_the_call() {
    for (buffers, count) in [(-8, 1), (65_532, 1), (8, i32::MAX)] {
        let call =
            format!("(drop (call $fd_write (i32.const 1) (i32.const {buffers}) (i32.const {count}) (i32.const 16)))");
        assert!(run(FD_WRITE, &call).is_err(), "{buffers} {count}");
    }
    // The buffer itself reaches past the end.
    let body = format!("(i64.store (i32.const 8) (i64.const 0x100_0000_fff0)) {CALL_FD_WRITE}");
    assert!(run(FD_WRITE, &body).is_err());
}

#[test]
fn random_bytes_differ_from_each_other_and_are_the_same_each_time() {
    let import = r#"(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))"#;
    let fill = expect("(call $random (i32.const 200) (i32.const 16))", 0);
    let write = "(i64.store (i32.const 8) (i64.const 0x12_0000_00c7))";
    // One byte on each side of the sixteen is written as well, so that a byte too many would show.
    let body = format!("{fill} {write} {CALL_FD_WRITE}");
    let once = run(&format!("{import} {FD_WRITE}"), &body).unwrap();
    assert_eq!(once, run(&format!("{import} {FD_WRITE}"), &body).unwrap());
    let bytes = &once[0].1;
    assert_eq!((bytes[0], bytes[17]), (0, 0));
    let mut distinct = bytes[1..17].to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.len() > 8, "{bytes:?}");
}

#[test]
fn the_environment_is_empty() {
    for name in ["environ_sizes_get", "args_sizes_get"] {
        let import =
            format!(r#"(import "wasi_snapshot_preview1" "{name}" (func $sizes (param i32 i32) (result i32)))"#);
        let body = format!(
            "(i64.store (i32.const 200) (i64.const -1)) {} {}",
            expect("(call $sizes (i32.const 200) (i32.const 204))", 0),
            expect("(i64.ne (i64.load (i32.const 200)) (i64.const 0))", 0),
        );
        run(&import, &body).unwrap();
    }
}

#[test]
fn files_clocks_and_sockets_are_refused() {
    for (name, params, arguments, errno) in [
        ("fd_prestat_get", "i32 i32", "(i32.const 3) (i32.const 0)", 8),
        ("fd_close", "i32", "(i32.const 1)", 8),
        ("clock_time_get", "i32 i64 i32", "(i32.const 0) (i64.const 1) (i32.const 200)", 58),
        ("sock_shutdown", "i32 i32", "(i32.const 3) (i32.const 0)", 58),
        ("sched_yield", "", "", 0),
    ] {
        let import = format!(r#"(import "wasi_snapshot_preview1" "{name}" (func $it (param {params}) (result i32)))"#);
        run(&import, &expect(&format!("(call $it {arguments})"), errno)).unwrap();
    }
}

#[test]
fn leaving_the_program_is_a_trap() {
    let import = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
    assert!(run(import, "(call $exit (i32.const 0))").is_err());
}
