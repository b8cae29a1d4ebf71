//! What is in force, and where it comes from.

use expect_test::expect;
use serde_json::{Value, json};

use crate::{Place, component, text};

const FILE: &str = "\
[server]
listen = \"127.0.0.1:1\"
[host]
profile = \"secure\"
initial_pool_size = 2
[host.limits]
max_table_elements = 500
[plugins.small]
path = \"small.wasm\"
grants = { database = \"read\" }
limits = { preset = \"memory-intensive\", max_execution_time_ms = 100 }
[plugins.small.order.item_view]
weight = 5
[plugins.off]
path = \"off.wasm\"
enabled = false
";

#[test]
fn every_value_has_an_origin() {
    let place = Place::new();
    place.write("tapline.toml", FILE);
    place.check(
        &["config", "--log", "warn"],
        expect![[r#"
            tapline.toml

            setting                               value              from
            server.listen                         127.0.0.1:1        tapline.toml:2
            server.title                          Tapline            default
            server.cron_seconds                   0                  default
            server.operator_token                 -                  default
            database.url                          sqlite:tapline.db  default
            host.profile                          secure             tapline.toml:4
            host.enable_tracing                   false              default
            log.filter                            warn               flag --log
            log.format                            human              default
            telemetry.keep_traces                 100                default
            telemetry.otlp_endpoint               -                  default
            host.plugin_idle_seconds              0                  default
            host.plugin_directory                 -                  default
            host.pool_size                        100                default
            host.initial_pool_size                2                  tapline.toml:5
            host.max_waiting                      10000              default
            host.max_wait_ms                      5000               default
            host.max_answer_bytes                 16777216           default
            host.max_handles                      1000               default
            host.enable_metrics                   true               default
            host.service                          tapline            default
            host.surface                          server             default
            host.enable_reuse                     true               default
            host.enable_simd                      true               default
            host.enable_bulk_memory               true               default
            host.cold_start_target_ms             -                  default
            host.slow_call_ms                     1000               default
            host.optimisation                     speed              default
            host.parallel_compilation             true               default
            host.pagemap_scan                     when-safe          default
            host.plugin_share_percent             75                 default
            host.breaker.enabled                  true               default
            host.breaker.failures                 5                  default
            host.breaker.first_open_ms            1000               default
            host.breaker.max_open_ms              60000              default
            host.limits.max_memory_bytes          67108864           profile secure
            host.limits.max_table_elements        500                tapline.toml:7
            host.limits.max_instances             100                default
            host.limits.max_functions             10000              default
            host.limits.max_memories              1                  default
            host.limits.max_execution_time_ms     10000              profile secure
            host.limits.max_stack_size_bytes      1048576            default
            host.limits.enable_fuel_metering      true               profile secure
            host.limits.fuel_limit                1000000            profile secure
            host.compilation.max_component_bytes  67108864           default
            host.compilation.max_function_bytes   1048576            default
            host.compilation.max_concurrent       2                  default
            host.compilation.timeout_ms           30000              default
            host.compilation.worker               true               default
            host.compilation.max_memory_bytes     1073741824         default
            cache.size                            1000               default
            cache.max_bytes                       1073741824         default
            cache.directory                       -                  default
            cache.enable_aot_cache                false              default

            setting              value     from
            plugins.off.enabled  false     tapline.toml:16
            plugins.off.path     off.wasm  tapline.toml:15

            setting                                     value       from
            plugins.small.enabled                       true        default
            plugins.small.grants.database               read        tapline.toml:10
            plugins.small.order.item_view.weight        5           tapline.toml:13
            plugins.small.path                          small.wasm  tapline.toml:9
            plugins.small.max_concurrent_calls          75          the host's, default
            plugins.small.breaker.enabled               true        the host's, default
            plugins.small.breaker.failures              5           the host's, default
            plugins.small.breaker.first_open_ms         1000        the host's, default
            plugins.small.breaker.max_open_ms           60000       the host's, default
            plugins.small.reuse                         false       default
            plugins.small.stock                         false       default
            plugins.small.limits.max_memory_bytes       67108864    the host's, profile secure; lowered from 536870912 (preset memory-intensive, tapline.toml:11)
            plugins.small.limits.max_table_elements     500         the host's, tapline.toml:7; lowered from 1000 (preset memory-intensive, tapline.toml:11)
            plugins.small.limits.max_instances          100         preset memory-intensive, tapline.toml:11
            plugins.small.limits.max_functions          10000       preset memory-intensive, tapline.toml:11
            plugins.small.limits.max_memories           1           preset memory-intensive, tapline.toml:11
            plugins.small.limits.max_execution_time_ms  100         tapline.toml:11
            plugins.small.limits.max_stack_size_bytes   1048576     the host's, default
            plugins.small.limits.enable_fuel_metering   true        the host's, profile secure
            plugins.small.limits.fuel_limit             1000000     the host's, profile secure

            [0]
        "#]],
    );
    assert!(!place.path().join("tapline.db").exists(), "looking at the configuration makes nothing");
}

#[test]
fn what_a_plugin_has_of_the_host_and_by_default() {
    let place = Place::new();
    place.write(
        "tapline.toml",
        "[host]\npool_size = 8\nplugin_share_percent = 50\n[host.breaker]\nfailures = 9\n\
         [plugins.a]\npath = \"a.wasm\"\nmax_concurrent_calls = 20\nbreaker = { failures = 3 }\nstock = { max = 4 }\n\
         [plugins.a.reuse]\n[plugins.b]\npath = \"b.wasm\"\n",
    );
    let output = text(&place.run(&["config"]).stdout);
    let of_plugins = output.lines().filter(|line| line.starts_with("plugins.") && !line.contains(".limits."));
    let shown: String = of_plugins.map(|line| format!("{line}\n")).collect();
    expect![[r#"
        plugins.a.enabled                       true       default
        plugins.a.breaker.failures              3          tapline.toml:9
        plugins.a.max_concurrent_calls          8          the host's, tapline.toml:2; lowered from 20 (tapline.toml:8)
        plugins.a.path                          a.wasm     tapline.toml:7
        plugins.a.stock.max                     4          tapline.toml:10
        plugins.a.breaker.enabled               true       the host's, default
        plugins.a.breaker.first_open_ms         1000       the host's, default
        plugins.a.breaker.max_open_ms           60000      the host's, default
        plugins.a.reuse                         true       tapline.toml:11
        plugins.a.reuse.max_uses                1000       default
        plugins.a.reuse.with_user_data          false      default
        plugins.a.stock                         true       tapline.toml:10
        plugins.a.stock.min                     1          default
        plugins.b.enabled                       true       default
        plugins.b.path                          b.wasm     tapline.toml:13
        plugins.b.max_concurrent_calls          4          the host's, tapline.toml:3
        plugins.b.breaker.enabled               true       the host's, default
        plugins.b.breaker.failures              9          the host's, tapline.toml:5
        plugins.b.breaker.first_open_ms         1000       the host's, default
        plugins.b.breaker.max_open_ms           60000      the host's, default
        plugins.b.reuse                         false      default
        plugins.b.stock                         false      default
    "#]]
    .assert_eq(&shown);
}

#[test]
fn a_secret_is_not_shown() {
    let place = Place::new();
    place.write("tapline.toml", "[server]\noperator_token = \"hunter2\"\n");
    let shown = text(&place.run(&["config"]).stdout);
    assert!(shown.contains("server.operator_token                 (set)"), "{shown}");
    let output = place.command(&["config", "--json"]).env("TAPLINE_OPERATOR_TOKEN", "hunter3").output().unwrap();
    let shown = text(&output.stdout);
    assert!(shown.contains("TAPLINE_OPERATOR_TOKEN") && !shown.contains("hunter"), "{shown}");
    let empty = place.command(&["config"]).env("TAPLINE_OPERATOR_TOKEN", " ").output().unwrap();
    assert_eq!(empty.status.code(), Some(2));
}

#[test]
fn as_json() {
    let place = Place::new();
    place.write("tapline.toml", FILE);
    let output = place.command(&["config", "--json"]).env("TAPLINE_WASM_MAX_POOL_SIZE", "8").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["file"], "tapline.toml");
    let settings = document["settings"].as_array().unwrap();
    let find = |settings: &[Value], key: &str| settings.iter().find(|it| it["key"] == key).unwrap().clone();
    let variable = json!({ "kind": "variable", "variable": "TAPLINE_WASM_MAX_POOL_SIZE" });
    assert_eq!(find(settings, "host.pool_size"), json!({ "key": "host.pool_size", "value": 8, "origin": variable }));
    let profile = json!({ "kind": "profile", "profile": "secure" });
    assert_eq!(find(settings, "host.limits.fuel_limit")["origin"], profile);
    let plugin = document["plugins"]["small"].as_array().unwrap();
    let key = "plugins.small.limits.max_memory_bytes";
    assert_eq!(
        find(plugin, key),
        json!({
            "key": key,
            "value": 64 << 20,
            "origin": { "kind": "host", "host": profile },
            "lowered_from": {
                "value": 512 << 20,
                "origin": { "kind": "preset", "preset": "memory-intensive", "file": "tapline.toml", "line": 11 },
            },
        })
    );
}

#[test]
fn what_is_broken_is_told_as_everywhere() {
    let place = Place::new();
    place.write("tapline.toml", "[host]\npool_siz = 1\n");
    place.check(
        &["config"],
        expect![[r#"
            error: tapline.toml:2: nothing is called `host.pool_siz`
            hint: did you mean `host.pool_size`?
            [2]
        "#]],
    );
    place.write("tapline.toml", "[host]\nenable_bulk_memory = false\n");
    place.check(
        &["config"],
        expect![[r#"
            error: tapline.toml:2: `host.enable_bulk_memory`: bulk memory cannot be off, no current compiler makes plugins without it
            [2]
        "#]],
    );
    place.write("tapline.toml", "[plugins.a]\npath = \"a\"\nlimits = { max_stack_size_bytes = 65536 }\n");
    place.check(
        &["config"],
        expect![[r#"
            error: tapline.toml:3: plugin `a`: `max_stack_size_bytes` is one for the whole host, 1048576 here; a plugin cannot have 65536
            hint: take `max_stack_size_bytes` out of the plugin's limits, or set it under [host.limits]
            [1]
        "#]],
    );
    for (patterns, expected) in [
        (
            r#"allow_functions = ["tapline:host/*", "query"]"#,
            expect![[r#"
                error: tapline.toml:3: `plugins.a.allow_functions`: `query` is no pattern of functions like `tapline:host/database#query` or `wasi:sockets/*`: it begins with no package
                [2]
            "#]],
        ),
        (
            r#"deny_functions = [""]"#,
            expect![[r#"
                error: tapline.toml:3: `plugins.a.deny_functions`: `` is no pattern of functions like `tapline:host/database#query` or `wasi:sockets/*`: it is empty
                [2]
            "#]],
        ),
        (
            "deny_functions = [\n  \"wasi:sockets/*\",\n  \"wasi:filesystem types\",\n]",
            expect![[r#"
                error: tapline.toml:3: `plugins.a.deny_functions`: `wasi:filesystem types` is no pattern of functions like `tapline:host/database#query` or `wasi:sockets/*`: no name of a function has such characters
                [2]
            "#]],
        ),
        (
            r#"deny_functions = "wasi:*""#,
            expect![[r#"
                error: tapline.toml:3: `plugins.a.deny_functions`: invalid type: string "wasi:*", expected a sequence
                [2]
            "#]],
        ),
    ] {
        place.write("tapline.toml", format!("[plugins.a]\npath = \"a\"\n{patterns}\n"));
        place.check(&["config"], expected);
    }
    place.write("tapline.toml", "");
    let output = place.command(&["config"]).env("TAPLINE_WASM_ENABLE_SIMDS", "true").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "error: no variable is called `TAPLINE_WASM_ENABLE_SIMDS`\nhint: did you mean `TAPLINE_WASM_ENABLE_SIMD`?\n"
    );
}

#[test]
fn plugins_are_compiled_by_a_worker_with_limits() {
    let place = Place::new();
    place.configure(&["seo"], "[host.compilation]\nmax_memory_bytes = 1\n");
    place.check(
        &["plugins"],
        expect![[r#"
            error: compiling plugin `seo` takes more than 1 bytes of memory
            hint: raise `max_memory_bytes` under [host.compilation], if you trust the plugin with that much
            [1]
        "#]],
    );
    place.configure(&["seo"], "[host.compilation]\nmax_component_bytes = 10\n");
    let size = std::fs::metadata(component("seo")).unwrap().len();
    let output = place.run(&["plugins"]);
    let expected = format!("error: plugin `seo` needs {size} bytes, 10 are allowed\n");
    assert!(text(&output.stderr).starts_with(&expected), "{}", text(&output.stderr));
}

#[test]
fn a_slow_load_is_warned_about_with_its_stages() {
    let place = Place::new();
    place.configure(&["seo"], "");
    // A process is started, which takes longer than that.
    let output = place.command(&["plugins"]).env("TAPLINE_WASM_COLD_START_TARGET_MS", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let log = text(&output.stderr);
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("loaded slower than its target")).collect();
    let [line] = lines[..] else { panic!("{log}") };
    for part in ["WARN", "plugin=seo", "target=1ms", "slowest=\"compile\"", "stages=read ", ", instantiate "] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let quiet = place.run(&["plugins"]);
    assert!(!text(&quiet.stderr).contains("slower than its target"), "{}", text(&quiet.stderr));
}
