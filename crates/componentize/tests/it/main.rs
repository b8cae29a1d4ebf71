//! Modules written by hand, converted and read back: what a host finds in the component, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod adapter;
mod convert;
mod core_modules;
mod program;
mod refuse;

use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const CONTENT_WIT: [&str; 2] =
    [include_str!("../../../../wit/content/types.wit"), include_str!("../../../../wit/content/taps.wit")];
const HOST_WIT: &str = include_str!("../../../../wit/host/host.wit");

/// The interface of the types that taps speak of. It has no functions for `cron`, and a component still imports it.
const TYPES: &str = "tapline:content/types@0.1.0";

/// The contract of a plugin that has a `cron` tap, writes to the log and queries the database if it wants to.
fn contract() -> (Resolve, wit_parser::WorldId) {
    let mut resolve = Resolve::default();
    resolve.push_source("host.wit", HOST_WIT).unwrap();
    let mut content = wit_parser::SourceMap::default();
    content.push_str("types.wit", CONTENT_WIT[0]);
    content.push_str("taps.wit", CONTENT_WIT[1]);
    resolve.push_group(content.parse().map_err(|(_, error)| error).unwrap()).unwrap();
    let world = "package test:plugin; world plugin {
        import tapline:host/log@0.1.0; import tapline:host/database@0.1.0; export tapline:content/cron@0.1.0; }";
    let package = resolve.push_source("plugin.wit", world).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    (resolve, world)
}

/// A core module with the contract inside, as wit-bindgen leaves it.
fn plugin(wat: &str) -> Vec<u8> {
    let mut module = wat::parse_str(wat).unwrap();
    let (resolve, world) = contract();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

/// The text of a plugin whose `cron` runs `body`, beside `imports`.
fn cron(imports: &str, body: &str) -> String {
    format!(
        r#"(module
          {imports}
          (memory (export "memory") 1)
          (data (i32.const 8) "\20\00\00\00\05\00\00\00") (data (i32.const 32) "hello")
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
          (func (export "tapline:content/cron@0.1.0#cron") (param i64 i32 i64) (result i32)
            {body}
            (i32.const 64))
          (@custom "target_features" "\00")
          (@custom "producers" "\00"))"#
    )
}

const FD_WRITE: &str =
    r#"(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))"#;
const CALL_FD_WRITE: &str = "(drop (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)))";
