//! What is around the program is not as it should be: pipes for files, no room, nobody who reads.

use std::{
    fs::File,
    process::{Command, Stdio},
};

use crate::{Place, component, text};

const ADD: &str = r#"(module
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "grow") (if (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then unreachable)))
    (memory 1))"#;

fn place() -> Place {
    let place = Place::new();
    place.write("n.wasm", wat::parse_str(ADD).unwrap());
    place
}

fn fifo(place: &Place, name: &str) {
    assert!(Command::new("mkfifo").arg(place.path().join(name)).status().unwrap().success());
}

#[test]
fn nobody_waits_for_a_pipe() {
    let place = place();
    fifo(&place, "pipe");
    let config = place.run(&["--config", "pipe", "plugins"]);
    assert_eq!(config.status.code(), Some(2));
    assert!(text(&config.stderr).contains("it is a pipe, and nobody writes to it"), "{}", text(&config.stderr));
    let inspect = place.run(&["inspect", "pipe"]);
    assert_eq!(inspect.status.code(), Some(1));
    let profile = place.run(&["--listen", "127.0.0.1:0", "serve", "--profile", "pipe"]);
    assert_eq!(profile.status.code(), Some(1), "{}", text(&profile.stderr));
    assert_eq!(place.run(&["--config", "/dev/null", "config"]).status.code(), Some(0), "nothing is no pipe");
    fifo(&place, "documents.md");
    let import = place.run(&["import", "."]);
    assert!(text(&import.stderr).contains("documents.md"), "{}", text(&import.stderr));
    fifo(&place, "items.jsonl");
    let import = place.run(&["import", "items.jsonl"]);
    assert_eq!(import.status.code(), Some(1), "{}", text(&import.stderr));
    // A configuration that somebody writes into a pipe will do.
    let program = env!("CARGO_BIN_EXE_tapline");
    let script = format!("{program} --config <(printf '[host]\\npool_size = 11\\n') config | grep -w 11");
    let config = Command::new("bash").args(["-c", &script]).current_dir(place.path()).output().unwrap();
    assert!(config.status.success(), "{}", text(&config.stderr));
}

#[test]
fn a_file_without_an_end_is_not_read_to_it() {
    let inspect = Place::new().run(&["inspect", "/dev/zero"]);
    assert_eq!(inspect.status.code(), Some(1));
    assert!(text(&inspect.stderr).contains("1073741824 are allowed in a plugin"), "{}", text(&inspect.stderr));
}

#[test]
fn an_answer_needs_no_directory_for_temporary_files_and_nobody_who_reads_the_figures() {
    let place = place();
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "3\n"), "{}", text(&output.stderr));
    };
    run(place.command(&["run", "n.wasm", "add(1, 2)"]).env("TMPDIR", "/nonexistent"));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut unheard = place.command(&["run", "n.wasm", "add(1, 2)"]);
    let mut child = unheard.stderr(full).stdout(Stdio::piped()).spawn().unwrap();
    let answer = std::io::read_to_string(child.stdout.take().unwrap()).unwrap();
    assert_eq!((child.wait().unwrap().code(), answer.as_str()), (Some(0), "3\n"));
}

#[test]
fn damaged_code_is_made_again_and_run_says_so() {
    let place = place();
    let run = || {
        let mut command = place.command(&["run", "n.wasm", "add(1, 2)"]);
        let output = command.env("TAPLINE_CACHE_DIRECTORY", "compiled").output().unwrap();
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "3\n"));
        text(&output.stderr)
    };
    assert!(!run().contains("WARN"), "nothing is wrong");
    for entry in std::fs::read_dir(place.path().join("compiled")).unwrap() {
        let entry = entry.unwrap().path();
        if entry.extension().is_some_and(|extension| extension == "cwasm") {
            std::fs::write(entry, "bad").unwrap();
        }
    }
    let said = run();
    assert!(said.contains("refused a compiled component on disk"), "{said}");
    assert!(!run().contains("WARN"), "it is mended");
}

#[test]
fn what_is_asked_for_and_not_given_is_an_error() {
    let place = place();
    for (flags, message) in [
        (&["--grant", "files=true"][..], "it takes `false` alone: directories are given as directories"),
        (&["--limits", "foo"], "the presets are cpu-intensive, memory-intensive, untrusted, tap, extract"),
        (&["--limits", "max_memory_bytes=32MiB"], "it takes a whole number without a unit"),
    ] {
        let output = place.run(&[&["run", "n.wasm", "add(1, 2)"], flags].concat());
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(message), "{flags:?}: {}", text(&output.stderr));
    }
    // A component that imports WASI asks for the same.
    let attachment = component("attachment");
    let output = place.run(&["run", attachment.to_str().unwrap(), "--grant", "files=5"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

#[test]
fn flags_do_not_raise_what_the_profile_secure_allows() {
    let place = place();
    place.write("tapline.toml", "[host]\nprofile = \"secure\"\n");
    let call = ["run", "n.wasm", "grow()", "--limits"];
    let raised = place.run(&[&call[..], &["max_memory_bytes=134217728"]].concat());
    assert_eq!(raised.status.code(), Some(2));
    assert!(text(&raised.stderr).contains("in the profile `secure` limits can be lowered"), "{}", text(&raised.stderr));
    assert_eq!(place.run(&[&call[..], &["enable_fuel_metering=false"]].concat()).status.code(), Some(2));
    let lowered = place.run(&[&call[..], &["max_memory_bytes=33554432"]].concat());
    assert_eq!(lowered.status.code(), Some(0), "{}", text(&lowered.stderr));
}

/// As with `LimitFSIZE` of systemd: the code is not kept, and the program lives.
#[test]
fn a_limit_on_the_size_of_files_kills_nobody() {
    let place = place();
    let program = env!("CARGO_BIN_EXE_tapline");
    let script = format!("ulimit -f 4; exec {program} run n.wasm 'add(1, 2)'");
    let mut command = Command::new("bash");
    let command = command.args(["-c", &script]).current_dir(place.path()).env("TAPLINE_CACHE_DIRECTORY", "compiled");
    let output = command.output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "3\n"), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("cannot keep a compiled component on disk"), "{}", text(&output.stderr));
}

/// Before an upgrade somebody counts on it that the next start compiles nothing.
#[test]
fn plugins_says_when_their_code_was_not_kept() {
    let place = Place::new();
    place.configure(&["seo"], "[cache]\ndirectory = \"compiled\"\nmax_bytes = 1000\n");
    let plugins = place.run(&["plugins"]);
    assert_eq!(plugins.status.code(), Some(1), "{}", text(&plugins.stderr));
    assert!(text(&plugins.stdout).contains("seo"), "the list is there all the same");
    assert!(text(&plugins.stderr).contains("error: compiled plugins were not kept"), "{}", text(&plugins.stderr));
    place.configure(&["seo"], "[cache]\ndirectory = \"compiled\"\n");
    assert_eq!(place.run(&["plugins"]).status.code(), Some(0));
}

#[test]
fn scripts_can_read_what_an_empty_cache_has() {
    let place = place();
    let json = |action: &str| {
        let mut command = place.command(&["cache", action, "--json"]);
        let output = command.env("TAPLINE_CACHE_DIRECTORY", "compiled").output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    assert_eq!(json("list"), serde_json::json!([]));
    assert_eq!(json("stats")["entries"], 0);
    assert!(!place.path().join("compiled").exists(), "to look makes nothing");
}

/// What a stranger's file says does not reach a terminal as it is.
#[test]
fn no_file_moves_the_cursor() {
    let place = Place::new();
    let module = r#"(module (import "\1b[31mmod\0a" "\1b]0;x\07fn" (func)) (func (export "f")))"#;
    place.write("evil.wasm", wat::parse_str(module).unwrap());
    place.write("tapline.toml", "");
    for arguments in [&["run", "evil.wasm"][..], &["run", "evil.wasm", "f()"], &["run", "\u{1b}[31m.wasm"]] {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(!said.contains(|letter: char| letter.is_control() && letter != '\n'), "{said:?}");
    }
}
