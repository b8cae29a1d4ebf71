//! Core modules without a contract.

use tapline_componentize::{Adapter, CoreModule, Error, Number};

const MODULE: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (global $x (mut i32) (i32.const 0))
    (data (i32.const 0) "\08\00\00\00\01\00\00\00x")
    (func (export "_initialize") (global.set $x (i32.const 7)))
    (func (export "Any Name!") (param i32 i64 f32 f64) (result f64) (local.get 3))
    (func (export "write") (result i32)
        (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))
    (func (export "pair") (result i32 i32) (i32.const 1) (i32.const 2)))"#;

#[test]
fn functions_have_the_names_of_the_module_and_those_of_the_component() {
    let bytes = wat::parse_str(MODULE).unwrap();
    let module = CoreModule::read(&bytes).unwrap();
    let functions: Vec<_> = module.functions().cloned().collect();
    assert_eq!(functions.len(), 2);
    assert_eq!((functions[0].name.as_str(), functions[0].export.as_str()), ("Any Name!", "function0"));
    assert_eq!(functions[0].params, [Number::I32, Number::I64, Number::F32, Number::F64]);
    assert_eq!((functions[0].result, functions[1].export.as_str()), (Some(Number::F64), "function1"));
    assert_eq!(module.left_out(), [("pair".to_owned(), "it returns more than one value")]);
    assert_eq!(module.wasi_functions(), ["fd_write"]);
    for (adapter, import) in [(Adapter::Sealed, "tapline:host/diagnostics@0.1.0"), (Adapter::Wasi, "wasi:cli/stdout")] {
        let component = module.clone().into_component(adapter).unwrap();
        let printed = String::from_utf8_lossy(&component).into_owned();
        assert!(printed.contains(import), "{adapter:?} imports {import}");
    }
}

/// Their names in the component are words of WIT, of which some have a meaning.
#[test]
fn a_module_may_export_many_functions() {
    let functions: String =
        (0..130).map(|number| format!("(func (export \"g{number}\") (result i32) (i32.const {number}))")).collect();
    let bytes = wat::parse_str(format!("(module {functions})")).unwrap();
    let module = CoreModule::read(&bytes).unwrap();
    assert_eq!(module.functions().len(), 130);
    module.into_component(Adapter::Sealed).unwrap();
}

#[test]
fn a_function_with_too_many_parameters_keeps_no_other() {
    let function = |count: usize| format!(r#"(func (export "f{count}") {})"#, "(param i32) ".repeat(count));
    let bytes = wat::parse_str(format!("(module {} {})", function(16), function(17))).unwrap();
    let module = CoreModule::read(&bytes).unwrap();
    assert_eq!(module.functions().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["f16"]);
    assert_eq!(module.left_out(), [("f17".to_owned(), "it takes more than 16 values")]);
    module.into_component(Adapter::Sealed).unwrap();
}

/// What a terminal obeys, out of a stranger's file.
#[test]
fn errors_repeat_no_control_characters_and_no_long_names() {
    let long = "x".repeat(100_000);
    for text in [
        r#"(module (import "\1b[31mmod\0a" "\1b]0;x\07fn" (func)) (func (export "f")))"#.to_owned(),
        r#"(module (import "wasi_snapshot_preview1" "\1b[2Jfn" (func)) (func (export "f")))"#.to_owned(),
        r#"(module (func (export "\1b[31mE\1b]0;x\07")) (func (export "\1b[31mE\1b]0;x\07")))"#.to_owned(),
        format!(r#"(module (import "a" "{long}" (func)) (func (export "f")))"#),
        format!(r#"(module (func (export "{long}")) (func (export "{long}")))"#),
    ] {
        let bytes = wat::parse_str(&text).unwrap();
        let error = CoreModule::read(&bytes).and_then(|module| module.into_component(Adapter::Sealed)).unwrap_err();
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            let message = error.to_string();
            assert!(message.len() < 3000 && !message.contains(char::is_control), "{message:?}");
            cause = error.source();
        }
    }
}

/// A custom section could describe another component than the one that is made.
#[test]
fn a_description_that_a_module_brings_is_left_out() {
    let mut bytes = wat::parse_str(MODULE).unwrap();
    let name = b"component-type:evil";
    bytes.extend([0, name.len() as u8 + 3, name.len() as u8]);
    bytes.extend(name);
    bytes.extend([0xff, 0xff]);
    let component = CoreModule::read(&bytes).unwrap().into_component(Adapter::Sealed).unwrap();
    assert!(!component.windows(name.len()).any(|window| window == name));
}

#[test]
fn wasi_needs_a_memory() {
    let without = r#"(module
        (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
        (func (export "f") (result i32) (call $sizes (i32.const 0) (i32.const 4))))"#;
    let bytes = wat::parse_str(without).unwrap();
    let error = CoreModule::read(&bytes).unwrap().into_component(Adapter::Sealed).unwrap_err();
    assert!(matches!(error, Error::Encode { .. }), "{error}");
}

/// Whatever byte of it is changed, and wherever it is cut off: it is refused, or becomes a component, and nothing panics.
#[test]
fn damaged_modules() {
    let bytes = wat::parse_str(MODULE).unwrap();
    let mut outcomes = [0, 0];
    let mut attempt = |bytes: &[u8]| {
        let made = CoreModule::read(bytes).and_then(|module| module.into_component(Adapter::Sealed));
        outcomes[usize::from(made.is_ok())] += 1;
    };
    for position in 0..bytes.len() {
        attempt(&bytes[..position]);
        let mut damaged = bytes.clone();
        damaged[position] ^= if position % 2 == 0 { 0x01 } else { 0x80 };
        attempt(&damaged);
    }
    assert!(outcomes[0] > bytes.len() && outcomes[1] > 0, "{outcomes:?}");
}
