//! The example of a host with a tap of its own is run as a user would run it.

use std::{path::PathBuf, process::Command};

#[test]
fn the_example_prints_the_discount() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let plugin = root.join("target/plugins/discount.wasm");
    assert!(plugin.exists(), "{} is missing: run `cargo xtask build-plugins`", plugin.display());
    // `cargo test` builds the examples before it runs the tests; `cargo test --test it` does not.
    let example = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples/own_tap");
    assert!(example.exists(), "{} is missing: run `cargo build --workspace --examples`", example.display());
    let output = Command::new(&example).arg(&plugin).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("discount takes 240 cents off for Ada"), "{text}");
}
