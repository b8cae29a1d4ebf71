//! Looking after the directory with compiled plugins.

use std::fs;

use expect_test::expect;
use serde_json::Value;

use crate::{Place, text};

const CACHE: &str = "[cache]\ndirectory = \"cache\"\n";

/// A directory with these plugins compiled, one of them for another engine as well.
fn compiled() -> Place {
    let place = Place::new();
    place.configure(&["seo", "embargo"], CACHE);
    assert_eq!(place.run(&["plugins"]).status.code(), Some(0));
    place.configure(&["seo"], &format!("{CACHE}[host.limits]\nenable_fuel_metering = true\n"));
    assert_eq!(place.run(&["plugins"]).status.code(), Some(0));
    place.configure(&["seo"], &format!("{CACHE}[host.compilation]\nworker = false\n"));
    place.write(
        "tapline.toml",
        fs::read_to_string(place.path().join("tapline.toml"))
            .unwrap()
            .replace("pool_size = 10", "pool_size = 10\noptimisation = \"none\""),
    );
    assert_eq!(place.run(&["plugins"]).status.code(), Some(0));
    place.configure(&["seo", "reading-time"], CACHE);
    place
}

fn json(place: &Place, arguments: &[&str]) -> Value {
    serde_json::from_slice(&place.run(arguments).stdout).unwrap()
}

#[test]
fn list_and_stats() {
    let place = compiled();
    let list = json(&place, &["cache", "list", "--json"]);
    let rows: Vec<(bool, &Value)> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["is_for_this_configuration"].as_bool().unwrap(), &entry["plugins"]))
        .collect();
    assert_eq!(rows.len(), 4, "{list:#}");
    let seo = Value::from(vec!["seo"]);
    assert_eq!(rows.iter().filter(|row| row.0 && *row.1 == seo).count(), 2, "with fuel, and without");
    assert_eq!(rows.iter().filter(|row| !row.0 && *row.1 == seo).count(), 1, "another optimisation");
    assert_eq!(rows.iter().filter(|row| *row.1 == Value::from(Vec::<String>::new())).count(), 1, "embargo");
    assert!(list[0]["last_used_unix"].as_u64() > Some(1_700_000_000) && list[0]["bytes"].as_u64() > Some(1000));

    let stats = json(&place, &["cache", "stats", "--json"]);
    let expected = [
        ("entries", 4),
        ("max_entries", 1000),
        ("max_bytes", 1 << 30),
        ("for_this_configuration", 3),
        ("leftovers", 0),
        ("plugins", 2),
        ("plugins_compiled", 1),
    ];
    for (name, value) in expected {
        assert_eq!(stats[name], value, "{name} in {stats:#}");
    }
    let table = text(&place.run(&["cache", "list"]).stdout);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("plugin  engine  size") && lines.len() == 5, "{table}");
    assert!(lines[1..].iter().any(|line| line.starts_with("seo     this ")), "{table}");
    let table = text(&place.run(&["cache", "stats"]).stdout);
    let last = table.lines().last().unwrap();
    assert!(last.starts_with("plugins that need no compilation ") && last.ends_with(" 1 of 2"), "{table}");
}

#[test]
fn verify_prune_and_clear() {
    let place = compiled();
    let words = |arguments: &[&str]| {
        let output = place.run(arguments);
        (output.status.code().unwrap(), text(&output.stdout))
    };
    let (code, right) = words(&["cache", "verify"]);
    assert!(code == 0 && right.starts_with("checked 4 entries (") && right.ends_with("all are as they were written\n"));

    let list = json(&place, &["cache", "list", "--json"]);
    let embargo =
        list.as_array().unwrap().iter().find(|entry| entry["plugins"].as_array().unwrap().is_empty()).unwrap();
    let name = format!("{}_{}.cwasm", embargo["name"].as_str().unwrap(), embargo["engine"].as_str().unwrap());
    place.write(&format!("cache/{name}"), "\x7fELF, and no authenticator that would be right for it");
    let (code, damaged) = words(&["cache", "verify"]);
    assert_eq!(code, 1);
    let line = format!(
        "{} (engine {}): wrong authenticator\n",
        embargo["name"].as_str().unwrap(),
        embargo["engine"].as_str().unwrap()
    );
    assert!(damaged.starts_with(&line) && damaged.contains("1 damaged or foreign"), "{damaged}");

    let (code, pruned) = words(&["cache", "prune"]);
    assert!(code == 0 && pruned.starts_with("removed 2 entries ("), "{pruned}");
    assert!(pruned.ends_with("1 for other engines, 1 damaged or foreign, 0 for want of room\n"), "{pruned}");
    let left = json(&place, &["cache", "list", "--json"]);
    assert!(left.as_array().unwrap().iter().all(|entry| entry["plugins"][0] == "seo"), "{left:#}");

    let (code, cleared) = words(&["cache", "clear"]);
    assert!(code == 0 && cleared.starts_with("removed 2 entries ("), "{cleared}");
    place.check(
        &["cache", "list"],
        expect![[r#"
            nothing is compiled

            [0]
        "#]],
    );
}

#[test]
fn what_is_not_there_or_not_ours() {
    let place = Place::new();
    place.configure(&[], "");
    place.check(
        &["cache", "list"],
        expect![[r#"
            error: no directory for compiled plugins is in use
            hint: set `directory` in [cache], or TAPLINE_CACHE_DIRECTORY, and do not switch `enable_aot_cache` off
            [1]
        "#]],
    );
    place.configure(&[], CACHE);
    place.check(
        &["cache", "clear"],
        expect![[r#"
            cache does not exist yet: nothing was compiled

            [0]
        "#]],
    );
    assert!(!place.path().join("cache").exists(), "looking makes nothing");
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir(place.path().join("cache")).unwrap();
    fs::set_permissions(place.path().join("cache"), fs::Permissions::from_mode(0o777)).unwrap();
    place.check(
        &["cache", "stats"],
        expect![[r#"
            error: cache directory DIR/cache has mode 0777, which lets other users in
            hint: name a directory for compiled plugins alone, or take the permissions away: chmod go-rwx
            [1]
        "#]],
    );
}

/// Where the code of a plugin came from, and what is wrong with where it should have come from.
#[test]
fn the_log_says_what_became_of_the_cache() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.configure(&["seo"], CACHE);
    let log_of = |code: i32| {
        let output = place.run(&["plugins", "--log", "debug"]);
        assert_eq!(output.status.code(), Some(code));
        text(&output.stderr)
    };
    let log = || log_of(0);
    let says = |log: &str, part: &str| assert!(log.contains(part), "{part} is not in:\n{log}");
    says(&log(), "component compiled");
    says(&log(), "component found");

    let cache = place.path().join("cache");
    let mut files = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
    let entry = files.find(|path| path.extension().is_some_and(|extension| extension == "cwasm")).unwrap();
    let mut bytes = fs::read(&entry).unwrap();
    bytes[1000] ^= 1;
    fs::write(&entry, bytes).unwrap();
    let damaged = log();
    says(&damaged, "refused a compiled component on disk");
    says(&damaged, "component compiled");

    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
    says(&log_of(1), "compiled plugins are not kept on disk");
}
