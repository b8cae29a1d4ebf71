//! How much memory a statement may take, counted where SQLite allocates it.
//!
//! Nothing that SQLite counts for one connection has what a statement takes while it runs: `SQLITE_DBSTATUS_STMT_USED`
//! has the program of a statement, and neither the values in its registers nor what it sorts and groups.
//! `sqlite3_memory_used` and `sqlite3_hard_heap_limit64` are about the process, with the connections of the program in
//! it, so that whoever allocates next fails, and not who has taken it all. A look now and then would not do either:
//! SQLite asks its progress handler where a program goes back, and a thousand constants of 4 MiB are made on the way
//! forward.
//!
//! Each connection of sqlx has a thread of its own, and its statements run nowhere else. So it is threads that have
//! accounts. What is allocated by a thread without one, such as those of the program's own connections, is passed on.

use std::{
    cell::OnceCell,
    ffi::{c_int, c_void},
    ptr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
};

use libsqlite3_sys as ffi;

use crate::config::{MAX_BYTES, MAX_MEMORY};

/// What sqlx may allocate for one row beyond what the statement may: it copies the row when the statement has returned
/// it, and panics where it cannot. Enough for values of [`MAX_BYTES`], which is the longest row that a statement
/// returns, and for what belongs to each of them, some 100 bytes for each of at most 2000 columns.
const ROW: i64 = 2 * MAX_BYTES as i64;

/// What the thread of one connection has allocated.
#[derive(Debug)]
pub(super) struct Account {
    /// Bytes that the thread has allocated, without those that it has freed. Rows are freed by whoever reads them, so
    /// that only the difference between two moments says something. Nobody else writes it.
    used: AtomicI64,
    /// What `used` may come to.
    limit: AtomicI64,
    exhausted: AtomicBool,
    /// Whether nobody waits for the statement any more.
    ended: AtomicBool,
    /// Bytes that were allocated since then, whatever was freed. Written by the connection's thread, as `used` is.
    since: AtomicI64,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            used: AtomicI64::new(0),
            limit: AtomicI64::new(i64::MAX - ROW),
            exhausted: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            since: AtomicI64::new(0),
        }
    }
}

impl Account {
    /// A statement begins, on a connection whose last one has ended.
    pub(super) fn begin(&self) {
        self.limit.store(self.used.load(Relaxed) + MAX_MEMORY as i64, Relaxed);
        self.exhausted.store(false, Relaxed);
        self.ended.store(false, Relaxed);
        self.since.store(0, Relaxed);
    }

    /// Nobody waits for the statement any more. Where SQLite does not ask whether it should stop, it stops for want of
    /// memory; what it may still have is for the row that sqlx may be copying at this moment.
    pub(super) fn end(&self) {
        self.ended.store(true, Relaxed);
    }

    /// Whether the statement takes more than it may, or wanted more since it began.
    pub(super) fn is_exhausted(&self) -> bool {
        if self.used.load(Relaxed) > self.limit.load(Relaxed) {
            self.exhausted.store(true, Relaxed);
        }
        self.exhausted.load(Relaxed)
    }

    /// Whether the thread may allocate so much more.
    fn allows(&self, bytes: i64) -> bool {
        let mut allowed = self.used.load(Relaxed) + bytes <= self.limit.load(Relaxed) + ROW;
        if self.ended.load(Relaxed) {
            let since = self.since.load(Relaxed) + bytes;
            self.since.store(since, Relaxed);
            allowed &= since <= ROW;
        }
        if !allowed {
            self.exhausted.store(true, Relaxed);
        }
        allowed
    }

    fn add(&self, bytes: i64) {
        // One thread writes: a load and a store lose nothing.
        self.used.store(self.used.load(Relaxed) + bytes, Relaxed);
    }
}

thread_local! {
    static ACCOUNT: OnceCell<Arc<Account>> = const { OnceCell::new() };
}

/// From now on what SQLite allocates on this thread is on the account. `false`: the thread has another one.
pub(super) fn charge(account: &Arc<Account>) -> bool {
    let own = ACCOUNT.try_with(|own| Arc::ptr_eq(own.get_or_init(|| Arc::clone(account)), account));
    own.unwrap_or(false)
}

/// Does something with the account of this thread, if it has one.
fn account<T>(work: impl FnOnce(&Account) -> T) -> Option<T> {
    // A thread that is ending has none any more.
    ACCOUNT.try_with(|own| own.get().map(|account| work(account))).ok().flatten()
}

/// What SQLite would allocate with by itself.
struct Plain {
    start: unsafe extern "C" fn(*mut c_void) -> c_int,
    allocate: unsafe extern "C" fn(c_int) -> *mut c_void,
    resize: unsafe extern "C" fn(*mut c_void, c_int) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
    size: unsafe extern "C" fn(*mut c_void) -> c_int,
}

static PLAIN: OnceLock<Plain> = OnceLock::new();
/// Whether SQLite has started with what is here.
static STARTED: AtomicBool = AtomicBool::new(false);

/// Whether the memory of this process's SQLite is counted. Without that no plugin gets a connection.
pub(super) fn is_counted() -> bool {
    STARTED.load(Relaxed)
}

/// SQLite takes another allocator only before anybody uses it, and from one thread. Who is first is not known here: a
/// program may open its own database before it has this crate open one. So this runs before `main`, with the
/// initialisers of C++.
#[used]
#[cfg_attr(all(unix, not(target_vendor = "apple")), unsafe(link_section = ".init_array"))]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(windows, unsafe(link_section = ".CRT$XCU"))]
static BEFORE_MAIN: extern "C" fn() = install;

extern "C" fn install() {
    let mut methods = ffi::sqlite3_mem_methods {
        xMalloc: None,
        xFree: None,
        xRealloc: None,
        xSize: None,
        xRoundup: None,
        xInit: None,
        xShutdown: None,
        pAppData: ptr::null_mut(),
    };
    // SAFETY: no thread uses SQLite yet, nor is there another thread. The setting takes a place for what it writes.
    let known = unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETMALLOC, &raw mut methods) };
    let (Some(allocate_), Some(free_), Some(resize_), Some(size_), Some(start_)) =
        (methods.xMalloc, methods.xFree, methods.xRealloc, methods.xSize, methods.xInit)
    else {
        return;
    };
    let plain = Plain { start: start_, allocate: allocate_, resize: resize_, free: free_, size: size_ };
    if known != ffi::SQLITE_OK || PLAIN.set(plain).is_err() {
        return;
    }
    // What is left as it is, is the rounding, the end, and the argument of the start.
    methods.xMalloc = Some(allocate);
    methods.xFree = Some(free);
    methods.xRealloc = Some(resize);
    methods.xInit = Some(start);
    // SAFETY: as above. SQLite copies the methods, and the functions keep the promises of those that they call. Where
    // SQLite refuses them it goes on with its own, and `is_counted` says so.
    unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw const methods) };
}

unsafe extern "C" fn start(data: *mut c_void) -> c_int {
    let Some(plain) = PLAIN.get() else { return ffi::SQLITE_ERROR };
    STARTED.store(true, Relaxed);
    // SAFETY: SQLite's call, passed on to what it would have called, with its argument.
    unsafe { (plain.start)(data) }
}

unsafe extern "C" fn allocate(bytes: c_int) -> *mut c_void {
    let Some(plain) = PLAIN.get() else { return ptr::null_mut() };
    if account(|account| account.allows(i64::from(bytes))) == Some(false) {
        return ptr::null_mut();
    }
    // SAFETY: SQLite's call, passed on. What was allocated has a size.
    unsafe {
        let memory = (plain.allocate)(bytes);
        if !memory.is_null() {
            account(|account| account.add(i64::from((plain.size)(memory))));
        }
        memory
    }
}

unsafe extern "C" fn resize(memory: *mut c_void, bytes: c_int) -> *mut c_void {
    let Some(plain) = PLAIN.get() else { return ptr::null_mut() };
    // SAFETY: SQLite's call, passed on: `memory` came from `allocate` or from here, and so has a size. It is as it was
    // where this answers with null.
    unsafe {
        let before = i64::from((plain.size)(memory));
        if account(|account| account.allows(i64::from(bytes) - before)) == Some(false) {
            return ptr::null_mut();
        }
        let resized = (plain.resize)(memory, bytes);
        if !resized.is_null() {
            account(|account| account.add(i64::from((plain.size)(resized)) - before));
        }
        resized
    }
}

unsafe extern "C" fn free(memory: *mut c_void) {
    let Some(plain) = PLAIN.get() else { return };
    // SAFETY: SQLite's call, passed on: `memory` came from `allocate` or `resize`, or is null.
    unsafe {
        if !memory.is_null() {
            account(|account| account.add(-i64::from((plain.size)(memory))));
        }
        (plain.free)(memory);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sqlx::{Connection as _, SqliteConnection};
    use tokio::{sync::Mutex, time::Instant};

    use super::*;
    use crate::{Database, DatabaseConfig, QueryError, Rows, Value};

    /// What SQLite has is counted for the process, so that tests that look at it take turns.
    static ALONE: Mutex<()> = Mutex::const_new(());

    /// 4 MB of text, another for each number.
    const LARGE: &str = "(hex(zeroblob(2000000)) || ";

    async fn database(directory: &tempfile::TempDir) -> Database {
        let url = format!("sqlite:{}", directory.path().join("site.db").display());
        let mut owner = SqliteConnection::connect(&format!("{url}?mode=rwc")).await.unwrap();
        sqlx::raw_sql(
            "CREATE TABLE t (x); INSERT INTO t VALUES (1), (2), (3);
             CREATE VIRTUAL TABLE search USING fts5 (title); INSERT INTO search VALUES ('one')",
        )
        .execute(&mut owner)
        .await
        .unwrap();
        owner.close().await.unwrap();
        let config = DatabaseConfig { max_connections: 1, ..DatabaseConfig::default() };
        Database::connect(&url, config).await.unwrap()
    }

    async fn run(database: &Database, sql: &str, parameters: Vec<Value>) -> Result<Rows, QueryError> {
        database.run(sql, parameters, Instant::now() + Duration::from_secs(60)).await
    }

    fn large(count: u32) -> String {
        (0..count).map(|number| format!("{LARGE}{number})")).collect::<Vec<_>>().join(", ")
    }

    fn used() -> i64 {
        // SAFETY: it asks for a number.
        unsafe { ffi::sqlite3_memory_used() }
    }

    /// The most that was used since the last time that this was asked.
    fn peak() -> i64 {
        // SAFETY: it asks for a number, and begins it anew.
        unsafe { ffi::sqlite3_memory_highwater(1) }
    }

    #[tokio::test]
    async fn no_statement_takes_more_than_it_may() {
        let _alone = ALONE.lock().await;
        let directory = tempfile::tempdir().unwrap();
        let database = database(&directory).await;
        let zeros = vec!["zeroblob(4194304)"; 100].join(", ");
        let [few, many] = [30, 100].map(|count| vec!["?1"; count].join(", "));
        let statements = [
            format!("SELECT length(max({}))", large(30)),
            // Forward only, before the first look whether it should stop, and after a row.
            format!("SELECT count(*) FROM t WHERE x IN ({})", large(200)),
            format!("SELECT 1 UNION ALL SELECT length(a) FROM (SELECT max({}) AS a)", large(30)),
            // Rows that take no memory until they are copied.
            format!("SELECT {zeros}"),
            format!("SELECT {zeros} FROM t"),
            format!("SELECT {many}"),
            // Fewer instructions than values, none of which takes memory.
            format!("SELECT {few}"),
            format!("SELECT {zeros} FROM search WHERE search MATCH 'one' ORDER BY rank"),
            // What is remembered, sorted, grouped and collected.
            "WITH RECURSIVE n(i, b) AS (SELECT 1, zeroblob(4000000) UNION SELECT i + 1, zeroblob(4000000) FROM n)
             SELECT count(*) FROM n"
                .to_owned(),
            "WITH RECURSIVE n(i, b) AS (SELECT 1, zeroblob(1000) UNION SELECT i + 1, zeroblob(1000) FROM n)
             SELECT count(*) FROM n"
                .to_owned(),
            "WITH RECURSIVE n(b) AS (SELECT randomblob(10000) UNION ALL SELECT randomblob(10000) FROM n)
             SELECT length(b) FROM n ORDER BY b"
                .to_owned(),
            "WITH RECURSIVE n(b) AS (SELECT randomblob(100000) UNION ALL SELECT randomblob(100000) FROM n)
             SELECT count(DISTINCT b) FROM n"
                .to_owned(),
            "WITH RECURSIVE n(b) AS (SELECT randomblob(100000) UNION ALL SELECT randomblob(100000) FROM n)
             SELECT length(max(b) OVER (PARTITION BY length(b))) FROM n"
                .to_owned(),
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200)
             SELECT count(*) FROM
             (SELECT i, group_concat(hex(zeroblob(500000))) AS s FROM n GROUP BY i % 100 ORDER BY s)"
                .to_owned(),
        ];
        let before = used();
        peak();
        for _ in 0..2 {
            for sql in &statements {
                let parameters = if sql.contains('?') { vec![Value::Bytes(vec![1; MAX_BYTES])] } else { Vec::new() };
                let answer = run(&database, sql, parameters).await;
                assert!(matches!(answer, Err(QueryError::TooLarge(_))), "{sql}: {answer:?}");
                assert_eq!(run(&database, "SELECT 1", Vec::new()).await.unwrap().rows, [[Value::Integer(1)]], "{sql}");
                // Besides there is the page cache, and what the tests beside this one have.
                let (most, peak) = (before + MAX_MEMORY as i64 + ROW + (16 << 20), peak());
                assert!(peak <= most, "{sql}: {peak} bytes, and not {most}");
            }
        }
        assert!(used() <= before + (16 << 20), "{} bytes, and {before} before", used());
    }

    /// What the program's own connections hold is nobody's statement, and they may take more.
    #[tokio::test]
    async fn memory_of_others_is_not_counted() {
        let _alone = ALONE.lock().await;
        let directory = tempfile::tempdir().unwrap();
        let database = database(&directory).await;
        let mut program = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let fill = "CREATE TABLE t AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 40)
            SELECT randomblob(4000000) FROM n";
        sqlx::raw_sql(fill).execute(&mut program).await.unwrap();
        assert!(used() > 2 * MAX_MEMORY as i64);
        let remember = "WITH RECURSIVE n(i, b) AS
            (SELECT 1, zeroblob(4000000) UNION SELECT i + 1, zeroblob(4000000) FROM n LIMIT ?) SELECT count(*) FROM n";
        for _ in 0..3 {
            let found = run(&database, remember, vec![Value::Integer(5)]).await.unwrap();
            assert_eq!(found.rows, [[Value::Integer(5)]]);
            let refused = run(&database, remember, vec![Value::Integer(20)]).await;
            let message = "the statement takes more than 67108864 bytes of memory".to_owned();
            assert_eq!(refused, Err(QueryError::TooLarge(message)));
        }
    }

    /// Rows are freed on another thread than they were made on.
    #[tokio::test]
    async fn rows_that_were_read_are_not_counted_again() {
        let directory = tempfile::tempdir().unwrap();
        let database = database(&directory).await;
        let long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000)
            SELECT zeroblob(4000) AS x FROM n";
        let columns = vec!["i"; 50].join(", ");
        let many = format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000) SELECT {columns} FROM n"
        );
        for _ in 0..10 {
            for sql in [long, &many] {
                assert_eq!(run(&database, sql, Vec::new()).await.unwrap().rows.len(), 1000);
            }
        }
    }
}
