//! What comes before the first page, what a plugin that nobody calls gives up, and what two programs share.

use std::{
    fs::{DirBuilder, File},
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{PLUGINS, Place, component, site::Serving};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn status(serving: &Serving) -> Value {
    serde_json::from_str(&serving.get("/status").1).unwrap()
}

/// What `/status` says of the code of each plugin.
fn code(serving: &Serving) -> Vec<String> {
    let status = status(serving);
    let plugins = status["plugins"].as_array().unwrap();
    plugins.iter().map(|plugin| plugin["code"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let looks = PATIENCE.as_millis() / 20;
    for _ in 0..looks {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("not within {PATIENCE:?}: {what}");
}

/// How many plugins came from there.
fn loads(serving: &Serving, level: &str) -> u64 {
    let series = format!("tapline_cache_loads_total{{level=\"{level}\"}} ");
    let text = serving.get("/metrics").1;
    text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |value| value.parse().unwrap())
}

/// A place with a document and a directory for compiled code.
fn place(plugins: &[&str], of_host: &str) -> Place {
    let place = Place::new();
    place.configure(&[], "");
    place.write("a.md", "# A\n\nSome words.\n");
    assert_eq!(place.run(&["import", "a.md"]).status.code(), Some(0));
    let plugins: String = plugins
        .iter()
        .map(|plugin| {
            let grants = if *plugin == "related" { "grants = { database = \"read\" }\n" } else { "" };
            format!("[plugins.{plugin}]\npath = \"{}\"\n{grants}", component(plugin).display())
        })
        .collect();
    let head = "[server]\nlisten = \"127.0.0.1:0\"\n[cache]\ndirectory = \"cache\"\n";
    place.write("tapline.toml", format!("{head}[host]\npool_size = 10\n{of_host}\n{plugins}"));
    place
}

#[test]
fn the_program_says_how_long_it_took_to_start() {
    let place = place(&["seo"], "");
    let serving = Serving::start(&place);
    let metrics = serving.get("/metrics").1;
    let line = metrics.lines().find_map(|line| line.strip_prefix("tapline_process_start_duration_seconds "));
    let seconds: f64 = line.unwrap().parse().unwrap();
    assert!(seconds > 0.000_1 && seconds < PATIENCE.as_secs_f64(), "{seconds}");
    let stage = status(&serving)["stages"][0].take();
    assert_eq!((&stage["stage"], &stage["count"]), (&"process start".into(), &1.into()));
    let milliseconds = stage["average_ms"].as_f64().unwrap();
    assert!((milliseconds - 1000.0 * seconds).abs() < 1e-6, "{milliseconds} ms, {seconds} s");
    let targets = status(&serving)["performance"]["targets"].take();
    assert!(targets.as_array().unwrap().iter().any(|target| target["name"] == "process start"), "{targets}");
}

#[test]
fn a_plugin_that_nobody_calls_gives_up_its_code_and_has_it_again_when_it_is_called() {
    let place = place(&["reading-time"], "plugin_idle_seconds = 1");
    let serving = Serving::start(&place);
    let (_, page) = serving.get("/item/a");
    assert!(page.contains("1 min read"), "{page}");
    assert_eq!((loads(&serving, "compiled"), loads(&serving, "disk")), (1, 0));
    until("it rests", || code(&serving) == ["absent"]);
    assert_eq!(serving.get("/item/a").1, page);
    assert_eq!((loads(&serving, "compiled"), loads(&serving, "disk")), (1, 1), "from its file");
}

#[test]
fn two_programs_with_one_directory_compile_each_plugin_once() {
    let place = place(&PLUGINS, "");
    let both = [Serving::start(&place), Serving::start(&place)];
    for serving in &both {
        until("it has all code", || code(serving).iter().all(|code| code == "ready"));
    }
    let sum = |level| both.iter().map(|serving| loads(serving, level)).sum::<u64>();
    let plugins = PLUGINS.len() as u64;
    assert_eq!((sum("compiled"), sum("disk"), sum("memory")), (plugins, plugins, 0));
}

#[test]
fn a_program_that_is_killed_while_it_compiles_leaves_the_rest_to_the_other() {
    let place = place(&PLUGINS, "");
    let [killed, stays] = [Serving::start(&place), Serving::start(&place)];
    drop(killed);
    until("it has all code", || code(&stays).iter().all(|code| code == "ready"));
    assert_eq!(loads(&stays, "compiled") + loads(&stays, "disk"), PLUGINS.len() as u64);
    let page = stays.get("/item/a").1;
    assert!(!page.contains("did not answer"), "{page}");
}

/// Where the code of the only plugin is kept.
fn entry(place: &Place) -> PathBuf {
    let files = std::fs::read_dir(place.path().join("cache")).unwrap().map(|file| file.unwrap().path());
    let mut entries = files.filter(|path| path.extension().is_some_and(|it| it == "cwasm"));
    let entry = entries.next().unwrap();
    assert_eq!(entries.next(), None);
    entry
}

/// The compiler stands still, because another process seems to be at it: what does not need its code is served.
#[test]
fn nobody_waits_for_plugins_that_are_not_compiled_yet() {
    let alone = place(&["reading-time"], "");
    {
        let serving = Serving::start(&alone);
        until("it is compiled", || code(&serving) == ["ready"]);
    }
    let name = entry(&alone).file_name().unwrap().to_owned();
    let place = place(&["embargo", "reading-time"], "");
    DirBuilder::new().mode(0o700).create(place.path().join("cache")).unwrap();
    let held = File::create(place.path().join("cache").join(name).with_added_extension("tmp")).unwrap();
    held.lock().unwrap();

    let serving = Serving::start(&place);
    assert_eq!(serving.get("/health/ready").0, 200);
    until("the other plugin is compiled", || code(&serving)[0] == "ready");
    let (ok, list) = serving.get("/");
    assert!(ok == 200 && list.contains("/item/a"), "{list}");
    assert_eq!(code(&serving), ["ready", "absent"]);
    drop(held);
    until("it is compiled", || code(&serving) == ["ready", "ready"]);
    assert!(!serving.get("/item/a").1.contains("did not answer"));
}
