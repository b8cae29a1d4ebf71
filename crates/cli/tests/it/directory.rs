//! The plugin directory.

use std::fs;

use expect_test::expect;

use crate::{
    Place, component, text,
    watch::{READING_TIME, Watching, replace},
};

const HEAD: &str = "[server]\nlisten = \"127.0.0.1:0\"\n[host]\npool_size = 10\nplugin_directory = \"plugins\"\n";
const SEO: &str = "<!-- head: seo -->";

/// A site with one item, and with one plugin in the directory.
fn place() -> Place {
    let place = Place::new();
    place.write("a.md", "# A\n\nSome text that can be read.");
    place.write("tapline.toml", HEAD);
    place.write("plugins/reading-time.wasm", bytes("reading-time"));
    let imported = place.run(&["import", "a.md"]);
    assert!(imported.status.success(), "{imported:?}");
    place
}

fn bytes(plugin: &str) -> Vec<u8> {
    fs::read(component(plugin)).unwrap()
}

#[test]
fn files_come_change_and_go() {
    let place = place();
    // What is hidden, or does not end in `.wasm`, is nobody's, before the start and after it.
    for name in [".seo.wasm", "seo.wasm.tmp", "notes.txt"] {
        place.write(&format!("plugins/{name}"), "no plugin");
    }
    let watching = Watching::start(&place);
    assert!(watching.page().contains(READING_TIME) && !watching.page().contains(SEO));

    replace(&place, "plugins/seo.wasm", &bytes("seo"));
    assert_eq!(watching.logged("reloaded")["added"], "seo");
    assert!(watching.page().contains(SEO) && watching.page().contains(READING_TIME));

    // What is no plugin: one line says why, and the others serve on.
    replace(&place, "plugins/letter.wasm", b"Dear reader, this is not WebAssembly.");
    let refused = watching.logged("refused: it is not loaded");
    assert_eq!(refused["error"], "plugin `letter` is not WebAssembly: it starts with [44, 65, 61, 72, 20, 72, 65, 61]");
    assert!(watching.page().contains(SEO) && watching.page().contains(READING_TIME));
    // The same in place of one that was loaded.
    fs::rename(place.path().join("plugins/letter.wasm"), place.path().join("plugins/seo.wasm")).unwrap();
    let refused = watching.logged("refused: what was loaded before serves on");
    assert!(refused["error"].as_str().unwrap().starts_with("plugin `seo` is not WebAssembly"), "{refused}");
    assert!(watching.page().contains(SEO), "the version before it serves on");

    replace(&place, "plugins/seo.wasm", &bytes("reading-time"));
    assert_eq!(watching.logged("reloaded")["replaced"], "seo");
    assert!(!watching.page().contains(SEO));
    fs::remove_file(place.path().join("plugins/seo.wasm")).unwrap();
    assert_eq!(watching.logged("reloaded")["removed"], "seo");
    assert!(watching.page().contains(READING_TIME));
    assert_eq!(watching.serving.end("-TERM"), 0);
}

#[test]
fn what_the_file_says_of_a_plugin_holds_for_its_file_in_the_directory() {
    let place = place();
    let watching = Watching::start(&place);
    replace(&place, "plugins/related.wasm", &bytes("related"));
    let refused = watching.logged("refused: it is not loaded");
    assert!(refused["error"].as_str().unwrap().contains("needs the grant `database`"), "nothing is granted: {refused}");
    let granted = format!("{HEAD}[plugins.related.grants]\ndatabase = \"read\"\n");
    place.write("tapline.toml", &granted);
    assert_eq!(watching.logged("reloaded")["added"], "related");
    // Without its file it goes, and the table that is left over is named.
    fs::remove_file(place.path().join("plugins/related.wasm")).unwrap();
    assert_eq!(watching.logged("reloaded")["removed"], "related");
    let refused = watching.logged("refused: it is not loaded");
    assert_eq!(
        refused["error"],
        "tapline.toml:6: `plugins.related`: it has no `path`, and there is no plugins/related.wasm"
    );

    place.write("tapline.toml", format!("{HEAD}[plugins.reading-time]\nenabled = false\n"));
    assert_eq!(watching.logged("reloaded")["removed"], "reading-time");
    // Somewhere else, without a restart; and nowhere, which takes nothing away.
    place.write("tapline.toml", HEAD.replace("\"plugins\"", "\"others\""));
    let unusable = watching.logged("the configuration cannot be used");
    assert!(unusable["error"].as_str().unwrap().starts_with("cannot read the plugin directory others: "), "{unusable}");
    place.write("others/seo.wasm", bytes("seo"));
    assert_eq!(watching.logged("reloaded")["added"], "seo");
    fs::rename(place.path().join("others"), place.path().join("away")).unwrap();
    watching.logged("the configuration cannot be used");
    assert!(watching.page().contains(SEO));
    assert_eq!(watching.serving.end("-TERM"), 0);
}

#[test]
fn a_file_that_cannot_be_a_plugin_holds_up_no_other() {
    let place = place();
    let watching = Watching::start(&place);
    place.write("plugins/My Plugin.wasm", bytes("seo"));
    let refused = watching.logged("refused: it is not loaded");
    assert_eq!(refused["error"], "plugins/My Plugin.wasm: `My Plugin` is not the name of a plugin: 'M' at byte 0");
    assert!(refused["hint"].as_str().unwrap().starts_with("rename the file: a plugin name is "), "{refused}");
    replace(&place, "plugins/seo.wasm", &bytes("seo"));
    assert_eq!(watching.logged("reloaded")["added"], "seo");
    assert!(watching.page().contains(SEO) && watching.page().contains(READING_TIME));
    assert_eq!(watching.serving.end("-TERM"), 0);
}

#[test]
fn the_directory_and_the_file_together() {
    let place = Place::new();
    place.write("plugins/reading-time.wasm", bytes("reading-time"));
    place.write("plugins/seo.wasm", bytes("seo"));
    // A path that leads to the same file is no contradiction.
    place.write("tapline.toml", format!("{HEAD}[plugins.seo]\npath = \"./plugins/seo.wasm\"\n"));
    let listed = text(&place.run(&["plugins"]).stdout);
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["plugin", "reading-time", "seo"]);
    let shown = text(&place.run(&["config"]).stdout);
    let of_directory: Vec<&str> = shown.lines().filter(|line| line.starts_with("plugins.reading-time.path")).collect();
    let [path] = of_directory[..] else { panic!("{shown}") };
    let words: Vec<&str> = path.split_whitespace().collect();
    assert_eq!(words, ["plugins.reading-time.path", "plugins/reading-time.wasm", "tapline.toml:5"]);

    place.write("other.wasm", bytes("seo"));
    place.write("tapline.toml", format!("{HEAD}[plugins.seo]\npath = \"other.wasm\"\n"));
    place.check(
        &["plugins"],
        expect![[r#"
            error: plugin `seo` is other.wasm by its `path`, and plugins/seo.wasm by its name
            hint: take `path` out of [plugins.seo], or plugins/seo.wasm out of the directory
            [2]
        "#]],
    );
    place.write("tapline.toml", format!("{HEAD}\n[plugins.soe]\ngrants = {{ database = \"read\" }}\n"));
    place.check(
        &["plugins"],
        expect![[r#"
            error: tapline.toml:7: `plugins.soe`: it has no `path`, and there is no plugins/soe.wasm
            [2]
        "#]],
    );
    place.write("tapline.toml", HEAD);
    place.write("plugins/reading_time.wasm", "");
    place.check(
        &["serve"],
        expect![[r#"
            error: plugins/reading_time.wasm
              because: `reading_time` is not the name of a plugin: '_' at byte 7
            hint: rename the file: a plugin name is a small letter followed by small letters, digits and `-`, at most 64 bytes
            [2]
        "#]],
    );
    fs::remove_dir_all(place.path().join("plugins")).unwrap();
    place.check(
        &["serve"],
        expect![[r#"
            error: cannot read the plugin directory plugins
              because: No such file or directory (os error 2)
            hint: make the directory, or take `plugin_directory` out of [host]; nothing but plugins belongs there
            [2]
        "#]],
    );
}

#[cfg(unix)]
#[test]
fn links_within_the_directory_and_out_of_it() {
    use std::os::unix::fs::symlink;

    let place = Place::new();
    place.write("tapline.toml", HEAD);
    // As Kubernetes mounts its volumes: the names are links to a directory within.
    place.write("plugins/.version-1/seo.wasm", bytes("seo"));
    let plugins = place.path().join("plugins");
    symlink(".version-1/seo.wasm", plugins.join("seo.wasm")).unwrap();
    let listed = text(&place.run(&["plugins"]).stdout);
    assert!(listed.lines().any(|line| line.starts_with("seo ")), "{listed}");

    place.write("elsewhere.wasm", bytes("seo"));
    for (target, expected) in [
        (
            "../elsewhere.wasm",
            expect![[r#"
                error: plugins/out.wasm: it is a link that leads out of the directory
                hint: copy the file itself to the directory, or name it with `path` in a table of [plugins]
                [2]
            "#]],
        ),
        (
            "nothing.wasm",
            expect![[r#"
                error: plugins/out.wasm: No such file or directory (os error 2)
                hint: copy the file itself to the directory, or name it with `path` in a table of [plugins]
                [2]
            "#]],
        ),
        (
            ".version-1",
            expect![[r#"
                error: plugins/out.wasm: it is no file
                hint: copy the file itself to the directory, or name it with `path` in a table of [plugins]
                [2]
            "#]],
        ),
    ] {
        symlink(target, plugins.join("out.wasm")).unwrap();
        place.check(&["plugins"], expected);
        fs::remove_file(plugins.join("out.wasm")).unwrap();
    }
}
