//! What a query returns: values, parameters, and how much of them.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tapline_host_database::{MAX_BYTES, MAX_COLUMNS, MAX_ROWS, MAX_SQL_BYTES, QueryError, Value};

use crate::{Site, text};

#[tokio::test]
async fn each_value_has_the_type_that_it_was_stored_with() {
    // The columns say otherwise, or nothing: SQLite goes by the value.
    let site = Site::new(
        "CREATE TABLE v (a, b INTEGER, c BOOLEAN, d DATETIME, e TEXT, f BLOB, g, h);
         INSERT INTO v VALUES (NULL, -9223372036854775808, TRUE, 9.5, 'größe', x'00ff', '', x'');
         INSERT INTO v VALUES (1e999, 'not a number', NULL, NULL, NULL, 'text', 1, 2.0);",
    )
    .await;
    let found = site.ask("SELECT * FROM v", []).await.unwrap();
    assert_eq!(found.columns, ["a", "b", "c", "d", "e", "f", "g", "h"]);
    assert_eq!(
        found.rows[0],
        [
            Value::Null,
            Value::Integer(i64::MIN),
            Value::Integer(1),
            Value::Float(9.5),
            text("größe"),
            Value::Bytes(vec![0, 255]),
            text(""),
            Value::Bytes(vec![]),
        ]
    );
    assert_eq!(
        found.rows[1],
        [
            Value::Float(f64::INFINITY),
            text("not a number"),
            Value::Null,
            Value::Null,
            Value::Null,
            text("text"),
            Value::Integer(1),
            Value::Float(2.0),
        ]
    );
}

/// The functions that are ours answer as SQLite's own do.
#[tokio::test]
async fn functions_that_search_in_text_answer_as_in_sqlite() {
    let site = Site::new("CREATE TABLE t (x)").await;
    let mut sqlite = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    let values = [
        "NULL",
        "''",
        "'a'",
        "'größe'",
        "'ßö'",
        "'ö'",
        "'日本語日'",
        "'日'",
        "'aaa'",
        "'aa'",
        "12",
        "1.5",
        "x''",
        "x'c3b6'",
        "x'00'",
        "'größe🎉ö'",
        "'a' || char(0) || 'b'",
        "char(0)",
    ];
    let mut expressions = Vec::new();
    for x in values {
        for y in values {
            expressions.push(format!("instr({x}, {y})"));
            expressions.extend(["trim", "ltrim", "rtrim"].map(|trim| format!("{trim}({x}, {y})")));
            expressions.extend(["NULL", "''", "'ö'", "3"].map(|z| format!("replace({x}, {y}, {z})")));
        }
    }
    for expression in expressions {
        // As bytes: half of a character can come out, with which nobody could be told.
        let sql = format!("SELECT typeof(v) || ' ' || quote(CAST(v AS BLOB)) FROM (SELECT {expression} AS v)");
        let expected: Option<String> =
            sqlx::query_scalar(AssertSqlSafe(sql.clone())).fetch_one(&mut sqlite).await.unwrap();
        assert_eq!(site.value(&sql).await, expected.map_or(Value::Null, Value::Text), "{expression}");
    }
}

#[tokio::test]
async fn parameters_come_back_as_what_sqlite_makes_of_them() {
    let site = Site::new("CREATE TABLE t (x)").await;
    for (parameter, expected) in [
        (Value::Null, Value::Null),
        (Value::Boolean(true), Value::Integer(1)),
        (Value::Boolean(false), Value::Integer(0)),
        (Value::Integer(i64::MAX), Value::Integer(i64::MAX)),
        (Value::Float(-0.5), Value::Float(-0.5)),
        (Value::Float(f64::NEG_INFINITY), Value::Float(f64::NEG_INFINITY)),
        (Value::Float(f64::NAN), Value::Null),
        (text("a\0b'; DROP TABLE t"), text("a\0b'; DROP TABLE t")),
        (Value::Bytes(vec![0, 1, 2]), Value::Bytes(vec![0, 1, 2])),
    ] {
        let found = site.ask("SELECT ?", [parameter]).await.unwrap();
        assert_eq!(found.rows, [[expected]]);
    }
    let found = site.ask("SELECT ?2, ?1, ?2", [text("one"), text("two")]).await.unwrap();
    assert_eq!(found.rows, [[text("two"), text("one"), text("two")]]);
}

#[tokio::test]
async fn the_number_of_parameters_must_fit() {
    let site = Site::new("CREATE TABLE t (x)").await;
    for (sql, parameters, takes) in
        [("SELECT ?", 0, 1), ("SELECT 1", 1, 0), ("SELECT ?, ?", 3, 2), ("SELECT ?3", 1, 3), ("SELECT '?'", 1, 0)]
    {
        let error = site.ask(sql, vec![Value::Null; parameters]).await.unwrap_err();
        let expected = format!("the statement takes {takes} parameters, and got {parameters}");
        assert_eq!(error, QueryError::Invalid(expected), "{sql}");
    }
    // sqlx would take `$0` for an index, and subtract one from it.
    for name in ["$0", "$1", ":x", "@x"] {
        let error = site.ask(&format!("SELECT {name}"), [Value::Null]).await.unwrap_err();
        assert!(matches!(&error, QueryError::Invalid(message) if message.contains(name)), "{error:?}");
    }
    let error = site.ask("SELECT 1", vec![Value::Null; 1001]).await.unwrap_err();
    assert!(matches!(error, QueryError::Invalid(_)), "{error:?}");
    assert_eq!(site.value("SELECT 1").await, Value::Integer(1));
}

#[tokio::test]
async fn columns_have_names_even_without_rows() {
    let site = Site::new("CREATE TABLE t (id, title)").await;
    let found = site.ask("SELECT title AS name, id, count FROM t, (SELECT 1 AS count)", []).await.unwrap();
    assert_eq!(found.columns, ["name", "id", "count"]);
    assert!(found.rows.is_empty());
}

#[tokio::test]
async fn a_thousand_rows_and_not_one_more() {
    let site = Site::new("CREATE TABLE t (x)").await;
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) SELECT i FROM n";
    let found = site.ask(rows, [Value::Integer(1000)]).await.unwrap();
    assert_eq!(found.rows.len(), MAX_ROWS);
    assert_eq!(found.rows[999], [Value::Integer(1000)]);
    let error = site.ask(rows, [Value::Integer(1001)]).await.unwrap_err();
    assert_eq!(error, QueryError::TooLarge("there are more than 1000 rows".to_owned()));

    // A statement without end is given up at that row, long before the deadline.
    let start = Instant::now();
    let error = site.ask(rows, [Value::Integer(-1)]).await.unwrap_err();
    assert!(matches!(error, QueryError::TooLarge(_)), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(site.value("SELECT 1").await, Value::Integer(1));
}

#[tokio::test]
async fn four_mebibytes_and_not_one_byte_more() {
    let site = Site::new("CREATE TABLE t (x)").await;
    // The name of the column has one byte, each of the four values a fourth of the rest and of what is added.
    let blobs = "SELECT zeroblob(1048575) AS x UNION ALL SELECT zeroblob(1048576) UNION ALL SELECT zeroblob(1048576)
                 UNION ALL SELECT zeroblob(1048576 + ?)";
    let found = site.ask(blobs, [Value::Integer(0)]).await.unwrap();
    let size: usize =
        found.rows.iter().map(|row| if let [Value::Bytes(bytes)] = &**row { bytes.len() } else { 0 }).sum();
    assert_eq!(size + 1, MAX_BYTES);
    let error = site.ask(blobs, [Value::Integer(1)]).await.unwrap_err();
    assert_eq!(error, QueryError::TooLarge("the rows have more than 4194304 bytes".to_owned()));
    // Text, numbers and names count as well.
    let error = site.ask("SELECT ? AS xx, 7", [Value::Text("x".repeat(MAX_BYTES - 10))]).await.unwrap_err();
    assert!(matches!(error, QueryError::TooLarge(_)), "{error:?}");
    site.ask("SELECT ? AS xx, 7 AS y", [Value::Text("x".repeat(MAX_BYTES - 11))]).await.unwrap();
}

#[tokio::test]
async fn a_value_that_is_too_long_is_never_made() {
    let site = Site::new("CREATE TABLE t (x); INSERT INTO t VALUES ('x')").await;
    for sql in [
        "SELECT zeroblob(1000000000)",
        "SELECT length(randomblob(1000000000))",
        "SELECT length(replace(hex(zeroblob(1000000)), '0', '0123456789'))",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 9999) SELECT group_concat(hex(zeroblob(1000))) FROM n",
        "WITH RECURSIVE n(s) AS (SELECT x FROM t UNION ALL SELECT s || s FROM n) SELECT max(length(s)) FROM n",
    ] {
        let error = site.error(sql).await;
        assert!(matches!(error, QueryError::TooLarge(_)), "{sql}: {error:?}");
    }
    // Its way to say that.
    assert_eq!(site.value("SELECT printf('%.*c', 1000000000, 'x')").await, Value::Null);
}

#[tokio::test]
async fn a_long_value_in_the_file_does_not_hide_the_rest_of_its_row() {
    let site = Site::new("CREATE TABLE item (id, body, title)").await;
    let mut owner = site.owner().await;
    sqlx::query("INSERT INTO item VALUES (1, zeroblob(5000000), 'long')").execute(&mut owner).await.unwrap();
    let found = site.ask("SELECT id, title FROM item", []).await.unwrap();
    assert_eq!(found.rows, [[Value::Integer(1), text("long")]]);
    let error = site.error("SELECT body FROM item").await;
    assert!(matches!(error, QueryError::TooLarge(_)), "{error:?}");
}

#[tokio::test]
async fn a_hundred_columns_and_not_one_more() {
    let site = Site::new("CREATE TABLE t (x)").await;
    let columns = |count: usize| format!("SELECT {}", vec!["1"; count].join(", "));
    assert_eq!(site.ask(&columns(MAX_COLUMNS), []).await.unwrap().columns.len(), MAX_COLUMNS);
    let error = site.error(&columns(MAX_COLUMNS + 1)).await;
    assert_eq!(error, QueryError::TooLarge("the statement returns 101 columns, 100 are allowed".to_owned()));
}

#[tokio::test]
async fn a_statement_that_is_wrong_says_how() {
    let site = Site::new("CREATE TABLE t (x)").await;
    for (sql, expected) in [
        ("SELEC 1", r#"near "SELEC": syntax error"#),
        ("SELECT y FROM t", "no such column: y"),
        ("SELECT * FROM missing", "no such table: missing"),
        ("SELECT json('{')", "malformed JSON"),
        ("SELECT abs(-9223372036854775808)", "integer overflow"),
        ("SELECT 1\0; SELECT 2", "the statement contains a NUL character"),
        ("", "a query is one statement, with nothing behind its semicolon"),
        (" ; ", "a query is one statement, with nothing behind its semicolon"),
        ("-- nothing", "a query is one statement, with nothing behind its semicolon"),
    ] {
        assert_eq!(site.error(sql).await, QueryError::Invalid(expected.to_owned()), "{sql}");
    }
    let long = format!("SELECT '{}'", "x".repeat(MAX_SQL_BYTES));
    assert!(matches!(site.error(&long).await, QueryError::Invalid(_)));
    let deep = format!("SELECT {}1{}", "abs(".repeat(200), ")".repeat(200));
    assert!(matches!(site.error(&deep).await, QueryError::Invalid(_)));
    let parts: Vec<_> = (0..8000).map(|number| format!("x+{number}")).collect();
    let error = site.error(&format!("SELECT 1 FROM t WHERE x IN ({})", parts.join(","))).await;
    assert_eq!(error, QueryError::TooLarge("the statement has too many parts".to_owned()));
}

#[tokio::test]
async fn space_and_comments_around_a_statement_do_no_harm() {
    let site = Site::new("CREATE TABLE t (x)").await;
    for sql in [
        "  SELECT 1  ",
        "SELECT 1;",
        "SELECT 1 ;\n ; ",
        "; SELECT 1",
        "-- first\nSELECT 1",
        "SELECT /* ; */ 1 -- ;",
        "\u{3000}SELECT 1;\u{a0}",
    ] {
        assert_eq!(site.value(sql).await, Value::Integer(1), "{sql}");
    }
    assert_eq!(site.value("SELECT 'a; b;';").await, text("a; b;"));
}

#[tokio::test]
async fn text_that_is_not_utf8_names_its_column() {
    let site = Site::new("CREATE TABLE t (good, bad); INSERT INTO t VALUES ('fine', CAST(x'ff41' AS TEXT))").await;
    let error = site.error("SELECT good, bad FROM t").await;
    assert!(matches!(&error, QueryError::Invalid(message) if message.contains("`bad`")), "{error:?}");
    assert_eq!(site.value("SELECT CAST(bad AS BLOB) FROM t").await, Value::Bytes(vec![0xff, 0x41]));
}

/// SQLite keeps it in UTF-16 and tells in UTF-8.
#[tokio::test]
async fn a_database_in_utf16_answers_as_any_other() {
    let site =
        Site::new("PRAGMA encoding = 'UTF-16'; CREATE TABLE t (x); INSERT INTO t VALUES ('größe'), (x'00ff')").await;
    for _ in 0..3 {
        let found = site.ask("SELECT x, 'ö', ? FROM t", [text("日本")]).await.unwrap();
        assert_eq!(found.rows[0], [text("größe"), text("ö"), text("日本")]);
        assert_eq!(found.rows[1], [Value::Bytes(vec![0, 255]), text("ö"), text("日本")]);
        let long = "ö".repeat(1_000_000);
        let found = site.ask("SELECT ? AS x, 1 FROM t", [text(&long)]).await.unwrap();
        assert_eq!(found.rows, vec![[text(&long), Value::Integer(1)]; 2]);
        let error = site.ask("SELECT ?1, ?1, ?1", [text(&long)]).await.unwrap_err();
        assert!(matches!(error, QueryError::TooLarge(_)), "{error:?}");
    }
}

#[tokio::test]
async fn what_reports_need_works() {
    let site = Site::new(
        "CREATE TABLE item (id INTEGER PRIMARY KEY, title TEXT, fields TEXT);
         INSERT INTO item VALUES (1, 'One', '{\"tags\":[\"a\",\"b\"]}'), (2, 'Two', '{\"tags\":[\"b\"]}');
         CREATE VIEW titles AS SELECT upper(title) AS title FROM item;
         CREATE VIRTUAL TABLE search USING fts5 (title);
         INSERT INTO search (rowid, title) SELECT id, title FROM item;",
    )
    .await;
    let tagged =
        "SELECT item.id FROM item, json_each(item.fields, '$.tags') AS tag WHERE tag.value = ? ORDER BY item.id DESC";
    let found = site.ask(tagged, [text("b")]).await.unwrap();
    assert_eq!(found.rows, [[Value::Integer(2)], [Value::Integer(1)]]);
    assert_eq!(site.value("SELECT group_concat(title) FROM titles").await, text("ONE,TWO"));
    assert_eq!(site.value("SELECT fields ->> '$.tags[0]' FROM item WHERE title LIKE 't%'").await, text("b"));
    let rank = "SELECT rank() OVER (ORDER BY title) FROM item WHERE id = (SELECT max(id) FROM item)";
    assert_eq!(site.value(rank).await, Value::Integer(1));
    let search = "SELECT highlight(search, 0, '[', ']') FROM search WHERE search MATCH ? ORDER BY bm25(search)";
    assert_eq!(site.ask(search, [text("two")]).await.unwrap().rows, [[text("[Two]")]]);
    assert_eq!(site.value("SELECT count(*) FROM sqlite_master WHERE name = 'item'").await, Value::Integer(1));
}

#[tokio::test]
async fn what_the_program_writes_is_seen_at_once_and_so_are_new_columns() {
    for mode in ["DELETE", "WAL"] {
        let site =
            Site::new(&format!("PRAGMA journal_mode = {mode}; CREATE TABLE t (x); INSERT INTO t VALUES (1)")).await;
        let all = "SELECT * FROM t";
        assert_eq!(site.ask(all, []).await.unwrap().rows, [[Value::Integer(1)]], "{mode}");
        let mut owner = site.owner().await;
        sqlx::raw_sql("ALTER TABLE t ADD COLUMN y DEFAULT 2; INSERT INTO t VALUES (3, 4)")
            .execute(&mut owner)
            .await
            .unwrap();
        let found = site.ask(all, []).await.unwrap();
        assert_eq!(found.columns, ["x", "y"]);
        assert_eq!(found.rows, [[Value::Integer(1), Value::Integer(2)], [Value::Integer(3), Value::Integer(4)]]);
        sqlx::raw_sql("ALTER TABLE t DROP COLUMN x").execute(&mut owner).await.unwrap();
        assert_eq!(site.ask(all, []).await.unwrap().rows, [[Value::Integer(2)], [Value::Integer(4)]]);
        // However often: a connection keeps statements compiled, and gives up on one that does not stay so.
        for number in 0..10 {
            let add = format!("ALTER TABLE t ADD COLUMN c{number} DEFAULT {number}");
            sqlx::raw_sql(AssertSqlSafe(add)).execute(&mut owner).await.unwrap();
            for _ in 0..2 {
                let found = site.ask(all, []).await.unwrap();
                assert_eq!((found.columns.len(), found.rows.len()), (number + 2, 2), "{mode}");
                assert_eq!(found.columns.last(), Some(&format!("c{number}")));
                let last = i64::try_from(number).unwrap();
                assert_eq!(found.rows[1].last(), Some(&Value::Integer(last)));
            }
        }
        let wide: Vec<String> = (10..MAX_COLUMNS).map(|number| format!("ALTER TABLE t ADD COLUMN c{number}")).collect();
        sqlx::raw_sql(AssertSqlSafe(wide.join(";"))).execute(&mut owner).await.unwrap();
        let error = site.ask(all, []).await.unwrap_err();
        assert!(matches!(&error, QueryError::TooLarge(message) if message.contains("columns")), "{error:?}");
    }
}

/// The columns that are found and how many rows, or why there are none.
type Found = Result<(&'static [&'static str], usize), &'static str>;

/// What becomes of the table `item`, and what a connection that has kept statements about it finds then.
const CHANGES: [(&str, Found); 9] = [
    ("SELECT 1", Ok((&["id", "title"], 1))),
    ("ALTER TABLE item ADD COLUMN more DEFAULT 7", Ok((&["id", "title", "more"], 1))),
    ("ALTER TABLE item DROP COLUMN id", Ok((&["title", "more"], 1))),
    ("ALTER TABLE item RENAME TO aside; CREATE VIEW item AS SELECT key, b FROM other", Ok((&["key", "b"], 2))),
    ("DROP VIEW item; CREATE VIEW item AS SELECT 1 AS title, key FROM other", Ok((&["title", "key"], 2))),
    // Of a function that is not on the list.
    ("DROP VIEW item; CREATE VIEW item AS SELECT total_changes() AS title, key FROM other", Err("`total_changes`")),
    ("DROP VIEW item", Err("no such table: item")),
    ("CREATE VIRTUAL TABLE item USING fts5 (id); INSERT INTO item VALUES ('x'), ('y'), ('z')", Ok((&["id"], 3))),
    (
        "DROP TABLE item; DROP TABLE aside; CREATE TABLE item (id, title); INSERT INTO item VALUES (1, 'One')",
        Ok((&["id", "title"], 1)),
    ),
];

/// What a connection keeps was looked at with the schema of then.
#[tokio::test]
async fn a_statement_that_is_kept_is_looked_at_again_when_its_table_is_another() {
    for mode in ["DELETE", "WAL"] {
        let schema = "CREATE TABLE item (id, title); INSERT INTO item VALUES (1, 'One');
            CREATE TABLE other (key, a, b); INSERT INTO other VALUES ('k', 2, 3), ('l', 4, 5)";
        // There is one connection.
        let site = Site::new(&format!("PRAGMA journal_mode = {mode}; {schema}")).await;
        let mut owner = site.owner().await;
        for (change, found) in CHANGES.into_iter().cycle().take(4 * CHANGES.len()) {
            sqlx::raw_sql(change).execute(&mut owner).await.unwrap();
            // The second time it is kept, if it was answered.
            for _ in 0..2 {
                let all = site.ask("SELECT * FROM item", []).await;
                let constant = site.ask("SELECT ? AS x FROM item", [Value::Integer(7)]).await;
                match found {
                    Ok((columns, rows)) => {
                        let (all, constant) = (all.unwrap(), constant.unwrap());
                        assert!(all.columns == columns && all.rows.len() == rows, "{change}: {all:?}");
                        assert!(all.rows.iter().all(|row| row.len() == columns.len()), "{change}: {all:?}");
                        assert_eq!(constant.rows, vec![[Value::Integer(7)]; rows], "{change}");
                    }
                    Err(why) => {
                        for answer in [all, constant] {
                            let error = answer.unwrap_err();
                            assert!(error.to_string().contains(why), "{change}: {error}");
                        }
                    }
                }
            }
        }
    }
}

/// It compiles statements of its own while it runs, some of them each time.
#[tokio::test]
async fn full_text_search_finds_what_is_there_each_time() {
    let site = Site::new("CREATE VIRTUAL TABLE search USING fts5 (title); INSERT INTO search VALUES ('one two')").await;
    let mut owner = site.owner().await;
    for number in 1..10 {
        for sql in [
            "SELECT rowid FROM search WHERE search MATCH ? ORDER BY rank",
            "SELECT rowid FROM search WHERE search MATCH ? ORDER BY bm25(search)",
            "SELECT rowid FROM search WHERE search MATCH ?",
        ] {
            let found = site.ask(sql, [text("two")]).await.unwrap();
            assert_eq!((found.columns, found.rows.len()), (vec!["rowid".to_owned()], number), "{sql}");
            assert!(site.ask(sql, [text("seven")]).await.unwrap().rows.is_empty(), "{sql}");
        }
        sqlx::raw_sql("INSERT INTO search VALUES ('and two')").execute(&mut owner).await.unwrap();
    }
}

#[tokio::test]
async fn a_statement_means_the_same_each_time() {
    let site = Site::new("CREATE TABLE t (x)").await;
    for round in 0..3 {
        for number in 0..100 {
            // More than a connection keeps; and some that are too large to be kept.
            let sum = "+ 0".repeat(if number % 10 == 0 { 90 } else { 1 });
            let wide = if number % 10 == 0 { ", 1 AS y".repeat(90) } else { String::new() };
            let found =
                site.ask(&format!("SELECT ? + {number} {sum} AS x{wide}"), [Value::Integer(round)]).await.unwrap();
            assert_eq!(found.rows[0][0], Value::Integer(round + number));
        }
        // What is wrong with it stays wrong.
        for _ in 0..3 {
            let error = site.ask("SELECT ?", []).await.unwrap_err();
            assert_eq!(error, QueryError::Invalid("the statement takes 1 parameters, and got 0".to_owned()));
            assert_eq!(site.ask("SELECT ?", [Value::Integer(round)]).await.unwrap().rows, [[Value::Integer(round)]]);
            assert!(matches!(site.error("DELETE FROM t").await, QueryError::NotAllowed(_)));
            assert!(matches!(site.error("SELECT abs(-9223372036854775808)").await, QueryError::Invalid(_)));
            assert!(matches!(site.error("SELECT 1; SELECT 2").await, QueryError::Invalid(_)));
        }
    }
}
