//! SQL that takes too long or returns too much, through a real database with one connection.

use sqlx::{Connection, SqliteConnection};
use tapline_host_core::PluginSpec;
use tapline_host_database::{Database, DatabaseConfig};
use tapline_hostile::{Attack, Ends, Ground, Guest, INPUT, Number, PATIENCE, config, name};
use tempfile::TempDir;

use crate::cancelled::at_every_point;

/// A host with a database of a thousand rows. The directory is the database's, and goes with it.
async fn ground() -> (Ground, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("site.db").display());
    let mut owner = SqliteConnection::connect(&format!("{url}?mode=rwc")).await.unwrap();
    let schema = "CREATE TABLE t (x);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000) INSERT INTO t SELECT i FROM n";
    sqlx::raw_sql(schema).execute(&mut owner).await.unwrap();
    owner.close().await.unwrap();
    let one = DatabaseConfig { max_connections: 1, acquire_timeout: PATIENCE, ..DatabaseConfig::default() };
    let database = Database::connect(&url, one).await.unwrap();
    (Ground::with(config(), |builder| builder.capability(database)).await, directory)
}

const IMPORT: &str = r#"
  (import "tapline:host/database@0.1.0" (instance $database
    (type $value' (variant (case "null") (case "boolean" bool) (case "integer" s64) (case "float" float64)
      (case "text" string) (case "bytes" (list u8))))
    (export "value" (type $value (eq $value')))
    (type $rows' (record (field "columns" (list string)) (field "rows" (list (list $value)))))
    (export "rows" (type $rows (eq $rows')))
    (type $error' (variant (case "invalid" string) (case "not-allowed" string) (case "too-large" string)
      (case "unavailable" string)))
    (export "query-error" (type $error (eq $error')))
    (export "query" (func (param "sql" string) (param "parameters" (list $value))
      (result (result $rows (error $error)))))))
  (core module $allocator
    (import "" "memory" (memory 1))
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32) (param $size i32) (result i32)
      (local $start i32)
      (local.set $start (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $start) (local.get $size)))
      (local.get $start)))
  (core instance $allocator (instantiate $allocator (with "" (instance (export "memory" (memory $memory "memory"))))))
  (core func $query (canon lower (func $database "query")
    (memory (core memory $memory "memory")) (realloc (core func $allocator "realloc"))))
"#;

/// A guest that asks, then does `end`. What came of it lies at 64: the tag of the result, then the tag of the error
/// at 68, or the number of rows at 80.
fn asks(sql: &str, end: &str) -> Guest {
    let length = sql.len();
    Guest::number(format!(
        "(call $query (i32.const 1024) (i32.const {length}) (i32.const 0) (i32.const 0) (i32.const 64)) {end}"
    ))
    .component(IMPORT)
    .function("query", "(param i32 i32 i32 i32 i32)")
    .memory("80")
    .data(1024, sql.as_bytes())
}

/// Answers with the number of rows, or with 1000 and the number of the error.
const TELL: &str = "(if (result i32) (i32.load8_u (i32.const 64))
    (then (i32.add (i32.const 1000) (i32.load8_u (i32.const 68)))) (else (i32.load (i32.const 80))))";

const MINUTES: &str = "SELECT count(*) FROM t a, t b, t c, t d";
const RECURSIVE: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
/// Keeps each row that it has seen, 4 MB each, in memory or in a file.
const SEEN: &str = "WITH RECURSIVE n(i, b) AS
    (SELECT 1, zeroblob(4000000) UNION SELECT i + 1, zeroblob(4000000) FROM n) SELECT count(*) FROM n";
/// The same with what is sorted.
const SORTED: &str = "WITH RECURSIVE n(b) AS (SELECT randomblob(1000000) UNION ALL SELECT randomblob(1000000) FROM n)
    SELECT length(b) FROM n ORDER BY b";

const REFUSED: &str = r#"tapline_host_call_refusals_total{capability="database"}"#;

/// `count` expressions of which each has 4 MB of text of its own.
fn large(count: u32) -> String {
    let values: Vec<String> = (0..count).map(|number| format!("hex(zeroblob(2000000)) || {number}")).collect();
    values.join(", ")
}

#[tokio::test]
async fn sql_that_harms_its_own_call_alone() {
    let (ground, _directory) = ground().await;
    let attacks = [
        Attack::endless("minutes", &asks(MINUTES, TELL)),
        Attack::endless("a recursion without end", &asks(RECURSIVE, TELL)),
        Attack::endless(
            "quick queries without end",
            &asks("SELECT 1", "(loop (call $again) (br 0)) (i32.const 0)").with(
                "(func $again (call $query (i32.const 1024) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 64)))",
            ),
        ),
        Attack::new("a thousand rows", &asks("SELECT x FROM t", TELL), Ends::Answer("1000")),
        Attack::new("a row more", &asks("SELECT x FROM t UNION ALL SELECT 0", TELL), Ends::Answer("1002"))
            .moves(REFUSED),
        Attack::new("a large value", &asks("SELECT zeroblob(1000000000)", TELL), Ends::Answer("1002")).moves(REFUSED),
        Attack::new("large rows", &asks("SELECT zeroblob(1000000) FROM t", TELL), Ends::Answer("1002")).moves(REFUSED),
        Attack::new("a write", &asks("DELETE FROM t", TELL), Ends::Answer("1001")).moves(REFUSED),
        Attack::new("nonsense", &asks("SELEC", TELL), Ends::Answer("1000")),
    ];
    survives(&ground, attacks).await;
}

/// Each of them is a few hundred bytes of SQL that makes SQLite take as much memory, or disk, as there is.
#[tokio::test]
async fn sql_that_takes_memory_is_refused() {
    let (ground, _directory) = ground().await;
    let wide = vec!["zeroblob(4194304)"; 100].join(", ");
    let attacks = [
        ("thirty arguments", format!("SELECT length(max({}))", large(30))),
        ("a hundred columns", format!("SELECT {wide}")),
        ("a hundred columns of each row", format!("SELECT {wide} FROM t")),
        ("a recursion that remembers", SEEN.to_owned()),
        ("a sort without end", SORTED.to_owned()),
        // SQLite looks whether it should stop only where it goes back, and here it never does.
        ("constants", format!("SELECT count(*) FROM t WHERE x IN ({})", large(200))),
    ]
    .map(|(what, sql)| Attack::new(what, &asks(&sql, TELL), Ends::Answer("1002")).moves(REFUSED));
    survives(&ground, attacks).await;
}

async fn survives(ground: &Ground, attacks: impl IntoIterator<Item = Attack>) {
    for attack in attacks {
        ground.survives(attack.grant("database", "read")).await;
        // The one connection is free again, and as it was.
        let modest = Attack::new("a modest query", &asks("SELECT 1", TELL), Ends::Answer("1"));
        ground.survives(modest.grant("database", "read")).await;
    }
}

#[tokio::test]
async fn callers_that_go_away_while_a_query_runs() {
    let (ground, _directory) = ground().await;
    let sql = "SELECT x FROM t LIMIT 10";
    let spec = PluginSpec::bytes(name("asks"), asks(sql, TELL).bytes()).grant("database", "read");
    ground.host.load(spec).await.unwrap();
    let ask = || ground.host.dispatch(Number, &INPUT);
    let (polls, outcome) = at_every_point(&ground, "asks", ask).await;
    assert_eq!(outcome.unwrap().answers[0], (name("asks"), 10));
    assert!(polls > 1, "a query is on another thread: {polls}");
    // After so many that were dropped, the connection still answers.
    assert_eq!(ask().await.unwrap().answers[0], (name("asks"), 10));
}
