//! The examples are run as a user would run them.

use std::process::Command;

fn run(name: &str, arguments: &[&str]) -> String {
    // `cargo test` builds the examples before it runs the tests; `cargo test --test it` does not.
    let directory = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples");
    let example = directory.join(name);
    assert!(example.exists(), "{} is missing: run `cargo build --workspace --examples`", example.display());
    let output = Command::new(&example).args(arguments).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    format!("{stdout}{stderr}")
}

#[test]
fn one_call() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("numbers.wasm");
    std::fs::write(&file, wat::parse_str(crate::NUMBERS).unwrap()).unwrap();
    let printed = run("one_call", &[file.to_str().unwrap(), "fibonacci(10)"]);
    assert!(printed.starts_with("55\nfuel "), "{printed}");
    assert!(run("one_call", &[]).contains("usage: one_call FILE.wasm"));
}

#[test]
fn a_batch() {
    assert_eq!(run("batch", &[]), "555 of 900 pairs have no common divisor\n");
}

#[test]
fn concurrent_calls() {
    let printed = run("concurrent", &[]);
    assert_eq!(printed, "the squares add up to 328350\n`forever` of `numbers`: did not end within 300ms\n");
}
