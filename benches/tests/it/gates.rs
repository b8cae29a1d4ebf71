//! `gates`: everything once.

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Output},
};

use tapline_benches::{
    report::{Report, SCHEMA},
    spec::{self, SPECS},
};

fn gates(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gates")).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_part_measures_what_the_table_promises() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.json");
    let output = gates(&["--smoke", "--out", path.to_str().unwrap()]);
    // A debug build may miss a target of time: that is status 1 with a report. Anything else that goes wrong has none.
    let report = Report::read(&path).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    assert_eq!(output.status.code(), Some(if report.passed() { 0 } else { 1 }));
    assert_eq!((report.schema, report.scale.as_str()), (SCHEMA, "smoke"));

    // Every kind of number of the table is there. A small run has no numbers of large counts.
    let ids: BTreeSet<&str> = report.rows().map(|row| row.id.as_str()).collect();
    let found: BTreeSet<&str> = ids.iter().filter_map(|id| Some(spec::find(id)?.id)).collect();
    let large = ["gate3.wait.100", "gate3.wait.1000"];
    let missing: Vec<_> =
        SPECS.iter().map(|spec| spec.id).filter(|id| !found.contains(id) && !large.contains(id)).collect();
    assert!(missing.is_empty(), "not measured: {missing:?}");
    assert_eq!(ids.len(), report.rows().count(), "an id stands for one number");

    // What is counted holds in any build.
    for id in
        ["gate2.alive.40", "gate3.unanswered", "gate3.one-connection", "p8.start.compilations", "p8.serve.compilations"]
    {
        assert_eq!(report.value(id), Some(0.0), "{id}");
    }
    assert!(report.value("dwcp.hit-rate").unwrap() > 80.0);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("gate1.lazy-over-json.2k4"), "{text}");
}

#[test]
fn an_unknown_gate_is_wrong_usage() {
    let output = gates(&["--smoke", "--only", "gate22"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no gate is called `gate22`; did you mean `gate2`?"), "{}", stderr(&output));
}

#[test]
fn a_damaged_report_is_an_error_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let damaged = directory.path().join("report.json");
    fs::write(&damaged, "{\"schema\": 1, \"gates\": [").unwrap();
    let documents = directory.path().join("documents");
    let output = gates(&["--from", damaged.to_str().unwrap(), "--write", "--documents", documents.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is damaged: delete it and run `cargo xtask gates` again"), "{}", stderr(&output));
    assert!(!documents.exists());
}

#[test]
fn documents_are_made_from_a_report_of_a_release_build_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.json");
    let only = ["--smoke", "--only", "triggers", "--out", path.to_str().unwrap()];
    assert_eq!(gates(&only).status.code(), Some(0));
    let documents = directory.path().join("documents");
    let write = ["--from", path.to_str().unwrap(), "--write", "--documents", documents.to_str().unwrap()];
    let refused = gates(&write);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("is no document"), "{}", stderr(&refused));

    let mut report = Report::read(&path).unwrap();
    report.machine.build = "release".to_owned();
    report.scale = "full".to_owned();
    report.write(&path).unwrap();
    assert_eq!(gates(&write).status.code(), Some(0));
    assert!(fs::read_to_string(documents.join("report.md")).unwrap().starts_with("---\ntitle: Gates\n"));
}
