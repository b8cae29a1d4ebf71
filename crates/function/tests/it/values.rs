//! Components: every type that has a form as text.

use expect_test::expect;

use crate::{load, runtime, shown};

/// Answers a list of anything with the same list: in the memory, a list is an address and a length whatever it holds.
const ECHO: &str = r#"(component
    (core module $m
        (memory (export "memory") 1)
        (global $end (mut i32) (i32.const 1024))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (global.set $end (i32.and (i32.add (global.get $end) (i32.const 7)) (i32.const -8)))
            (global.get $end)
            (global.set $end (i32.add (global.get $end) (local.get 3))))
        (func (export "echo") (param i32 i32) (result i32)
            (i32.store (i32.const 16) (local.get 0))
            (i32.store (i32.const 20) (local.get 1))
            (i32.const 16)))
    (core instance $i (instantiate $m))
    (alias core export $i "memory" (core memory $memory))
    (alias core export $i "realloc" (core func $realloc))
    (alias core export $i "echo" (core func $echo))
    (type $point' (record (field "x" s32) (field "y" (option u8))))
    (export $point "point" (type $point'))
    (type $shape' (variant (case "dot") (case "circle" f32) (case "none")))
    (export $shape "shape" (type $shape'))
    (type $colour' (enum "red" "green"))
    (export $colour "colour" (type $colour'))
    (type $rights' (flags "read" "write"))
    (export $rights "rights" (type $rights'))
    FUNCTIONS)"#;

/// The types of the functions, each with values that come back as they are written.
const TYPES: [(&str, &str, &[&str]); 17] = [
    ("bool", "bool", &["[]", "[true, false]"]),
    ("s8", "s8", &["[-128, 127]"]),
    ("u16", "u16", &["[65535]"]),
    ("u64", "u64", &["[18446744073709551615]"]),
    ("s64", "s64", &["[-9223372036854775808]"]),
    ("f32", "f32", &["[1.5, nan, inf, -inf, -0]"]),
    ("f64", "f64", &["[0.1]"]),
    ("char", "char", &["['a', '☃', '\\n', '\\'', '\"']"]),
    ("string", "string", &[r#"["", "a \"b\" \\ \n\t☃'", "\u{1b}[2J"]"#]),
    ("lists", "(list u8)", &["[[], [1, 2]]"]),
    ("tuple", "(tuple u8 string)", &[r#"[(1, "one")]"#]),
    ("point", "$point", &["[{x: -1, y: some(2)}, {x: 0, y: none}]"]),
    ("shape", "$shape", &["[dot, circle(0.5), %none]"]),
    ("colour", "$colour", &["[red, green]"]),
    ("rights", "$rights", &["[{}, {write}, {read, write}]"]),
    ("options", "(option (option u8))", &["[none, some(none), some(some(1))]"]),
    ("results", "(result u8 (error string))", &[r#"[ok(1), err("no")]"#]),
];

fn echo() -> String {
    let functions: Vec<String> = TYPES
        .iter()
        .map(|(name, ty, _)| {
            format!(
                r#"(func (export "{name}-list") (param "value" (list {ty})) (result (list {ty}))
                    (canon lift (core func $echo) (memory $memory) (realloc $realloc)))"#
            )
        })
        .collect();
    ECHO.replace("FUNCTIONS", &functions.join("\n"))
}

#[tokio::test]
async fn every_type_comes_back_as_it_was_written() {
    let runtime = runtime();
    let module = load(&runtime, "echo", &echo()).await;
    for (name, _, values) in TYPES {
        for value in values {
            let answer = module.call(&format!("{name}-list({value})")).await.unwrap().text();
            assert_eq!(answer, *value, "{name}");
        }
    }
    expect![[r#"
        bool-list(value: list<bool>) -> list<bool>
        char-list(value: list<char>) -> list<char>
        colour-list(value: list<enum { red, green }>) -> list<enum { red, green }>
        f32-list(value: list<f32>) -> list<f32>
        f64-list(value: list<f64>) -> list<f64>
        lists-list(value: list<list<u8>>) -> list<list<u8>>
        options-list(value: list<option<option<u8>>>) -> list<option<option<u8>>>
        point-list(value: list<record { x: s32, y: option<u8> }>) -> list<record { x: s32, y: option<u8> }>
        results-list(value: list<result<u8, string>>) -> list<result<u8, string>>
        rights-list(value: list<flags { read, write }>) -> list<flags { read, write }>
        s64-list(value: list<s64>) -> list<s64>
        s8-list(value: list<s8>) -> list<s8>
        shape-list(value: list<variant { dot, circle(f32), none }>) -> list<variant { dot, circle(f32), none }>
        string-list(value: list<string>) -> list<string>
        tuple-list(value: list<tuple<u8, string>>) -> list<tuple<u8, string>>
        u16-list(value: list<u16>) -> list<u16>
        u64-list(value: list<u64>) -> list<u64>"#]]
    .assert_eq(&module.signatures().join("\n"));
}

#[tokio::test]
async fn short_forms_are_read() {
    let runtime = runtime();
    let module = load(&runtime, "echo", &echo()).await;
    for (call, answer) in [
        ("point-list([{x: 1}, {y: 2, x: 1}])", "[{x: 1, y: none}, {x: 1, y: some(2)}]"),
        ("results-list([1])", "[ok(1)]"),
        ("string-list([\"\"\"\n  two\n  lines\n  \"\"\"])", r#"["two\nlines"]"#),
    ] {
        assert_eq!(module.call(call).await.unwrap().text(), answer, "{call}");
    }
}

#[tokio::test]
async fn arguments_that_do_not_fit() {
    let runtime = runtime();
    let module = load(&runtime, "echo", &echo()).await;
    let mut text = String::new();
    for call in [
        "bool-list(1)",
        "bool-list([1])",
        "s8-list([128])",
        "s8-list([-129, 0])",
        "u16-list([1.5])",
        "char-list([\"a\"])",
        "tuple-list([(1)])",
        "point-list([{y: 1}])",
        "point-list([{x: 1, z: 1}])",
        "point-list([{x: 1, x: 1}])",
        "shape-list([square])",
        "shape-list([circle])",
        "shape-list([dot(1)])",
        "colour-list([blue])",
        "rights-list([{execute}])",
        "options-list([1])",
        "results-list([err])",
        "string-list()",
        "string-list([], [])",
        "bool-list([\"\u{202e}\"])",
    ] {
        text += &format!("{}: {}\n", tapline_host_core::escape(call), module.call(call).await.unwrap_err());
    }
    expect![[r#"
        bool-list(1): the arguments do not fit `bool-list(value: list<bool>) -> list<bool>`: argument 1: `1` is no list<bool>
        bool-list([1]): the arguments do not fit `bool-list(value: list<bool>) -> list<bool>`: argument 1: `1` is no bool
        s8-list([128]): the arguments do not fit `s8-list(value: list<s8>) -> list<s8>`: argument 1: `128` is no s8
        s8-list([-129, 0]): the arguments do not fit `s8-list(value: list<s8>) -> list<s8>`: argument 1: `-129` is no s8
        u16-list([1.5]): the arguments do not fit `u16-list(value: list<u16>) -> list<u16>`: argument 1: `1.5` is no u16
        char-list(["a"]): the arguments do not fit `char-list(value: list<char>) -> list<char>`: argument 1: `"a"` is no char
        tuple-list([(1)]): the arguments do not fit `tuple-list(value: list<tuple<u8, string>>) -> list<tuple<u8, string>>`: argument 1: `(1)` is no tuple<u8, string>
        point-list([{y: 1}]): the arguments do not fit `point-list(value: list<record { x: s32, y: option<u8> }>) -> list<record { x: s32, y: option<u8> }>`: argument 1: the field `x` is missing
        point-list([{x: 1, z: 1}]): the arguments do not fit `point-list(value: list<record { x: s32, y: option<u8> }>) -> list<record { x: s32, y: option<u8> }>`: argument 1: there is no field `z` in record { x: s32, y: option<u8> }
        point-list([{x: 1, x: 1}]): this is no call such as `fibonacci(10)`: duplicate field, at byte 19
        shape-list([square]): the arguments do not fit `shape-list(value: list<variant { dot, circle(f32), none }>) -> list<variant { dot, circle(f32), none }>`: argument 1: `square` is no variant { dot, circle(f32), none }
        shape-list([circle]): the arguments do not fit `shape-list(value: list<variant { dot, circle(f32), none }>) -> list<variant { dot, circle(f32), none }>`: argument 1: `circle` is no variant { dot, circle(f32), none }
        shape-list([dot(1)]): the arguments do not fit `shape-list(value: list<variant { dot, circle(f32), none }>) -> list<variant { dot, circle(f32), none }>`: argument 1: `dot(1)` is no variant { dot, circle(f32), none }
        colour-list([blue]): the arguments do not fit `colour-list(value: list<enum { red, green }>) -> list<enum { red, green }>`: argument 1: `blue` is no enum { red, green }
        rights-list([{execute}]): the arguments do not fit `rights-list(value: list<flags { read, write }>) -> list<flags { read, write }>`: argument 1: there is no flag `execute` in flags { read, write }
        options-list([1]): the arguments do not fit `options-list(value: list<option<option<u8>>>) -> list<option<option<u8>>>`: argument 1: `1` is no option<option<u8>>
        results-list([err]): the arguments do not fit `results-list(value: list<result<u8, string>>) -> list<result<u8, string>>`: argument 1: `err` is no result<u8, string>
        string-list(): the arguments do not fit `string-list(value: list<string>) -> list<string>`: 0 arguments are given, and it takes 1
        string-list([], []): the arguments do not fit `string-list(value: list<string>) -> list<string>`: 2 arguments are given, and it takes 1
        bool-list(["\u{202e}"]): the arguments do not fit `bool-list(value: list<bool>) -> list<bool>`: argument 1: `"\u{202e}"` is no bool
    "#]].assert_eq(&text);
}

/// Two interfaces with a function of one name, and one that takes a resource.
const INTERFACES: &str = r#"(component
    (core module $m
        (func (export "one") (result i32) (i32.const 1))
        (func (export "two") (result i32) (i32.const 2))
        (func (export "take") (param i32)))
    (core instance $i (instantiate $m))
    (func $one (result u32) (canon lift (core func $i "one")))
    (func $two (result u32) (canon lift (core func $i "two")))
    (type $r (resource (rep i32)))
    (export $handle "handle" (type $r))
    (func (export "take") (param "it" (own $handle)) (canon lift (core func $i "take")))
    (instance $a (export "number" (func $one)) (export "only" (func $one)))
    (instance $b (export "number" (func $two)))
    (export "acme:a/numbers@1.0.0" (instance $a))
    (export "acme:b/numbers" (instance $b)))"#;

#[tokio::test]
async fn functions_of_interfaces() {
    let runtime = runtime();
    let module = load(&runtime, "interfaces", INTERFACES).await;
    for (call, answer) in [("only()", "1"), ("acme:a/numbers@1.0.0#number()", "1"), ("acme:b/numbers#number()", "2")] {
        assert_eq!(module.call(call).await.unwrap().text(), answer, "{call}");
    }
    let mut text = String::new();
    for call in ["number()", "numbr()", "take(1)"] {
        text += &shown(&module.call(call).await.unwrap_err());
    }
    expect![[r#"
        `interfaces` has several functions `number`
          hint: name one in full: `acme:a/numbers@1.0.0#number`, `acme:b/numbers#number`
        `interfaces` has no function `numbr`
          hint: the nearest are `acme:a/numbers@1.0.0#number() -> u32`, `acme:b/numbers#number() -> u32`
        `take` of `interfaces` cannot be called: it takes or returns a resource
          hint: 
    "#]]
    .assert_eq(&text);
}
