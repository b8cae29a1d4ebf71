//! `tapline run` and `tapline bench`.

use expect_test::expect;

use crate::{Place, component, text};

const NUMBERS: &str = r#"(module
    (memory 1)
    (func $fibonacci (export "fibonacci") (param i32) (result i64)
        (if (result i64) (i32.lt_u (local.get 0) (i32.const 2))
            (then (i64.extend_i32_u (local.get 0)))
            (else (i64.add (call $fibonacci (i32.sub (local.get 0) (i32.const 1)))
                           (call $fibonacci (i32.sub (local.get 0) (i32.const 2)))))))
    (func (export "divide") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
    (func (export "loop") (loop $again (br $again)))
    (func (export "grow") (if (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then unreachable)))
    (func (export "pair") (result i32 i32) (i32.const 1) (i32.const 2)))"#;

const VARIABLES: &str = r#"(module
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "count") (result i32) (drop (call $sizes (i32.const 0) (i32.const 4))) (i32.load (i32.const 0))))"#;

const HELLO: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1) (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
    (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))))"#;

/// Opens the file `it` to read: the error, or 0.
const OPEN: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (memory (export "memory") 1) (data (i32.const 100) "it")
    (func (export "open") (result i32) (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 2)
        (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 8))))"#;

fn place() -> Place {
    let place = Place::new();
    for (name, module) in [("numbers", NUMBERS), ("variables", VARIABLES), ("hello", HELLO), ("open", OPEN)] {
        place.write(&format!("{name}.wasm"), wat::parse_str(module).unwrap());
    }
    place
}

/// What is printed on stdout, for a run that succeeds.
#[track_caller]
fn stdout(place: &Place, arguments: &[&str]) -> String {
    let output = place.run(arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// What is complained about, for runs that fail, with the status.
#[track_caller]
fn complaints(place: &Place, runs: &[&[&str]]) -> String {
    let shown = runs.iter().map(|arguments| {
        let output = place.run(arguments);
        let code = output.status.code().unwrap();
        assert!(code != 0 && output.stdout.is_empty(), "{arguments:?}: {}", text(&output.stdout));
        format!("{}[{code}]\n", text(&output.stderr).replace("\n\nFor more information, try '--help'.", ""))
    });
    shown.collect::<String>().replace(&place.path().display().to_string(), "DIR")
}

#[test]
fn a_core_module() {
    let place = place();
    let output = place.run(&["run", "numbers.wasm", "fibonacci(20)"]);
    assert_eq!(text(&output.stdout), "6765\n", "{}", text(&output.stderr));
    let figures = text(&output.stderr);
    for part in ["compile ", ", instantiate fresh ", ", call ", ", fuel not metered, memory 64.0 KiB\n"] {
        assert!(figures.contains(part), "{figures}");
    }
    assert!(!place.path().join("tapline.db").exists(), "no database is made");
    assert_eq!(
        stdout(&place, &["run", "numbers.wasm"]),
        "divide(s32, s32) -> s32\nfibonacci(s32) -> s64\ngrow()\nloop()\npair cannot be called: it returns more than one value\n"
    );
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&place, &["run", "numbers.wasm", "fibonacci(20)", "--json", "--fuel", "1000000"]))
            .unwrap();
    assert_eq!((&json["value"], &json["peak_memory_bytes"]), (&"6765".into(), &65536.into()), "{json}");
    assert!(json["fuel"].as_u64().is_some_and(|fuel| fuel > 10_000), "{json}");
    assert!(json["compile_ms"].is_number() && json["instantiate_fresh_ms"].is_number(), "{json}");
}

#[test]
fn a_component() {
    let place = place();
    // A plugin is a component like any other: the contract of its tap is its signature.
    let plugin = component("discount");
    let plugin = plugin.to_str().unwrap();
    let signatures = stdout(&place, &["run", plugin]);
    assert!(signatures.starts_with("acme:shop/discount@1.0.0#discount(cart: record { "), "{signatures}");
    let call = r#"discount({customer: "Ada", lines: [{article: "pen", price: 200, quantity: 12}]})"#;
    assert_eq!(stdout(&place, &["run", plugin, call]), "ok(200)\n");
}

#[test]
fn a_plugin_of_content() {
    let place = place();
    let (full, lazy) = (component("seo"), component("reading-time"));
    let signatures = stdout(&place, &["run", full.to_str().unwrap()]);
    assert!(signatures.starts_with("tapline:content/item-view@0.1.0#item-view(item: record { "), "{signatures}");
    // Its argument is a handle, which only a host has.
    let complaint = complaints(&place, &[&["run", lazy.to_str().unwrap(), "item-view(1)"]]);
    expect![[r#"
        error: `tapline:content/item-view-lazy@0.1.0#item-view` of `reading-time` cannot be called: it takes or returns a resource
        [1]
    "#]].assert_eq(&complaint);
}

#[test]
fn what_a_module_writes_is_a_log_line() {
    let place = place();
    let output = place.run(&["run", "hello.wasm", "_start()"]);
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("", Some(0)));
    assert!(text(&output.stderr).contains("hello plugin=hello"), "{}", text(&output.stderr));
}

#[test]
fn directories_and_variables_are_given_by_name() {
    let place = place();
    let count = |arguments: &[&str]| stdout(&place, &[&["run", "variables.wasm", "count()"], arguments].concat());
    assert_eq!(count(&["--env", "A=1", "--env", "B="]), "2\n");
    assert_eq!(count(&["--allow", "environ_sizes_get"]), "0\n");
    place.write("data/it", "text");
    let open = |arguments: &[&str]| stdout(&place, &[&["run", "open.wasm", "open()"], arguments].concat());
    assert_eq!(open(&["--dir", "data"]), "0\n");
    assert_eq!(open(&["--dir", "data::/"]), "0\n");
    assert_ne!(open(&["--dir", ".::/here:write"]), "0\n", "the file is one level below");
}

#[test]
fn hashes_and_profiles() {
    use sha2::{Digest as _, Sha256};
    let place = place();
    let bytes = std::fs::read(place.path().join("numbers.wasm")).unwrap();
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(stdout(&place, &["run", "numbers.wasm", "divide(6, 3)", "--sha256", &hash]), "2\n");
    place.write("tapline.toml", "[host]\nprofile = \"secure\"\n");
    let output = place.run(&["run", "numbers.wasm", "divide(6, 3)"]);
    assert!(!text(&output.stderr).contains("not metered"), "the profile meters fuel: {}", text(&output.stderr));
    expect![[r#"
        error: the setting `--dir` is refused: in the profile `secure` no module gets files
        [2]
        error: the setting `--grant network` is refused: in the profile `secure` no module gets the network
        [2]
        error: `fibonacci` of `numbers`: used up its 1000000 units of fuel
        hint: give it more with --fuel
        [1]
    "#]]
    .assert_eq(&complaints(
        &place,
        &[
            &["run", "open.wasm", "open()", "--dir", "."],
            &["run", "open.wasm", "open()", "--grant", "network=[\"example.org:443\"]"],
            &["run", "numbers.wasm", "fibonacci(30)"],
        ],
    ));
}

#[test]
fn limits_that_are_given() {
    let place = place();
    expect![[r#"
        error: `loop` of `numbers`: did not end within 100ms
        hint: give it more with --limits max_execution_time_ms=MILLISECONDS
        [1]
        error: `loop` of `numbers`: used up its 1000000 units of fuel
        hint: give it more with --fuel
        [1]
        error: `fibonacci` of `numbers`: used up its 1000 units of fuel
        hint: give it more with --fuel
        [1]
        error: `grow` of `numbers`: failed after a limit stopped it: 6619136 bytes of memory asked for, 131072 allowed
        hint: raise `max_memory_bytes`
        [1]
        error: the limits are refused
          because: `max_memory_bytes` is 1, it has to be 65536 to 4294967296
        [2]
        error: the limits are refused
          because: `fuel_limit` is 1, but `enable_fuel_metering` is off
        hint: set `enable_fuel_metering` to true, or remove `fuel_limit`
        [2]
    "#]]
    .assert_eq(&complaints(
        &place,
        &[
            &["run", "numbers.wasm", "loop()", "--limits", "max_execution_time_ms=100"],
            &["run", "numbers.wasm", "loop()", "--limits", "untrusted,max_execution_time_ms=1000"],
            &["run", "numbers.wasm", "fibonacci(20)", "--fuel", "1000"],
            &["run", "numbers.wasm", "grow()", "--limits", "max_memory_bytes=131072"],
            &["run", "numbers.wasm", "grow()", "--limits", "max_memory_bytes=1"],
            &["run", "numbers.wasm", "grow()", "--limits", "fuel_limit=1"],
        ],
    ));
    assert_eq!(stdout(&place, &["run", "numbers.wasm", "grow()"]), "");
}

#[test]
fn what_is_wrong_with_a_call() {
    let place = place();
    place.write("text.wasm", "This is not WebAssembly.");
    expect![[r#"
        error: cannot read missing.wasm
          because: No such file or directory (os error 2)
        [1]
        error: plugin `text` is not WebAssembly: it starts with [54, 68, 69, 73, 20, 69, 73, 20]
        hint: give a .wasm file
        [1]
        error: this is no call such as `fibonacci(10)`: there are no parentheses behind the name, at byte 9
        [2]
        error: this is no call such as `fibonacci(10)`: unexpected end of input, at byte 12
        [2]
        error: `numbers` has no function `fibonnaci`
        hint: did you mean `fibonacci(s32) -> s64`?
        [1]
        error: the arguments do not fit `fibonacci(s32) -> s64`: 2 arguments are given, and it takes 1
        [1]
        error: the arguments do not fit `fibonacci(s32) -> s64`: argument 1: `4000000000` is no s32
        [1]
        error: `pair` of `numbers` cannot be called: it returns more than one value
        [1]
        error: `divide` of `numbers`: trapped: wasm trap: integer divide by zero
          at function 1 (0x90)
        [1]
        error: `12` is no SHA-256: that has 64 hexadecimal digits
        [2]
        error: `variables`: disallowed import: environ_sizes_get: not on the list of allowed functions
        hint: if you trust it with them: --allow environ_sizes_get
        [1]
        error: `variables`: disallowed import: environ_sizes_get: WASI is off
        hint: leave --no-wasi out
        [1]
        error: `open`: disallowed import: path_open is denied by default
        hint: --allow does not change that; if it is to have a directory: --dir PATH
        [1]
        error: `open`: disallowed import: path_open is denied by default
        hint: --allow does not change that; if it is to have a directory: --dir PATH
        [1]
        error: `open`: disallowed import: path_open is denied by `path_*`
        hint: take `path_*` out of --deny
        [1]
        error: plugin `numbers`: no capability is called `nope`; this host has `environment`, `files`, `network`, `clocks`, `random`
        [2]
        error: plugin `numbers`: no capability is called `clock`; this host has `environment`, `files`, `network`, `clocks`, `random`
        hint: did you mean `clocks`?
        [2]
        error: plugin `numbers`: the value of the grant `clocks` is refused: it takes `true`, not 3
        [2]
        error: plugin `open`: the value of the grant `files` is refused: `path` is DIR/missing, which cannot be opened as a directory: No such file or directory (os error 2)
        [2]
        error: plugin `open`: the value of the grant `files` is refused: `at` is `here`, it has to be an absolute path without `.`, `..` or a slash at its end
        [2]
        error: 99 iterations are too few, a benchmark has at least 100
        [2]
        error: `numbers` has no function `fibonnaci`
        hint: did you mean `fibonacci(s32) -> s64`?
        [1]
        error: `divide` of `numbers`: trapped: wasm trap: integer divide by zero
          at function 1 (0x90)
        [1]
    "#]].assert_eq(&complaints(
        &place,
        &[
            &["run", "missing.wasm", "f()"],
            &["run", "text.wasm", "f()"],
            &["run", "numbers.wasm", "fibonacci"],
            &["run", "numbers.wasm", "fibonacci(1,"],
            &["run", "numbers.wasm", "fibonnaci(1)"],
            &["run", "numbers.wasm", "fibonacci(1, 2)"],
            &["run", "numbers.wasm", "fibonacci(4000000000)"],
            &["run", "numbers.wasm", "pair()"],
            &["run", "numbers.wasm", "divide(1, 0)"],
            &["run", "numbers.wasm", "divide(1, 1)", "--sha256", "12"],
            &["run", "variables.wasm", "count()"],
            &["run", "variables.wasm", "count()", "--no-wasi"],
            &["run", "open.wasm", "open()"],
            &["run", "open.wasm", "open()", "--allow", "path_open"],
            &["run", "open.wasm", "open()", "--dir", ".", "--deny", "path_*"],
            &["run", "numbers.wasm", "divide(1, 1)", "--grant", "nope"],
            &["run", "numbers.wasm", "divide(1, 1)", "--grant", "clock"],
            &["run", "numbers.wasm", "divide(1, 1)", "--grant", "clocks=3"],
            &["run", "open.wasm", "open()", "--dir", "missing"],
            &["run", "open.wasm", "open()", "--dir", "missing::here"],
            &["bench", "numbers.wasm", "fibonacci(1)", "--iterations", "99"],
            &["bench", "numbers.wasm", "fibonnaci(1)"],
            &["bench", "numbers.wasm", "divide(1, 0)"],
        ],
    ));
}

#[test]
fn flags_that_are_wrong() {
    let place = place();
    let run = |flag: &'static str, value: &'static str| ["run", "numbers.wasm", "fibonacci(1)", flag, value];
    let runs = [
        run("--limits", "untrustd"),
        run("--limits", "max_memory=1"),
        run("--limits", "max_memory_bytes=lots"),
        run("--fuel", "0"),
        run("--env", "A"),
        run("--allow", "fd-read"),
        run("--deny", "wasi:io/streams#a b"),
        run("--grant", "network=example.org"),
    ];
    let runs: Vec<&[&str]> = runs.iter().map(|run| &run[..]).collect();
    expect![[r#"
        error: invalid value 'untrustd' for '--limits <LIMITS>': `untrustd` is not a preset, the nearest is `untrusted`; the presets are cpu-intensive, memory-intensive, untrusted, tap, extract, and fields are given as NAME=VALUE
        [2]
        error: invalid value 'max_memory=1' for '--limits <LIMITS>': unknown field `max_memory`, expected one of `max_memory_bytes`, `max_table_elements`, `max_instances`, `max_functions`, `max_memories`, `max_execution_time_ms`, `max_stack_size_bytes`, `enable_fuel_metering`, `fuel_limit`
        [2]
        error: invalid value 'max_memory_bytes=lots' for '--limits <LIMITS>': `lots`: invalid digit found in string; it takes a whole number without a unit, or true or false
        [2]
        error: invalid value '0' for '--fuel <UNITS>': 0 is not in 1..18446744073709551615
        [2]
        error: invalid value 'A' for '--env <NAME=VALUE>': it has to be NAME=VALUE
        [2]
        error: invalid value 'fd-read' for '--allow <FUNCTIONS>': the setting `allowed and denied functions` is refused: `fd-read` is no function such as `fd_read`, and no pattern such as `sock_*`
        [2]
        error: invalid value 'wasi:io/streams#a b' for '--deny <FUNCTIONS>': `wasi:io/streams#a b` is no pattern of functions like `tapline:host/database#query` or `wasi:sockets/*`: no name of a function has such characters
        [2]
        error: invalid value 'network=example.org' for '--grant <NAME[=VALUE]>': `example.org` is no JSON: expected value at line 1 column 1
        [2]
    "#]].assert_eq(&complaints(&place, &runs));
}

/// It is told why, and measures all the same.
#[test]
fn a_benchmark_does_without_a_cache_directory_that_cannot_be_used() {
    let place = place();
    let open = place.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    place.write("tapline.toml", "[cache]\ndirectory = \"open\"\n");
    let output = place.run(&["bench", "numbers.wasm", "fibonacci(5)", "--iterations", "100"]);
    let (page, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && page.contains("\nload artifact "), "{page}{stderr}");
    assert!(stderr.starts_with("warning: ") && stderr.contains("a directory of its own"), "{stderr}");
    assert_eq!(std::fs::read_dir(&open).unwrap().count(), 0);
}

#[test]
fn a_benchmark_shows_every_stage() {
    let place = place();
    let page = stdout(&place, &["bench", "numbers.wasm", "fibonacci(5)", "--iterations", "100"]);
    for part in [
        "process start (median)",
        "compile (once)",
        "\nload artifact ",
        "\ninstantiate fresh ",
        "\ncold start: check, load artifact, instantiate fresh ",
        "\nwarm start: instantiate fresh ",
        "100 iterations; a warm start is ",
        "cache hit rate",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let json = stdout(&place, &["bench", "numbers.wasm", "fibonacci(5)", "--iterations", "100", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["results"]["cold_start"]["p99_ms"].is_number() && json["process_start_ms"].is_number(), "{json}");
    assert_eq!(json["validation"]["targets"].as_array().map(Vec::len), Some(4), "{json}");
}
