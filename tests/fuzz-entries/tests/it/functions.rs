//! Calls as text, and modules whose functions are called.

use std::fs;

use proptest::prelude::*;
use tapline_function::{Error, Val, to_text};
use tapline_fuzz_entries::{call, function, mutate_module};

/// A core module with functions of every kind of number.
const NUMBERS: &str = r#"(module
    (memory 1) (global $calls (mut i32) (i32.const 0)) (table 2 funcref) (elem (i32.const 0) $half $add)
    (func $add (export "add") (param i32 i64) (result i64) (i64.add (i64.extend_i32_s (local.get 0)) (local.get 1)))
    (func $half (export "half") (param f64) (result f64) (f64.div (local.get 0) (f64.const 2)))
    (func (export "count") (result i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1))) (global.get $calls))
    (func (export "fail") unreachable))"#;

fn numbers() -> Vec<u8> {
    wat::parse_str(NUMBERS).unwrap()
}

fn optional(value: impl Strategy<Value = Val>) -> impl Strategy<Value = Val> {
    prop::option::of(value).prop_map(|value| Val::Option(value.map(Box::new)))
}

/// Texts: of any letters, and of those that WAVE or a terminal takes for something else.
fn string() -> impl Strategy<Value = String> {
    let odd = ['\0', '\n', '\r', '\t', '\u{1b}', '\u{7f}', '\u{85}', '\u{202e}', '"', '\'', '\\', '{', 'u', '☃'];
    let odd = prop::collection::vec(prop::sample::select(odd.to_vec()), 0..10);
    prop_oneof!["\\PC{0,20}", odd.prop_map(|letters| letters.into_iter().collect::<String>())]
}

/// A value of the component that `call` calls.
fn value() -> impl Strategy<Value = Val> {
    let case = |name: &'static str| move |value| Val::Variant(name.to_owned(), Some(Box::new(value)));
    let point = (any::<i32>(), optional(any::<u8>().prop_map(Val::U8)))
        .prop_map(|(x, y)| Val::Record(vec![("x".to_owned(), Val::S32(x)), ("y".to_owned(), y)]));
    let flags = prop::sample::subsequence(vec!["read", "write"], 0..=2);
    let outcome = prop_oneof![
        any::<u8>().prop_map(|number| Val::Result(Ok(Some(Box::new(Val::U8(number)))))),
        string().prop_map(|text| Val::Result(Err(Some(Box::new(Val::String(text)))))),
    ];
    prop_oneof![
        Just(Val::Variant("none".to_owned(), None)).boxed(),
        any::<bool>().prop_map(Val::Bool).prop_map(case("flag")).boxed(),
        any::<i8>().prop_map(Val::S8).prop_map(case("small")).boxed(),
        any::<u64>().prop_map(Val::U64).prop_map(case("large")).boxed(),
        any::<u32>().prop_map(|bits| Val::Float32(f32::from_bits(bits))).prop_map(case("single")).boxed(),
        any::<u64>().prop_map(|bits| Val::Float64(f64::from_bits(bits))).prop_map(case("double")).boxed(),
        any::<char>().prop_map(Val::Char).prop_map(case("letter")).boxed(),
        string().prop_map(Val::String).prop_map(case("text")).boxed(),
        prop::collection::vec(any::<u8>().prop_map(Val::U8), 0..9).prop_map(Val::List).prop_map(case("bytes")).boxed(),
        (any::<u16>(), string())
            .prop_map(|(number, text)| Val::Tuple(vec![Val::U16(number), Val::String(text)]))
            .prop_map(case("pair"))
            .boxed(),
        point.prop_map(case("point")).boxed(),
        prop::sample::select(vec!["red", "inf"])
            .prop_map(|name| Val::Enum(name.to_owned()))
            .prop_map(case("colour"))
            .boxed(),
        flags
            .prop_map(|names| Val::Flags(names.into_iter().map(str::to_owned).collect()))
            .prop_map(case("rights"))
            .boxed(),
        optional(optional(any::<u8>().prop_map(Val::U8))).prop_map(case("perhaps")).boxed(),
        outcome.prop_map(case("outcome")).boxed(),
    ]
}

/// What calls are made of, and what makes none.
const WORDS: [&str; 32] = [
    "echo",
    "echo(",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "flag(true)",
    "text(",
    "point(",
    "x",
    "y",
    "some(",
    "none",
    "%none",
    "ok(",
    "err(",
    "\"a\"",
    "\"",
    "\"\"\"\n",
    "'a'",
    "\\u{1b}",
    "-",
    "1",
    "1e400",
    "nan",
    "inf",
    "//",
    "\u{202e}",
];

proptest! {
    #![proptest_config(crate::cases(2000))]

    #[test]
    fn values_come_back_as_they_were_written(values in prop::collection::vec(value(), 0..6)) {
        let text = to_text(&Val::List(values));
        prop_assert_eq!(call(format!("echo({text})").as_bytes()).unwrap(), text);
    }

    #[test]
    fn any_text_is_answered_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "\\PC{0,40}") {
        drop(call(&bytes));
        drop(call(format!("echo({text})").as_bytes()));
        drop(call(format!("echo([text({text:?})])").as_bytes()));
    }

    #[test]
    fn any_words_are_answered_or_refused(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..16)) {
        drop(call(words.concat().as_bytes()));
        drop(call(format!("echo([{}])", words.concat()).as_bytes()));
    }

    #[test]
    fn any_bytes_are_no_module(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for head in [&b""[..], b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"] {
            drop(function(&[head, &bytes].concat()));
        }
    }
}

#[test]
fn a_call_that_does_not_end() {
    for (open, count) in [("[", 100_000), ("some(", 100_000), ("ok(", 50_000), ("[[],", 50_000), ("\"", 1 << 20)] {
        let refused = call(format!("echo({}", open.repeat(count)).as_bytes());
        assert!(matches!(refused, Err(Error::BadCall { .. })), "{open}");
    }
}

#[test]
fn the_functions_of_a_module_are_called() {
    let expected = [Some("0"), Some("1"), None, Some("0")].map(|answer| answer.map(str::to_owned));
    assert_eq!(function(&numbers()).unwrap(), expected, "add, count, fail, half");
}

#[test]
fn random_modules_are_called_or_refused() {
    let (mut answered, mut failed, mut refused) = (0, 0, 0);
    for entry in fs::read_dir(concat!(env!("OUT_DIR"), "/smith")).unwrap() {
        match function(&fs::read(entry.unwrap().path()).unwrap()) {
            Ok(answers) if answers.iter().all(Option::is_some) => answered += 1,
            Ok(_) => failed += 1,
            Err(_) => refused += 1,
        }
    }
    // Otherwise the modules would try nothing.
    assert!(answered > 0 && failed > 0, "{answered} answered, {failed} failed, {refused} refused");
    assert!(answered + failed > refused, "{answered} answered, {failed} failed, {refused} refused");
}

#[test]
fn mutated_modules_are_called_or_refused() {
    let module = numbers();
    let expected = function(&module).unwrap();
    let mut same = 0;
    for seed in 0..32 {
        if let Some(mutated) = mutate_module(&module, seed, true)
            && let Ok(answers) = function(&mutated)
        {
            assert_eq!(answers, expected, "seed {seed}: a change that changes nothing");
            same += 1;
        }
        if let Some(mutated) = mutate_module(&module, seed, false) {
            drop(function(&mutated));
        }
    }
    assert!(same >= 8, "{same} mutations were tried");
}
