//! A real SQLite in memory behind `tapline_sdk::database`.

use std::{rc::Rc, str::FromStr};

use sqlx::{
    AssertSqlSafe, Column, Connection, Row, SqliteConnection, TypeInfo, ValueRef,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use tapline_sdk::{
    database::{QueryError, Rows, Value},
    double,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::Mutex,
};

/// A host answers with as many rows at most.
const MAX_ROWS: usize = 1000;

/// The result code of SQLite for a statement that would write to a database that is only to be read.
const SQLITE_READONLY: &str = "8";

/// A SQLite database in memory, for one test. Not for an async test: it waits by itself, as a plugin does.
///
/// ```
/// use tapline_sdk::database;
/// use tapline_sdk_testing::Database;
///
/// let mut site = Database::sqlite()?;
/// site.execute("CREATE TABLE items (id TEXT); INSERT INTO items VALUES ('readme')")?;
/// let rows = site.during(|| database::query("SELECT id FROM items", &[])).unwrap();
/// assert_eq!(rows.first().unwrap().get("id"), Ok("readme"));
/// # Ok::<(), tapline_sdk_testing::DatabaseError>(())
/// ```
pub struct Database {
    inner: Rc<Inner>,
}

struct Inner {
    runtime: Runtime,
    connection: Mutex<SqliteConnection>,
}

/// The test's own SQL failed, or the database could not be made. The test is at fault, or the machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The runtime that waits for the database did not start.
    #[error("the runtime for the database did not start")]
    Runtime(#[source] std::io::Error),
    /// SQLite refused.
    #[error("the test database refused")]
    Sqlite(#[source] sqlx::Error),
}

impl Database {
    /// An empty database.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]: the machine gives no more threads or memory.
    pub fn sqlite() -> Result<Self, DatabaseError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(DatabaseError::Runtime)?;
        let connection = runtime
            .block_on(async {
                let options = SqliteConnectOptions::from_str("sqlite::memory:")?;
                SqliteConnection::connect_with(&options).await
            })
            .map_err(DatabaseError::Sqlite)?;
        Ok(Self { inner: Rc::new(Inner { runtime, connection: Mutex::new(connection) }) })
    }

    /// Runs statements of the test, which may write: to make tables and fill them.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Sqlite`] with what is wrong with the statement.
    pub fn execute(&mut self, sql: &str) -> Result<(), DatabaseError> {
        self.inner.run(sql).map_err(DatabaseError::Sqlite)
    }

    /// Runs `body` with this database behind `tapline_sdk::database::query`. As at a host, queries can only read.
    pub fn during<R>(&self, body: impl FnOnce() -> R) -> R {
        let inner = Rc::clone(&self.inner);
        double::database::with(move |sql, parameters| inner.query(sql, parameters), body)
    }
}

impl Inner {
    fn run(&self, sql: &str) -> Result<(), sqlx::Error> {
        self.runtime.block_on(async {
            let mut connection = self.connection.lock().await;
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *connection).await.map(drop)
        })
    }

    fn query(&self, sql: &str, parameters: &[Value]) -> Result<Rows, QueryError> {
        self.run("PRAGMA query_only = ON").map_err(unavailable)?;
        let found = self.runtime.block_on(async {
            let mut query = sqlx::query(AssertSqlSafe(sql.to_owned()));
            for parameter in parameters {
                query = match parameter {
                    Value::Null => query.bind(None::<i64>),
                    Value::Boolean(answer) => query.bind(*answer),
                    Value::Integer(number) => query.bind(*number),
                    Value::Float(number) => query.bind(*number),
                    Value::Text(text) => query.bind(text.clone()),
                    Value::Bytes(bytes) => query.bind(bytes.clone()),
                };
            }
            query.fetch_all(&mut *self.connection.lock().await).await
        });
        self.run("PRAGMA query_only = OFF").map_err(unavailable)?;

        let found = found.map_err(refused)?;
        if found.len() > MAX_ROWS {
            return Err(QueryError::TooLarge(format!("{} rows, {MAX_ROWS} are allowed", found.len())));
        }
        let columns = found.first().map(|row| row.columns().iter().map(|column| column.name().to_owned()).collect());
        let rows = found.iter().map(read).collect::<Result<_, _>>().map_err(unavailable)?;
        Ok(Rows::new(columns.unwrap_or_default(), rows))
    }
}

fn unavailable(error: sqlx::Error) -> QueryError {
    QueryError::Unavailable(error.to_string())
}

fn refused(error: sqlx::Error) -> QueryError {
    match error.as_database_error() {
        Some(refusal) if refusal.code().as_deref() == Some(SQLITE_READONLY) => {
            QueryError::NotAllowed(refusal.message().to_owned())
        }
        _ => QueryError::Invalid(error.to_string()),
    }
}

/// The values as SQLite stores them: a column has no type of its own.
fn read(row: &SqliteRow) -> Result<Vec<Value>, sqlx::Error> {
    (0..row.len())
        .map(|place| {
            let raw = row.try_get_raw(place)?;
            // Of a null, sqlx tells the type that its column was declared with.
            if raw.is_null() {
                return Ok(Value::Null);
            }
            let kind = raw.type_info();
            Ok(match kind.name() {
                "INTEGER" => Value::Integer(row.try_get_unchecked(place)?),
                "REAL" => Value::Float(row.try_get_unchecked(place)?),
                "BLOB" => Value::Bytes(row.try_get_unchecked(place)?),
                _ => Value::Text(row.try_get_unchecked(place)?),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use tapline_sdk::database::query;

    use super::*;

    fn site() -> Database {
        let mut site = Database::sqlite().unwrap();
        site.execute("CREATE TABLE t (i INTEGER, r REAL, s TEXT, b BLOB, n TEXT)").unwrap();
        site.execute("INSERT INTO t VALUES (1, 0.5, 'x', x'00ff', NULL)").unwrap();
        site
    }

    #[test]
    fn values_keep_their_types() {
        let rows = site().during(|| query("SELECT * FROM t WHERE i = ? AND s = ?", &[1.into(), "x".into()])).unwrap();
        assert_eq!(rows.columns(), ["i", "r", "s", "b", "n"]);
        let values = [1.into(), 0.5.into(), "x".into(), vec![0, 255].into(), Value::Null];
        assert_eq!(rows.first().unwrap().values(), values);
    }

    #[test]
    fn a_query_cannot_write() {
        let mut site = site();
        let error = site.during(|| query("DELETE FROM t", &[])).unwrap_err();
        assert!(matches!(error, QueryError::NotAllowed(_)), "{error:?}");
        site.execute("DELETE FROM t").unwrap();
        assert!(site.during(|| query("SELECT * FROM t", &[])).unwrap().is_empty());
    }

    #[test]
    fn nonsense_and_floods_are_errors() {
        let site = site();
        assert!(matches!(site.during(|| query("SELEC 1", &[])), Err(QueryError::Invalid(_))));
        let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= 1000) SELECT i FROM n";
        assert!(matches!(site.during(|| query(many, &[])), Err(QueryError::TooLarge(_))));
    }

    #[test]
    fn outside_there_is_no_database() {
        let _site = site();
        assert!(matches!(query("SELECT 1", &[]), Err(QueryError::Unavailable(_))));
    }
}
