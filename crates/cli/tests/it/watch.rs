//! `serve --watch`: files change under a running program.

use std::{
    fs,
    io::{BufRead, BufReader},
    sync::{
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{Place, component, site::Serving};

/// Long enough for a machine that does something else at the same time.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Watching {
    pub(crate) serving: Serving,
    log: Receiver<String>,
}

impl Watching {
    pub(crate) fn start(place: &Place) -> Self {
        Self::with(place, &["serve", "--watch", "--log-format", "json"])
    }

    fn with(place: &Place, arguments: &[&str]) -> Self {
        let mut serving = Serving::with(place, arguments);
        let stderr = serving.child.stderr.take().unwrap();
        let (lines, log) = channel();
        thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        Self { serving, log }
    }

    /// Waits for a log line that says this, and returns its fields.
    #[track_caller]
    pub(crate) fn logged(&self, what: &str) -> Value {
        let until = Instant::now() + PATIENCE;
        let mut all = String::new();
        while let Ok(line) = self.log.recv_timeout(until.saturating_duration_since(Instant::now())) {
            if line.contains(what) {
                return serde_json::from_str::<Value>(&line).unwrap()["fields"].take();
            }
            all += &format!("{line}\n");
        }
        panic!("no line says `{what}`:\n{all}");
    }

    pub(crate) fn page(&self) -> String {
        page(&self.serving)
    }

    #[cfg(unix)]
    fn hang_up(&self) {
        let process = self.serving.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-HUP", &process]).status().unwrap().success());
    }
}

fn page(serving: &Serving) -> String {
    let (status, page) = serving.get("/item/a");
    assert_eq!(status, 200, "{page}");
    page
}

/// A site with one item, and with the plugin `first` in a file of its own.
fn place() -> Place {
    let place = Place::new();
    place.write("a.md", "# A\n\nSome text that can be read.");
    place.write("plugins/first.wasm", fs::read(component("reading-time")).unwrap());
    configure(&place, "");
    let imported = place.run(&["import", "a.md"]);
    assert!(imported.status.success(), "{imported:?}");
    place
}

fn configure(place: &Place, more: &str) {
    place.configure(&[], &format!("[plugins.first]\npath = \"plugins/first.wasm\"\n{more}"));
}

/// Replaces a file the way installers do: all at once.
pub(crate) fn replace(place: &Place, path: &str, bytes: &[u8]) {
    place.write("new", bytes);
    fs::rename(place.path().join("new"), place.path().join(path)).unwrap();
}

pub(crate) const READING_TIME: &str = "min read";
const SEO: &str = "<!-- head: first -->";

#[test]
fn the_file_of_a_plugin_changes() {
    let place = place();
    let watching = Watching::start(&place);
    assert!(watching.page().contains(READING_TIME));

    replace(&place, "plugins/first.wasm", &fs::read(component("seo")).unwrap());
    assert_eq!(watching.logged("reloaded")["replaced"], "first");
    assert!(watching.page().contains(SEO) && !watching.page().contains(READING_TIME));

    // What is no plugin, as the plugin's file: it says why, and the version before it serves on.
    replace(&place, "plugins/first.wasm", b"This is not WebAssembly.");
    let refused = watching.logged("refused: what was loaded before serves on");
    assert_eq!(refused["error"], "plugin `first` is not WebAssembly: it starts with [54, 68, 69, 73, 20, 69, 73, 20]");
    assert_eq!(refused["hint"], "give the path of the `.wasm` file that the plugin's build wrote");
    assert!(watching.page().contains(SEO));

    // The file is gone.
    fs::remove_file(place.path().join("plugins/first.wasm")).unwrap();
    let refused = watching.logged("refused: what was loaded before serves on");
    assert!(refused["error"].as_str().unwrap().contains("cannot read plugins/first.wasm"), "{refused}");
    assert!(watching.page().contains(SEO));

    // Half of a file that is written in place, and then the rest of it. Another file in the same directory is nobody's.
    let whole = fs::read(component("reading-time")).unwrap();
    place.write("plugins/first.wasm", &whole[..whole.len() / 2]);
    place.write("plugins/letter.wasm", "Dear reader");
    let refused = watching.logged("refused: what was loaded before serves on");
    assert!(refused["error"].as_str().unwrap().contains("damaged"), "{refused}");
    assert!(watching.page().contains(SEO));
    place.write("plugins/first.wasm", &whole);
    assert_eq!(watching.logged("reloaded")["replaced"], "first");
    assert!(watching.page().contains(READING_TIME));
    assert_eq!(watching.serving.end("-TERM"), 0);
}

#[test]
fn the_configuration_changes() {
    let place = place();
    let watching = Watching::start(&place);
    let second = |more: &str| {
        let seo = component("seo");
        configure(&place, &format!("[plugins.second]\npath = \"{}\"\n{more}", seo.display()));
    };
    second("");
    assert_eq!(watching.logged("reloaded")["added"], "second");
    assert!(watching.page().contains("<!-- head: second -->") && watching.page().contains(READING_TIME));

    second("[plugins.second.order.item_view]\nlast = true\n");
    assert_eq!(watching.logged("reloaded")["reordered"], "second");
    second("[plugins.second.limits]\nmax_execution_time_ms = 500\n");
    assert_eq!(watching.logged("reloaded")["replaced"], "second");
    second("[plugins.second.grants]\nmail = true\n");
    let refused = watching.logged("refused: what was loaded before serves on");
    assert!(refused["error"].as_str().unwrap().contains("no capability is called `mail`"), "{refused}");
    assert!(watching.page().contains("<!-- head: second -->"));

    // A file that cannot be read as a configuration changes nothing.
    second("enabeld = false\n");
    let refused = watching.logged("the configuration cannot be used");
    assert_eq!(refused["error"], "tapline.toml:11: nothing is called `plugins.second.enabeld`");
    assert_eq!(refused["hint"], "did you mean `plugins.second.enabled`?");
    fs::rename(place.path().join("tapline.toml"), place.path().join("away")).unwrap();
    watching.logged("the configuration file is gone");
    assert!(watching.page().contains("<!-- head: second -->"));

    // An order without a solution, which names plugins that are fine by themselves.
    second("order = { item_view = { after = [\"first\"], before = [\"first\"] } }\n");
    assert!(watching.logged("cannot be loaded together")["error"].as_str().unwrap().contains("cycle"));
    assert!(watching.page().contains("<!-- head: second -->"));

    second("enabled = false\n[log]\nformat = \"human\"\n[host.breaker]\nfailures = 9\n");
    assert_eq!(watching.logged("after a restart")["keys"], "host.breaker.failures");
    assert_eq!(watching.logged("reloaded")["removed"], "second");
    assert!(!watching.page().contains("<!-- head: second -->"));
    assert_eq!(watching.serving.end("-INT"), 0);
}

#[test]
fn a_grant_that_is_taken_away_is_taken_away() {
    let place = place();
    let watching = Watching::start(&place);
    let related = |more: &str| {
        let related = component("related");
        configure(&place, &format!("[plugins.related]\npath = \"{}\"\n{more}", related.display()));
    };
    let health = || serde_json::from_str::<Value>(&watching.serving.get("/health/ready").1).unwrap();
    related("grants = { database = \"read\" }\n");
    assert_eq!(watching.logged("reloaded")["added"], "related");
    assert_eq!(health()["checks"]["plugins"]["refused"], serde_json::json!([]));
    related("");
    assert_eq!(watching.logged("reloaded")["removed"], "related");
    let refused = watching.logged("refused and removed: it is not granted any more what it imports");
    assert!(refused["error"].as_str().unwrap().contains("needs the grant `database`"), "{refused}");
    let (_, status) = watching.serving.get("/status");
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["plugins"].as_array().unwrap().len(), 1, "{status}");
    assert_eq!(status["refused_changes"][0]["of"], "related");
    let degraded = health();
    assert_eq!(degraded["status"], "degraded");
    assert_eq!(degraded["checks"]["plugins"]["refused"], serde_json::json!(["related"]));
    let panel = watching.serving.get("/_tapline").1;
    assert!(panel.contains("has not run what it was told to run, of `related`: "), "{panel}");
    related("grants = { database = \"read\" }\n");
    assert_eq!(watching.logged("reloaded")["added"], "related");
    watching.logged("nothing is refused any more");
    assert_eq!(health()["status"], "ready");
    // What nobody can read says nothing of any plugin.
    configure(&place, "this is no configuration");
    watching.logged("the configuration cannot be used");
    assert_eq!(health()["checks"]["plugins"]["refused"], serde_json::json!(["configuration"]));
    related("grants = { database = \"read\" }\n");
    watching.logged("nothing is refused any more");
    assert_eq!(watching.serving.end("-TERM"), 0);
}

/// What is tried again by itself is what was told last, and not what the files say meanwhile.
#[cfg(unix)]
#[test]
fn nobody_looks_at_the_files_unasked() {
    let place = place();
    let watching = Watching::with(&place, &["serve", "--log-format", "json"]);
    watching.logged("ready");
    // It is refused after 100 ms, and tried again after 20 times as long.
    let export = r#"(component (core module $m (func $start (loop (br 0))) (start $start) (func (export "f")))
        (core instance $i (instantiate $m)) (func $f (canon lift (core func $i "f")))
        (instance $e (export "item-view" (func $f))) (export "tapline:content/item-view@0.1.0" (instance $e)))"#;
    place.write("plugins/slow.wasm", wat::parse_str(export).unwrap());
    configure(&place, "[plugins.slow]\npath = \"plugins/slow.wasm\"\nlimits = { max_execution_time_ms = 100 }\n");
    watching.hang_up();
    watching.logged("refused: it is not loaded");
    place.configure(&[], "");
    thread::sleep(Duration::from_secs(5));
    assert!(watching.page().contains(READING_TIME), "nobody has asked for anything else");
    // Nor does it make forgotten that what came later cannot be used.
    place.write("tapline.toml", "this is no configuration");
    watching.hang_up();
    watching.logged("the configuration cannot be used");
    thread::sleep(Duration::from_secs(5));
    assert!(
        watching.serving.get("/status").1.contains("\"of\":\"configuration\""),
        "it stands there until it is mended"
    );
    place.configure(&[], "");
    watching.hang_up();
    assert_eq!(watching.logged("reloaded")["removed"], "first");
    assert_eq!(watching.serving.end("-TERM"), 0);
}

/// Replaces a plugin while somebody does something twenty times a second, and waits until it was loaded again.
#[track_caller]
fn replace_while(place: &Place, watching: &Watching, restless: impl Fn() + Sync) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                restless();
                thread::sleep(Duration::from_millis(50));
            }
        });
        // Whatever happens, the other thread ends.
        let reloaded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            replace(place, "plugins/first.wasm", &fs::read(component("seo")).unwrap());
            watching.logged("\"replaced\":\"first\"");
        }));
        is_over.store(true, Relaxed);
        assert!(reloaded.is_ok());
    });
    assert!(watching.page().contains(SEO));
}

#[test]
fn a_configuration_that_is_only_touched_holds_up_nothing() {
    let place = place();
    let watching = Watching::start(&place);
    replace_while(&place, &watching, || configure(&place, ""));
}

#[test]
fn a_file_that_is_written_to_all_the_time_holds_up_no_other() {
    let place = place();
    place.configure(&[], "plugin_directory = \"plugins\"\n");
    let watching = Watching::start(&place);
    let length = AtomicU32::new(0);
    replace_while(&place, &watching, || {
        let length = length.fetch_add(1, Relaxed) as usize;
        fs::write(place.path().join("plugins/restless.wasm"), vec![0; length]).unwrap();
    });
}

#[cfg(unix)]
#[test]
fn without_watching_the_files_are_looked_at_when_somebody_asks() {
    let place = place();
    let watching = Watching::with(&place, &["serve", "--log-format", "json"]);
    watching.logged("ready");
    replace(&place, "plugins/first.wasm", &fs::read(component("seo")).unwrap());
    watching.hang_up();
    watching.logged("asked to look at the configuration");
    assert_eq!(watching.logged("reloaded")["replaced"], "first");
    assert!(watching.page().contains(SEO));
    // Once more, with nothing new.
    watching.hang_up();
    watching.logged("asked to look at the configuration");
    assert!(watching.page().contains(SEO));
    assert_eq!(watching.serving.end("-TERM"), 0);
}

#[test]
fn a_storm_of_changes_under_load_fails_no_page() {
    const CHANGES: usize = 200;
    let place = place();
    let watching = Watching::start(&place);
    let versions = ["reading-time", "seo"].map(|plugin| fs::read(component(plugin)).unwrap());
    let (done, pages) = (AtomicBool::new(false), AtomicU32::new(0));
    let serving = &watching.serving;
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    let page = page(serving);
                    assert!(page.contains(READING_TIME) != page.contains(SEO), "one of the two: {page}");
                    pages.fetch_add(1, Relaxed);
                }
            });
        }
        for change in 0..CHANGES {
            // One in three is cut off, one in three is written in place.
            let bytes = &versions[change % 2];
            match change % 3 {
                0 => replace(&place, "plugins/first.wasm", &bytes[..bytes.len() / 3]),
                1 => place.write("plugins/first.wasm", bytes),
                _ => replace(&place, "plugins/first.wasm", bytes),
            }
            let (seen, until) = (pages.load(Relaxed), Instant::now() + PATIENCE);
            while pages.load(Relaxed) < seen + 2 && Instant::now() < until {
                thread::yield_now();
            }
        }
        replace(&place, "plugins/first.wasm", &versions[1]);
        let until = Instant::now() + PATIENCE;
        while !watching.page().contains(SEO) && Instant::now() < until {}
        done.store(true, Relaxed);
    });
    assert!(watching.page().contains(SEO), "the last one of many is served");
    assert!(pages.load(Relaxed) > CHANGES as u32, "there was load");
    assert_eq!(watching.serving.end("-TERM"), 0);
}
