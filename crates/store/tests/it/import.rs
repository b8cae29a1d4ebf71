//! Imports of good and of bad documents.

use std::{error::Error, fmt::Write as _, path::PathBuf};

use expect_test::{Expect, expect};
use tapline_content::{FormattedText, Value};
use tapline_host_core::Host;
use tapline_store::{ImportReport, import};

use crate::{Site, bare, host_with};

async fn run(site: &Site, host: &Host, paths: &[&str]) -> ImportReport {
    let paths: Vec<PathBuf> = paths.iter().map(|path| site.path().join(path)).collect();
    import(&site.store, host, &paths, |_| {}).await
}

#[track_caller]
fn check(site: &Site, report: &ImportReport, expected: Expect) {
    let mut text = format!("{} new, {} changed, {} same\n", report.inserted, report.updated, report.unchanged);
    for bad in &report.bad {
        let line = bad.line.map(|line| format!(":{line}")).unwrap_or_default();
        write!(text, "{}{line}: {}", bad.path.display(), bad.error).unwrap();
        let mut cause = bad.error.source();
        while let Some(error) = cause {
            write!(text, ": {error}").unwrap();
            cause = error.source();
        }
        text.push('\n');
        if let Some(hint) = bad.error.hint() {
            writeln!(text, "  hint: {hint}").unwrap();
        }
    }
    expected.assert_eq(&text.replace(&site.path().display().to_string(), "DIR"));
}

#[tokio::test]
async fn a_tree_of_documents() {
    let site = Site::new().await;
    site.write("docs/README.md", "# Read me\n\nText");
    site.write("docs/guide/First Steps.md", "---\ntitle: First\ntags: [a]\n---\nText");
    site.write("docs/guide/notes.txt", "not a document");
    let report = run(&site, bare(), &["docs"]).await;
    check(
        &site,
        &report,
        expect![[r#"
        2 new, 0 changed, 0 same
    "#]],
    );
    let first = site.store.load("guide-first-steps").await.unwrap().unwrap();
    assert_eq!(&*first.header().title, "First");
    let body = Value::Formatted(FormattedText { format: "markdown".into(), text: "Text".into() });
    assert_eq!(first.field("body"), Some(&body));
    assert_eq!(&*site.store.load("readme").await.unwrap().unwrap().header().title, "Read me");

    let path = site.store.path_of_id("guide-first-steps").await.unwrap().unwrap();
    assert!(path.ends_with("docs/guide/First Steps.md"), "{path}");
    assert_eq!(site.store.id_of_path(&path).await.unwrap().as_deref(), Some("guide-first-steps"));

    check(
        &site,
        &run(&site, bare(), &["docs"]).await,
        expect![[r#"
        0 new, 0 changed, 2 same
    "#]],
    );
    site.write("docs/README.md", "# Read me now");
    check(
        &site,
        &run(&site, bare(), &["docs"]).await,
        expect![[r#"
        0 new, 1 changed, 1 same
    "#]],
    );
}

#[tokio::test]
async fn every_kind_of_bad_document_is_reported_and_the_rest_goes_on() {
    let site = Site::new().await;
    site.write("a/closed.md", "---\ntitle: A\n\nText");
    site.write("a/empty.md", "");
    site.write("a/id.md", "---\nid: Not An Id\n---\nText");
    site.write("a/key.md", "---\ntitle: A\nBad-Key: 1\n---\n");
    site.write("a/latin1.md", b"# Caf\xe9\n");
    site.write("a/long.md", format!("# {}\n", "x".repeat(2000)));
    site.write("a/same1.md", "---\nid: same\n---\nFirst");
    site.write("a/same2.md", "---\nid: same\n---\nSecond");
    site.write("a/yaml.md", "---\ntitle: \"A\n---\n");
    site.write("a/z-good.md", "# Good");
    site.write("b.jsonl", "{\"id\":\"j1\",\"title\":\"J\"}\nnot json\n\n{\"id\":\"same\",\"title\":\"S\"}\n{\"id\":\"j2\",\"title\":\"J\"}\n");
    site.write("empty.jsonl", "\n\n");
    site.write("picture.png", "png");
    let report = run(&site, bare(), &["a", "b.jsonl", "empty.jsonl", "picture.png", "missing.md", "missing"]).await;
    check(
        &site,
        &report,
        expect![[r#"
        4 new, 0 changed, 0 same
        DIR/missing.md: it cannot be read: No such file or directory (os error 2)
          hint: check the path, and import again if the file has just been moved
        DIR/missing: it cannot be read: No such file or directory (os error 2)
          hint: check the path, and import again if the file has just been moved
        DIR/a/closed.md:1: its front matter is not closed
          hint: put a line `---` behind the last key
        DIR/a/empty.md: it is empty
          hint: write something into it, or delete it
        DIR/a/id.md: the id `Not An Id` is refused: it takes 1 to 200 lower-case letters, digits, `-`, `_` and `.`
        DIR/a/key.md:3: the key `Bad-Key` cannot name a field: a name takes 1 to 64 lower-case letters, digits and underscores
        DIR/a/latin1.md:1: it is not UTF-8, from byte 5 on
          hint: save it as UTF-8
        DIR/a/long.md: a title of 2000 bytes is refused: it takes 1 to 1024
        DIR/a/same2.md: the id `same` is taken by DIR/a/same1.md
          hint: give one of them another `id`
        DIR/a/yaml.md:3: its front matter is not YAML: invalid indentation in multiline quoted scalar
          hint: put values with `:` or `#` in them into quotes, and indent with spaces
        DIR/b.jsonl:2: it is not an item in JSON: expected ident at column 2
        DIR/b.jsonl:4: the id `same` is taken by DIR/a/same1.md
          hint: give one of them another `id`
        DIR/empty.jsonl: it is empty
          hint: write something into it, or delete it
        DIR/picture.png: it is neither a directory nor a `.md` or `.jsonl` file
          hint: name the file `.md` or `.jsonl`
    "#]],
    );
    let same = site.store.load("same").await.unwrap().unwrap();
    assert_eq!(&*same.header().title, "same1", "the first of two stays");
    for id in ["z-good", "j1", "j2"] {
        assert!(site.store.load(id).await.unwrap().is_some(), "{id}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_vanished_and_a_circle_of_directories() {
    let site = Site::new().await;
    site.write("docs/a.md", "# A");
    std::os::unix::fs::symlink("nowhere.md", site.path().join("docs/gone.md")).unwrap();
    std::os::unix::fs::symlink(".", site.path().join("docs/circle")).unwrap();
    check(
        &site,
        &run(&site, bare(), &["docs"]).await,
        expect![[r#"
        1 new, 0 changed, 0 same
        DIR/docs/gone.md: it cannot be read: No such file or directory (os error 2)
          hint: check the path, and import again if the file has just been moved
    "#]],
    );
}

#[tokio::test]
async fn a_bad_document_leaves_what_was_stored() {
    let (site, host) = (Site::new().await, host_with("probe").await);
    site.write("a.md", "# Title");
    run(&site, &host, &["a.md"]).await;
    let stored = site.store.load("a").await.unwrap().unwrap();
    for text in ["---\ntitle: A\n", "", "---\ndo: error\n---\n# Title", "---\ndo: panic\n---\n# Title"] {
        site.write("a.md", text);
        assert_eq!(run(&site, &host, &["a.md"]).await.bad.len(), 1, "{text}");
        assert_eq!(site.store.load("a").await.unwrap().unwrap(), stored, "{text}");
    }
}

#[tokio::test]
async fn an_item_of_five_megabytes() {
    let (site, host) = (Site::new().await, host_with("audit-log").await);
    let body = "All work and no play. ".repeat(5 * 1024 * 1024 / 22);
    site.write("large.md", format!("# Large\n\n{body}"));
    let report = run(&site, &host, &["large.md"]).await;
    check(
        &site,
        &report,
        expect![[r#"
        1 new, 0 changed, 0 same
    "#]],
    );
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    let stored = site.store.load("large").await.unwrap().unwrap();
    assert_eq!(stored.field("body").and_then(Value::text).unwrap().len(), body.len() + "# Large\n\n".len());
}

#[tokio::test]
async fn a_date_that_is_not_given_is_the_first_import() {
    let site = Site::new().await;
    site.write("a.md", "# A");
    run(&site, bare(), &["a.md"]).await;
    let first = site.store.load("a").await.unwrap().unwrap().header().created;
    site.write("a.md", "# A, changed");
    run(&site, bare(), &["a.md"]).await;
    let second = site.store.load("a").await.unwrap().unwrap();
    assert_eq!((second.header().created, second.header().revision), (first, 2));
    site.write("a.md", "---\ndate: 2020-01-01\n---\n# A, changed");
    run(&site, bare(), &["a.md"]).await;
    assert_eq!(site.store.load("a").await.unwrap().unwrap().header().created, 1_577_836_800);
}

#[tokio::test]
async fn a_database_that_fails_ends_the_import() {
    let site = Site::new().await;
    for name in ["a.md", "b.md", "c.md"] {
        site.write(&format!("docs/{name}"), "# Title");
    }
    site.store.close().await;
    let report = run(&site, bare(), &["docs"]).await;
    assert_eq!((report.items(), report.bad.len(), report.not_tried), (0, 1, 2));
}

#[tokio::test]
async fn progress_names_each_file() {
    let site = Site::new().await;
    site.write("docs/a.md", "# A");
    site.write("docs/b.md", "# B");
    let mut seen = Vec::new();
    import(&site.store, bare(), &[site.path().join("docs")], |progress| {
        let name = progress.path.file_name().unwrap().to_string_lossy().into_owned();
        seen.push((name, progress.done, progress.total));
    })
    .await;
    assert_eq!(seen, [("a.md".to_owned(), 0, 2), ("b.md".to_owned(), 1, 2)]);
}
