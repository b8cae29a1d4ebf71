//! Core modules as plugins: the contract of this repository around code that anybody wrote.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The worlds of the guests here, on top of the real contract.
const WORLDS: &str = "
package test:fuzz;

interface input { read: func() -> list<u8>; }

world answers {
    import input;
    export tapline:content/item-view@0.1.0;
    export tapline:content/item-presave@0.1.0;
}

world cron { export tapline:content/cron@0.1.0; }
";

/// Where the guest of [`ANSWERS`] has the bytes that it returns. Pointers inside of an answer count from 0, so that the
/// first byte of the answer has this address.
pub(crate) const ANSWER_BASE: u32 = 1024;

/// Returns what the host function `read` gave, as the memory of its answer: the list is written where every allocation is,
/// and the answer begins there.
pub(crate) const ANSWERS: &str = r#"
(module
  (import "test:fuzz/input" "read" (func $read (param i32)))
  (memory (export "memory") 20)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  ;; The header and the fields of the item, flat.
  (func $answer
    (param i32 i32 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)
    (call $read (i32.const 8)) (i32.const 1024))
  (export "tapline:content/item-view@0.1.0#item-view" (func $answer))
  (export "tapline:content/item-presave@0.1.0#item-presave" (func $answer)))
"#;

/// Makes a plugin of a core module: one of the world `answers` or `cron` of this crate.
///
/// # Errors
///
/// The module is not valid, or does not export what the world asks for.
pub fn component(module: &[u8], world: &str) -> Result<Vec<u8>, String> {
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/content");
    let mut resolve = Resolve::default();
    resolve.push_dir(contract).expect("the contract of this repository can be read");
    let package = resolve.push_str("fuzz.wit", WORLDS).expect("the worlds above can be read");
    let world = resolve.select_world(&[package], Some(world)).expect("the world is one of those above");
    let mut module = module.to_vec();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(|error| error.to_string())?;
    let encoder = ComponentEncoder::default().validate(true).module(&module);
    encoder.and_then(|mut encoder| encoder.encode()).map_err(|error| format!("{error:#}"))
}
