//! Writes the inputs that the fuzz targets start with and that are not text: `seeds DIRECTORY` makes one directory in
//! it for each target.
//!
//! `cargo xtask fuzz` calls it; the text ones are in `fuzz/seeds`.

use std::{env, error::Error, fs, path::Path};

use tapline_content::{Field, FormattedText, Reference, Value};
use tapline_fuzz_entries::{Changes, Head, Node, Render, component, encode_changes, encode_render};

/// Plugins of this repository that are small.
const PLUGINS: [&str; 3] = ["reading-time", "teaser-lazy", "teaser"];

fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args().nth(1).ok_or("usage: seeds DIRECTORY")?;
    let write = |target: &str, name: &str, bytes: &[u8]| -> std::io::Result<()> {
        let directory = Path::new(&directory).join(target);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(name), bytes)
    };
    for name in PLUGINS {
        let file = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/plugins/{}.wasm"), name);
        write("load", name, &fs::read(file)?)?;
    }
    let cron = r#"(module (memory (export "memory") 1) (table 1 funcref) (global $g (mut i32) (i32.const 0))
        (func $run (param i64 i32 i64) (result i32) (global.set $g (i32.const 8)) (i32.store (i32.const 0) (i32.const 0))
          (drop (memory.grow (i32.const 1))) (i32.const 0))
        (export "tapline:content/cron@0.1.0#cron" (func $run)))"#;
    write("load", "cron", &component(&wat::parse_str(cron)?, "cron")?)?;

    let numbers = r#"(module (memory 1) (global $g (mut i32) (i32.const 0)) (table 1 funcref) (elem (i32.const 0) $half)
        (func (export "add") (param i32 i64) (result i64) (i64.add (i64.extend_i32_s (local.get 0)) (local.get 1)))
        (func $half (export "half") (param f64) (result f64) (f64.div (local.get 0) (f64.const 2)))
        (func (export "count") (result i32) (global.set $g (memory.grow (i32.const 1))) (global.get $g)))"#;
    write("function", "numbers", &wat::parse_str(numbers)?)?;

    let element = Node::Element {
        tag: "p".to_owned(),
        attributes: vec![("class".to_owned(), "a".to_owned()), ("href".to_owned(), "https://example.org".to_owned())],
        children: vec![1, 2],
    };
    let render = Render {
        head: vec![
            Head::Meta("description".to_owned(), "text".to_owned()),
            Head::Property("og:title".to_owned(), "text".to_owned()),
            Head::JsonLd("{\"a\":[1,null]}".to_owned()),
        ],
        nodes: vec![element, Node::Text("a < b".to_owned()), Node::Markup("<b>c</b><a href='x'>d</a>".to_owned())],
        roots: vec![0],
    };
    write("answer", "render", &encode_render(&render))?;
    write("answer", "nothing", &encode_render(&Render::default()))?;
    let reference = Reference { kind: "tag".into(), id: "x".into(), label: "X".into() };
    let values = [
        Value::Null,
        Value::Boolean(true),
        Value::Integer(-1),
        Value::Float(0.5),
        Value::Text("text".into()),
        Value::Formatted(FormattedText { format: "html".into(), text: "<p>".into() }),
        Value::Reference(reference.clone()),
        Value::References([reference].into()),
        Value::Json("{}".into()),
    ];
    let set = values.into_iter().enumerate().map(|(number, value)| Field { name: format!("f{number}").into(), value });
    let changes = Changes { title: Some("New".to_owned()), set: set.collect(), removed: vec!["n".to_owned()] };
    write("answer", "changes", &encode_changes(&changes))?;
    // Enough for modules of some size; the fuzzer changes every byte of it.
    let ramp: Vec<u8> = (0..4096_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    write("run", "ramp", &ramp)?;
    Ok(())
}
