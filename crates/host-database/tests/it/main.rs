//! Plugins' SQL against real SQLite files: what it may ask, what it may not, and what ends it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as it should be")]

mod answers;
mod connecting;
mod refused;
mod stopping;
mod through_the_host;

use std::{path::PathBuf, time::Duration};

use sqlx::{Connection, SqliteConnection};
use tapline_host_database::{Database, DatabaseConfig, QueryError, Rows, Value};
use tempfile::TempDir;
use tokio::time::Instant;

/// Long enough for anything that is not stuck, short enough for a test that is.
const PATIENCE: Duration = Duration::from_secs(30);

/// A statement that never ends, and returns nothing on its way.
const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

/// A directory with one database in it, and what plugins get of it.
struct Site {
    directory: TempDir,
    database: Database,
}

impl Site {
    /// A database that `schema` has made, with one connection for plugins.
    async fn new(schema: &str) -> Self {
        Self::with(schema, config()).await
    }

    async fn with(schema: &str, config: DatabaseConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut owner = connect(&directory).await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(schema.to_owned())).execute(&mut owner).await.unwrap();
        owner.close().await.unwrap();
        let database = Database::connect(&url(&directory), config).await.unwrap();
        Self { directory, database }
    }

    /// A connection that may write, as the program has it.
    async fn owner(&self) -> SqliteConnection {
        connect(&self.directory).await
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("site.db")
    }

    async fn ask(&self, sql: &str, parameters: impl Into<Vec<Value>>) -> Result<Rows, QueryError> {
        self.database.run(sql, parameters.into(), Instant::now() + PATIENCE).await
    }

    /// The only value of the only row.
    async fn value(&self, sql: &str) -> Value {
        let mut found = self.ask(sql, []).await.unwrap();
        assert_eq!((found.rows.len(), found.columns.len()), (1, 1), "{found:?}");
        found.rows.remove(0).remove(0)
    }

    async fn error(&self, sql: &str) -> QueryError {
        match self.ask(sql, []).await {
            Ok(found) => panic!("{sql} returned {} rows: {:?}", found.rows.len(), found.rows.first()),
            Err(error) => error,
        }
    }
}

/// One connection, so that a query that does not give it back is found out.
fn config() -> DatabaseConfig {
    DatabaseConfig { max_connections: 1, busy_timeout: Duration::from_millis(20), ..DatabaseConfig::default() }
}

fn url(directory: &TempDir) -> String {
    format!("sqlite:{}", directory.path().join("site.db").display())
}

async fn connect(directory: &TempDir) -> SqliteConnection {
    SqliteConnection::connect(&format!("{}?mode=rwc", url(directory))).await.unwrap()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}
