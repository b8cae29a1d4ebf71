//! Requests and their traces: in the log, on the terminal, and at a collector.

use std::{
    io::{Read, Write},
    net::TcpListener,
    process::Output,
    sync::mpsc::channel,
    time::Duration,
};

use expect_test::expect;
use serde_json::Value;

use crate::{Place, site::Serving, text};

/// Long enough for anything that is not stuck.
const PATIENCE: Duration = Duration::from_secs(30);

fn place(more: &str) -> Place {
    let place = Place::new();
    place.configure(&["seo", "embargo"], more);
    place.write("a.md", "# A\n\nSome words.");
    assert_eq!(place.run(&["import", "a.md"]).status.code(), Some(0));
    place
}

/// Fetches a page and says which request that was.
fn request(serving: &Serving, path: &str) -> String {
    let answer = ureq::get(format!("{}{path}", serving.address)).call().unwrap();
    answer.headers().get("x-request-id").unwrap().to_str().unwrap().to_owned()
}

fn both(output: &Output) -> String {
    format!("{}{}[{}]", text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}

#[test]
fn a_request_is_drawn() {
    let place = place("");
    let serving = Serving::start(&place);
    let trace = |arguments: &[&str]| {
        let arguments = [&["trace", "--url", &*serving.address], arguments].concat();
        place.run(&arguments)
    };
    assert_eq!(both(&trace(&[])), "no request has called a plugin yet\n[0]");
    let id = request(&serving, "/item/a");
    let shown = text(&trace(&[&id]).stdout);
    assert!(shown.starts_with("GET /item/a  status 200  ") && shown.contains(&format!("trace {id}\n")), "{shown}");
    // Where their times lie differs from run to run.
    let names: Vec<&str> = shown.lines().skip(2).map(|line| line.split("  0.").next().unwrap().trim_end()).collect();
    for name in
        ["GET /item/{id}", "  load", "  dispatch item_view", "    seo.item_view", "    embargo.item_access", "  render"]
    {
        assert!(names.iter().any(|line| line.starts_with(name)), "{name} in {shown}");
    }
    assert!(shown.contains("|########################################|") && shown.is_ascii(), "{shown}");
    let list = text(&trace(&[]).stdout);
    assert!(list.contains(&id) && list.contains("GET /item/a") && list.lines().count() == 2, "{list}");
    let document: Value = serde_json::from_slice(&trace(&["--json", &id.to_uppercase()]).stdout).unwrap();
    assert_eq!(document[0]["trace_id"], *id);

    let unknown = both(&trace(&["00000000000000000000000000000001"]));
    assert!(unknown.contains("answers 404") && unknown.contains("hint: a host keeps its last requests"), "{unknown}");
    expect![[r#"
        error: `../metrics` is not the identifier of a request
        hint: it is in the answer's X-Request-Id and in the log, 32 hexadecimal digits; without one, the last requests are listed
        [1]"#]]
    .assert_eq(&both(&trace(&["../metrics"])));
}

#[test]
fn a_host_that_is_not_there_and_one_that_wants_a_token() {
    let place = place("");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let output = both(&place.run(&["trace", "--url", &address]));
    assert!(output.starts_with(&format!("error: no host answers at {address}\n  because: ")), "{output}");
    assert!(output.contains("hint: start one with `tapline serve`") && output.ends_with("[1]"), "{output}");

    let mut serve = place.command(&["serve"]);
    serve.env("TAPLINE_OPERATOR_TOKEN", "secret");
    let serving = Serving::spawn(serve);
    let refused = both(&place.run(&["trace", "--url", &serving.address]));
    assert!(refused.contains("answers 401") && refused.contains("hint: give the token"), "{refused}");
    let mut with_token = place.command(&["trace", "--url", &serving.address]);
    let shown = with_token.env("TAPLINE_OPERATOR_TOKEN", "secret").output().unwrap();
    assert_eq!(both(&shown), "no request has called a plugin yet\n[0]");
}

#[test]
fn none_are_kept_where_none_are_wanted() {
    let place = place("[telemetry]\nkeep_traces = 0\n");
    let serving = Serving::start(&place);
    let id = request(&serving, "/item/a");
    assert_eq!(id.len(), 32, "a request has its identifier all the same");
    assert_eq!(serving.get(&format!("/_tapline/trace/{id}")).0, 404);
}

#[test]
fn a_collector_gets_the_traces_when_the_program_ends_at_the_latest() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = place(&format!("[telemetry]\notlp_endpoint = \"http://{}\"\n", listener.local_addr().unwrap()));
    let (sender, received) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut seen, mut buffer) = (Vec::new(), [0; 65536]);
        // The protocol is decoded in the tests of `tapline-telemetry`.
        while !seen.windows(13).any(|part| part == b"seo.item_view") {
            let length = stream.read(&mut buffer).unwrap();
            assert!(length > 0, "the exporter has gone away");
            seen.extend_from_slice(&buffer[..length]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        sender.send(String::from_utf8_lossy(&seen).into_owned()).unwrap();
    });
    let serving = Serving::start(&place);
    request(&serving, "/item/a");
    assert_eq!(serving.end("-TERM"), 0);
    let seen = received.recv_timeout(PATIENCE).unwrap();
    assert!(seen.starts_with("POST /v1/traces HTTP/1.1\r\n") && seen.contains("service.name"), "{seen}");
}

#[test]
fn a_collector_that_is_not_there_costs_one_warning_and_no_page() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = place(&format!("[telemetry]\notlp_endpoint = \"http://{}\"\n", nobody.local_addr().unwrap()));
    drop(nobody);
    let mut serving = Serving::start(&place);
    for _ in 0..20 {
        request(&serving, "/item/a");
    }
    let stderr = serving.child.stderr.take().unwrap();
    assert_eq!(serving.end("-TERM"), 0);
    let log = std::io::read_to_string(stderr).unwrap();
    assert_eq!(log.matches(" WARN ").count(), 1, "{log}");
    assert!(log.contains("the collector of traces does not take them"), "{log}");
}

#[test]
fn an_address_that_is_none_is_refused() {
    let place = place("");
    place.configure(&[], "[telemetry]\notlp_endpoint = \"https://127.0.0.1:4317\"\n");
    place.check(
        &["serve"],
        expect![[r#"
            error: `telemetry.otlp_endpoint` is `https://127.0.0.1:4317`, not http:// and the address of a collector, such as http://127.0.0.1:4318
            [2]
        "#]],
    );
}

#[test]
fn a_line_of_json_is_one_whatever_a_guest_writes() {
    let place = Place::new();
    let evil = "\"quoted\" {\"level\":\"ERROR\"}\r\nnext\u{1b}[31m \u{2028} \0 \u{9b}2J \u{fffe} 😀 é";
    let data: String = evil.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let length = evil.len();
    let component = format!(
        r#"(component
             (import "tapline:host/log@0.1.0" (instance $log
               (type $level (enum "trace" "debug" "info" "warn" "error"))
               (export "level" (type $exported (eq $level)))
               (export "write" (func (param "level" $exported) (param "message" string)))))
             (core module $memory (memory (export "memory") 1) (data (i32.const 0) "{data}"))
             (core instance $memory (instantiate $memory))
             (core func $write (canon lower (func $log "write") (memory (core memory $memory "memory"))))
             (core module $m
               (import "" "write" (func $write (param i32 i32 i32)))
               (func (export "run") (param $level i32)
                 (call $write (local.get $level) (i32.const 0) (i32.const {length}))))
             (core instance $i (instantiate $m (with "" (instance (export "write" (func $write))))))
             (func $run (param "level" u32) (canon lift (core func $i "run")))
             (export "run" (func $run)))"#
    );
    place.write("evil.wasm", wat::parse_str(component).unwrap());
    for (level, name) in [(2, "INFO"), (3, "WARN"), (4, "ERROR")] {
        let call = format!("run({level})");
        let output = place.run(&["run", "--log", "tapline::guest=info", "--log-format", "json", "evil.wasm", &call]);
        let stderr = text(&output.stderr);
        // The rest is what `run` says of the call itself.
        let logged: Vec<&str> = stderr.lines().filter(|line| line.starts_with('{')).collect();
        assert_eq!(logged.len(), 1, "{stderr}");
        let line: Value = serde_json::from_str(logged[0]).unwrap();
        assert_eq!((&line["level"], &line["target"]), (&name.into(), &"tapline::guest".into()));
        assert_eq!(line["fields"]["plugin"], "evil", "{line}");
        let message = line["fields"]["message"].as_str().unwrap();
        assert!(message.starts_with("\"quoted\" {\"level\":\"ERROR\"}\\r\\nnext\\u{1b}[31m"), "{message}");
        assert!(message.ends_with("😀 é") && !message.contains(char::is_control), "{message}");
    }
}

#[test]
fn a_profile_is_written_at_the_end() {
    let place = Place::new();
    place.configure(&[], "");
    place.write("a.md", "---\ndo: loop\n---\n# A");
    assert_eq!(place.run(&["import", "a.md"]).status.code(), Some(0));
    place.configure(&["probe"], "[host.limits]\nmax_execution_time_ms = 100\n");
    let serving = Serving::with(&place, &["serve", "--profile", "profile.txt"]);
    assert_eq!(serving.get("/item/a").0, 403, "a plugin that does not answer denies");
    assert_eq!(serving.end("-TERM"), 0);
    let profile = std::fs::read_to_string(place.path().join("profile.txt")).unwrap();
    // The sample plugins are built without names; `tapline-host-core` tests those.
    assert!(profile.lines().any(|line| line.starts_with("probe;item_access;function ")), "{profile}");

    let refused = both(&place.run(&["serve", "--profile", "missing/profile.txt"]));
    assert!(refused.starts_with("error: cannot write missing/profile.txt\n  because: No such file"), "{refused}");
    assert!(refused.contains("hint: name a file") && refused.ends_with("[1]"), "{refused}");
}
