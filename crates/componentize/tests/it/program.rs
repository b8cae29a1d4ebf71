//! The command line: exit codes, the line of JSON and the words of an error.

use std::path::Path;
use std::process::{Command, Output};

use crate::{CALL_FD_WRITE, FD_WRITE, TYPES, cron, plugin};

fn run(directory: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tapline-componentize")).args(args).current_dir(directory).output().unwrap()
}

#[test]
fn it_writes_a_component_and_says_what_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let module = plugin(&cron(FD_WRITE, CALL_FD_WRITE));
    std::fs::write(directory.path().join("in.wasm"), &module).unwrap();
    let output = run(directory.path(), &["in.wasm", "-o", "out.wasm"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written = std::fs::read(directory.path().join("out.wasm")).unwrap();
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        line,
        serde_json::json!({
            "core_bytes": module.len(),
            "component_bytes": written.len(),
            "exports": ["tapline:content/cron@0.1.0"],
            "imports": [TYPES, "tapline:host/diagnostics@0.1.0"],
        })
    );
}

#[test]
fn a_refused_module_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("in.wasm"), "text").unwrap();
    let output = run(directory.path(), &["in.wasm", "-o", "out.wasm"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: in.wasm: not a WebAssembly file\n\
         hint: give the .wasm file that `cargo build --target wasm32-wasip1` wrote\n"
    );
    assert!(!directory.path().join("out.wasm").exists());
}

#[test]
fn wrong_usage_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(run(directory.path(), &[]).status.code(), Some(2));
    assert_eq!(run(directory.path(), &["in.wasm", "--fast"]).status.code(), Some(2));
    assert_eq!(run(directory.path(), &["missing.wasm", "-o", "out.wasm"]).status.code(), Some(1));
    assert!(run(directory.path(), &["--help"]).status.success());
}

#[test]
fn trimming_can_be_left_out() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("in.wasm"), plugin(&cron(FD_WRITE, ""))).unwrap();
    let bytes = |arguments: &[&str]| {
        let output = run(directory.path(), &[&["in.wasm", "-o", "out.wasm"], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::read(directory.path().join("out.wasm")).unwrap().len()
    };
    assert!(bytes(&[]) < bytes(&["--no-trim"]));
}
