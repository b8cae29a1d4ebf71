//! One database of items.

use std::{path::Path, str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    Connection as _, Row, Sqlite, SqliteConnection, SqlitePool,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous},
};
use tapline_content::{Field, Header, Item};
use tokio::task::spawn_blocking;

use crate::{connections::Connections, error::StoreError};

/// How long a save waits for somebody else's.
pub const DEFAULT_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that are open at the same time. SQLite has one writer at a time; the others read.
pub const DEFAULT_MAX_CONNECTIONS: u32 = 4;
/// How long a caller waits for a connection: a page that took longer would be shown to nobody.
pub const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(2);
/// Callers that may wait for a connection. One more is refused at once.
pub const DEFAULT_MAX_WAITING: usize = 1000;

/// Fields of so many bytes are read within a fraction of a millisecond. Larger ones would hold up the other tasks of the thread.
const READ_AT_ONCE: usize = 64 << 10;

/// The newest schema: what `PRAGMA user_version` says of a database that is up to date.
const SCHEMA_VERSION: i64 = 1;

/// Each step brings a database from the version of its index to the next.
const MIGRATIONS: [&str; SCHEMA_VERSION as usize] = ["
    CREATE TABLE items (
        id TEXT PRIMARY KEY NOT NULL,
        revision INTEGER NOT NULL,
        kind TEXT NOT NULL,
        title TEXT NOT NULL,
        author TEXT NOT NULL,
        published INTEGER NOT NULL,
        promoted INTEGER NOT NULL,
        sticky INTEGER NOT NULL,
        created INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        fields TEXT NOT NULL
    );
    CREATE INDEX items_in_list_order ON items (published, sticky DESC, created DESC, id);
    CREATE TABLE item_tags (
        item_id TEXT NOT NULL REFERENCES items (id) ON DELETE CASCADE,
        tag TEXT NOT NULL,
        PRIMARY KEY (item_id, tag)
    ) WITHOUT ROWID;
    CREATE INDEX item_tags_by_tag ON item_tags (tag, item_id);
    CREATE TABLE item_paths (
        path TEXT PRIMARY KEY NOT NULL,
        item_id TEXT NOT NULL REFERENCES items (id) ON DELETE CASCADE
    ) WITHOUT ROWID;
    CREATE INDEX item_paths_by_item ON item_paths (item_id);
    CREATE TABLE state (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;
"];

/// A database of items. Cheap to clone; all clones share its connections.
#[derive(Clone, Debug)]
pub struct Store {
    connections: Connections,
    /// One for [`Store::ping`], opened when it is first asked for: whether the database answers is to be known just when all
    /// the others are busy.
    watch: Connections,
}

/// How a store is opened. Start from `default()` and change what differs.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// How long a statement waits for a lock. Defaults to [`DEFAULT_BUSY_TIMEOUT`].
    pub busy_timeout: Duration,
    /// Connections that are open at the same time. Defaults to [`DEFAULT_MAX_CONNECTIONS`].
    pub max_connections: u32,
    /// How long a caller may wait for a connection before it gets [`StoreError::Busy`]. Defaults to [`DEFAULT_MAX_WAIT`].
    pub max_wait: Duration,
    /// Callers that may wait for a connection; one more gets [`StoreError::Busy`] at once. Defaults to
    /// [`DEFAULT_MAX_WAITING`].
    pub max_waiting: usize,
    /// Whether a database that is missing is made. Defaults to yes.
    pub create: bool,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            busy_timeout: DEFAULT_BUSY_TIMEOUT,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            max_wait: DEFAULT_MAX_WAIT,
            max_waiting: DEFAULT_MAX_WAITING,
            create: true,
        }
    }
}

impl Store {
    /// Opens the database at `url`, for example `sqlite:tapline.db`, and makes it when it is missing.
    ///
    /// # Errors
    ///
    /// The address is wrong, the directory does not exist, the file is no database, or a newer program made it.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, &StoreConfig::default()).await
    }

    /// [`Store::open`] with other settings.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub async fn open_with(url: &str, config: &StoreConfig) -> Result<Self, StoreError> {
        if !url.starts_with("sqlite:") {
            // The parser would take any other text for the path of a file.
            return Err(StoreError::Url { url: url.to_owned(), source: None });
        }
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|error| StoreError::Url { url: url.to_owned(), source: Some(error) })?
            .create_if_missing(config.create)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(config.busy_timeout);
        let path = options.get_filename().to_owned();
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
            return Err(StoreError::NoDirectory { path: directory.to_owned() });
        }
        let pool = SqlitePoolOptions::new()
            .max_connections(config.max_connections)
            .connect_with(options.clone())
            .await
            .map_err(|source| StoreError::on_open(path.clone(), source))?;
        migrate(&pool, &path).await?;
        let watch = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options);
        Ok(Self { connections: Connections::new(pool, config), watch: Connections::new(watch, config) })
    }

    /// A connection, as soon as one is free.
    pub(crate) async fn connection(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        self.connections.get().await
    }

    /// One item. `None`: there is none of this identifier.
    ///
    /// # Errors
    ///
    /// The database fails, or what it holds is damaged.
    pub async fn load(&self, id: &str) -> Result<Option<Arc<Item>>, StoreError> {
        let statement = sqlx::query("SELECT * FROM items WHERE id = ?").bind(id);
        // The connection is free for others while the fields are read.
        let row = statement.fetch_optional(&mut *self.connection().await?).await?;
        let Some(row) = row else { return Ok(None) };
        let (header, fields): (Header, &str) = (header(&row)?, row.try_get("fields")?);
        let item = if fields.len() <= READ_AT_ONCE {
            read(header, fields)
        } else {
            let fields = fields.to_owned();
            spawn_blocking(move || read(header, &fields)).await.map_err(StoreError::Thread)?
        };
        let damaged = |message| StoreError::Damaged { id: id.to_owned(), message };
        Ok(Some(Arc::new(item.map_err(damaged)?)))
    }

    /// Headers of published items: those that stay at the top first, then the newest.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub async fn list(&self, limit: u32, offset: u32) -> Result<Vec<Header>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, revision, kind, title, author, published, promoted, sticky, created, changed FROM items
             WHERE published = 1 ORDER BY sticky DESC, created DESC, id LIMIT ? OFFSET ?",
        )
        .bind(limit)
        .bind(offset)
        .fetch_all(&mut *self.connection().await?)
        .await?;
        rows.iter().map(|row| header(row).map_err(StoreError::from)).collect()
    }

    /// The item that was imported from the document at `path`. See [`import`](crate::import) for how paths are kept.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub async fn id_of_path(&self, path: &str) -> Result<Option<String>, StoreError> {
        let statement = "SELECT item_id FROM item_paths WHERE path = ?";
        Ok(sqlx::query_scalar(statement).bind(path).fetch_optional(&mut *self.connection().await?).await?)
    }

    /// The document that an item was imported from. `None`: it was not imported from a document of its own.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub async fn path_of_id(&self, id: &str) -> Result<Option<String>, StoreError> {
        let statement = "SELECT path FROM item_paths WHERE item_id = ?";
        Ok(sqlx::query_scalar(statement).bind(id).fetch_optional(&mut *self.connection().await?).await?)
    }

    /// Keeps the path of the document that an item came from. A document that changed its item leaves the old one.
    pub(crate) async fn set_path(&self, id: &str, path: &str) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM item_paths WHERE item_id = ?").bind(id).execute(&mut *transaction).await?;
        sqlx::query("INSERT OR REPLACE INTO item_paths (path, item_id) VALUES (?, ?)")
            .bind(path)
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Whether the database answers, for a health check. It has a connection of its own, so that it waits for nobody else's
    /// statement.
    ///
    /// # Errors
    ///
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1 FROM items LIMIT 1").fetch_optional(&mut *self.watch.get().await?).await?;
        Ok(())
    }

    /// Closes the connections, and waits until the last statement is done.
    pub async fn close(&self) {
        self.watch.close().await;
        self.connections.close().await;
    }
}

/// The item of a row, or why there is none.
fn read(header: Header, fields: &str) -> Result<Item, String> {
    let fields: Vec<Field> = serde_json::from_str(fields).map_err(|error| error.to_string())?;
    Item::new(header, fields).map_err(|error| error.to_string())
}

async fn migrate(pool: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    let on_open = |source| StoreError::on_open(path.to_owned(), source);
    let mut connection = pool.acquire().await.map_err(on_open)?;
    if version(&mut connection).await.map_err(on_open)? == SCHEMA_VERSION {
        return Ok(());
    }
    drop(connection);
    // Two programs that start at the same time must not both make the tables.
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(on_open)?;
    let found = version(&mut transaction).await.map_err(on_open)?;
    let newer = || StoreError::Newer { path: path.to_owned(), found, known: SCHEMA_VERSION };
    let steps = usize::try_from(found).ok().and_then(|done| MIGRATIONS.get(done..)).ok_or_else(newer)?;
    for step in steps {
        sqlx::raw_sql(*step).execute(&mut *transaction).await.map_err(on_open)?;
    }
    // A pragma takes no parameters; the only value that is ever written is the constant.
    const { assert!(SCHEMA_VERSION == 1) };
    sqlx::raw_sql("PRAGMA user_version = 1").execute(&mut *transaction).await.map_err(on_open)?;
    transaction.commit().await.map_err(on_open)
}

async fn version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("PRAGMA user_version").fetch_one(connection).await
}

fn header(row: &SqliteRow) -> Result<Header, sqlx::Error> {
    let text = |column: &str| row.try_get::<&str, _>(column).map(Into::into);
    Ok(Header {
        id: text("id")?,
        revision: row.try_get::<i64, _>("revision")?.cast_unsigned(),
        kind: text("kind")?,
        title: text("title")?,
        author: text("author")?,
        published: row.try_get("published")?,
        promoted: row.try_get("promoted")?,
        sticky: row.try_get("sticky")?,
        created: row.try_get("created")?,
        changed: row.try_get("changed")?,
    })
}
