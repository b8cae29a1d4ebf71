//! Statements and parameters of plugins.

use std::{
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use tapline_content::register;
use tapline_host_core::Host;
use tapline_host_database::{Database, DatabaseConfig, MAX_BYTES, MAX_COLUMNS, MAX_ROWS, QueryError, Rows, Value};
use tapline_store::Store;
use tempfile::TempDir;
use tokio::{runtime::Runtime, time::Instant};

/// What a statement gets: enough for anything that ends by itself.
const TIME: Duration = Duration::from_millis(50);
/// What a statement of this file gets, also when a connection is still busy with the one before.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that a statement could have changed.
const CONTENT: &str = "SELECT
    (SELECT group_concat(id || revision || title || fields) FROM (SELECT * FROM items ORDER BY id)),
    (SELECT group_concat(item_id || tag) FROM (SELECT * FROM item_tags ORDER BY item_id, tag)),
    (SELECT group_concat(key || value) FROM (SELECT * FROM state ORDER BY key)),
    (SELECT group_concat(name || coalesce(sql, '')) FROM (SELECT * FROM sqlite_schema ORDER BY name))";

struct Fixture {
    runtime: Runtime,
    database: Database,
    content: Rows,
    _store: Store,
    _directory: TempDir,
}

static DATABASE: LazyLock<Mutex<Fixture>> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("site.db").display());
    let (database, content, store) = runtime.block_on(async {
        let host = register(Host::builder()).build().unwrap();
        let store = Store::open(&url).await.unwrap();
        for id in ["a", "b", "c"] {
            let item = format!(r#"{{"id":"{id}","title":"T","fields":{{"tags":["x"],"n":1}}}}"#);
            store.save(&host, tapline_store::parse_json_line(&item).unwrap()).await.unwrap();
        }
        // One connection, which keeps what it has looked at.
        let one = DatabaseConfig { max_connections: 1, acquire_timeout: PATIENCE, ..DatabaseConfig::default() };
        let database = Database::connect(&url, one).await.unwrap();
        let content = database.run(CONTENT, Vec::new(), Instant::now() + PATIENCE).await.unwrap();
        (database, content, store)
    });
    Mutex::new(Fixture { runtime, database, content, _store: store, _directory: directory })
});

impl Fixture {
    fn run(&self, sql: &str, parameters: Vec<Value>, time: Duration) -> Result<Rows, QueryError> {
        self.runtime.block_on(self.database.run(sql, parameters, Instant::now() + time))
    }
}

/// Runs the statement in `bytes` twice with the parameters on its first line, apart by tabs: `n`, `b1`, `i12`, `f1.5`,
/// `ttext` and `xbytes`. Bytes that begin with something else have no parameters.
///
/// # Errors
///
/// The database refuses the statement or its answer.
pub fn sql(bytes: &[u8]) -> Result<Rows, QueryError> {
    let (line, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let parameters: Option<Vec<Value>> = line.split(|byte| *byte == b'\t').map(parameter).collect();
    let (parameters, statement) = match parameters {
        Some(parameters) => (parameters, rest),
        None => (Vec::new(), bytes),
    };
    let fixture = DATABASE.lock().unwrap_or_else(PoisonError::into_inner);
    let statement = String::from_utf8_lossy(statement);
    let answer = fixture.run(&statement, parameters.clone(), TIME);
    check(&answer);
    // The connection knows the statement now, and does not look at it again.
    if !matches!(answer, Err(QueryError::Unavailable(_))) {
        let again = fixture.run(&statement, parameters, TIME);
        check(&again);
        if let (Ok(first), Ok(second)) = (&answer, &again) {
            assert_eq!(first.columns, second.columns);
        }
    }
    let content = fixture.run(CONTENT, Vec::new(), PATIENCE).expect("the connection is of use to the next query");
    assert_eq!(content, fixture.content, "nothing is written");
    answer
}

/// What holds for every answer.
fn check(answer: &Result<Rows, QueryError>) {
    match answer {
        Ok(rows) => {
            assert!(rows.columns.len() <= MAX_COLUMNS && rows.rows.len() <= MAX_ROWS, "{rows:?}");
            assert!(rows.rows.iter().all(|row| row.len() == rows.columns.len()), "{rows:?}");
            let bytes: usize = rows.columns.iter().map(String::len).sum::<usize>()
                + rows.rows.iter().flatten().map(size).sum::<usize>();
            assert!(bytes <= MAX_BYTES, "{bytes} bytes");
        }
        Err(error) => assert!(error.to_string().len() <= 4096, "{} bytes", error.to_string().len()),
    }
}

/// The values that SQLite gives back for `values`.
///
/// # Errors
///
/// There are too many of them, or they are too large.
pub fn round_trip(values: Vec<Value>) -> Result<Vec<Value>, QueryError> {
    let fixture = DATABASE.lock().unwrap_or_else(PoisonError::into_inner);
    let placeholders = vec!["?"; values.len()].join(", ");
    let mut rows = fixture.run(&format!("SELECT {placeholders}"), values, PATIENCE)?;
    Ok(rows.rows.pop().expect("a SELECT without FROM has a row"))
}

fn size(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Boolean(_) | Value::Integer(_) | Value::Float(_) => 8,
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
    }
}

fn parameter(cell: &[u8]) -> Option<Value> {
    let (kind, rest) = cell.split_first()?;
    let text = std::str::from_utf8(rest);
    Some(match kind {
        b'n' if rest.is_empty() => Value::Null,
        b'b' => Value::Boolean(rest == b"1"),
        b'i' => Value::Integer(text.ok()?.parse().ok()?),
        b'f' => Value::Float(text.ok()?.parse().ok()?),
        b't' => Value::Text(text.ok()?.to_owned()),
        b'x' => Value::Bytes(rest.to_vec()),
        _ => return None,
    })
}
