//! SQLite: how it is opened, asked and understood.

use std::{path::Path, sync::Arc, time::Duration};

use deadpool::{
    Runtime,
    managed::{Pool, Timeouts},
};
use futures_util::TryStreamExt;
use libsqlite3_sys as ffi;
use sqlx::{
    Arguments, AssertSqlSafe, Column, ConnectOptions, Connection as _, Decode, Either, Executor, Row, SqlSafeStr,
    Sqlite as Driver, SqliteConnection, Statement, TypeInfo, ValueRef,
    error::BoxDynError,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow, SqliteStatement, SqliteValueRef},
};
use tapline_host_core::cut;
use tokio::time::Instant;

use crate::{
    config::{DatabaseConfig, MAX_BYTES, MAX_COLUMNS, MAX_ROWS},
    connections::{Connection, Connections, Known, Lease, Restless, STATEMENTS, State, plain},
    error::{DatabaseError, QueryError},
    share::Turn,
    sqlite_guard::{self, Running},
    value::{Rows, Value},
};

/// Rows that a connection reads ahead. Few, because each may have 4 MiB, and the next ones are made before the reader
/// finds that the rows together have more; more than one, because a thread that waits for the reader of each row costs
/// more than the row.
const ROWS_AHEAD: usize = 4;
/// How the transaction begins in which a statement runs for the first time, in one message to the connection's thread. Without
/// the read, SQLite compiles with the schema that it last saw, notices a change only at the first row, and compiles again; sqlx
/// would go on with the columns of the first time, and panic at a new one. A transaction that has read something keeps its schema.
const BEGIN: &str = "BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1";
/// The memory that a statement may take to be kept, in bytes. With [`STATEMENTS`], 4 MiB for each connection; a statement of
/// plugins takes some thousand bytes.
const MAX_KEPT: usize = 64 << 10;
/// So often a statement may have had to be compiled again, because the schema had changed. After that it counts as one that
/// compiles others while it runs, as full text search by rank does: it cannot be told from the former, and so has a transaction
/// around it, in which the schema does not change.
const MAX_DENIALS: u8 = 3;
/// Longest message of SQLite that a guest is told, in bytes: it may repeat a part of the statement.
const MAX_MESSAGE: usize = 1024;

/// Connections to a SQLite file that can only read.
#[derive(Clone, Debug)]
pub(crate) struct Sqlite {
    pool: Pool<Connections>,
    path: Arc<Path>,
    acquire_timeout: Duration,
}

impl Sqlite {
    /// Opens nothing yet.
    pub(crate) fn new(url: &str, config: &DatabaseConfig) -> Result<Self, DatabaseError> {
        let scheme = url.split_once(':').map_or(url, |(scheme, _)| scheme);
        if scheme != "sqlite" || scheme == url {
            return Err(DatabaseError::Scheme { scheme: scheme.to_owned() });
        }
        let address: SqliteConnectOptions =
            url.parse().map_err(|source| DatabaseError::Open { path: url.into(), source })?;
        let path = address.get_filename();
        let timeout = Some(config.acquire_timeout);
        let pool = Pool::builder(Connections(options(path, config)))
            .max_size(config.max_connections as usize)
            .timeouts(Timeouts { wait: timeout, create: timeout, recycle: timeout })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|_no_runtime| DatabaseError::Setting {
                setting: "acquire_timeout",
                message: "nothing can measure it",
            })?;
        Ok(Self { pool, path: path.into(), acquire_timeout: config.acquire_timeout })
    }

    pub(crate) async fn check(&self) -> Result<(), DatabaseError> {
        // SQLite says only that it cannot open a file.
        if !self.path.exists() {
            return Err(DatabaseError::Missing { path: self.path.to_path_buf() });
        }
        // SQLite opens a file without a look at it; this makes it read the first page.
        let read = async {
            let mut connection = self.pool.get().await.map_err(plain)?;
            // It leaves a statement behind that nobody knows.
            connection.state = State::Unknown;
            let _running = Arc::clone(&connection.guard).begin();
            connection.sqlite.fetch_one("SELECT count(*) FROM sqlite_schema").await
        };
        match read.await {
            Ok(_) => Ok(()),
            Err(source) => Err(DatabaseError::Open { path: self.path.to_path_buf(), source }),
        }
    }

    /// Until when a query that comes now waits for a connection.
    pub(crate) fn patience(&self) -> Instant {
        // A moment that is too far away cannot be named: nobody waits for a year.
        const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);
        Instant::now() + self.acquire_timeout.min(FOR_EVER)
    }

    pub(crate) async fn query(&self, sql: &str, parameters: Vec<Value>, turn: Turn) -> Result<Rows, QueryError> {
        // SQLite takes it for the end of the statement; sqlx goes on behind it, and never comes to an end.
        if sql.contains('\0') {
            return Err(QueryError::Invalid("the statement contains a NUL character".to_owned()));
        }
        let wait = Some(turn.patience.saturating_duration_since(Instant::now()));
        let timeouts = Timeouts { wait, create: Some(self.acquire_timeout), recycle: Some(self.acquire_timeout) };
        let connection = self.pool.timeout_get(&timeouts).await;
        let mut connection = Lease::new(connection.map_err(|error| query_error(&plain(error), None))?, turn);
        // Declared after the connection, and so dropped before it: nobody else has the connection yet.
        let running = Arc::clone(&connection.guard).begin();
        let failure = match ask(&mut connection, &running, sql, parameters).await {
            Ok(rows) => return Ok(rows),
            Err(failure) => failure,
        };
        Err(match failure {
            Failure::Refused(error) => error,
            Failure::Database(error) => {
                if class(&error) == Some(ffi::SQLITE_NOMEM) {
                    // SQLite has ended the transaction by itself, of which sqlx knows nothing.
                    connection.close();
                }
                query_error(&error, running.take_refused())
            }
            Failure::Connection(error) => {
                connection.close();
                // Whatever it says: the guest's statement had no part in it.
                unavailable(&error)
            }
        })
    }
}

fn options(path: &Path, config: &DatabaseConfig) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        // The authorizer refuses first. This and `read_only` hold should it have a gap.
        .pragma("query_only", "ON")
        // What is sorted and grouped counts against the statement's memory, and never fills a disk.
        .pragma("temp_store", "MEMORY")
        .busy_timeout(config.busy_timeout)
        .statement_cache_capacity(STATEMENTS)
        .row_buffer_size(ROWS_AHEAD)
        // The span of the host function has the statement, escaped.
        .disable_statement_logging()
}

/// Why there is no answer.
enum Failure {
    /// Found here.
    Refused(QueryError),
    /// Said by the database about this statement.
    Database(sqlx::Error),
    /// The connection is of no use to anybody: its thread is gone, or it may be in the middle of a transaction.
    Connection(sqlx::Error),
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Self::Refused(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(_) => Self::Database(error),
            _ => Self::Connection(error),
        }
    }
}

/// Asks in one message, if the connection has looked at this statement before.
async fn ask(
    connection: &mut Connection,
    running: &Running,
    sql: &str,
    parameters: Vec<Value>,
) -> Result<Rows, Failure> {
    let given = parameters.len();
    if let Some(&Restless { parameters: takes, denials: MAX_DENIALS }) = connection.restless.get(sql) {
        check_parameters(takes, given)?;
        return again(connection, running, sql, arguments(parameters)?).await;
    }
    // Not a use yet, of which sqlx would know nothing: both are to keep the same statements.
    let Some(takes) = connection.known.peek(sql).map(|known| known.parameters) else {
        return first(connection, running, sql, arguments(parameters)?, given).await;
    };
    check_parameters(takes, given)?;
    let arguments = arguments(parameters)?;
    // Until it is known that the query has come to a good end. Dropped before that, it may still be running.
    connection.state = State::Busy;
    let columns = connection.known.get(sql).map(|known| known.columns.clone()).unwrap_or_default();
    let query = sqlx::query_with(AssertSqlSafe(sql), arguments.clone());
    let mut answer = Answer::new(columns);
    if let Some(result) = running.settled(answer.collect(&mut connection.sqlite, query)).await {
        result?;
        connection.state = State::Idle;
        return Ok(answer.rows);
    }
    // What sqlx keeps may have the columns of an old schema.
    connection.state = State::Unknown;
    connection.forget().await.map_err(Failure::Connection)?;
    let denials = connection.restless.get(sql).map_or(0, |restless| restless.denials) + 1;
    connection.restless.insert(sql.to_owned(), Restless { parameters: takes, denials });
    match denials {
        MAX_DENIALS => again(connection, running, sql, arguments).await,
        _ => first(connection, running, sql, arguments, given).await,
    }
}

/// Asks a statement that was looked at before, and is not kept.
async fn again(
    connection: &mut Connection,
    running: &Running,
    sql: &str,
    arguments: SqliteArguments,
) -> Result<Rows, Failure> {
    connection.state = State::Busy;
    let mut transaction = connection.sqlite.begin_with(BEGIN).await.map_err(Failure::Connection)?;
    let guest = running.guest();
    let query = sqlx::query_with(AssertSqlSafe(sql), arguments).persistent(false);
    let mut answer = Answer::new(Vec::new());
    answer.collect(&mut transaction, query).await?;
    if answer.rows.rows.is_empty() {
        // No row has told what its columns are called.
        let compiled = sqlite_guard::compiled(&mut transaction.lock_handle().await?, sql);
        let columns = compiled.map(|compiled| compiled.columns).unwrap_or_default();
        answer.name(columns.iter().map(String::as_str))?;
    }
    drop(guest);
    transaction.rollback().await.map_err(Failure::Connection)?;
    connection.state = State::Idle;
    Ok(answer.rows)
}

/// Looks at a statement before it runs.
async fn first(
    connection: &mut Connection,
    running: &Running,
    sql: &str,
    arguments: SqliteArguments,
    given: usize,
) -> Result<Rows, Failure> {
    connection.state = State::Unknown;
    // Dropped before its end, it sends a rollback to the connection's thread, which does that before anything else.
    let mut transaction = connection.sqlite.begin_with(BEGIN).await.map_err(Failure::Connection)?;
    // Declared after the transaction, and so dropped before it: the rollback is not the guest's.
    let guest = running.guest();
    let statement = transaction.prepare(AssertSqlSafe(sql).into_sql_str()).await?;
    let compiled = sqlite_guard::compiled(&mut transaction.lock_handle().await?, sql);
    let (compiled, parameters) = check(compiled, &statement)?;
    check_parameters(parameters, given)?;
    let mut answer = Answer::new(Vec::new());
    answer.name(compiled.columns.iter().map(String::as_str))?;
    answer.collect(&mut transaction, statement.query_with(arguments)).await?;
    let rows = answer.rows;
    drop(guest);
    // The next query may begin at once, and sqlx lets none begin before this one has ended.
    transaction.rollback().await.map_err(Failure::Connection)?;
    // SQLite, sqlx and the connection have its text.
    if compiled.bytes + 3 * sql.len() > MAX_KEPT {
        connection.restless.insert(sql.to_owned(), Restless { parameters, denials: MAX_DENIALS });
        return Ok(rows);
    }
    connection.known.insert(sql.to_owned(), Known { columns: rows.columns.clone(), parameters });
    connection.state = State::Idle;
    Ok(rows)
}

/// Refuses what the authorizer does not, and what sqlx would misunderstand, before anything runs. How many parameters the
/// statement takes.
fn check(
    compiled: Option<sqlite_guard::Statement>,
    statement: &SqliteStatement,
) -> Result<(sqlite_guard::Statement, usize), QueryError> {
    let Some(compiled) = compiled else {
        return Err(QueryError::Invalid("a query is one statement, with nothing behind its semicolon".to_owned()));
    };
    if !compiled.read_only {
        return Err(QueryError::NotAllowed("the database can only be read".to_owned()));
    }
    if let Some(name) = &compiled.named_parameter {
        return Err(QueryError::Invalid(format!("the parameter `{name}` has a name: write `?` or `?1`")));
    }
    let parameters = match statement.parameters() {
        Some(Either::Right(count)) => count,
        Some(Either::Left(types)) => types.len(),
        None => 0,
    };
    Ok((compiled, parameters))
}

fn check_parameters(takes: usize, given: usize) -> Result<(), QueryError> {
    if takes == given {
        return Ok(());
    }
    Err(QueryError::Invalid(format!("the statement takes {takes} parameters, and got {given}")))
}

fn arguments(parameters: Vec<Value>) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for parameter in parameters {
        match parameter {
            Value::Null => arguments.add(None::<i64>),
            Value::Boolean(value) => arguments.add(value),
            Value::Integer(value) => arguments.add(value),
            Value::Float(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// The rows so far, and what they count.
struct Answer {
    rows: Rows,
    bytes: usize,
}

impl Answer {
    fn new(columns: Vec<String>) -> Self {
        let bytes = columns.iter().map(String::len).sum();
        Self { rows: Rows { columns, rows: Vec::new() }, bytes }
    }

    /// Names the columns, if they have other names than was thought.
    fn name<'a>(&mut self, names: impl ExactSizeIterator<Item = &'a str> + Clone) -> Result<(), QueryError> {
        if names.clone().eq(self.rows.columns.iter()) {
            return Ok(());
        }
        if names.len() > MAX_COLUMNS {
            let message = format!("the statement returns {} columns, {MAX_COLUMNS} are allowed", names.len());
            return Err(QueryError::TooLarge(message));
        }
        *self = Self::new(names.map(str::to_owned).collect());
        Ok(())
    }

    async fn collect(
        &mut self,
        connection: &mut SqliteConnection,
        query: sqlx::query::Query<'_, Driver, SqliteArguments>,
    ) -> Result<(), Failure> {
        let mut events = connection.fetch_many(query);
        let mut complete = false;
        while let Some(event) = events.try_next().await? {
            match event {
                Either::Left(_done) => complete = true,
                Either::Right(row) => self.add(&row)?,
            }
        }
        // A thread that died does not say so: its rows only stop.
        if complete { Ok(()) } else { Err(Failure::Connection(sqlx::Error::WorkerCrashed)) }
    }

    fn add(&mut self, row: &SqliteRow) -> Result<(), QueryError> {
        if self.rows.rows.len() == MAX_ROWS {
            return Err(QueryError::TooLarge(format!("there are more than {MAX_ROWS} rows")));
        }
        if self.rows.rows.is_empty() {
            self.name(row.columns().iter().map(Column::name))?;
        }
        let mut values = Vec::with_capacity(self.rows.columns.len());
        for (index, column) in self.rows.columns.iter().enumerate() {
            let raw = row.try_get_raw(index).map_err(|error| query_error(&error, None))?;
            let value = value(raw).map_err(|error| {
                QueryError::Invalid(format!("the column `{column}` holds text that is not UTF-8: {error}"))
            })?;
            self.bytes += value.size();
            if self.bytes > MAX_BYTES {
                return Err(QueryError::TooLarge(format!("the rows have more than {MAX_BYTES} bytes")));
            }
            values.push(value);
        }
        self.rows.rows.push(values);
        Ok(())
    }
}

/// What a value is, whatever its column was declared as: SQLite has types for values, not for columns.
fn value(raw: SqliteValueRef<'_>) -> Result<Value, BoxDynError> {
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().into_owned();
    match kind.name() {
        "INTEGER" => Decode::<Driver>::decode(raw).map(Value::Integer),
        "REAL" => Decode::<Driver>::decode(raw).map(Value::Float),
        "TEXT" => Decode::<Driver>::decode(raw).map(Value::Text),
        _ => Decode::<Driver>::decode(raw).map(Value::Bytes),
    }
}

/// It is nobody's statement that failed.
fn unavailable(error: &sqlx::Error) -> QueryError {
    QueryError::Unavailable(match error {
        sqlx::Error::PoolTimedOut => "no connection became free in time".to_owned(),
        sqlx::Error::Database(error) => cut(error.message(), MAX_MESSAGE).to_owned(),
        error => cut(&error.to_string(), MAX_MESSAGE).to_owned(),
    })
}

/// SQLite's code of an error.
fn code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code();
    Some(code.and_then(|code| code.parse().ok()).unwrap_or(ffi::SQLITE_ERROR))
}

/// The lower byte is the class of an error, the rest its variety.
fn class(error: &sqlx::Error) -> Option<i32> {
    code(error).map(|code| code & 0xff)
}

/// Whose fault it is, by the code of SQLite and never by its text. `refused` is what the guard had to say.
fn query_error(error: &sqlx::Error, refused: Option<QueryError>) -> QueryError {
    if let Some(refused) = refused {
        return refused;
    }
    let (sqlx::Error::Database(database), Some(class)) = (error, class(error)) else {
        return unavailable(error);
    };
    let message = cut(database.message(), MAX_MESSAGE).to_owned();
    match class {
        ffi::SQLITE_ERROR | ffi::SQLITE_MISMATCH | ffi::SQLITE_RANGE | ffi::SQLITE_CONSTRAINT => {
            QueryError::Invalid(message)
        }
        ffi::SQLITE_AUTH => QueryError::NotAllowed(message),
        // Its varieties are about files that SQLite would have to repair before it can read.
        ffi::SQLITE_READONLY if code(error) == Some(ffi::SQLITE_READONLY) => QueryError::NotAllowed(message),
        ffi::SQLITE_TOOBIG => QueryError::TooLarge(message),
        // So it says that a statement is compiled to more instructions than one may have.
        ffi::SQLITE_NOMEM => QueryError::TooLarge("the statement has too many parts".to_owned()),
        _ => QueryError::Unavailable(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn connection() -> Connection {
        let connections = Connections(options(Path::new(":memory:"), &DatabaseConfig::default()).in_memory(true));
        deadpool::managed::Manager::create(&connections).await.unwrap()
    }

    async fn asked(connection: &mut Connection, sql: &str, parameters: Vec<Value>) -> Rows {
        let running = Arc::clone(&connection.guard).begin();
        match ask(connection, &running, sql, parameters).await {
            Ok(rows) => rows,
            Err(_) => panic!("{sql} failed"),
        }
    }

    #[tokio::test]
    async fn statements_that_are_known_are_not_compiled_again() {
        let mut connection = connection().await;
        // What SQLite would compile anew for each value of a parameter, if it was let.
        let statements = ["SELECT ?", "SELECT 1 AS x LIMIT ?", "SELECT name FROM sqlite_schema WHERE name LIKE ?"];
        for number in 0..10 {
            for sql in statements {
                asked(&mut connection, sql, vec![Value::Integer(number)]).await;
                assert_eq!(connection.state, State::Idle);
            }
        }
        assert_eq!(connection.kept().await, (3, 3));
        assert_eq!(connection.restless.len(), 0, "none of them had to be compiled again");
        let running = Arc::clone(&connection.guard).begin();
        let other = running.settled((&mut connection.sqlite).fetch_all("SELECT 2")).await;
        assert!(other.is_none(), "another one would have to be compiled");
    }

    #[tokio::test]
    async fn what_is_sorted_stays_in_memory() {
        let mut connection = connection().await;
        let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 40)
            SELECT length(b) FROM (SELECT randomblob(1000000) AS b FROM n) ORDER BY b";
        for _ in 0..3 {
            let rows = asked(&mut connection, sql, Vec::new()).await;
            assert_eq!(rows.rows, vec![[Value::Integer(1_000_000)]; 40]);
        }
        assert_eq!(sqlite_guard::spilled(&mut connection.sqlite.lock_handle().await.unwrap()), 0);
    }

    #[tokio::test]
    async fn a_large_statement_is_not_kept_and_drives_nobody_out() {
        let mut connection = connection().await;
        // SQLite keeps the text, and the value that it makes of it.
        let large = format!("SELECT '{}' AS x WHERE ? = 1", "x".repeat(MAX_KEPT / 2));
        asked(&mut connection, &large, vec![Value::Integer(1)]).await;
        assert_eq!(connection.state, State::Unknown, "sqlx still has it");
        connection.forget().await.unwrap();
        asked(&mut connection, "SELECT 1", Vec::new()).await;
        for (number, count) in [(1, 1), (2, 0)] {
            let rows = asked(&mut connection, &large, vec![Value::Integer(number)]).await;
            assert_eq!((rows.columns, rows.rows.len()), (vec!["x".to_owned()], count));
            assert_eq!(connection.state, State::Idle);
        }
        assert_eq!(connection.kept().await, (1, 1));
    }

    #[tokio::test]
    async fn a_statement_that_is_not_kept_has_no_more_columns_than_others() {
        let mut connection = connection().await;
        for (columns, allowed) in [(MAX_COLUMNS, true), (MAX_COLUMNS + 1, false)] {
            // Without a row that would show it.
            let sql = format!("SELECT 1 {} WHERE 0", ", 1".repeat(columns - 1));
            connection.restless.insert(sql.clone(), Restless { parameters: 0, denials: MAX_DENIALS });
            let running = Arc::clone(&connection.guard).begin();
            let answered = ask(&mut connection, &running, &sql, Vec::new()).await;
            match answered {
                Ok(rows) => assert!(allowed && rows.columns.len() == columns),
                Err(Failure::Refused(QueryError::TooLarge(_))) => assert!(!allowed),
                Err(_) => panic!("another failure"),
            }
        }
    }

    #[tokio::test]
    async fn a_statement_that_compiles_others_is_found_out_and_drives_nobody_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("site.db");
        let mut owner = SqliteConnectOptions::new().filename(&path).create_if_missing(true).connect().await.unwrap();
        sqlx::raw_sql("CREATE VIRTUAL TABLE search USING fts5 (title)").execute(&mut owner).await.unwrap();
        let connections = Connections(options(&path, &DatabaseConfig::default()));
        let mut connection = deadpool::managed::Manager::create(&connections).await.unwrap();
        let sql = "SELECT rowid FROM search WHERE search MATCH ? ORDER BY rank";
        for _ in 0..10 {
            asked(&mut connection, sql, vec![Value::Text("two".to_owned())]).await;
        }
        assert!(matches!(connection.restless.get(sql), Some(Restless { denials: MAX_DENIALS, .. })));
        assert_eq!(connection.kept().await, (0, 0));
        asked(&mut connection, "SELECT 1", Vec::new()).await;
        let rows = asked(&mut connection, sql, vec![Value::Text("two".to_owned())]).await;
        assert_eq!((rows.columns, rows.rows.len()), (vec!["rowid".to_owned()], 0));
        assert_eq!(connection.kept().await, (1, 1));
    }
}
