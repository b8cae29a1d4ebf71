//! What crosses, and how answers fold.

use std::sync::Arc;

use expect_test::expect;
use tapline_content::{
    AccessQuestion, AccessRequest, Cron, CronRun, Field, Item, ItemAccess, ItemDelete, ItemInsert, ItemPresave,
    ItemUpdate, ItemView, Operation, Updated, Value,
};
use tapline_host_core::{Ballot, Fault, PluginSpec};

use crate::{PROBES, bytes, header, host, host_with, item, name};

#[tokio::test]
async fn every_kind_of_value_arrives_in_both_modes() {
    let mut seen = Vec::new();
    for plugin in PROBES {
        let outcome = host_with(plugin).await.dispatch(ItemView, &item("")).await.unwrap();
        assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
        seen.push(outcome.answers[0].1.body());
    }
    expect![[r#"<pre>Header { id: "readme", revision: 3, kind: "document", title: "Über Ärger 🦀", author: "Ada", published: true, promoted: false, sticky: true, created: -1, changed: 1700000000 } | body: markdown **b** &amp; &lt;i&gt; | category: tag/c C | do: text  | extra: json {"a":[1,2]} | flag: boolean true | gone: null | rating: float 4.5 | tags: tag/a A, tag/b B | views: integer -7</pre>"#]]
        .assert_eq(&seen[0]);
    assert_eq!(seen[0], seen[1], "full and lazy see the same item");
}

#[tokio::test]
async fn presave_changes_arrive_in_both_modes_and_each_plugin_gets_what_the_one_before_left() {
    let host = host();
    for plugin in PROBES {
        host.load(PluginSpec::bytes(name(plugin), bytes(plugin))).await.unwrap();
    }
    let change = host.dispatch(ItemPresave, item("")).await.unwrap();
    assert!(change.failures.is_empty());
    assert_eq!(&*change.state.header().title, "ÜBER ÄRGER 🦀");
    assert_eq!(change.state.field("gone"), None);
    // The full probe counts nine fields and adds one, then takes `gone` away; the lazy one counts nine again.
    assert_eq!(change.state.field("probed"), Some(&Value::Integer(9)));
    assert_eq!(change.state.fields().len(), 9);
}

#[tokio::test]
async fn a_presave_that_fails_stops_the_save() {
    for plugin in PROBES {
        let error = host_with(plugin).await.dispatch(ItemPresave, item("error")).await.unwrap_err();
        assert_eq!(error.to_string(), format!("plugin `{plugin}`, tap `item_presave`: returned an error: as asked"));
    }
}

#[tokio::test]
async fn a_handle_is_read_only_where_nothing_may_change() {
    let outcome = host_with("probe-lazy").await.dispatch(ItemView, &item("write")).await.unwrap();
    assert!(
        matches!(&outcome.failures[0].fault, Fault::Returned { message } if message.contains("ReadOnly")),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn only_declared_fields_cross() {
    for plugin in PROBES {
        let failures = host_with(plugin).await.dispatch(ItemInsert, &item("fields")).await.unwrap();
        assert!(matches!(&failures[0].fault, Fault::Returned { message } if message == "do, views"), "{failures:?}");
    }
}

#[tokio::test]
async fn a_plugin_cannot_change_what_it_did_not_declare() {
    for plugin in PROBES {
        let host = host();
        host.load(PluginSpec::bytes(name(plugin), declaring_nothing(bytes(plugin), "item_presave"))).await.unwrap();
        let error = host.dispatch(ItemPresave, item("")).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("declare"), "{text}");
    }
}

/// The same plugin, whose record for `tap` says `fields = []`.
fn declaring_nothing(mut plugin: Vec<u8>, tap: &str) -> Vec<u8> {
    let start = find(&plugin, format!("\"tap\":\"{tap}\"").as_bytes()).unwrap();
    let place = start + find(&plugin[start..], b"\"fields\":null").unwrap();
    plugin[place..place + 13].copy_from_slice(b"\"fields\":[]  ");
    plugin
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[tokio::test]
async fn notify_taps_arrive_in_both_modes() {
    for plugin in PROBES {
        let host = host_with(plugin).await;
        let item = item("");
        assert!(host.dispatch(ItemInsert, &item).await.unwrap().is_empty());
        let updated = Updated { item: Arc::clone(&item), original: Arc::clone(&item) };
        assert!(host.dispatch(ItemUpdate, &updated).await.unwrap().is_empty());
        assert!(host.dispatch(ItemDelete, &item).await.unwrap().is_empty());
        let snapshots = host.metrics().tap_snapshots();
        for tap in ["item_insert", "item_update", "item_delete"] {
            assert!(snapshots.iter().any(|snapshot| snapshot.tap == tap && snapshot.invocations == 1), "{tap}");
        }
    }
    let run = CronRun { now: 100, previous: Some(40) };
    assert!(host_with("probe").await.dispatch(Cron, &run).await.unwrap().is_empty());
}

#[tokio::test]
async fn votes_are_counted_and_a_failure_denies() {
    let question = |command: &str, operation, account: Option<&str>| AccessQuestion {
        item: item(command),
        request: AccessRequest { operation, account: account.map(Into::into), now: 0 },
    };
    for plugin in PROBES {
        let host = host_with(plugin).await;
        let cases = [
            (question("", Operation::View, None), Ballot::Allow),
            (question("", Operation::Update, Some("editor")), Ballot::Allow),
            (question("", Operation::Update, Some("reader")), Ballot::Neutral),
            (question("", Operation::Delete, Some("editor")), Ballot::Deny),
            (question("error", Operation::View, None), Ballot::Deny),
            (question("panic", Operation::View, None), Ballot::Deny),
        ];
        for (question, expected) in cases {
            assert_eq!(host.dispatch(ItemAccess, &question).await.unwrap().ballot, expected);
        }
    }
}

#[tokio::test]
async fn one_deny_outweighs_an_allow() {
    let host = host();
    for plugin in ["probe", "embargo"] {
        host.load(PluginSpec::bytes(name(plugin), bytes(plugin))).await.unwrap();
    }
    let until = Field { name: "embargo_until".into(), value: Value::Text("2031-05-01".into()) };
    let question = |now| AccessQuestion {
        item: Arc::new(Item::new(header(), [until.clone()]).unwrap()),
        request: AccessRequest { operation: Operation::View, account: None, now },
    };
    // 2031-05-01T00:00:00Z
    let day = 1_935_360_000;
    let before = host.dispatch(ItemAccess, &question(day - 1)).await.unwrap();
    assert_eq!((before.ballot, before.denied_by), (Ballot::Deny, vec![name("embargo")]));
    assert_eq!(host.dispatch(ItemAccess, &question(day)).await.unwrap().ballot, Ballot::Allow);
}

#[tokio::test]
async fn items_of_any_size_arrive_whole() {
    for plugin in PROBES {
        let host = host_with(plugin).await;
        for size in [2_400, 10_000, 50_000, 100_000, 900_000] {
            let body = Field { name: "body".into(), value: Value::Text("x".repeat(size).into()) };
            let item = Arc::new(Item::new(header(), [body]).unwrap());
            let outcome = host.dispatch(ItemView, &item).await.unwrap();
            let length = outcome.answers[0].1.body().len();
            assert!(length > size && length < size + 400, "{plugin}: {size} became {length}");
        }
    }
}

#[tokio::test]
async fn a_large_item_crosses_and_its_answer_is_bounded() {
    for plugin in PROBES {
        let host = host_with(plugin).await;
        let body = Field { name: "body".into(), value: Value::Text("x".repeat(5_000_000).into()) };
        let item = Arc::new(Item::new(header(), [body]).unwrap());
        // The title changes, the body does not cross back.
        let change = host.dispatch(ItemPresave, Arc::clone(&item)).await.unwrap();
        assert_eq!(change.state.field("body"), item.field("body"));
        let outcome = host.dispatch(ItemView, &item).await.unwrap();
        assert!(matches!(outcome.failures[0].fault, Fault::BadAnswer { .. }), "5 MB of answer is refused");
    }
}

#[tokio::test]
async fn both_modes_of_the_bench_guests_give_one_answer() {
    let mut seen = Vec::new();
    for plugin in ["teaser", "teaser-lazy"] {
        let outcome = host_with(plugin).await.dispatch(ItemView, &item("")).await.unwrap();
        seen.push(outcome.answers[0].1.body());
    }
    assert_eq!(
        seen[0],
        "<article><h3>Über Ärger 🦀</h3><p>**b** &amp; &lt;i&gt;</p><small>2 tags, -7 views</small></article>"
    );
    assert_eq!(seen[0], seen[1]);
}
