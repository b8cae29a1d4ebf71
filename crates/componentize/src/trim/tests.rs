//! Small modules, trimmed and run.

mod linked;

use wasmparser::{Parser, Payload, TypeRef};
use wasmtime::{Engine, Extern, Instance, Linker, Module, Store};

use super::trim;

const PANICKED: &str =
    r#"(import "tapline:host/diagnostics@0.1.0" "panicked" (func $panicked (param i32 i32 i32 i32 i32 i32)))"#;
const FD_WRITE: &str =
    r#"(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))"#;
const WRITE: &str = "(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))";
const STDERR: &str = r#"$"<std::sys::stdio::unix::Stderr as std::io::Write>::write_fmt""#;

fn trimmed(wat: &str) -> Vec<u8> {
    trim(&wat::parse_str(wat).unwrap()).unwrap()
}

fn imports(module: &[u8]) -> Vec<String> {
    let sections = Parser::new(0).parse_all(module).filter_map(|payload| match payload.unwrap() {
        Payload::ImportSection(section) => Some(section),
        _ => None,
    });
    sections.flat_map(|section| section.into_imports().map(|import| import.unwrap().name.to_owned())).collect()
}

fn functions(module: &[u8]) -> usize {
    let bodies = Parser::new(0).parse_all(module);
    bodies.filter(|payload| matches!(payload, Ok(Payload::CodeSectionEntry(_)))).count()
}

fn instantiate(module: &[u8]) -> (Store<u32>, Instance) {
    let engine = Engine::default();
    let module = Module::new(&engine, module).unwrap();
    let mut store = Store::new(&engine, 0);
    let mut linker: Linker<u32> = Linker::new(&engine);
    for import in module.imports() {
        let ty = import.ty();
        let ty = ty.unwrap_func().clone();
        linker
            .func_new(import.module(), import.name(), ty, |mut caller, _, results| {
                *caller.data_mut() += 1;
                results.fill(wasmtime::Val::I32(0));
                Ok(())
            })
            .unwrap();
    }
    let instance = linker.instantiate(&mut store, &module).unwrap();
    (store, instance)
}

/// Calls `run` with a number: how often the host was called, or that it trapped at an `unreachable`.
fn run(module: &[u8], argument: i32) -> Result<u32, &'static str> {
    let (mut store, instance) = instantiate(module);
    let run = instance.get_typed_func::<i32, ()>(&mut store, "run").unwrap();
    match run.call(&mut store, argument) {
        Ok(()) => Ok(store.into_data()),
        Err(error) => match error.downcast_ref::<wasmtime::Trap>() {
            Some(wasmtime::Trap::UnreachableCodeReached) => Err("unreachable"),
            _ => Err("another trap"),
        },
    }
}

/// A panic with the standard hook, which prints, if `run` is called with 1.
fn with_default_hook(imports: &str, hook: &str, print: &str) -> String {
    format!(
        r#"(module {imports} {FD_WRITE}
          (func {hook} {WRITE})
          (func $"std::panicking::panic_with_hook" (param i32)
            (if (local.get 0) (then (call {hook}))))
          (func {print} {WRITE})
          (func (export "run") (param i32)
            (call $"std::panicking::panic_with_hook" (local.get 0))))"#
    )
}

const HOOK: &str = r#"$"std::panicking::default_hook""#;

#[test]
fn the_standard_hook_goes_and_its_call_traps() {
    let legacy = "$_ZN3std9panicking12default_hook17h0123456789abcdefE";
    let newer = "$_RNvNtCs1234_3std9panicking12default_hook";
    for hook in [HOOK, legacy, newer] {
        let module = trimmed(&with_default_hook(PANICKED, hook, "$unused"));
        // The function for panics is not called either in this module.
        assert_eq!(imports(&module), [] as [&str; 0], "{hook}");
        assert_eq!(functions(&module), 2, "{hook}");
        assert_eq!(run(&module, 0), Ok(0), "{hook}");
        assert_eq!(run(&module, 1), Err("unreachable"), "{hook}");
    }
}

#[test]
fn without_the_sdk_the_standard_hook_speaks() {
    let wat = with_default_hook("", HOOK, "$unused");
    let module = trimmed(&wat);
    assert_eq!(imports(&module), ["fd_write"]);
    assert_eq!(run(&module, 1), Ok(1));
    // What nobody calls goes all the same.
    assert_eq!((functions(&wat::parse_str(&wat).unwrap()), functions(&module)), (4, 3));
}

#[test]
fn functions_of_other_names_stay() {
    let module = trimmed(&with_default_hook(PANICKED, r#"$"mine::default_hook""#, "$unused"));
    assert_eq!(run(&module, 1), Ok(1));
}

#[test]
fn a_plugin_that_prints_goes_on_printing() {
    // `eprintln!` here ends in the very function that the panic uses.
    let module = trimmed(&format!(
        r#"(module {PANICKED} {FD_WRITE}
          (func {STDERR} {WRITE})
          (func $"std::io::stdio::_eprint" (call {STDERR}))
          (func $"std::panicking::panic_with_hook" (param i32)
            (if (local.get 0) (then (call {STDERR}))))
          (func (export "run") (param i32)
            (call $"std::io::stdio::_eprint")
            (call $"std::panicking::panic_with_hook" (local.get 0))))"#
    ));
    assert_eq!(imports(&module), ["fd_write"]);
    assert_eq!(run(&module, 0), Ok(1));
    assert_eq!(run(&module, 1), Err("unreachable"));
}

#[test]
fn code_behind_a_cut_goes_up_to_the_end_of_its_block() {
    let module = trimmed(&format!(
        r#"(module {PANICKED} {FD_WRITE}
          (func {HOOK} (result i32) (i32.const 1))
          (func $only_behind {WRITE})
          (func $"std::panicking::panic_with_hook" (param i32) (result i32)
            (if (result i32) (i32.eq (local.get 0) (i32.const 1))
              (then
                (call {HOOK})
                (if (then (call $only_behind)) (else (block (loop (call $only_behind)))))
                (i32.const 5))
              (else
                (block (result i32) (local.get 0)))))
          (func (export "run") (param i32)
            (if (i32.ne (call $"std::panicking::panic_with_hook" (local.get 0)) (local.get 0))
              (then (unreachable)))))"#
    ));
    assert_eq!(imports(&module), [] as [&str; 0]);
    assert_eq!(run(&module, 0), Ok(0));
    assert_eq!(run(&module, 7), Ok(0));
    assert_eq!(run(&module, 1), Err("unreachable"));
}

#[track_caller]
fn last_words(behind: &str, expected: Result<u32, &str>, imported: &[&str]) {
    let module = trimmed(&format!(
        r#"(module {PANICKED} {FD_WRITE}
          (func {STDERR} (param i32) {WRITE})
          (func $"std::process::abort" (unreachable))
          (func $mine {WRITE})
          (func (export "run") (param i32)
            (call {STDERR} (i32.const 8))
            {behind}))"#
    ));
    assert_eq!(imports(&module), imported);
    assert_eq!(run(&module, 0), expected);
}

#[test]
fn words_before_an_abort_go() {
    last_words(r#"(call $"std::process::abort") (unreachable)"#, Err("unreachable"), &[]);
    last_words("(unreachable)", Err("unreachable"), &[]);
}

#[test]
fn words_before_anything_else_stay() {
    last_words("", Ok(1), &["fd_write"]);
    last_words("(call $mine)", Ok(2), &["fd_write"]);
    last_words("(call $mine) (unreachable)", Err("unreachable"), &["fd_write"]);
    last_words("(if (local.get 0) (then (unreachable)))", Ok(1), &["fd_write"]);
}

#[test]
fn without_the_words_of_the_linker_the_whole_table_stays() {
    let module = trimmed(&format!(
        r#"(module {PANICKED} {FD_WRITE}
          (type $nothing (func))
          (table 5 5 funcref)
          (elem (i32.const 1) func {STDERR} $two $fd_write $three)
          (func $dead {WRITE})
          (func {STDERR} {WRITE})
          (func $two)
          (func $three {WRITE} {WRITE} {WRITE})
          (func (export "run") (param i32) (call_indirect (type $nothing) (local.get 0))))"#
    ));
    assert_eq!(functions(&module), 4);
    assert_eq!([1, 2, 4].map(|slot| run(&module, slot)), [Ok(1), Ok(0), Ok(3)]);
    assert_eq!([0, 3, 5].map(|slot| run(&module, slot)), [Err("another trap"); 3]);
}

#[test]
fn whatever_else_refers_to_a_function_keeps_it() {
    let module = trimmed(
        r#"(module
          (import "host" "unused" (func $unused (param f64)))
          (import "host" "memory_of_nobody" (func $first))
          (type $nothing (func))
          (table $table 2 2 funcref)
          (global $global funcref (ref.func $by_global))
          (elem declare func $by_instruction)
          (start $start)
          (func $dead (param i64 i64 i64))
          (func $by_global (call $first))
          (func $by_instruction (call $first) (call $first))
          (func $start (call $first) (call $first) (call $first))
          (func (export "run") (param i32)
            (table.set (i32.const 0) (global.get $global))
            (table.set (i32.const 1) (ref.func $by_instruction))
            (call_indirect (type $nothing) (local.get 0))))"#,
    );
    assert_eq!(imports(&module), ["memory_of_nobody"]);
    assert_eq!(functions(&module), 4);
    assert_eq!([0, 1].map(|slot| run(&module, slot)), [Ok(4), Ok(5)]);
}

#[test]
fn types_that_nobody_has_go() {
    let wat = r#"(module
        (type $dead (func (param i64)))
        (type $block (func (param i32) (result i32 i32)))
        (func $dead (type $dead))
        (func (export "run") (param i32)
          (local.get 0) (block (type $block) (i32.const 0)) (drop) (drop)))"#;
    let module = trimmed(wat);
    let types = Parser::new(0).parse_all(&module).find_map(|payload| match payload.unwrap() {
        Payload::TypeSection(section) => Some(section.count()),
        _ => None,
    });
    assert_eq!(types, Some(2));
    assert_eq!(run(&module, 3), Ok(0));
}

fn memory(module: &[u8]) -> Vec<u8> {
    let (mut store, instance) = instantiate(module);
    let Some(Extern::Memory(memory)) = instance.get_export(&mut store, "memory") else { unreachable!() };
    memory.data(&store).to_vec()
}

#[track_caller]
fn same_memory(segments: &str, fewer_bytes: bool) {
    let wat = format!(r#"(module (memory (export "memory") 1) {segments})"#);
    let (before, after) = (wat::parse_str(&wat).unwrap(), trimmed(&wat));
    assert_eq!(memory(&before), memory(&after));
    assert_eq!(after.len() < before.len(), fewer_bytes, "{} {}", before.len(), after.len());
}

#[test]
fn zeros_are_not_written() {
    let zeros = |count: usize| r"\00".repeat(count);
    for count in [8, 9, 10, 200] {
        let text = format!(r#"(data (i32.const 7) "{0}ab{0}c{0}")"#, zeros(count));
        same_memory(&text, true);
    }
    same_memory(&format!(r#"(data (i32.const 7) "{}")"#, zeros(30_000)), true);
    same_memory(r#"(data (i32.const 65535) "z")"#, false);
}

#[test]
fn zeros_that_write_over_something_stay() {
    let zeros = r"\00".repeat(30);
    same_memory(&format!(r#"(data (i32.const 7) "some text") (data (i32.const 7) "{zeros}x")"#), false);
}

#[test]
fn names_go_with_their_functions() {
    let module = trimmed(
        r#"(module $mine
          (func $dead)
          (func $callee)
          (func $run (export "run") (param i32) (call $callee)))"#,
    );
    let text = String::from_utf8_lossy(&module);
    assert!(text.contains("callee") && text.contains("mine") && !text.contains("dead"));
    let again =
        wat::parse_str(r#"(module $mine (func $callee) (func $run (export "run") (param i32) (call $callee)))"#);
    let names = |module: &[u8]| {
        let sections = Parser::new(0).parse_all(module).filter_map(|payload| match payload.unwrap() {
            Payload::CustomSection(section) if section.name() == "name" => Some(section.data().to_vec()),
            _ => None,
        });
        sections.collect::<Vec<_>>()
    };
    assert_eq!(names(&module), names(&again.unwrap()));
}

#[test]
fn trimming_twice_changes_nothing() {
    let once = trimmed(&with_default_hook(PANICKED, HOOK, "$unused"));
    assert_eq!(trim(&once).unwrap(), once);
}

#[test]
fn an_import_keeps_its_place_among_the_others() {
    let module = trimmed(
        r#"(module
          (import "a" "gone" (func))
          (import "a" "memory" (memory 1))
          (import "a" "stays" (func $stays))
          (func (export "run") (param i32) (call $stays)))"#,
    );
    let kinds = Parser::new(0).parse_all(&module).find_map(|payload| match payload.unwrap() {
        Payload::ImportSection(section) => Some(
            section.into_imports().map(|import| matches!(import.unwrap().ty, TypeRef::Func(_))).collect::<Vec<_>>(),
        ),
        _ => None,
    });
    assert_eq!(imports(&module), ["memory", "stays"]);
    assert_eq!(kinds.unwrap(), [false, true]);
}
