//! What comes out: the imports that are used, the taps, and no bytes that nobody reads.

use tapline_componentize::{Adapter, Options, componentize, componentize_with};
use wasmparser::{Parser, Payload};

use crate::{CALL_FD_WRITE, FD_WRITE, TYPES, cron, plugin};

const LOG: &str = r#"(import "tapline:host/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;
const METADATA: &str = "{\"tap\":\"cron\",\"weight\":10}\n";

fn custom_sections(binary: &[u8]) -> Vec<(usize, String)> {
    let mut depth = 0;
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(binary) {
        match payload.unwrap() {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = usize::max(depth, 1) - 1,
            Payload::CustomSection(section) => found.push((depth, section.name().to_owned())),
            _ => {}
        }
    }
    found
}

#[test]
fn a_plugin_that_calls_nothing_imports_the_types_alone() {
    let component = componentize(&plugin(&cron("", ""))).unwrap();
    assert_eq!(component.exports, ["tapline:content/cron@0.1.0"]);
    assert_eq!(component.imports, [TYPES]);
}

#[test]
fn writing_to_standard_output_asks_for_diagnostics_alone() {
    let component = componentize(&plugin(&cron(FD_WRITE, CALL_FD_WRITE))).unwrap();
    assert_eq!(component.imports, [TYPES, "tapline:host/diagnostics@0.1.0"]);
    assert_eq!(component.exports, ["tapline:content/cron@0.1.0"]);
}

#[test]
fn with_the_standard_adapter_the_same_module_asks_for_wasi() {
    let options = Options::default().adapter(Adapter::Wasi);
    let component = componentize_with(&plugin(&cron(FD_WRITE, CALL_FD_WRITE)), options).unwrap();
    wasmparser::Validator::new().validate_all(&component.bytes).unwrap();
    let asks = |interface: &str| component.imports.iter().any(|import| import.starts_with(interface));
    assert!(asks("wasi:cli/stdout@0.2.") && asks("wasi:io/streams@0.2."), "{:?}", component.imports);
    assert!(!asks("tapline:host/diagnostics@"), "{:?}", component.imports);
    // What it does not use, it does not ask for.
    assert!(!asks("wasi:sockets/") && !asks("wasi:random/"), "{:?}", component.imports);
}

#[test]
fn refused_wasi_functions_ask_for_nothing() {
    let environ = r#"(import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))"#;
    let component = componentize(&plugin(&cron(environ, ""))).unwrap();
    assert_eq!(component.imports, [TYPES]);
}

#[test]
fn of_the_contract_only_what_is_used_is_imported() {
    let body = "(call $log (i32.const 2) (i32.const 32) (i32.const 5))";
    let component = componentize(&plugin(&cron(LOG, body))).unwrap();
    assert_eq!(component.imports, ["tapline:host/log@0.1.0", TYPES]);
}

#[test]
fn the_names_of_the_wasm_tools_agree_with_ours() {
    // Read back with the tool that wrote it, as a host's author would.
    let component = componentize(&plugin(&cron(FD_WRITE, CALL_FD_WRITE))).unwrap();
    wasmparser::Validator::new().validate_all(&component.bytes).unwrap();
    let decoded = wit_component::decode(&component.bytes).unwrap();
    let resolve = decoded.resolve();
    let (_, world) = resolve.worlds.iter().find(|(_, world)| world.name == "root").unwrap();
    let name = |key| resolve.name_world_key(key);
    assert!(world.exports.keys().map(name).eq(component.exports));
    assert!(world.imports.keys().map(name).eq(component.imports));
}

#[test]
fn metadata_is_on_the_outside_once() {
    let mut wat = cron("", "");
    wat.truncate(wat.len() - 1);
    wat.push_str(r#"(@custom "tapline:taps" "{\"tap\":\"cron\",\"weight\":10}\n"))"#);
    let component = componentize(&plugin(&wat)).unwrap();
    assert_eq!(component.taps_metadata, METADATA.as_bytes());
    assert_eq!(custom_sections(&component.bytes), [(0, "tapline:taps".to_owned())]);
    let outer = Parser::new(0).parse_all(&component.bytes).find_map(|payload| match payload.unwrap() {
        Payload::CustomSection(section) => Some(section.data().to_vec()),
        _ => None,
    });
    assert_eq!(outer.unwrap(), METADATA.as_bytes());
}

#[test]
fn without_metadata_there_is_no_section() {
    let component = componentize(&plugin(&cron("", ""))).unwrap();
    assert!(component.taps_metadata.is_empty());
    assert_eq!(custom_sections(&component.bytes), []);
}

#[test]
fn names_stay_only_when_asked_for() {
    let module = plugin(&cron(FD_WRITE, CALL_FD_WRITE));
    let bare = componentize(&module).unwrap();
    let named = componentize_with(&module, Options::default().keep_names(true)).unwrap();
    assert_eq!(custom_sections(&bare.bytes), []);
    assert!(custom_sections(&named.bytes).iter().any(|(depth, name)| *depth == 1 && name == "name"));
    assert!(bare.bytes.len() < named.bytes.len());
}

#[test]
fn the_same_module_gives_the_same_bytes() {
    let module = plugin(&cron(FD_WRITE, CALL_FD_WRITE));
    assert_eq!(componentize(&module).unwrap().bytes, componentize(&module).unwrap().bytes);
}

#[test]
fn what_nobody_calls_goes_unless_asked_for() {
    // The import is not called, so that a component needs neither it nor the adapter.
    let module = plugin(&cron(FD_WRITE, ""));
    let instances = |bytes: &[u8]| {
        let payloads = Parser::new(0).parse_all(bytes).filter_map(|payload| match payload.unwrap() {
            Payload::InstanceSection(section) => Some(section.count()),
            _ => None,
        });
        payloads.sum::<u32>()
    };
    let trimmed = componentize(&module).unwrap();
    let whole = componentize_with(&module, Options::default().keep_everything(true)).unwrap();
    assert_eq!(trimmed.imports, [TYPES]);
    assert_eq!(whole.imports, [TYPES, "tapline:host/diagnostics@0.1.0"]);
    assert!(instances(&trimmed.bytes) < instances(&whole.bytes));
    assert!(trimmed.bytes.len() < whole.bytes.len());
}
