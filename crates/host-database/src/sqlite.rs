//! SQLite: how it is opened, asked and understood.

use std::{path::Path, sync::Arc};

use deadpool::{
    Runtime,
    managed::{Object, Pool, Timeouts},
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

use crate::{
    config::{DatabaseConfig, MAX_BYTES, MAX_COLUMNS, MAX_ROWS},
    connections::{Connections, plain},
    error::{DatabaseError, QueryError},
    sqlite_guard::{self, Running},
    value::{Rows, Value},
};

/// Rows that a connection reads ahead. Few, because SQLite makes a row before it can be counted, and each may have 4 MiB; more
/// than one, because a thread that waits for the reader of each row costs more than the row.
const ROWS_AHEAD: usize = 4;
/// How a transaction begins, in one message to the connection's thread. Without the read, SQLite compiles with the schema that
/// it last saw, notices a change only at the first row, and compiles again; sqlx would go on with the columns of the first
/// time, and panic at a new one. A transaction that has read something keeps its schema.
const BEGIN: &str = "BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1";
/// Longest message of SQLite that a guest is told, in bytes: it may repeat a part of the statement.
const MAX_MESSAGE: usize = 1024;

/// Connections to a SQLite file that can only read.
#[derive(Clone, Debug)]
pub(crate) struct Sqlite {
    pool: Pool<Connections>,
    path: Arc<Path>,
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
        Ok(Self { pool, path: path.into() })
    }

    pub(crate) async fn check(&self) -> Result<(), DatabaseError> {
        // SQLite says only that it cannot open a file.
        if !self.path.exists() {
            return Err(DatabaseError::Missing { path: self.path.to_path_buf() });
        }
        // SQLite opens a file without a look at it; this makes it read the first page.
        let read = async {
            let mut connection = self.pool.get().await.map_err(plain)?;
            connection.sqlite.fetch_one("SELECT count(*) FROM sqlite_schema").await
        };
        match read.await {
            Ok(_) => Ok(()),
            Err(source) => Err(DatabaseError::Open { path: self.path.to_path_buf(), source }),
        }
    }

    pub(crate) async fn query(&self, sql: &str, parameters: Vec<Value>) -> Result<Rows, QueryError> {
        // SQLite takes it for the end of the statement; sqlx goes on behind it, and never comes to an end.
        if sql.contains('\0') {
            return Err(QueryError::Invalid("the statement contains a NUL character".to_owned()));
        }
        let mut connection = self.pool.get().await.map_err(|error| query_error(&plain(error), None))?;
        // Until it is known that the query has come to its end. Dropped before that, it may still be running.
        connection.is_busy = true;
        // Declared after the connection, and so dropped before it: nobody else has the connection yet.
        let running = Arc::clone(&connection.guard).begin();
        let failure = match ask(&mut connection.sqlite, &running, sql, parameters).await {
            Ok(rows) => {
                connection.is_busy = false;
                return Ok(rows);
            }
            Err(failure) => failure,
        };
        Err(match failure {
            Failure::Refused(error) => error,
            Failure::Database(error) => query_error(&error, running.take_refused()),
            Failure::Connection(error) => {
                drop(Object::take(connection));
                query_error(&error, None)
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
        .busy_timeout(config.busy_timeout)
        // A statement that is kept remembers its columns, as above.
        .statement_cache_capacity(0)
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

async fn ask(
    connection: &mut SqliteConnection,
    running: &Running,
    sql: &str,
    parameters: Vec<Value>,
) -> Result<Rows, Failure> {
    // Dropped at the end, which sends a rollback to the connection's thread and does not wait for it.
    let mut transaction = connection.begin_with(BEGIN).await.map_err(Failure::Connection)?;
    // Declared after the transaction, and so dropped before it: the rollback is not the guest's.
    let _guest = running.guest();
    let statement = transaction.prepare(AssertSqlSafe(sql).into_sql_str()).await?;
    let compiled = sqlite_guard::compiled(&mut transaction.lock_handle().await?, sql);
    check(compiled, &statement, parameters.len())?;
    let mut answer = Answer::new(&statement)?;
    let mut events = transaction.fetch_many(statement.query_with(arguments(parameters)?));
    let mut complete = false;
    while let Some(event) = events.try_next().await? {
        match event {
            Either::Left(_done) => complete = true,
            Either::Right(row) => answer.add(&row)?,
        }
    }
    // A thread that died does not say so: its rows only stop.
    if complete { Ok(answer.rows) } else { Err(Failure::Connection(sqlx::Error::WorkerCrashed)) }
}

/// Refuses what the authorizer does not, and what sqlx would misunderstand, before anything runs.
fn check(
    compiled: Option<sqlite_guard::Statement>,
    statement: &SqliteStatement,
    parameters: usize,
) -> Result<(), QueryError> {
    let Some(compiled) = compiled else {
        return Err(QueryError::Invalid("a query is one statement, with nothing behind its semicolon".to_owned()));
    };
    if !compiled.read_only {
        return Err(QueryError::NotAllowed("the database can only be read".to_owned()));
    }
    if let Some(name) = compiled.named_parameter {
        return Err(QueryError::Invalid(format!("the parameter `{name}` has a name: write `?` or `?1`")));
    }
    let placeholders = match statement.parameters() {
        Some(Either::Right(count)) => count,
        Some(Either::Left(types)) => types.len(),
        None => 0,
    };
    if placeholders != parameters {
        return Err(QueryError::Invalid(format!(
            "the statement takes {placeholders} parameters, and got {parameters}"
        )));
    }
    Ok(())
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
    fn new(statement: &SqliteStatement) -> Result<Self, QueryError> {
        let columns = statement.columns();
        if columns.len() > MAX_COLUMNS {
            let message = format!("the statement returns {} columns, {MAX_COLUMNS} are allowed", columns.len());
            return Err(QueryError::TooLarge(message));
        }
        let columns: Vec<String> = columns.iter().map(|column| column.name().to_owned()).collect();
        let bytes = columns.iter().map(String::len).sum();
        Ok(Self { rows: Rows { columns, rows: Vec::new() }, bytes })
    }

    fn add(&mut self, row: &SqliteRow) -> Result<(), QueryError> {
        if self.rows.rows.len() == MAX_ROWS {
            return Err(QueryError::TooLarge(format!("there are more than {MAX_ROWS} rows")));
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

/// Whose fault it is, by the code of SQLite and never by its text. `refused` is what the authorizer had to say.
fn query_error(error: &sqlx::Error, refused: Option<String>) -> QueryError {
    if let Some(refused) = refused {
        return QueryError::NotAllowed(refused);
    }
    let sqlx::Error::Database(error) = error else {
        return QueryError::Unavailable(match error {
            sqlx::Error::PoolTimedOut => "no connection became free in time".to_owned(),
            error => cut(&error.to_string(), MAX_MESSAGE).to_owned(),
        });
    };
    let message = cut(error.message(), MAX_MESSAGE).to_owned();
    let code: i32 = error.code().and_then(|code| code.parse().ok()).unwrap_or(ffi::SQLITE_ERROR);
    // The lower byte is the class of an error, the rest its variety.
    match code & 0xff {
        ffi::SQLITE_ERROR | ffi::SQLITE_MISMATCH | ffi::SQLITE_RANGE | ffi::SQLITE_CONSTRAINT => {
            QueryError::Invalid(message)
        }
        ffi::SQLITE_AUTH => QueryError::NotAllowed(message),
        // Its varieties are about files that SQLite would have to repair before it can read.
        ffi::SQLITE_READONLY if code == ffi::SQLITE_READONLY => QueryError::NotAllowed(message),
        ffi::SQLITE_TOOBIG => QueryError::TooLarge(message),
        _ => QueryError::Unavailable(message),
    }
}
