//! What is refused before a plugin runs.

use serde_json::{Value as Json, json};
use tapline_host_core::{FunctionPattern, Host, HostConfig, LoadError, Manifest, Party, PluginSpec, limits::Profile};

use crate::{Place, check, component, host, name, probe_spec};

async fn refused(spec: PluginSpec) -> LoadError {
    host().load(spec).await.unwrap_err()
}

#[tokio::test]
async fn what_is_not_granted_is_refused_with_the_interface_and_the_line_to_add() {
    for (grant, interface, line) in [
        (
            "files",
            "wasi:filesystem/",
            r#"grants = { files = { directories = [{ path = "data", at = "/data", access = "read" }] } }"#,
        ),
        ("clocks", "wasi:clocks/", "grants = { clocks = true }"),
    ] {
        let place = Place::new();
        let mut spec = probe_spec(place.grant("read"));
        spec.grants.remove(grant);
        let error = refused(spec).await;
        assert!(
            matches!(&error, LoadError::NotGranted { interface: found, .. } if found.starts_with(interface)),
            "{error}"
        );
        assert!(error.to_string().starts_with("plugin `probe-wasi`: disallowed import: wasi:"), "{error}");
        let hint = error.hint().unwrap();
        assert!(hint.contains("under [plugins.probe-wasi]") && hint.ends_with(line), "{hint}");
    }
}

/// The profile `secure` in a program that is not `tapline`.
#[tokio::test]
async fn a_host_without_network_and_files_refuses_the_grants() {
    let place = Place::new();
    let list = json!(["127.0.0.1:9"]);
    let load = async |config: HostConfig, grant: &str, value: &Json| {
        let host =
            tapline_host_wasi::register(tapline_content::register(Host::builder().config(config))).build().unwrap();
        host.load(probe_spec(place.grant("read")).grant(grant, value.clone())).await.map(drop)
    };
    let small = |profile| HostConfig { pool_size: 2, ..HostConfig::from(profile) };
    for (config, grant, value, setting) in [
        (small(Profile::Secure), "files", &place.grant("read"), Some("filesystem_access")),
        (HostConfig { network_access: true, ..small(Profile::Secure) }, "network", &list, Some("filesystem_access")),
        (HostConfig { filesystem_access: true, ..small(Profile::Secure) }, "network", &list, Some("network_access")),
        (HostConfig { filesystem_access: true, ..small(Profile::Secure) }, "files", &place.grant("read"), None),
        (small(Profile::Secure), "files", &json!(false), None),
        (small(Profile::Default), "network", &list, None),
    ] {
        match (load(config, grant, value).await, setting) {
            (Ok(()), None) => {}
            (Err(error @ LoadError::AccessOff { .. }), Some(setting)) => {
                assert_eq!(error.party(), Party::Operator);
                let end = format!("is refused: `{setting}` is switched off for the whole host");
                assert!(error.to_string().ends_with(&end), "{error}");
            }
            (other, _) => panic!("{grant}, {setting:?}: {other:?}"),
        }
    }
}

#[test]
fn a_profile_is_what_a_host_begins_with() {
    let secure = HostConfig::from(Profile::Secure);
    assert_eq!(secure.limits, Profile::Secure.settings().limits);
    assert!(!secure.network_access && !secure.filesystem_access);
    let traffic = HostConfig::from(Profile::HighTraffic);
    assert_eq!((traffic.pool_size, traffic.cache_size), (500, 5000));
    assert!(traffic.network_access && traffic.filesystem_access);
}

#[test]
fn the_engine_sees_the_functions_that_we_see() {
    use wasmtime::component::{Component, types::ComponentItem};
    let engine = wasmtime::Engine::default();
    for plugin in ["probe", "related", "discount", "attachment", "probe-wasi"] {
        let bytes = component(plugin);
        let mut expected = Vec::new();
        for (interface, item) in Component::new(&engine, &bytes).unwrap().component_type().imports(&engine) {
            let ComponentItem::ComponentInstance(instance) = item.ty else { panic!("{plugin}: {interface}") };
            for (function, item) in instance.exports(&engine) {
                if matches!(item.ty, ComponentItem::ComponentFunc(_)) {
                    expected.push(format!("{interface}#{function}"));
                }
            }
        }
        let mut found = Manifest::read(&name(plugin), &bytes).unwrap().imported_functions;
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{plugin}");
    }
}

#[tokio::test]
async fn a_sealed_plugin_asks_for_no_wasi() {
    for (plugin, sealed) in [("probe", true), ("related", true), ("attachment", false), ("probe-wasi", false)] {
        let manifest = Manifest::read(&name(plugin), &component(plugin)).unwrap();
        assert_eq!(manifest.imports.iter().any(|import| import.starts_with("wasi:")), !sealed, "{plugin}");
        assert_eq!(manifest.imported_functions.iter().any(|import| import.starts_with("wasi:")), !sealed, "{plugin}");
    }
}

#[tokio::test]
async fn an_interface_that_is_imported_for_its_types_alone_needs_no_grant() {
    // Files have times, whose type belongs to the clock.
    let manifest = Manifest::read(&name("attachment"), &component("attachment")).unwrap();
    assert!(manifest.imports.iter().any(|import| import.starts_with("wasi:clocks/wall-clock@")));
    assert!(!manifest.imported_functions.iter().any(|function| function.starts_with("wasi:clocks/")));
}

#[tokio::test]
async fn grants_that_make_no_sense() {
    let place = Place::new();
    let missing = json!({ "directories": [{ "path": place.data().join("no"), "at": "/a", "access": "read" }] });
    let file =
        json!({ "directories": [{ "path": place.outside.path().join("secret"), "at": "/a", "access": "read" }] });
    for (grant, value, part) in [
        ("files", missing, "cannot be opened as a directory"),
        ("files", file, "cannot be opened as a directory"),
        ("files", json!({ "directories": [], "size": 1 }), "unknown field `size`"),
        ("files", Json::Bool(true), "invalid type"),
        ("network", json!(["example.org"]), "it has no port"),
        ("network", Json::Bool(true), "invalid type"),
        ("clocks", json!("yes"), "it takes `true`"),
    ] {
        let error = refused(probe_spec(place.grant("read")).grant(grant, value)).await;
        assert!(matches!(&error, LoadError::BadGrant { grant: found, .. } if *found == grant), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

fn patterns(patterns: &[&str]) -> Vec<FunctionPattern> {
    patterns.iter().map(|pattern| pattern.parse().unwrap()).collect()
}

#[tokio::test]
async fn denied_functions_are_named_and_win_over_allowed_ones() {
    let open = "wasi:filesystem/types#[method]descriptor.open-at";
    for (allowed, denied, by) in [
        (None, vec![open], open),
        (None, vec!["a:b/c", "wasi:filesystem/*"], "wasi:filesystem/*"),
        (Some(vec!["*"]), vec![open], open),
    ] {
        let place = Place::new();
        let mut spec = probe_spec(place.grant("read"));
        spec.allow_functions = allowed.as_deref().map(patterns);
        spec.deny_functions = patterns(&denied);
        let error = refused(spec).await;
        assert_eq!(error.party(), Party::Operator);
        let LoadError::Disallowed { function, denied_by, .. } = &error else { panic!("{error}") };
        assert_eq!(denied_by.as_ref().unwrap().as_str(), by);
        assert_eq!(
            error.to_string(),
            format!("plugin `probe-wasi`: disallowed import: {function} is denied by `{by}`")
        );
        assert!(function.starts_with("wasi:filesystem/"), "{function}");
    }
}

#[tokio::test]
async fn only_allowed_functions_where_there_is_a_list() {
    let place = Place::new();
    let mut spec = probe_spec(place.grant("read"));
    spec.allow_functions = Some(patterns(&["tapline:*", "wasi:io/*", "wasi:cli/*", "wasi:filesystem/*"]));
    let error = refused(spec.clone()).await;
    assert!(
        matches!(&error, LoadError::Disallowed { function, denied_by: None, .. } if function.starts_with("wasi:clocks/")),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("to `allow_functions` under [plugins.probe-wasi]"), "{:?}", error.hint());
    spec.allow_functions.as_mut().unwrap().extend(patterns(&["wasi:clocks/*", "wasi:random/*"]));
    let host = host();
    host.load(spec).await.unwrap();
    check(&host, &[("list /data", "ok")]).await;
}

#[tokio::test]
async fn patterns_hold_for_sealed_plugins_as_well() {
    let mut spec = PluginSpec::bytes(name("probe"), component("probe"));
    spec.deny_functions = patterns(&["tapline:host/diagnostics#output"]);
    let error = refused(spec).await;
    assert_eq!(
        error.to_string(),
        "plugin `probe`: disallowed import: tapline:host/diagnostics@0.1.0#output is denied by \
         `tapline:host/diagnostics#output`"
    );
}
