//! Compilation is bounded in size, time and memory, and the host serves meanwhile.

use std::{fmt::Write, fs, path::PathBuf, time::Duration};

use expect_test::{Expect, expect};
use tapline_host_core::{
    Compilation, CompileWorker, Host, HostConfig, LoadError, Party, PluginSpec, cache::CacheError,
    limits::PartialLimits,
};
use tempfile::TempDir;

use crate::guests::{Number, assert_serves, component, config, host_with, metric, name, number, number_with, spec};

/// The example is a program that can be a worker of itself.
fn worker() -> CompileWorker {
    // `cargo test` builds the examples before it runs the tests; `cargo test --test it` does not.
    let example = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples/own_tap");
    assert!(example.exists(), "{} is missing: run `cargo build --workspace --examples`", example.display());
    CompileWorker::new(example, &["compile-worker"])
}

fn compiled_by(worker: CompileWorker) -> HostConfig {
    HostConfig { compilation: Compilation { worker: Some(worker), ..Compilation::default() }, ..config() }
}

fn host(config: HostConfig) -> Host {
    host_with(config).0
}

/// A small plugin that keeps a compiler busy for hours: each of so many loops carries each of so many variables around, so
/// that the work is their product, and more.
fn nasty() -> Vec<u8> {
    const LOOPS: usize = 3000;
    const VARIABLES: usize = 5000;
    let mut body = String::new();
    write!(body, "(local{})", " i64".repeat(VARIABLES)).unwrap();
    body.push_str(&"loop ".repeat(LOOPS));
    for variable in 1..=VARIABLES {
        write!(body, "local.get {variable} i64.const 1 i64.add local.set {variable} ").unwrap();
    }
    body.push_str(&"local.get 0 br_if 0 end ".repeat(LOOPS));
    body.push_str("local.get 1 i32.wrap_i64");
    number(&body)
}

#[track_caller]
fn check(error: &LoadError, expected: &Expect) {
    let hint = error.hint().map_or_else(String::new, |hint| format!("\nhint: {hint}"));
    expected.assert_eq(&format!("{error}{hint}"));
}

/// How many plugins were not compiled, by the limit that they ran into.
fn refused(host: &Host) -> [u64; 4] {
    ["size", "time", "memory", "busy"]
        .map(|reason| metric(host, &format!("tapline_compilations_refused_total{{reason=\"{reason}\"}}")))
}

#[tokio::test]
async fn one_that_takes_too_long_is_killed_and_the_host_serves_on() {
    let limit = Duration::from_millis(700);
    let mut config = compiled_by(worker());
    config.compilation.timeout = limit;
    let host = host(config);
    assert_serves(&host).await;
    let (loading, stranger) = (host.clone(), spec("stranger", nasty()));
    let loading = tokio::spawn(async move { loading.load(stranger).await.unwrap_err() });
    let mut served = 0;
    while !loading.is_finished() {
        assert_serves(&host).await;
        served += 1;
        tokio::task::yield_now().await;
    }
    assert!(served > 0, "calls are answered while a plugin is compiled");
    let error = loading.await.unwrap();
    assert!(matches!(error, LoadError::CompileTimedOut { limit: it, .. } if it == limit), "{error:?}");
    assert_eq!(error.party(), Party::Operator);
    check(
        &error,
        &expect![[r#"
            plugin `stranger` was not compiled within 700ms
            hint: raise `timeout_ms` under [host.compilation], if you trust the plugin with that much; a build with optimisation is smaller"#]],
    );
    assert_eq!(refused(&host), [0, 1, 0, 0]);
    assert_serves(&host).await;
    // Its place is free again.
    host.load(spec("another", number("(local.get $x)"))).await.unwrap();
}

#[tokio::test]
async fn one_that_takes_too_much_memory_is_ended() {
    let host = host(compiled_by(CompileWorker { max_memory_bytes: 64 << 20, ..worker() }));
    let error = host.load(spec("stranger", nasty())).await.unwrap_err();
    assert!(matches!(error, LoadError::CompileOutOfMemory { limit: 67_108_864, .. }), "{error:?}");
    check(
        &error,
        &expect![[r#"
            compiling plugin `stranger` takes more than 67108864 bytes of memory
            hint: raise `max_memory_bytes` under [host.compilation], if you trust the plugin with that much"#]],
    );
    assert_eq!(refused(&host), [0, 0, 1, 0]);
    assert_serves(&host).await;
}

#[tokio::test]
async fn one_that_finds_no_place_is_refused() {
    let [known, held] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let in_directory = |directory: &TempDir| HostConfig { cache_directory: Some(directory.path().into()), ..config() };
    let first = || spec("p", number("(local.get $x)"));
    host(in_directory(&known)).load(first()).await.unwrap();
    let mut files = fs::read_dir(known.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let entry = files.find(|name| name != "key").unwrap();
    let compilation = Compilation { max_concurrent: 1, timeout: Duration::from_millis(20), ..Compilation::default() };
    let host = host(HostConfig { compilation, ..in_directory(&held) });
    // Another process compiles the same plugin, and is never done.
    let compiling = fs::File::create(held.path().join(format!("{entry}.tmp"))).unwrap();
    compiling.lock().unwrap();
    let error = host.load(first()).await.unwrap_err();
    assert!(matches!(error, LoadError::CompileTimedOut { .. }), "{error:?}");
    let error = host.load(spec("q", number("(i32.const 1)"))).await.unwrap_err();
    assert!(matches!(error, LoadError::CompilersBusy { running: 1, .. }), "{error:?}");
    assert_eq!(error.party(), Party::Operator);
    check(
        &error,
        &expect![[r#"
            plugin `q` is not compiled: 1 others were, and none was done within 20ms
            hint: load it again later, or compile in workers, which end in time: `worker` under [host.compilation]"#]],
    );
    assert_eq!(refused(&host), [0, 1, 0, 1]);
}

#[tokio::test]
async fn what_a_worker_compiled_is_kept_and_runs() {
    let directory = tempfile::tempdir().unwrap();
    let config = || HostConfig { cache_directory: Some(directory.path().join("compiled")), ..compiled_by(worker()) };
    let fuel = PartialLimits { enable_fuel_metering: Some(true), ..PartialLimits::default() };
    let load = async |host: &Host| {
        host.load(spec("plain", number("(i32.add (local.get $x) (i32.const 1))"))).await.unwrap();
        host.load(spec("fuelled", number("(i32.add (local.get $x) (i32.const 2))")).limits(fuel)).await.unwrap();
        let answers = host.dispatch(Number, &40).await.unwrap().answers;
        assert_eq!(answers, [(name("fuelled"), 42), (name("plain"), 41)]);
    };
    let first = host(config());
    load(&first).await;
    let metrics = first.metrics().render().unwrap();
    assert!(metrics.contains("tapline_cache_loads_total{level=\"compiled\"} 2\n"), "{metrics}");
    let second = host(config());
    load(&second).await;
    let metrics = second.metrics().render().unwrap();
    assert!(metrics.contains("tapline_cache_loads_total{level=\"disk\"} 2\n"), "{metrics}");
    assert!(metrics.contains("tapline_cache_loads_total{level=\"compiled\"} 0\n"), "{metrics}");
    // Without a worker the same files are found: what the worker's engine makes is what the host's engine makes.
    let third = host(HostConfig { compilation: Compilation::default(), ..config() });
    load(&third).await;
    let metrics = third.metrics().render().unwrap();
    assert!(metrics.contains("tapline_cache_loads_total{level=\"disk\"} 2\n"), "{metrics}");
}

#[tokio::test]
async fn what_does_not_compile_is_refused_in_the_same_words() {
    let wrong = || spec("stranger", number_with("(func (result i32) (i64.const 1))", "(local.get $x)"));
    let mut words = Vec::new();
    for config in [config(), compiled_by(worker())] {
        let host = host(config);
        match host.load(wrong()).await.unwrap_err() {
            LoadError::Compile { source: CacheError::Compile { source, .. }, .. } => words.push(format!("{source:#}")),
            other => panic!("{other:?}"),
        }
        assert_serves(&host).await;
    }
    assert!(words[1].starts_with(&words[0]), "{words:?}");
    assert!(words[1].contains("type mismatch"), "{words:?}");
}

#[tokio::test]
async fn a_program_that_is_no_worker() {
    for (program, arguments) in [("/bin/true", &[][..]), ("/bin/cat", &[]), ("no/such/program", &[])] {
        let host = host(compiled_by(CompileWorker::new(program, arguments)));
        let error = host.load(spec("p", number("(local.get $x)"))).await.unwrap_err();
        let LoadError::Compile { source, .. } = &error else { panic!("{program}: {error:?}") };
        assert!(matches!(source, CacheError::Worker { .. } | CacheError::NoWorker { .. }), "{program}: {source:?}");
        assert!(!error.is_of_the_moment(), "it will not be there tomorrow either");
    }
}

#[tokio::test]
async fn what_is_too_large_is_not_compiled() {
    let mut config = config();
    config.compilation.max_component_bytes = 400;
    config.compilation.max_function_bytes = 100;
    let host = host(config);
    let long = number(&format!("{} (local.get $x)", "nop ".repeat(98)));
    let error = host.load(spec("p", long)).await.unwrap_err();
    check(
        &error,
        &expect![[r#"
            plugin `p` needs 102 bytes in one function, 100 are allowed
            hint: raise the limit under [host.compilation], if you trust the plugin with that much"#]],
    );
    let padded = || number(&"nop ".repeat(400));
    let size = padded().len();
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("p.wasm");
    std::fs::write(&path, padded()).unwrap();
    for large in [spec("p", padded()), PluginSpec::file(name("p"), path)] {
        let error = host.load(large).await.unwrap_err();
        assert!(
            matches!(error, LoadError::TooLarge { what: "bytes", needs, limit: 400, .. } if needs == size as u64),
            "{error:?}"
        );
    }
    // What is too large for a call is another matter than what is too large for the compiler.
    let error = host.load(spec("p", number_with("(table 1001 funcref)", "(local.get $x)"))).await.unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { what: "table elements", .. }), "{error:?}");
    assert_eq!(refused(&host), [3, 0, 0, 0]);
    assert_serves(&host).await;
}

const VECTORS: &str = "(i32x4.extract_lane 0 (i32x4.add (i32x4.splat (local.get $x)) (i32x4.splat (i32.const 1))))";

#[tokio::test]
async fn vector_instructions_can_be_switched_off() {
    let on = host(config());
    on.load(spec("vectors", number(VECTORS))).await.unwrap();
    assert_eq!(on.dispatch(Number, &41).await.unwrap().answers, [(name("vectors"), 42)]);
    for config in [config(), compiled_by(worker())] {
        let off = host(HostConfig { enable_simd: false, ..config });
        let error = off.load(spec("vectors", number(VECTORS))).await.unwrap_err();
        check(
            &error,
            &expect![[r#"
                plugin `vectors` uses SIMD, which is switched off
                hint: set `enable_simd` to true under [host], or build the plugin without it"#]],
        );
        // One that is wrong for another reason is refused for that.
        let wrong = spec("wrong", number_with("(func (result i32) (i64.const 1))", "(local.get $x)"));
        let error = off.load(wrong).await.unwrap_err();
        assert!(matches!(error, LoadError::Compile { .. }), "{error:?}");
        assert_serves(&off).await;
    }
}

#[tokio::test]
async fn as_many_instances_as_asked_for_are_made_at_once() {
    // Two pages, and a start function: no instance is made without them.
    let plugin = || {
        spec(
            "p",
            component(&format!(
                r#"(core module $m
                 (memory 2)
                 (func (export "run") (param i32) (result i32) (local.get 0)))
               (core instance $i (instantiate $m))
               (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
               (instance $e (export "run" (func $run)))
               (export "{}" (instance $e))"#,
                crate::guests::NUMBER
            )),
        )
    };
    for (initial_pool_size, pages) in [(1, 2), (3, 6), (8, 16)] {
        let host = host(HostConfig { initial_pool_size, plugin_share_percent: 100, ..config() });
        host.load(plugin()).await.unwrap();
        assert_eq!(host.memory().usage().peak_pages, pages, "{initial_pool_size}");
        assert_serves(&host).await;
    }
    let refused = Host::builder().config(HostConfig { initial_pool_size: 9, ..config() }).build();
    let Err(error) = refused else { panic!("9 do not fit into 8") };
    assert!(error.to_string().contains("initial_pool_size"), "{error}");
}
