//! Saves, deletions and cron, with the taps around them.

use sqlx::{Connection, SqliteConnection};
use tapline_content::{Item, Value};
use tapline_host_core::{Fault, Host, Party};
use tapline_store::{Outcome, StoreError};

use crate::{Site, bare, every_value, host_with, item, text, url};

fn calls(host: &Host, tap: &str) -> u64 {
    host.metrics()
        .tap_snapshots()
        .iter()
        .filter(|snapshot| snapshot.tap == tap)
        .map(|snapshot| snapshot.invocations)
        .sum()
}

#[tokio::test]
async fn every_value_comes_back() {
    let site = Site::new().await;
    let saved = site.store.save(bare(), item("a", "A", every_value())).await.unwrap();
    let stored = site.store.load("a").await.unwrap().unwrap();
    assert_eq!(stored.fields(), item("a", "A", every_value()).fields());
    assert_eq!(stored, saved.item);
    assert_eq!(site.store.load("b").await.unwrap(), None);
}

/// What is large is read elsewhere, and as before.
#[tokio::test]
async fn a_large_item_comes_back() {
    let site = Site::new().await;
    let fields = || [every_value(), vec![("large", text(&"All work and no play. ".repeat(10_000)))]].concat();
    site.store.save(bare(), item("a", "A", fields())).await.unwrap();
    assert_eq!(site.store.load("a").await.unwrap().unwrap().fields(), item("a", "A", fields()).fields());
    let mut other = SqliteConnection::connect(&url(&site.path().join("site.db"))).await.unwrap();
    sqlx::raw_sql("UPDATE items SET fields = substr(fields, 1, length(fields) - 1)").execute(&mut other).await.unwrap();
    let error = site.store.load("a").await.unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { id, .. } if id == "a"), "{error:?}");
}

#[tokio::test]
async fn revisions_and_times() {
    let site = Site::new().await;
    let save = async |item: Item| site.store.save(bare(), item).await.unwrap();

    let first = save(item("a", "A", [])).await;
    assert_eq!((first.outcome, first.item.header().revision), (Outcome::Inserted, 1));
    assert!(first.item.header().created > 1_700_000_000, "it is stamped with the time of the save");

    let same = save(item("a", "A", [])).await;
    assert_eq!((same.outcome, same.item.header().revision), (Outcome::Unchanged, 1));

    let changed = save(item("a", "B", [])).await;
    assert_eq!((changed.outcome, changed.item.header().revision), (Outcome::Updated, 2));
    assert_eq!(changed.item.header().created, first.item.header().created);

    let mut dated = item("a", "B", []);
    dated.stamp(99, 60, 99);
    let dated = save(dated).await;
    assert_eq!((dated.item.header().created, dated.item.header().revision), (60, 3));
    assert_eq!(save(item("a", "B", [])).await.outcome, Outcome::Unchanged, "a date that was given is kept");
}

#[tokio::test]
async fn presave_changes_what_is_stored_and_the_others_are_told() {
    let (site, host) = (Site::new().await, host_with("probe").await);
    let saved = site.store.save(&host, item("a", "Title", [("gone", text("x"))])).await.unwrap();
    assert_eq!(&*saved.item.header().title, "TITLE");
    assert_eq!(saved.item.field("gone"), None);
    assert_eq!(saved.item.field("probed"), Some(&Value::Integer(1)));
    assert!(saved.failures.is_empty(), "{:?}", saved.failures);
    assert_eq!(site.store.load("a").await.unwrap().unwrap(), saved.item);
    assert_eq!((calls(&host, "item_insert"), calls(&host, "item_update")), (1, 0));

    let again = site.store.save(&host, item("a", "Title", [("gone", text("x"))])).await.unwrap();
    assert_eq!(again.outcome, Outcome::Unchanged, "the plugin made of it what is stored");
    assert_eq!((calls(&host, "item_presave"), calls(&host, "item_update")), (2, 0));

    site.store.save(&host, item("a", "Other", [])).await.unwrap();
    assert_eq!((calls(&host, "item_insert"), calls(&host, "item_update")), (1, 1));

    let deleted = site.store.delete(&host, "a").await.unwrap().unwrap();
    assert_eq!(&*deleted.item.header().title, "OTHER");
    assert_eq!(calls(&host, "item_delete"), 1);
    assert!(site.store.load("a").await.unwrap().is_none());
    assert!(site.store.delete(&host, "a").await.unwrap().is_none());
    assert_eq!(calls(&host, "item_delete"), 1);
}

#[tokio::test]
async fn a_plugin_that_fails_in_presave_stops_the_save() {
    let (site, host) = (Site::new().await, host_with("probe").await);
    let stored = site.store.save(&host, item("a", "First", [])).await.unwrap().item;
    for command in ["error", "panic"] {
        let error = site.store.save(&host, item("a", "Second", [("do", text(command))])).await.unwrap_err();
        let StoreError::Refused { id, source } = &error else { panic!("{error:?}") };
        assert_eq!((id.as_str(), source.plugin.as_str(), source.tap.as_str()), ("a", "probe", "item_presave"));
        assert_eq!(error.party(), Party::Guest);
    }
    assert_eq!(site.store.load("a").await.unwrap().unwrap(), stored);
    assert_eq!(calls(&host, "item_update"), 0);
}

#[tokio::test]
async fn a_plugin_that_fails_when_it_is_told_stops_nothing() {
    let (site, host) = (Site::new().await, host_with("probe").await);
    site.store.save(bare(), item("a", "A", [("do", text("panic"))])).await.unwrap();
    let deleted = site.store.delete(&host, "a").await.unwrap().unwrap();
    let [failure] = &deleted.failures[..] else { panic!("{:?}", deleted.failures) };
    assert!(matches!(failure.fault, Fault::Panicked(_)), "{failure}");
    assert!(site.store.load("a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_number_that_could_not_be_read_again_is_refused() {
    let site = Site::new().await;
    for value in [f64::NAN, f64::INFINITY] {
        let error = site.store.save(bare(), item("a", "A", [("n", Value::Float(value))])).await.unwrap_err();
        assert!(matches!(&error, StoreError::NotStorable { field, .. } if field == "n"), "{error:?}");
    }
    assert!(site.store.load("a").await.unwrap().is_none());
}

#[tokio::test]
async fn of_two_saves_at_the_same_time_one_is_told() {
    let site = Site::new().await;
    let (one, other) =
        tokio::join!(site.store.save(bare(), item("a", "A", [])), site.store.save(bare(), item("a", "B", [])));
    let stored = site.store.load("a").await.unwrap().unwrap();
    // They may also happen one after the other: then both are stored. Never is one lost without a word.
    match (one, other) {
        (Ok(saved), Err(StoreError::Conflict { id })) | (Err(StoreError::Conflict { id }), Ok(saved)) => {
            assert_eq!((id.as_str(), saved.item), ("a", stored));
        }
        (Ok(_), Ok(_)) => assert_eq!(stored.header().revision, 2),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tags_can_be_queried() {
    let site = Site::new().await;
    site.store.save(bare(), item("a", "A", every_value())).await.unwrap();
    let mut database = SqliteConnection::connect(&url(&site.path().join("site.db"))).await.unwrap();
    let tags = "SELECT group_concat(tag) FROM (SELECT tag FROM item_tags WHERE item_id = 'a' ORDER BY tag)";
    let stored: Option<String> = sqlx::query_scalar(tags).fetch_one(&mut database).await.unwrap();
    assert_eq!(stored.as_deref(), Some("a,b"));
    site.store.save(bare(), item("a", "A", [])).await.unwrap();
    let stored: Option<String> = sqlx::query_scalar(tags).fetch_one(&mut database).await.unwrap();
    assert_eq!(stored, None);
}

#[tokio::test]
async fn the_list_is_in_order_and_in_pages() {
    let site = Site::new().await;
    for (id, created, sticky, published) in
        [("old", 10, false, true), ("new", 20, false, true), ("top", 5, true, true), ("hidden", 30, false, false)]
    {
        let mut header = crate::header(id, id);
        (header.created, header.sticky, header.published) = (created, sticky, published);
        site.store.save(bare(), Item::new(header, []).unwrap()).await.unwrap();
    }
    let ids = async |limit, offset| -> Vec<String> {
        let headers = site.store.list(limit, offset).await.unwrap();
        headers.into_iter().map(|header| header.id.to_string()).collect()
    };
    assert_eq!(ids(10, 0).await, ["top", "new", "old"]);
    assert_eq!(ids(1, 1).await, ["new"]);
    assert!(ids(10, 3).await.is_empty());
}

#[tokio::test]
async fn cron_knows_its_run_before() {
    let (site, host) = (Site::new().await, host_with("probe").await);
    assert!(site.store.cron(&host, 100).await.unwrap().is_empty());
    assert!(site.store.cron(&host, 200).await.unwrap().is_empty());
    assert_eq!(calls(&host, "cron"), 2);
    let mut database = SqliteConnection::connect(&url(&site.path().join("site.db"))).await.unwrap();
    let kept: String = sqlx::query_scalar("SELECT value FROM state").fetch_one(&mut database).await.unwrap();
    assert_eq!(kept, "200");
}
