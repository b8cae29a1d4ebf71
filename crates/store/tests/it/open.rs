//! Databases that cannot be opened.

use std::{fs, time::Duration};

use sqlx::{Connection, SqliteConnection};
use tapline_host_core::Party;
use tapline_store::{Store, StoreConfig, StoreError};

use crate::{Site, bare, item, url};

#[tokio::test]
async fn what_was_stored_is_there_when_it_is_opened_again() {
    let site = Site::new().await;
    site.store.save(bare(), item("a", "A", [])).await.unwrap();
    site.store.close().await;
    let store = Store::open(&url(&site.path().join("site.db"))).await.unwrap();
    assert!(store.load("a").await.unwrap().is_some());
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_directory_that_does_not_exist() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let error = Store::open(&url(&missing.join("site.db"))).await.unwrap_err();
    assert!(matches!(&error, StoreError::NoDirectory { path } if *path == missing), "{error:?}");
    assert!(error.hint().unwrap().starts_with("make it: mkdir -p "));
    assert_eq!(error.party(), Party::Operator);
}

#[tokio::test]
async fn a_file_that_is_missing_and_shall_not_be_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("site.db");
    let config = StoreConfig { create: false, ..StoreConfig::default() };
    let error = Store::open_with(&url(&path), &config).await.unwrap_err();
    assert!(matches!(error, StoreError::CannotOpen { .. }), "{error:?}");
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_that_is_no_database() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("site.db");
    fs::write(&path, "This is a letter, and not a database. ".repeat(100)).unwrap();
    let error = Store::open(&url(&path)).await.unwrap_err();
    assert!(matches!(error, StoreError::NotADatabase { .. }), "{error:?}");
    assert!(fs::read_to_string(&path).unwrap().starts_with("This is a letter"), "it is left as it was");
}

#[tokio::test]
async fn an_address_that_is_none() {
    let error = Store::open("postgres://localhost/site").await.unwrap_err();
    assert!(matches!(error, StoreError::Url { .. }), "{error:?}");
}

#[tokio::test]
async fn a_database_of_a_newer_program() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("site.db");
    let mut connection = SqliteConnection::connect(&format!("{}?mode=rwc", url(&path))).await.unwrap();
    sqlx::raw_sql("PRAGMA user_version = 99").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let error = Store::open(&url(&path)).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, known: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn two_programs_that_make_the_database_at_the_same_time() {
    let directory = tempfile::tempdir().unwrap();
    let url = url(&directory.path().join("site.db"));
    let (one, other) = tokio::join!(Store::open(&url), Store::open(&url));
    one.unwrap().save(bare(), item("a", "A", [])).await.unwrap();
    assert!(other.unwrap().load("a").await.unwrap().is_some());
}

#[tokio::test]
async fn a_locked_database() {
    let site = Site::new().await;
    let url = url(&site.path().join("site.db"));
    let config = StoreConfig { busy_timeout: Duration::from_millis(20), ..StoreConfig::default() };
    let store = Store::open_with(&url, &config).await.unwrap();
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    let error = store.save(bare(), item("a", "A", [])).await.unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }) && error.is_busy(), "{error:?}");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    store.save(bare(), item("a", "A", [])).await.unwrap();
}

#[tokio::test]
async fn a_row_that_cannot_be_read() {
    let site = Site::new().await;
    site.store.save(bare(), item("a", "A", [])).await.unwrap();
    let mut other = SqliteConnection::connect(&url(&site.path().join("site.db"))).await.unwrap();
    sqlx::raw_sql("UPDATE items SET fields = '['").execute(&mut other).await.unwrap();
    let error = site.store.load("a").await.unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { id, .. } if id == "a"), "{error:?}");
}

#[tokio::test]
async fn all_connections_are_in_use() {
    let site = Site::new().await;
    site.store.save(bare(), item("a", "A", [])).await.unwrap();
    let url = url(&site.path().join("site.db"));
    let config = StoreConfig {
        max_connections: 1,
        max_wait: Duration::from_millis(20),
        busy_timeout: Duration::from_secs(60),
        ..StoreConfig::default()
    };
    let store = Store::open_with(&url, &config).await.unwrap();
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    // It keeps the only connection while it waits for the lock.
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.cron(bare(), 1).await }
    });
    let error = loop {
        match store.load("a").await {
            Ok(item) => assert!(item.is_some()),
            Err(error) => break error,
        }
        tokio::task::yield_now().await;
    };
    assert!(matches!(error, StoreError::Busy) && error.is_busy(), "{error:?}");
    assert_eq!(error.party(), Party::Operator);
    store.ping().await.unwrap();
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    waiting.await.unwrap().unwrap();
    while let Err(error) = store.load("a").await {
        assert!(error.is_busy(), "{error:?}");
    }
}
