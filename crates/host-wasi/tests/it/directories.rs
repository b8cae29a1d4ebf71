//! Paths that would lead out of what is granted, and what is granted to read alone.

use std::os::unix::fs::symlink;

use tapline_content::ItemView;
use tapline_host_core::PluginSpec;

use crate::{Place, answers, check, component, host, item, name, probe};

#[tokio::test]
async fn a_granted_directory_is_a_whole_one() {
    let place = Place::new();
    let host = probe(place.grant("write")).await;
    check(
        &host,
        &[
            ("write /data/a 3", "ok"),
            ("append /data/a 2", "ok"),
            ("read /data/a", "ok xxxxx"),
            ("make-directory /data/deep", "ok"),
            ("rename /data/a /data/deep/b", "ok"),
            ("link /data/deep/b /data/c", "ok"),
            ("symlink deep/b /data/d", "ok"),
            ("read /data/d", "ok xxxxx"),
            ("list /data", "ok c d deep"),
            ("remove /data/c", "ok"),
            ("list /data/deep/..", "ok d deep"),
        ],
    )
    .await;
    assert_eq!(std::fs::read_to_string(place.data().join("deep/b")).unwrap(), "xxxxx");
    place.check_outside();
}

#[tokio::test]
async fn no_path_leads_out() {
    let place = Place::new();
    let data = place.data();
    std::fs::write(data.join("file"), "mine").unwrap();
    // Links that were there before the plugin came.
    symlink("../secret", data.join("relative")).unwrap();
    symlink(place.outside.path().join("secret"), data.join("absolute")).unwrap();
    symlink("..", data.join("up")).unwrap();
    symlink("/proc", data.join("processes")).unwrap();
    let host = probe(place.grant("write")).await;
    let commands = [
        "read /data/../secret",
        "read /data/./../secret",
        "read /data/nowhere/../../secret",
        "read /data/relative",
        "read /data/absolute",
        "read /data/up/secret",
        "read /data/up/data/../secret",
        "read /data/processes/self/environ",
        "read /data//etc/passwd",
        "read /etc/passwd",
        "read /proc/self/environ",
        "read /data/../../../../../../etc/passwd",
        "read secret",
        "read ../secret",
        "size /data/../secret",
        "size /data/up/secret",
        "list /data/..",
        "list /data/../",
        "list /data/up",
        "list /data/up/",
        "list /",
        "read /data/file/",
        "read /data/relative/",
        "write /data/new/ 1",
        "write /data/../new 1",
        "write /data/../secret 1",
        "write /data/relative 1",
        "write /data/up/new 1",
        "append /data/absolute 1",
        "set-size /data/relative 0",
        "remove /data/../secret",
        "remove /data/up/secret",
        "make-directory /data/../new",
        "make-directory /data/up/new",
        "rename /data/file /data/../new",
        "rename /data/file /data/up/new",
        "rename /data/../secret /data/mine",
        "rename /data/up/secret /data/mine",
        "link /data/file /data/../new",
        "link /data/file /data/up/new",
        "link /data/../secret /data/mine",
        "link /data/up/secret /data/mine",
        "symlink file /data/../new",
        "symlink file /data/up/new",
    ];
    let found = answers(&host, &commands).await;
    assert_eq!(found.len(), commands.len());
    for (command, answer) in commands.iter().zip(&found) {
        assert!(answer.starts_with("error "), "{command} -> {answer}");
    }
    place.check_outside();
    assert_eq!(std::fs::read_to_string(data.join("file")).unwrap(), "mine");
    assert!(!data.join("mine").exists());
}

#[tokio::test]
async fn links_of_the_plugin_itself_lead_nowhere() {
    let place = Place::new();
    let host = probe(place.grant("write")).await;
    // The links may be made: where they lead is looked at when they are followed.
    let answers = answers(
        &host,
        &[
            "symlink ../secret /data/a",
            "read /data/a",
            "write /data/a 1",
            "symlink .. /data/b",
            "list /data/b",
            "read /data/b/secret",
            "symlink /etc /data/c",
            "read /data/c/passwd",
        ],
    )
    .await;
    for refused in [1, 2, 4, 5, 7] {
        assert!(answers[refused].starts_with("error "), "{refused}: {answers:?}");
    }
    place.check_outside();
}

#[tokio::test]
async fn what_is_granted_to_read_cannot_be_changed() {
    let place = Place::new();
    let data = place.data();
    std::fs::write(data.join("file"), "mine").unwrap();
    std::fs::create_dir(data.join("empty")).unwrap();
    let host = probe(place.grant("read")).await;
    let commands = [
        "write /data/file 1",
        "write /data/new 1",
        "write-at /data/file 0 1",
        "append /data/file 1",
        "set-size /data/file 0",
        "remove /data/file",
        "make-directory /data/new",
        "rename /data/file /data/new",
        "link /data/file /data/new",
        "symlink file /data/new",
    ];
    for (command, answer) in commands.iter().zip(answers(&host, &commands).await) {
        assert!(answer.starts_with("error "), "{command} -> {answer}");
    }
    check(&host, &[("read /data/file", "ok mine"), ("list /data", "ok empty file")]).await;
    assert_eq!(std::fs::read_to_string(data.join("file")).unwrap(), "mine");
}

#[tokio::test]
async fn a_link_between_two_directories_does_not_make_the_one_as_writable_as_the_other() {
    let place = Place::new();
    std::fs::write(place.data().join("file"), "mine").unwrap();
    std::fs::create_dir(place.data().join("out")).unwrap();
    let mut grant = place.grant("read");
    let out = serde_json::json!({ "path": place.data().join("out"), "at": "/out", "access": "write" });
    grant["directories"].as_array_mut().unwrap().push(out);
    let host = probe(grant).await;
    let answers = answers(
        &host,
        &[
            "link /data/file /out/file",
            "rename /data/file /out/file",
            "symlink ../file /out/link",
            "write /out/link 1",
            "write /out/own 1",
        ],
    )
    .await;
    for refused in [0, 1, 3] {
        assert!(answers[refused].starts_with("error "), "{answers:?}");
    }
    assert_eq!(answers[4], "ok");
    assert_eq!(std::fs::read_to_string(place.data().join("file")).unwrap(), "mine");
}

#[tokio::test]
async fn the_sample_shows_an_attachment_and_nothing_else() {
    let place = Place::new();
    std::fs::write(place.data().join("poem.txt"), "Roses & <violets>").unwrap();
    let host = host();
    let grant =
        serde_json::json!({ "directories": [{ "path": place.data(), "at": "/attachments", "access": "read" }] });
    host.load(PluginSpec::bytes(name("attachment"), component("attachment")).grant("files", grant)).await.unwrap();
    let outcome = host.dispatch(ItemView, &item("attachment", "poem.txt")).await.unwrap();
    assert_eq!(
        outcome.answers[0].1.body(),
        "<figure class=\"attachment\"><pre>Roses &amp; &lt;violets&gt;</pre><figcaption>poem.txt</figcaption></figure>"
    );
    for hostile in ["../secret", "/etc/passwd", "/proc/self/environ", "poem.txt/", ".."] {
        let outcome = host.dispatch(ItemView, &item("attachment", hostile)).await.unwrap();
        let [failure] = &outcome.failures[..] else { panic!("{hostile}: {outcome:?}") };
        assert!(failure.to_string().contains(&format!("attachment `{hostile}`: ")), "{failure}");
    }
}
