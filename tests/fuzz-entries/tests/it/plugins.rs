//! Files that claim to be plugins.

use std::{error::Error, fs};

use proptest::prelude::*;
use tapline_fuzz_entries::{component, load, modules, mutate, replace_module, run};
use tapline_host_core::LoadError;

/// A plugin of this repository that needs no grant.
fn plugin(name: &str) -> Vec<u8> {
    let path = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/plugins/{}.wasm"), name);
    fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}; `cargo xtask build-plugins` makes it"))
}

/// A small plugin that implements `cron`, with `body` as the code of `(i64, i32, i64) -> i32`.
fn cron(body: &str) -> Vec<u8> {
    let module = format!(
        r#"(module (memory (export "memory") 1)
             (func (export "tapline:content/cron@0.1.0#cron") (param i64 i32 i64) (result i32) {body}))"#
    );
    component(&wat::parse_str(module).unwrap(), "cron").unwrap()
}

fn chain(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}

#[test]
fn an_untouched_plugin_answers() {
    let answers = load(&plugin("reading-time")).unwrap();
    assert!(answers.iter().all(Option::is_some) && !answers.is_empty(), "{answers:?}");
    assert_eq!(load(&cron("(i32.const 0)")).unwrap(), [Some(String::new())]);
    assert_eq!(load(&cron("unreachable")).unwrap(), [None]);
}

#[test]
fn random_code_costs_one_call() {
    let directory = concat!(env!("OUT_DIR"), "/smith");
    let (mut answered, mut failed, mut refused) = (0, 0, 0);
    for entry in fs::read_dir(directory).unwrap() {
        let module = fs::read(entry.unwrap().path()).unwrap();
        match run(&module) {
            Some(Ok(answers)) if answers == [None] => failed += 1,
            Some(Ok(_)) => answered += 1,
            Some(Err(error)) => {
                println!("{}", chain(&error));
                refused += 1;
            }
            None => panic!("a module with the right exports makes a component"),
        }
    }
    // Otherwise the modules would try nothing.
    assert!(answered > 0 && failed > 0 && refused > 0, "{answered} answered, {failed} failed, {refused} refused");
    assert!(answered + failed > refused, "{answered} answered, {failed} failed, {refused} refused");
}

#[test]
fn a_module_can_be_replaced_by_itself() {
    for bytes in [plugin("reading-time"), cron("(i32.const 0)")] {
        for range in modules(&bytes) {
            assert_eq!(replace_module(&bytes, range.clone(), &bytes[range]), bytes);
        }
    }
}

#[test]
fn mutations_that_change_nothing_change_nothing() {
    let bytes = plugin("reading-time");
    let expected = load(&bytes).unwrap();
    let mut tried = 0;
    for seed in 0..24 {
        let Some(mutated) = mutate(&bytes, seed, true) else { continue };
        assert_ne!(mutated, bytes);
        match load(&mutated) {
            Ok(answers) => assert_eq!(answers, expected, "seed {seed}"),
            // It may add what does nothing and is refused: a table too many, a type that plugins may not use.
            Err(LoadError::TooLarge { .. } | LoadError::Compile { .. }) => continue,
            Err(error) => panic!("seed {seed}: {}", chain(&error)),
        }
        tried += 1;
    }
    assert!(tried >= 8, "{tried} mutations were tried");
}

#[test]
fn mutations_that_change_something_are_loaded_or_refused() {
    for name in ["reading-time", "teaser-lazy"] {
        let bytes = plugin(name);
        for seed in 0..8 {
            if let Some(mutated) = mutate(&bytes, seed, false) {
                drop(load(&mutated));
            }
        }
    }
}

/// What somebody may do to a file: overwrite, cut, take out, double.
fn damaged(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let places = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    let cut = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..8_u8);
    (places, cut).prop_map(move |(places, (from, to, how))| {
        let mut bytes = bytes.clone();
        for (place, byte) in places {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
        let (from, to) = (from.min(to), from.max(to));
        match how {
            0 => bytes.truncate(from),
            1 => drop(bytes.drain(from..to)),
            2 => bytes.extend_from_within(from..to),
            _ => {}
        }
        bytes
    })
}

proptest! {
    #![proptest_config(crate::cases(5000))]

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(load(&bytes).unwrap_err());
        drop(load(&[b"\0asm\x0d\0\x01\0".to_vec(), bytes].concat()).unwrap_err());
    }

    #[test]
    fn a_damaged_component_is_loaded_or_refused(bytes in damaged(cron("(i32.const 0)"))) {
        drop(load(&bytes));
    }
}

proptest! {
    #![proptest_config(crate::cases(100_000))]

    #[test]
    fn a_damaged_plugin_is_loaded_or_refused(bytes in damaged(plugin("teaser-lazy"))) {
        drop(load(&bytes));
    }
}
