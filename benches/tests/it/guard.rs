//! The guard bites: each thing that it measures is made worse on purpose, in a real run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

struct Guard {
    directory: TempDir,
}

impl Guard {
    /// With a baseline of these kinds, measured here.
    fn with_baseline(kinds: &[&str]) -> Self {
        let guard = Self { directory: tempfile::tempdir().unwrap() };
        let written = guard.run(kinds, &["--write", guard.baseline().to_str().unwrap()]);
        assert!(written.status.success(), "{written:?}");
        guard
    }

    fn baseline(&self) -> PathBuf {
        self.directory.path().join("baseline.json")
    }

    fn comment(&self) -> String {
        fs::read_to_string(self.directory.path().join("comment.md")).unwrap()
    }

    fn against(&self, kinds: &[&str], options: &[&str]) -> Output {
        self.run(kinds, &[&["--against", self.baseline().to_str().unwrap()], options].concat())
    }

    fn run(&self, kinds: &[&str], options: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_guard"));
        command.arg("--smoke").arg("--comment").arg(self.directory.path().join("comment.md")).args(options);
        command.args(kinds.iter().flat_map(|kind| ["--only", kind]));
        command.output().unwrap()
    }

    /// That these get worse is noticed, by name.
    #[track_caller]
    fn bites(&self, worse: &str, kinds: &[&str]) {
        let output = self.against(kinds, &["--worse", worse]);
        assert_eq!(output.status.code(), Some(1), "{kinds:?} with {worse}: {output:?}");
        let words = String::from_utf8_lossy(&output.stderr);
        let ids: Vec<_> = words.trim().trim_start_matches("error: worse than the baseline: ").split(", ").collect();
        for kind in kinds {
            assert!(ids.iter().any(|id| id.split('.').next() == Some(kind)), "{kind} with {worse}: {words}");
        }
        assert!(self.comment().contains("**worse**"), "{}", self.comment());
    }
}

fn plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins")
}

#[test]
fn page_faults_and_allocations_of_a_tap() {
    let guard = Guard::with_baseline(&["faults", "allocations"]);
    let unchanged = guard.against(&["faults", "allocations"], &[]);
    assert!(unchanged.status.success(), "{unchanged:?}");
    assert!(guard.comment().starts_with("## Guard: nothing got worse"), "{}", guard.comment());
    guard.bites("faults", &["faults"]);
    guard.bites("allocations", &["allocations"]);
}

/// A tool that is missing, or cannot run the program here, is said: there is then nothing to bite.
fn with_tool(kind: &str) {
    let guard = Guard { directory: tempfile::tempdir().unwrap() };
    let written = guard.run(&[kind], &["--write", guard.baseline().to_str().unwrap()]);
    assert!(written.status.success(), "{written:?}");
    let words = String::from_utf8_lossy(&written.stdout).into_owned();
    if words.contains(&format!("not measured: {kind}, because")) {
        assert!(words.contains("is not installed") || words.contains("cannot run it here"), "{words}");
        return;
    }
    guard.bites(kind, &[kind]);
}

#[test]
fn system_calls_of_a_tap() {
    with_tool("system-calls");
}

#[test]
fn instructions_of_a_tap() {
    with_tool("instructions");
}

#[test]
fn sizes_of_a_component_and_of_what_it_compiles_to() {
    let kinds = &["artifact", "compiled"];
    let guard = Guard { directory: tempfile::tempdir().unwrap() };
    let copies = guard.directory.path().join("plugins");
    fs::create_dir(&copies).unwrap();
    let teaser = fs::read(plugins().join("teaser.wasm")).unwrap();
    let copy = copies.join("teaser.wasm");
    let here = ["--plugins", copies.to_str().unwrap()];
    fs::write(&copy, &teaser).unwrap();
    let written = guard.run(kinds, &[&here[..], &["--write", guard.baseline().to_str().unwrap()]].concat());
    assert!(written.status.success(), "{written:?}");
    let unchanged = guard.against(kinds, &here);
    assert!(unchanged.status.success(), "{unchanged:?}");

    // A custom section of a fifth of its size: 0, the length, a name, and bytes that nobody reads.
    let mut padded = teaser.clone();
    let bytes = teaser.len() / 5;
    padded.push(0);
    leb128(&mut padded, bytes + 2);
    padded.extend([1, b'x']);
    padded.resize(padded.len() + bytes, 0);
    fs::write(&copy, padded).unwrap();
    let output = guard.against(kinds, &here);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("artifact.teaser"), "{output:?}");

    // Another plugin in its place, whose code is larger.
    let larger = fs::read_dir(plugins()).unwrap().map(|entry| entry.unwrap().path());
    let larger = larger.filter(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    let larger = larger.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    fs::copy(larger, &copy).unwrap();
    let output = guard.against(kinds, &here);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("compiled.teaser"), "{output:?}");
}

fn leb128(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[test]
fn memory_after_a_fixed_load() {
    Guard::with_baseline(&["resident"]).bites("resident", &["resident"]);
}

#[test]
fn cold_start_tap_processor_time_and_native() {
    let kinds = &["cold-start", "tap", "cpu", "native"];
    Guard::with_baseline(kinds).bites("time", kinds);
}

#[test]
fn a_bad_baseline_is_an_error_before_anything_is_measured() {
    let guard = Guard { directory: tempfile::tempdir().unwrap() };
    let error = |text: &str| {
        fs::write(guard.baseline(), text).unwrap();
        // No directory of plugins: measuring would be another error.
        let output = guard.against(&["artifact"], &["--plugins", "/nowhere"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(error("{").contains("is no baseline"));
    let other =
        r#"{"schema":1,"place":{"arch":"z80","wasmtime":"1.0.0","pagemap_scan":true,"cpu":"x","cores":1},"values":{}}"#;
    let words = error(other);
    assert!(words.contains("another architecture: z80") && words.contains("cargo xtask guard --write"), "{words}");
    let left: Vec<_> = fs::read_dir(guard.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["baseline.json"], "nothing else was written");
    fs::remove_file(guard.baseline()).unwrap();
    let output = guard.against(&["artifact"], &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no baseline"), "{output:?}");
}

#[test]
fn wrong_usage_is_told_apart() {
    let guard = Guard { directory: tempfile::tempdir().unwrap() };
    assert_eq!(guard.run(&[], &[]).status.code(), Some(2));
    assert_eq!(guard.run(&[], &["--agains", "x"]).status.code(), Some(2));
    let output = guard.run(&["fault"], &["--write", "x"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean `faults`?"), "{output:?}");
}
