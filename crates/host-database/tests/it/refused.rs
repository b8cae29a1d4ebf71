//! What only reads, and what only looks as if it did.

use std::{collections::BTreeMap, fs};

use tapline_host_database::{QueryError, Value};

use crate::Site;

const SCHEMA: &str = "CREATE TABLE item (id INTEGER PRIMARY KEY, title TEXT);
    INSERT INTO item VALUES (1, 'One'), (2, 'Two');
    CREATE VIEW titles AS SELECT title FROM item;
    CREATE VIRTUAL TABLE search USING fts5 (title);
    CREATE VIRTUAL TABLE old USING fts4 (title);
    CREATE VIRTUAL TABLE place USING rtree (id, x0, x1)";

/// Every file in the site's directory, by name.
fn files(site: &Site) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(site.directory.path()).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// Asks, expects the refusal, and that nothing in the directory has changed.
async fn refuse(statements: &[&str]) {
    let site = Site::new(SCHEMA).await;
    let before = files(&site);
    let outside = site.directory.path().join("outside.db").display().to_string();
    for statement in statements {
        let sql = statement.replace("OUTSIDE", &outside);
        let error = site.error(&sql).await;
        assert!(matches!(error, QueryError::NotAllowed(_)), "{sql}: {error:?}");
        assert_eq!(files(&site), before, "{sql}");
    }
    // The connection is as it was.
    assert_eq!(site.value("SELECT count(*) FROM item").await, Value::Integer(2));
    assert_eq!(site.value("SELECT count(*) FROM sqlite_temp_master").await, Value::Integer(0));
}

#[tokio::test]
async fn writing() {
    refuse(&[
        "INSERT INTO item VALUES (3, 'Three')",
        "INSERT INTO item VALUES (3, 'Three') RETURNING id",
        "REPLACE INTO item VALUES (1, 'Uno')",
        "UPDATE item SET title = 'x'",
        "UPDATE item SET title = 'x' RETURNING id",
        "DELETE FROM item",
        "DELETE FROM item WHERE 0",
        "WITH x AS (SELECT 1) DELETE FROM item RETURNING id",
        "EXPLAIN DELETE FROM item",
        "INSERT INTO search VALUES ('x')",
        "INSERT INTO search (search) VALUES ('rebuild')",
        "SELECT optimize(old) FROM old",
    ])
    .await;
}

#[tokio::test]
async fn writing_that_sqlite_does_not_even_compile() {
    let site = Site::new(SCHEMA).await;
    let before = files(&site);
    for (sql, expected) in [
        ("WITH x AS (DELETE FROM item RETURNING id) SELECT * FROM x", r#"near "DELETE": syntax error"#),
        ("DELETE FROM sqlite_master", "table sqlite_master may not be modified"),
    ] {
        assert_eq!(site.error(sql).await, QueryError::Invalid(expected.to_owned()));
    }
    assert_eq!(files(&site), before);
}

#[tokio::test]
async fn changing_the_schema() {
    refuse(&[
        "CREATE TABLE x (y)",
        "CREATE TEMP TABLE x (y)",
        "CREATE TEMP TABLE x AS SELECT * FROM item",
        "CREATE INDEX x ON item (title)",
        "CREATE TEMP VIEW x AS SELECT 1",
        "CREATE TEMP TRIGGER x AFTER INSERT ON item BEGIN SELECT 1; END",
        "CREATE VIRTUAL TABLE x USING fts5 (y)",
        "CREATE VIRTUAL TABLE temp.x USING fts5vocab (search, row)",
        "DROP TABLE item",
        "DROP VIEW titles",
        "ALTER TABLE item RENAME TO x",
        "ALTER TABLE item ADD COLUMN x",
        "REINDEX",
        "ANALYZE",
        "VACUUM",
    ])
    .await;
}

#[tokio::test]
async fn other_files() {
    refuse(&[
        "ATTACH 'OUTSIDE' AS x",
        "ATTACH ':memory:' AS x",
        "ATTACH 'file:OUTSIDE?mode=rwc' AS x",
        "DETACH main",
        "VACUUM INTO 'OUTSIDE'",
        "VACUUM main INTO 'OUTSIDE'",
    ])
    .await;
    // These exist in SQLite's shell only.
    let site = Site::new(SCHEMA).await;
    for sql in ["SELECT writefile('x', 'y')", "SELECT readfile('/etc/hostname')", "SELECT edit('x')"] {
        let error = site.error(sql).await;
        assert!(matches!(&error, QueryError::Invalid(message) if message.contains("no such function")), "{error:?}");
    }
}

#[tokio::test]
async fn settings() {
    refuse(&[
        "PRAGMA query_only = OFF",
        "PRAGMA query_only",
        "PRAGMA journal_mode = WAL",
        "PRAGMA user_version = 7",
        "PRAGMA writable_schema = ON",
        "PRAGMA temp_store_directory = '/'",
        "PRAGMA data_version = 1",
        "PRAGMA wal_checkpoint",
        "PRAGMA hard_heap_limit = 1",
        "PRAGMA optimize",
        "SELECT * FROM pragma_query_only",
        "SELECT * FROM pragma_database_list",
        "SELECT * FROM pragma_compile_options",
    ])
    .await;
}

#[tokio::test]
async fn transactions_that_would_hold_a_lock() {
    refuse(&["BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE", "COMMIT", "ROLLBACK", "SAVEPOINT x", "RELEASE x"]).await;
}

#[tokio::test]
async fn functions_that_reach_outside() {
    refuse(&[
        "SELECT load_extension('OUTSIDE')",
        "SELECT LOAD_EXTENSION('OUTSIDE', 'entry')",
        "SELECT fts3_tokenizer('simple')",
        "SELECT sqlite_log(1, 'forged')",
        "SELECT rtreecheck('place')",
        "SELECT 1 FROM item WHERE id = (SELECT max(id) FROM item WHERE load_extension('x'))",
    ])
    .await;
}

/// SQLite takes an address of machine code from a parameter that is bound, whatever the build was told.
#[tokio::test]
async fn a_tokenizer_made_of_bytes() {
    let site = Site::new(SCHEMA).await;
    let address = Value::Bytes(vec![0x41; 8]);
    let error = site.ask("SELECT fts3_tokenizer('simple', ?)", [address]).await.unwrap_err();
    assert_eq!(error, QueryError::NotAllowed("the function `fts3_tokenizer` cannot be called".to_owned()));
    assert_eq!(site.value("SELECT count(*) FROM old WHERE old MATCH 'x'").await, Value::Integer(0));
}

#[tokio::test]
async fn a_refusal_says_what_was_refused() {
    let site = Site::new(SCHEMA).await;
    for (sql, expected) in [
        ("DELETE FROM item", "the database can only be read, and this writes to `item`"),
        ("SELECT load_extension('x')", "the function `load_extension` cannot be called"),
        ("PRAGMA query_only = OFF", "the pragma `query_only` cannot be used"),
        ("ATTACH 'x' AS y", "no other file can be attached or written"),
        ("VACUUM INTO 'x'", "the database can only be read"),
        ("BEGIN", "each query is a transaction of its own"),
    ] {
        assert_eq!(site.error(sql).await, QueryError::NotAllowed(expected.to_owned()), "{sql}");
    }
    // What was refused before is not the reason of what is wrong now.
    assert!(matches!(site.error("SELEC").await, QueryError::Invalid(_)));
}

/// Of several statements none runs: not even the first, which would be harmless.
#[tokio::test]
async fn a_second_statement() {
    refuse(&["SELECT 1; DELETE FROM item", "SELECT 1; DROP TABLE item; --", "SELECT 1;;PRAGMA query_only = OFF"]).await;
    let site = Site::new(SCHEMA).await;
    let endless = format!("SELECT 1; {}", crate::ENDLESS);
    for sql in ["SELECT 1; SELECT 2", "SELECT title FROM item; SELECT 2;", &endless] {
        let expected = "a query is one statement, with nothing behind its semicolon";
        assert_eq!(site.error(sql).await, QueryError::Invalid(expected.to_owned()), "{sql}");
    }
}

/// A connection that came from elsewhere reads the same file, and may write: the file is not what keeps plugins out.
#[tokio::test]
async fn the_program_can_still_write() {
    let site = Site::new(SCHEMA).await;
    assert!(!fs::metadata(site.file()).unwrap().permissions().readonly());
    let mut owner = site.owner().await;
    sqlx::query("INSERT INTO item VALUES (3, 'Three')").execute(&mut owner).await.unwrap();
    assert_eq!(site.value("SELECT count(*) FROM item").await, Value::Integer(3));
}
