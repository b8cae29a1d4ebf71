//! From documents to pages.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{PLUGINS, Place, text};

/// A running `tapline serve`.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) address: String,
}

impl Serving {
    pub(crate) fn start(place: &Place) -> Self {
        Self::with(place, &["serve"])
    }

    pub(crate) fn with(place: &Place, arguments: &[&str]) -> Self {
        Self::spawn(place.command(arguments))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stderr(Stdio::piped());
        Self::launch(command)
    }

    /// With whatever the command has for its log.
    pub(crate) fn launch(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(address) = line.trim_end().strip_prefix("listening on ") else {
            let _ = child.kill();
            let mut stderr = String::new();
            if let Some(mut log) = child.stderr.take() {
                log.read_to_string(&mut stderr).unwrap();
            }
            panic!("`{line}`\n{stderr}");
        };
        Self { address: address.to_owned(), child }
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut response = agent.get(format!("{}{path}", self.address)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    /// Presses a button of the page for operators, and returns what that page then says.
    pub(crate) fn press(&self, plugin: &str, action: &str) -> String {
        let (_, page) = self.get("/_tapline");
        let token = page.split("name=\"token\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        let url = format!("{}/_tapline/plugins/{plugin}/{action}", self.address);
        let agent = ureq::Agent::config_builder().max_redirects(0).build().new_agent();
        let form = agent.post(url).header("content-type", "application/x-www-form-urlencoded");
        let answer = form.send(format!("token={token}")).unwrap();
        let (_, page) = self.get(answer.headers()["location"].to_str().unwrap().trim_end_matches("#outcome"));
        page.split("role=\"status\" tabindex=\"-1\">").nth(1).unwrap().split("</p>").next().unwrap().to_owned()
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn end(mut self, signal: &str) -> i32 {
        let asked = std::process::Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().expect("it catches the signal");
            }
            assert!(start.elapsed() < Duration::from_secs(60), "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn calls(report: &Value, plugin: &str, tap: &str) -> (u64, u64) {
    let plugins = report["plugins"].as_array().unwrap();
    let found = plugins.iter().find(|entry| entry["name"] == plugin && entry["tap"] == tap).unwrap();
    (found["invocations"].as_u64().unwrap(), found["failures"].as_u64().unwrap())
}

/// What still runs when the ten seconds to end are over is cut off, and the exit status says so.
#[test]
fn a_call_that_does_not_end_in_time_is_told_by_the_exit_status() {
    let place = Place::new();
    place.configure(&[], "");
    place.write("a.md", "---\ndo: loop\n---\n# A\n");
    assert_eq!(place.run(&["import", "a.md"]).status.code(), Some(0));
    place.configure(&["probe"], "[host.limits]\nmax_execution_time_ms = 60000\n");
    let serving = Serving::start(&place);
    let url = format!("{}/item/a", serving.address);
    let asking = std::thread::spawn(move || ureq::get(url).call().is_ok());
    while !serving.get("/metrics").1.contains("tapline_pool_slots_in_use 1\n") {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(serving.end("-TERM"), 3);
    assert!(!asking.join().unwrap(), "there was no page to answer with");
}

#[test]
fn every_plugin_does_its_part() {
    let place = Place::new();
    place.configure(&PLUGINS, "[cache]\ndirectory = \"cache\"\n");
    place.write(
        "docs/README.md",
        "---\ntags: [a, b]\nsummary: It's short...\n---\n# \"Read\" me\n\nSee [guide](guide.md), don't `\"quote\"` it.",
    );
    place.write("docs/guide.md", "---\ntitle: Guide\ntags: b\ndate: 2026-01-31\n---\nText");
    place.write("docs/later.md", "---\ntitle: Later\ntags: b\nembargo_until: 2999-12-31\n---\nText");
    place.write("docs/bad.md", "---\ntitle: Bad\n");
    place.write("more.jsonl", "{\"id\":\"line\",\"title\":\"Line\"}\n");

    let output = place.run(&["import", "--report", "report.json", "docs", "more.jsonl"]);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stdout.starts_with("4 items: 4 new, 0 changed, 0 as before; 1 could not be imported\n"), "{stdout}");
    assert!(
        stderr.contains("error: docs/bad.md:1: its front matter is not closed\nhint: put a line `---`"),
        "{stderr}"
    );
    // What "audit-log" logged, with its name, which it cannot forge.
    assert!(stderr.contains("plugin=audit-log tap=item_insert"), "{stderr}");

    let report = std::fs::read(place.path().join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!((&report["items"], &report["bad"][0]["path"]), (&4.into(), &"docs/bad.md".into()));
    assert_eq!(calls(&report, "house-style", "item_presave"), (4, 0));
    assert_eq!(calls(&report, "audit-log", "item_insert"), (4, 0));
    assert_eq!(calls(&report, "audit-log", "item_update"), (0, 0));

    let serving = Serving::start(&place);
    let (status, list) = serving.get("/");
    assert_eq!(status, 200);
    for id in ["readme", "guide", "line"] {
        assert!(list.contains(&format!("href=\"/item/{id}\"")), "{id} in {list}");
    }
    assert!(!list.contains("Later"), "embargo: {list}");

    let (status, page) = serving.get("/item/readme");
    assert_eq!(status, 200);
    for part in [
        "<h1>“Read” me</h1>",                                  // house-style
        "don’t <code>\"quote\"</code>",                        // house-style leaves code alone
        "<a href=\"/item/guide\"",                             // a link between documents
        "<!-- head: seo -->",                                  // seo
        "<meta name=\"description\" content=\"It’s short…\">", // seo, after house-style
        "<section data-plugin=\"reading-time\"",               // reading-time
        "1 min read",
        "<section data-plugin=\"related\"", // related
    ] {
        assert!(page.contains(part), "no `{part}` in {page}");
    }
    assert_eq!(serving.get("/item/later").0, 403, "embargo");

    let status: Value = serde_json::from_str(&serving.get("/status").1).unwrap();
    assert_eq!(status["plugins"].as_array().unwrap().len(), PLUGINS.len());
    assert_eq!(serving.end("-TERM"), 0);

    // The same again changes nothing; a change is told.
    let again = place.run(&["import", "docs/guide.md"]);
    assert!(text(&again.stdout).starts_with("1 item: 0 new, 0 changed, 1 as before"), "{}", text(&again.stdout));
    place.write("docs/guide.md", "---\ntitle: Guide\ntags: b\n---\nOther text");
    let changed = place.run(&["import", "docs/guide.md"]);
    assert_eq!(changed.status.code(), Some(0));
    assert!(text(&changed.stderr).contains("tap=item_update"), "{}", text(&changed.stderr));

    let page = place.run(&["render", "guide"]);
    assert!(text(&page.stdout).contains("<p>Other text</p>"));
    assert_eq!(place.run(&["render", "later"]).status.code(), Some(1));
}

#[test]
fn it_ends_when_interrupted_and_logs_json_when_asked() {
    let place = Place::new();
    place.configure(&["embargo"], "");
    let serving = Serving::start(&place);
    let (status, report) = serving.get("/health/ready");
    assert!(status == 200 && report.ends_with("\"status\":\"ready\"}"), "{report}");
    assert_eq!(serving.end("-INT"), 0);

    place.write("a.md", "# A");
    place.configure(&["audit-log"], "");
    let output = place.run(&["--log-format", "json", "import", "a.md"]);
    let logged: Vec<Value> = text(&output.stderr).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(logged.iter().any(|line| line["fields"]["plugin"] == "audit-log"), "{logged:?}");

    // The environment is stronger than the file, a flag stronger than the environment.
    let output = place.command(&["import", "a.md"]).env("TAPLINE_LOG", "off").output().unwrap();
    assert_eq!(text(&output.stderr), "");
    let mut command = place.command(&["import", "a.md", "--database", "sqlite:flag.db"]);
    command.env("TAPLINE_DATABASE_URL", "sqlite:environment.db").output().unwrap();
    assert!(place.path().join("flag.db").exists() && !place.path().join("environment.db").exists());
}

#[test]
fn an_item_of_five_megabytes_goes_through_every_plugin() {
    let place = Place::new();
    place.configure(&PLUGINS, "");
    place.write("large.md", format!("# Large\n\n{}", "It's \"large\"... ".repeat(5 * 1024 * 1024 / 16)));
    let output = place.run(&["import", "large.md"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let page = text(&place.run(&["render", "large"]).stdout);
    assert!(page.contains("It’s “large”…") && page.contains("<!-- head: seo -->"));
}

/// How many plugins the server took from `memory`, `disk` or `compiled`, once it has the code of so many.
fn loads(serving: &Serving, all: u64) -> impl Fn(&str) -> u64 {
    let load = |text: &str, level: &str| -> u64 {
        let start = format!("tapline_cache_loads_total{{level=\"{level}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&start)).map_or(0, |number| number.parse().unwrap())
    };
    loop {
        let (status, text) = serving.get("/metrics");
        assert_eq!(status, 200);
        if ["memory", "disk", "compiled"].iter().map(|level| load(&text, level)).sum::<u64>() >= all {
            return move |level| load(&text, level);
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_second_start_with_25_plugins_compiles_none() {
    let place = Place::new();
    let mut config = "[cache]\ndirectory = \"cache\"\n".to_owned();
    let reading_time = std::fs::read(crate::component("reading-time")).unwrap();
    for number in 0..25 {
        // A custom section makes it another file.
        place.write(&format!("{number}.wasm"), [&reading_time[..], &[0, 2, 1, b'a' + number]].concat());
        config += &format!("[plugins.plugin-{number}]\npath = \"{number}.wasm\"\n");
    }
    place.configure(&[], &config);
    let first = Serving::start(&place);
    assert_eq!(loads(&first, 25)("compiled"), 25);
    assert_eq!(first.end("-TERM"), 0);
    let second = Serving::start(&place);
    let loads = loads(&second, 25);
    assert_eq!((loads("compiled"), loads("disk")), (0, 25));
}

#[test]
fn a_plugin_that_does_not_start_keeps_nobody_else_from_serving() {
    let place = Place::new();
    let wrong = wat::parse_str(
        r#"(component
             (core module $m (func (export "run") (result i32) i32.const 1))
             (core instance $i (instantiate $m))
             (func $run (result u32) (canon lift (core func $i "run")))
             (instance $e (export "item-view" (func $run)))
             (export "tapline:content/item-view@0.1.0" (instance $e)))"#,
    );
    place.write("wrong.wasm", wrong.unwrap());
    place.write("a.md", "# A\n\nSome words.");
    place.configure(&[], "");
    assert_eq!(place.run(&["import", "a.md"]).status.code(), Some(0));
    place.configure(&["reading-time"], "[plugins.wrong]\npath = \"wrong.wasm\"\n");
    let mut serving = Serving::start(&place);
    let (status, page) = serving.get("/item/a");
    assert!(status == 200 && page.contains("<section data-plugin=\"reading-time\""), "{page}");
    let (status, health) = serving.get("/health/ready");
    assert!(status == 200 && health.contains("\"without_code\":[\"wrong\"]"), "{health}");
    let stderr = serving.child.stderr.take().unwrap();
    assert_eq!(serving.end("-TERM"), 0);
    let log = std::io::read_to_string(stderr).unwrap();
    assert!(log.contains("cannot be called plugin=wrong"), "{log}");
    assert!(log.contains("build the plugin against the SDK of this host's version"), "with a hint: {log}");
    assert!(log.contains("some plugins have no code") && !log.contains("all plugins are compiled"), "{log}");
    // Every other command refuses it, and says why.
    assert_eq!(place.run(&["plugins"]).status.code(), Some(1));
}
