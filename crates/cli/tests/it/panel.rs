//! The page for operators, with the configuration behind it.

use std::fs;

use crate::{Place, component, site::Serving};

/// Files and configuration change under a program that does not watch them, until somebody presses a button.
#[test]
fn a_plugin_is_loaded_again_as_the_configuration_says_then() {
    let place = Place::new();
    place.write("a.md", "# A\n\nSome text that can be read.");
    let configure = |more: &str| place.configure(&[], &format!("[plugins.first]\npath = \"first.wasm\"\n{more}"));
    place.write("first.wasm", fs::read(component("reading-time")).unwrap());
    configure("");
    assert!(place.run(&["import", "a.md"]).status.success());
    let serving = Serving::with(&place, &["serve"]);
    let page = || serving.get("/item/a").1;
    assert!(page().contains("min read"));

    place.write("first.wasm", fs::read(component("seo")).unwrap());
    assert!(page().contains("min read"), "nobody asked for it");
    assert_eq!(serving.press("first", "reload"), "first was loaded again, from another file than before.");
    assert!(page().contains("<!-- head: first -->"));

    configure("grants = { mail = true }\n");
    let said = serving.press("first", "reload");
    assert!(said.starts_with("first is as it was, because reload failed."), "{said}");
    assert!(said.contains("no capability is called `mail`"), "{said}");
    configure("paht = 1\n");
    let said = serving.press("first", "reload");
    assert!(
        said.contains("tapline.toml:9: nothing is called `plugins.first.paht`. To mend it: did you mean"),
        "{said}"
    );
    configure("enabled = false\n");
    let said = serving.press("first", "reload");
    assert!(said.contains("The configuration has no such plugin any more, or has it switched off."), "{said}");
    assert!(page().contains("<!-- head: first -->"), "what was loaded serves on");

    assert_eq!(serving.press("first", "disable"), "first stays loaded and is not called any more.");
    assert!(!page().contains("<!-- head: first -->"));
    assert_eq!(serving.end("-TERM"), 0);
}
