//! What is refused, and in which words.

use std::error::Error as _;

use tapline_componentize::{Error, componentize};

use crate::{cron, plugin};

#[track_caller]
fn refused(module: &[u8]) -> Error {
    componentize(module).unwrap_err()
}

#[test]
fn bytes_that_are_not_wasm() {
    for bytes in [&b""[..], b"\0as", b"#!/bin/sh", &[0xff; 64]] {
        assert!(matches!(refused(bytes), Error::NotWasm));
    }
}

#[test]
fn a_component() {
    let component = componentize(&plugin(&cron("", ""))).unwrap();
    assert!(matches!(refused(&component.bytes), Error::AlreadyComponent));
}

#[test]
fn every_truncation() {
    let module = plugin(&cron("", ""));
    for length in 0..module.len() {
        assert!(componentize(&module[..length]).is_err(), "the first {length} bytes were taken");
    }
    assert!(matches!(refused(&module[..module.len() - 1]), Error::Malformed { .. }));
}

#[test]
fn a_module_without_a_tap() {
    let error = refused(&wat::parse_str("(module)").unwrap());
    assert_eq!(error.to_string(), "exports no tap");
    assert_eq!(
        error.hint().unwrap(),
        "does the crate use #[tap], and was it built as a `cdylib`, as `cargo xtask build-plugins` does?"
    );
}

#[test]
fn an_import_that_nobody_has() {
    let error = refused(&plugin(&cron(r#"(import "env" "open_window" (func))"#, "")));
    assert_eq!(error.to_string(), "imports `open_window` from `env`, which no host offers");
}

#[test]
fn an_interface_outside_the_contract() {
    let error = refused(&plugin(&cron(r#"(import "tapline:host/log@0.2.0" "write" (func))"#, "")));
    assert_eq!(error.to_string(), "imports `write` from `tapline:host/log@0.2.0`, which no host offers");
}

#[test]
fn a_wasi_function_that_does_not_exist() {
    let error = refused(&plugin(&cron(r#"(import "wasi_snapshot_preview1" "fd_teleport" (func))"#, "")));
    assert_eq!(error.to_string(), "imports the WASI function `fd_teleport`, which the adapter does not have");
}

#[test]
fn a_wasi_function_of_another_type() {
    let import = r#"(import "wasi_snapshot_preview1" "fd_close" (func $close (param f64)))"#;
    let error = refused(&plugin(&cron(import, "(call $close (f64.const 0))")));
    assert!(matches!(error, Error::Encode { .. }));
    assert!(error.source().is_some());
}

#[test]
fn a_tap_of_another_type() {
    let wat = r#"(module (memory (export "memory") 1) (func (export "tapline:content/cron@0.1.0#cron")))"#;
    assert!(matches!(refused(&plugin(wat)), Error::Encode { .. }));
}
