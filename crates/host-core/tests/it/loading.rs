//! Everything that is refused before a plugin may answer.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use tapline_host_core::{
    GrantValue, Host, HostConfig, LoadError, PluginName, PluginSpec, TAPS_SECTION, limits::PartialLimits,
    metrics::LoadRefused,
};

use crate::guests::{NUMBER, assert_serves, component, host, metric, name, number, number_with, spec, text, waiting};

/// Loads the plugin, expects the refusal, and that the host serves on.
#[track_caller]
fn check(spec: PluginSpec, expected: &Expect) -> LoadError {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let host = host();
        let error = host.load(spec).await.unwrap_err();
        assert_eq!(refused(&host).values().sum::<u64>(), 1, "it is counted, once");
        assert!(host.plugins().is_empty(), "a refused plugin leaves the host as it was");
        let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        expected.assert_eq(&format!("{error}{hint}"));
        assert_serves(&host).await;
        error
    })
}

/// How many loads were refused, by reason.
fn refused(host: &Host) -> BTreeMap<&'static str, u64> {
    let count = |reason: &LoadRefused| {
        let reason = reason.as_str();
        (reason, metric(host, &format!("tapline_loads_refused_total{{reason=\"{reason}\"}}")))
    };
    LoadRefused::ALL.iter().map(count).filter(|(_, count)| *count > 0).collect()
}

/// However it is loaded.
#[tokio::test]
async fn refused_loads_are_counted_by_their_reason() {
    let host = host();
    let damaged = || spec("p", b"no plugin".to_vec());
    host.load(damaged()).await.unwrap_err();
    host.load_lazily(damaged()).await.unwrap_err();
    host.load_functions(damaged()).await.err().unwrap();
    assert_eq!(host.load_all_lazily(vec![damaged(), spec("q", waiting())]).await.unwrap_err().len(), 2);
    assert_eq!(refused(&host), [("invalid", 4), ("not_granted", 1)].into());
    host.load(spec("p", good())).await.unwrap();
    host.load(spec("p", good())).await.unwrap_err();
    host.replace(spec("q", good())).await.unwrap_err();
    host.replace(damaged()).await.unwrap_err();
    host.apply(vec![spec("p", good()), spec("p", good())]).await.unwrap_err();
    assert_eq!(refused(&host), [("invalid", 5), ("name", 3), ("not_granted", 1)].into());
    let granted = spec("r", waiting()).grant("gate", "closed");
    assert_eq!(host.apply(vec![spec("p", good()), granted]).await.unwrap().refused.len(), 1);
    let endless = number_with("(func $start (loop (br 0))) (start $start)", "(local.get $x)");
    host.load(spec("s", endless).limits(crate::guests::time(20))).await.unwrap_err();
    let small = PartialLimits { max_table_elements: Some(1), ..PartialLimits::default() };
    host.load(spec("t", number_with("(table 2 funcref)", "(local.get $x)")).limits(small)).await.unwrap_err();
    let mut misplaced = spec("u", text(1, 0, 0));
    misplaced.order.insert("number".to_owned(), tapline_host_core::Override::default());
    host.load(misplaced).await.unwrap_err();
    let expected =
        [("grant", 1), ("invalid", 5), ("name", 3), ("not_granted", 1), ("order", 1), ("start", 1), ("too_large", 1)];
    assert_eq!(refused(&host), expected.into());
}

fn good() -> Vec<u8> {
    number("(local.get $x)")
}

#[test]
fn what_is_not_wasm() {
    check(
        spec("p", b"#!/bin/sh\n".to_vec()),
        &expect![[r#"
            plugin `p` is not WebAssembly: it starts with [23, 21, 2f, 62, 69, 6e, 2f, 73]
            hint: give the path of the `.wasm` file that the plugin's build wrote"#]],
    );
    check(
        spec("p", Vec::new()),
        &expect![[r#"
            plugin `p` is not WebAssembly: it starts with []
            hint: give the path of the `.wasm` file that the plugin's build wrote"#]],
    );
}

#[test]
fn a_core_module() {
    check(
        spec("p", wat::parse_str("(module)").unwrap()),
        &expect![[r#"
            plugin `p` is a core module, not a component
            hint: build it with `cargo xtask build-plugins`, which turns the module into a component"#]],
    );
}

#[tokio::test]
async fn a_truncated_component() {
    let whole = good();
    let host = host();
    for length in (4..whole.len()).step_by(7) {
        let cut = whole[..length].to_vec();
        let error = host.load(spec("p", cut)).await.unwrap_err();
        // A cut between two sections can leave a component that is whole but exports nothing.
        assert!(
            matches!(error, LoadError::Invalid { .. } | LoadError::NoTap { .. } | LoadError::Compile { .. }),
            "{length}: {error}"
        );
    }
    assert_serves(&host).await;
}

#[tokio::test]
async fn a_component_with_a_changed_byte_is_refused_or_runs_and_never_harms_the_host() {
    let whole = good();
    let host = host();
    for index in 8..whole.len() {
        let mut changed = whole.clone();
        changed[index] ^= 0x55;
        if host.load(spec("p", changed)).await.is_ok() {
            host.unload(&name("p")).await.unwrap();
        }
    }
    assert_serves(&host).await;
}

#[test]
fn no_tap() {
    check(
        spec("p", component("")),
        &expect![[r#"
            plugin `p` exports no tap of this host; it exports nothing
            hint: put `#[tap]` on a function, or check that plugin and host have the same version of the contract"#]],
    );
    let newer = r#"(core module $m (func (export "run")))
        (core instance $i (instantiate $m))
        (func $run (canon lift (core func $i "run")))
        (instance $e (export "run" (func $run)))
        (export "test:host/number@2.0.0" (instance $e))"#;
    check(
        spec("p", component(newer)),
        &expect![[r#"
            plugin `p` exports no tap of this host; it exports `test:host/number@2.0.0`
            hint: put `#[tap]` on a function, or check that plugin and host have the same version of the contract"#]],
    );
}

fn importing(interface: &str) -> Vec<u8> {
    let export = format!(
        r#"(core module $m (func (export "run") (param i32) (result i32) (local.get 0)))
           (core instance $i (instantiate $m))
           (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "{NUMBER}" (instance $e))"#
    );
    component(&format!(r#"(import "{interface}" (instance (export "wait" (func)))) {export}"#))
}

#[test]
fn an_import_that_the_host_does_not_know() {
    check(
        spec("p", importing("wasi:sockets/tcp@0.2.0")),
        &expect!["plugin `p`: disallowed import: wasi:sockets/tcp@0.2.0 is not offered by this host"],
    );
}

#[test]
fn an_import_of_a_newer_version() {
    check(
        spec("p", importing("test:host/gate@2.0.0")),
        &expect![[r#"
            plugin `p`: disallowed import: test:host/gate@2.0.0 is not offered by this host
            hint: this host offers `test:host/gate@1.0.0`: build the plugin against that version, or use a newer host"#]],
    );
}

#[test]
fn an_import_that_is_not_granted() {
    check(
        spec("p", waiting()),
        &expect![[r#"
            plugin `p`: disallowed import: test:host/gate@1.0.0 needs the grant `gate`
            hint: if you trust the plugin with it, add under [plugins.p] in tapline.toml: grants = { gate = true }"#]],
    );
}

#[test]
fn an_import_with_another_type_than_the_hosts() {
    let body = format!(
        r#"(import "test:host/gate@1.0.0" (instance (export "wait" (func (param "seconds" u32)))))
           (core module $m (func (export "run") (param i32) (result i32) (local.get 0)))
           (core instance $i (instantiate $m))
           (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "{NUMBER}" (instance $e))"#
    );
    let error = check(
        spec("p", component(&body)).grant("gate", "open"),
        &expect![[r#"
            plugin `p` does not fit this host
            hint: build the plugin against the SDK of this host's version"#]],
    );
    assert!(matches!(error, LoadError::Engine { .. }), "{error:?}");
}

#[test]
fn grants_that_make_no_sense() {
    check(
        spec("p", good()).grant("gates", "open"),
        &expect![[r#"
            plugin `p`: no capability is called `gates`; this host has `gate`
            hint: did you mean `gate`?"#]],
    );
    check(
        spec("p", good()).grant("mail", "open"),
        &expect!["plugin `p`: no capability is called `mail`; this host has `gate`"],
    );
    check(
        spec("p", good()).grant("gate", GrantValue::Bool(true)),
        &expect![[r#"plugin `p`: the value of the grant `gate` is refused: it takes "open", not true"#]],
    );
}

#[test]
fn an_order_that_would_have_no_effect() {
    let ordered = |tap: &str| {
        let last = serde_json::from_value(serde_json::json!({ "last": true })).unwrap();
        let mut spec = spec("p", good());
        spec.order.insert(tap.to_owned(), last);
        spec
    };
    check(
        ordered("numbr"),
        &expect![[r#"
            plugin `p`: `order` speaks of the tap `numbr`, and this host has none of that name
            hint: did you mean `number`?"#]],
    );
    check(
        ordered("item_view"),
        &expect![[r#"
            plugin `p`: `order` speaks of the tap `item_view`, and this host has none of that name
            hint: this host has `number`, `text`"#]],
    );
    let error = check(
        ordered("text"),
        &expect![[r#"
            plugin `p`: `order` speaks of the tap `text`, which the plugin does not implement
            hint: take it out; the plugin implements `number`"#]],
    );
    assert_eq!(error.party(), tapline_host_core::Party::Operator);
}

#[tokio::test]
async fn two_plugins_of_one_name() {
    let host = host();
    host.load(spec("p", good())).await.unwrap();
    let error = host.load(spec("p", good())).await.unwrap_err();
    assert!(matches!(error, LoadError::Duplicate { .. }), "{error}");
    assert_serves(&host).await;
}

#[test]
fn a_missing_file() {
    let missing = PluginSpec::file(PluginName::new("p").unwrap(), "no/such/plugin.wasm");
    check(missing, &expect!["plugin `p`: cannot read no/such/plugin.wasm"]);
}

#[test]
fn one_tap_implemented_twice() {
    let twice = format!(
        r#"(core module $m (func (export "run") (param i32) (result i32) (local.get 0)))
           (core instance $i (instantiate $m))
           (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "{NUMBER}" (instance $e))
           (export "test:host/number-lazy@1.0.0" (instance $e))"#
    );
    check(
        spec("p", component(&twice)),
        &expect![
            "plugin `p` implements the tap `number` twice: `test:host/number@1.0.0` and `test:host/number-lazy@1.0.0`"
        ],
    );
}

#[test]
fn another_signature() {
    let wrong = format!(
        r#"(core module $m (func (export "run") (result i32) (i32.const 1)))
           (core instance $i (instantiate $m))
           (func $run (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "{NUMBER}" (instance $e))"#
    );
    check(
        spec("p", component(&wrong)),
        &expect![[r#"
            plugin `p`: `test:host/number@1.0.0` does not have the signature that this host calls
            hint: build the plugin against the SDK of this host's version"#]],
    );
}

#[test]
fn more_than_the_limits_allow() {
    check(
        spec("p", text(3000, 0, 0)),
        &expect![[r#"
            plugin `p` needs 196608000 bytes of memory, 134217728 are allowed
            hint: raise the limit in tapline.toml, if you trust the plugin with that much"#]],
    );
    check(
        spec("p", number_with("(table 2000 funcref)", "(local.get $x)")),
        &expect![[r#"
            plugin `p` needs 2000 table elements, 1000 are allowed
            hint: raise the limit in tapline.toml, if you trust the plugin with that much"#]],
    );
    check(
        spec("p", number_with(&"(table 1 funcref)".repeat(9), "(local.get $x)")),
        &expect![[r#"
            plugin `p` needs 9 tables, 8 are allowed
            hint: build the plugin as one module: a slot of the pool has room for no more"#]],
    );
    check(
        spec(
            "p",
            component(&format!(
                r#"(core module $other (memory 1))
               (core instance (instantiate $other))
               (core module $m (memory 1) (func (export "run") (param i32) (result i32) (local.get 0)))
               (core instance $i (instantiate $m))
               (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
               (instance $e (export "run" (func $run)))
               (export "{NUMBER}" (instance $e))"#
            )),
        ),
        &expect![[r#"
            plugin `p` needs 2 memories, 1 are allowed
            hint: build the plugin as one module: a slot of the pool has room for no more"#]],
    );
    let functions = "(func)".repeat(40);
    let few = PartialLimits { max_functions: Some(20), ..PartialLimits::default() };
    check(
        spec("p", number_with(&functions, "(local.get $x)")).limits(few),
        &expect![[r#"
            plugin `p` needs 41 functions, 20 are allowed
            hint: raise the limit in tapline.toml, if you trust the plugin with that much"#]],
    );
}

/// A good plugin with more in its component.
fn good_with(more: &str) -> Vec<u8> {
    component(&format!(
        r#"{more}
           (core module $m (func (export "run") (param i32) (result i32) (local.get 0)))
           (core instance $i (instantiate $m))
           (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
           (instance $e (export "run" (func $run)))
           (export "{NUMBER}" (instance $e))"#
    ))
}

#[test]
fn parts_that_are_instantiated_often() {
    let often = format!("(core module $part) {}", "(core instance (instantiate $part))".repeat(100));
    check(
        spec("p", good_with(&often)),
        &expect![[r#"
            plugin `p` needs 101 instances, 100 are allowed
            hint: raise the limit in tapline.toml, if you trust the plugin with that much"#]],
    );
    let few = PartialLimits { max_instances: Some(2), ..PartialLimits::default() };
    let twice = "(core module $part) (core instance (instantiate $part)) (core instance (instantiate $part))";
    check(
        spec("p", good_with(twice)).limits(few),
        &expect![[r#"
            plugin `p` needs 3 instances, 2 are allowed
            hint: raise the limit in tapline.toml, if you trust the plugin with that much"#]],
    );
    let memory_twice =
        "(core module $part (memory 1)) (core instance (instantiate $part)) (core instance (instantiate $part))";
    check(
        spec("p", good_with(memory_twice)),
        &expect![[r#"
            plugin `p` needs 2 memories, 1 are allowed
            hint: build the plugin as one module: a slot of the pool has room for no more"#]],
    );
}

/// A file of two kilobytes that asks the compiler for more instances than it could follow in a lifetime.
#[test]
fn nested_components_that_multiply() {
    let mut bomb = "(component $c0)".to_owned();
    for level in 1..20 {
        let instances = format!("(instance (instantiate $c{}))", level - 1).repeat(10);
        bomb = format!("{bomb} (component $c{level} {instances})");
    }
    let outer = format!("{bomb} (instance (instantiate $c19))");
    check(
        spec("p", good_with(&outer)),
        &expect![[r#"
            plugin `p` needs 11111111111111111111 nested components, 1000 are allowed
            hint: build the plugin as one module: a slot of the pool has room for no more"#]],
    );
}

#[test]
fn parts_that_come_from_elsewhere() {
    let handed_on = r#"(component $taker (import "part" (core module $part)) (core instance (instantiate $part)))
        (core module $part)
        (instance (instantiate $taker (with "part" (core module $part))))"#;
    let error = check(
        spec("p", good_with(handed_on)),
        &expect![[r#"
            plugin `p` is damaged or uses what plugins may not use, at byte 0x19: it hands on a module or a component as a value
            hint: build the plugin again, and copy the whole file"#]],
    );
    assert!(matches!(error, LoadError::Invalid { .. }), "{error:?}");
}

#[test]
fn a_stack_of_its_own() {
    let own = PartialLimits { max_stack_size_bytes: Some(128 << 10), ..PartialLimits::default() };
    check(
        spec("p", good()).limits(own),
        &expect![[r#"
            plugin `p`: `max_stack_size_bytes` is one for the whole host, 1048576 here; a plugin cannot have 131072
            hint: take `max_stack_size_bytes` out of the plugin's limits, or set it under [host.limits]"#]],
    );
}

/// A component with a custom section at its end.
fn with_records(records: &str) -> Vec<u8> {
    let mut bytes = good();
    let mut section = vec![u8::try_from(TAPS_SECTION.len()).unwrap()];
    section.extend_from_slice(TAPS_SECTION.as_bytes());
    section.extend_from_slice(records.as_bytes());
    bytes.push(0);
    let mut length = section.len();
    while length >= 0x80 {
        bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend_from_slice(&section);
    bytes
}

#[test]
fn tap_records_that_cannot_be_read() {
    check(
        spec("p", with_records("{\"schema\":1,\"tap\":\"number\",\"mode\":\"full\"}\n{\"schema\"")),
        &expect![
            "plugin `p`: line 2 of its tap metadata cannot be read: EOF while parsing an object at line 1 column 9"
        ],
    );
    check(
        spec("p", with_records("{\"schema\":2,\"tap\":\"number\",\"mode\":\"full\"}\n")),
        &expect!["plugin `p`: line 1 of its tap metadata cannot be read: it has schema 2, this host reads schema 1"],
    );
    check(
        spec("p", with_records(&"{\"schema\":1,\"tap\":\"number\",\"mode\":\"full\"}\n".repeat(1001))),
        &expect!["plugin `p`: line 1001 of its tap metadata cannot be read: there are more than 1000 records"],
    );
    // It would be millions of names before anybody counted them.
    let many = format!("{{\"schema\":1,\"fields\":[{}\"\"]}}\n", "\"\",".repeat(1 << 18));
    check(
        spec("p", with_records(&many)),
        &expect!["plugin `p`: line 1 of its tap metadata cannot be read: it has more than 524288 bytes"],
    );
}

#[tokio::test]
async fn tap_records_give_the_order() {
    let host = host();
    let record = |weight: i32| format!("{{\"schema\":1,\"tap\":\"number\",\"mode\":\"full\",\"weight\":{weight}}}\n");
    host.load(spec("a", with_records(&record(5)))).await.unwrap();
    host.load(spec("b", with_records(&record(-5)))).await.unwrap();
    host.load(spec("c", good())).await.unwrap();
    let order = host.order("number").unwrap();
    assert_eq!(order.plugins(), [name("b"), name("c"), name("a")]);
    let answers = host.dispatch(crate::guests::Number, &7).await.unwrap().answers;
    assert_eq!(answers, [(name("b"), 7), (name("c"), 7), (name("a"), 7)]);
}

#[tokio::test]
async fn a_start_function_that_never_returns_is_stopped_while_loading() {
    let host = host();
    let endless = number_with("(func $start (loop (br 0))) (start $start)", "(local.get $x)");
    let error = host.load(spec("p", endless).limits(crate::guests::time(50))).await.unwrap_err();
    assert!(matches!(error, LoadError::Probe { .. }), "{error}");
    assert_serves(&host).await;
}

#[test]
fn settings_that_cannot_work() {
    let refused =
        |config: HostConfig| tapline_host_core::Host::builder().config(config).build().err().unwrap().to_string();
    expect!["the setting `pool_size` is refused: a pool of 0 instances can run nothing"]
        .assert_eq(&refused(HostConfig { pool_size: 0, ..HostConfig::default() }));
    expect!["the setting `cache_size` is refused: a plugin that is loaded needs a place in the cache"]
        .assert_eq(&refused(HostConfig { cache_size: 0, ..HostConfig::default() }));
}

#[tokio::test]
async fn a_plugin_comes_from_the_disk_the_second_time() {
    let directory = tempfile::tempdir().unwrap();
    let cached = || HostConfig { cache_directory: Some(directory.path().join("cache")), ..crate::guests::config() };
    for level in ["compiled", "disk"] {
        let (host, _) = crate::guests::host_with(cached());
        host.load(spec("p", good())).await.unwrap();
        let text = host.metrics().render().unwrap();
        assert!(text.contains(&format!("tapline_cache_loads_total{{level=\"{level}\"}} 1")), "{level}: {text}");
    }
}
