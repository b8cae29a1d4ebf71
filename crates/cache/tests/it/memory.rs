use std::error::Error as _;

use tapline_cache::{CacheError, DiskState, Fault, Source, WASMTIME_VERSION};
use wasmtime::{Config, Engine, OptLevel};

use crate::{component, engine, in_memory, run};

#[test]
fn the_second_question_is_answered_from_memory() {
    let engine = engine();
    let cache = in_memory(&engine, 10);
    let wasm = component(7);

    let first = cache.get_or_compile(&wasm).unwrap();
    let second = cache.get_or_compile(&wasm).unwrap();

    assert_eq!((first.source, second.source), (Source::Compiled, Source::Memory));
    assert_eq!((run(&engine, &first), run(&engine, &second)), (7, 7));
    assert!(matches!(cache.disk_state(), DiskState::Off));
    let statistics = cache.statistics();
    assert_eq!((statistics.hits(), statistics.misses, statistics.compilations), (1, 1, 1));
    let [entry] = statistics.entries.as_slice() else { panic!("one entry") };
    assert_eq!((entry.key, entry.access_count), (first.key, 2));
    assert_eq!(entry.key.length(), wasm.len() as u64);
    assert!(entry.artifact_bytes > 0 && entry.created <= entry.last_access);
}

#[test]
fn the_least_recently_used_leaves_first() {
    let engine = engine();
    let cache = in_memory(&engine, 2);
    let [one, two, three] = [1, 2, 3].map(component);
    cache.get_or_compile(&one).unwrap();
    cache.get_or_compile(&two).unwrap();
    cache.get_or_compile(&one).unwrap();
    cache.get_or_compile(&three).unwrap();

    let kept: Vec<_> = cache.statistics().entries.iter().map(|entry| entry.key).collect();
    assert_eq!(kept, [cache.key(&three), cache.key(&one)]);
    assert_eq!(cache.statistics().evictions, 1);
    assert_eq!(cache.get_or_compile(&two).unwrap().source, Source::Compiled);
}

#[test]
fn a_cache_without_room_still_answers() {
    let engine = engine();
    let cache = in_memory(&engine, 0);
    let loaded = cache.get_or_compile(&component(5)).unwrap();
    assert_eq!(run(&engine, &loaded), 5);
    assert!(cache.statistics().entries.is_empty());
}

#[test]
fn the_visible_name_is_hash_and_length() {
    let cache = in_memory(&engine(), 1);
    // The SHA-256 of nothing, from FIPS 180-4's test vectors.
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855_0";
    assert_eq!(cache.key(b"").visible_name(), empty);
    assert!(cache.key(b"").file_name().starts_with(empty));
}

#[test]
fn what_changes_machine_code_changes_the_key() {
    let plain = in_memory(&engine(), 1).key(b"same");
    assert_eq!(in_memory(&engine(), 1).key(b"same"), plain, "an equal engine has an equal key");

    let changes: [fn(&mut Config) -> &mut Config; 5] = [
        // The same machine, without what its processor has beyond the first of its kind.
        |config| config.target(&format!("{}-unknown-linux-gnu", std::env::consts::ARCH)).unwrap(),
        |config| config.epoch_interruption(true),
        |config| config.consume_fuel(true),
        |config| config.cranelift_opt_level(OptLevel::None),
        |config| config.wasm_multi_memory(false),
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut config = Config::new();
        change(&mut config);
        let key = in_memory(&Engine::new(&config).unwrap(), 1).key(b"same");
        assert_ne!(key, plain, "change {index}");
        assert_ne!(key.file_name(), plain.file_name(), "change {index}");
        assert_eq!(key.visible_name(), plain.visible_name(), "change {index}");
    }
}

#[test]
fn the_version_is_the_one_that_is_built_in() {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
    let (_, after) = lock.split_once("name = \"wasmtime\"\nversion = \"").unwrap();
    assert_eq!(after.split('"').next().unwrap(), WASMTIME_VERSION);
}

#[test]
fn what_is_no_component_is_refused_by_kind() {
    let cache = in_memory(&engine(), 10);
    for bytes in [&b""[..], b"\0asm", b"(component)", b"\x7fELF\x02\x01\x01\x00"] {
        let error = cache.get_or_compile(bytes).unwrap_err();
        assert!(matches!(error, CacheError::NotWasm { length } if length == bytes.len()), "{error:?}");
        assert_eq!(error.fault(), Fault::Operator);
        assert!(error.hint().is_some());
    }
    let module = wat::parse_str("(module)").unwrap();
    let error = cache.get_or_compile(&module).unwrap_err();
    assert!(matches!(error, CacheError::CoreModule { .. }), "{error:?}");
    assert_eq!(cache.statistics().misses, 0, "nothing of it reached the compiler");
}

#[test]
fn a_component_that_does_not_compile_says_why_and_is_tried_again() {
    let cache = in_memory(&engine(), 10);
    let wasm = component(1);
    let cut = &wasm[..wasm.len() - 5];
    for _ in 0..2 {
        let error = cache.get_or_compile(cut).unwrap_err();
        assert!(matches!(error, CacheError::Compile { .. }), "{error:?}");
        assert_eq!(error.fault(), Fault::Guest);
        let cause = error.source().unwrap().to_string();
        assert!(!error.to_string().contains(&cause), "the cause is told once");
    }
    let statistics = cache.statistics();
    assert_eq!((statistics.misses, statistics.compilations), (2, 0));
    assert!(statistics.entries.is_empty());
}

#[test]
fn what_the_engine_has_switched_off_does_not_compile() {
    let mut config = Config::new();
    config.wasm_simd(false).wasm_relaxed_simd(false);
    let cache = in_memory(&Engine::new(&config).unwrap(), 10);
    let text = "(component (core module (func (result v128) v128.const i64x2 0 0)))";
    let error = cache.get_or_compile(&wat::parse_str(text).unwrap()).unwrap_err();
    assert!(matches!(error, CacheError::Compile { .. }), "{error:?}");
}
