//! What keeps a SQLite connection to reading: installed once on each connection, below everything that sqlx does.
//!
//! A connection that was opened for reading can still write other files (`ATTACH`, `VACUUM INTO`), load code and change
//! its own settings. SQLite's authorizer refuses that while a statement is compiled, whatever its text looks like. What
//! a statement takes while it runs has its bounds here as well: time, memory, and the size of a row.

#![expect(
    unsafe_code,
    reason = "sqlx offers neither the authorizer nor the limits of SQLite; every call has its argument"
)]

mod memory;
mod text;

use std::{
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    io, ptr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
};

use libsqlite3_sys as ffi;
use sqlx::sqlite::LockedSqliteHandle;

use self::memory::Account;
use crate::{
    config::{MAX_BYTES, MAX_MEMORY, MAX_PARAMETERS, MAX_SQL_BYTES},
    error::QueryError,
    functions,
};

/// How many instructions SQLite's machine runs between two looks at whether it should stop. With more than one it would
/// not always look before it returns a row, which [`row`] may just have found to be too large for sqlx to copy. That
/// costs nothing that can be measured for a row that is found by its key (3.2 µs), 0.05 µs for each row that is
/// returned, and up to a fifth of a scan or a recursion that does little with each row, over a look at every thousandth
/// (SQLite by itself, 2026-11-29).
const INSTRUCTIONS_BETWEEN_CHECKS: c_int = 1;

/// How often a statement may compare with `LIKE` or `GLOB`. One comparison of 4 MiB with a pattern of 100 bytes takes
/// up to a second, and between those that stand beside each other SQLite does not look whether it should stop. For ten
/// columns and five words.
const MAX_PATTERNS: u32 = 50;

/// The name under which a connection keeps its guard.
const CLIENT_DATA: &CStr = c"tapline-guard";

/// SQLite's limits for one connection. `VDBE_OP` is what SQLite's page on security recommends for statements of
/// strangers; the others are more than its recommendation, as much as reports over content need, and far below what
/// would use up the stack. They bound single values; what bounds all of a statement's values together is in
/// `memory.rs`.
const LIMITS: &[(c_int, usize)] = &[
    (ffi::SQLITE_LIMIT_LENGTH, MAX_BYTES),
    (ffi::SQLITE_LIMIT_SQL_LENGTH, MAX_SQL_BYTES),
    (ffi::SQLITE_LIMIT_EXPR_DEPTH, 100),
    (ffi::SQLITE_LIMIT_COMPOUND_SELECT, 20),
    (ffi::SQLITE_LIMIT_VDBE_OP, 25_000),
    (ffi::SQLITE_LIMIT_FUNCTION_ARG, 32),
    (ffi::SQLITE_LIMIT_ATTACHED, 0),
    (ffi::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100),
    (ffi::SQLITE_LIMIT_VARIABLE_NUMBER, MAX_PARAMETERS),
    (ffi::SQLITE_LIMIT_TRIGGER_DEPTH, 1),
    (ffi::SQLITE_LIMIT_WORKER_THREADS, 0),
];

/// What a connection shares with the query that uses it.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    stop: AtomicBool,
    /// Whether what is compiled is the guest's, and not what the host needs around it.
    guest: AtomicBool,
    /// Whether what runs is what the host needs around it. That always comes to its end: a transaction that begins
    /// half, or is not rolled back, keeps its lock.
    host: AtomicBool,
    /// Whether nothing is to be compiled, because what runs was compiled and looked at before.
    settled: AtomicBool,
    /// Whether something was to be compiled all the same.
    unsettled: AtomicBool,
    /// Whether there is a row that is larger than an answer may be.
    large_row: AtomicBool,
    account: Arc<Account>,
    /// Comparisons with patterns in what was compiled.
    patterns: AtomicU32,
    /// What the authorizer had to say.
    denied: Mutex<Option<QueryError>>,
}

impl Guard {
    /// Starts a query, on a connection whose last one has ended.
    pub(crate) fn begin(self: Arc<Self>) -> Running {
        self.stop.store(false, Relaxed);
        self.guest.store(false, Relaxed);
        self.host.store(false, Relaxed);
        self.settled.store(false, Relaxed);
        self.large_row.store(false, Relaxed);
        self.account.begin();
        self.patterns.store(0, Relaxed);
        self.take_denied();
        Running(self)
    }

    fn take_denied(&self) -> Option<QueryError> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Keeps the first reason.
    fn deny(&self, why: QueryError) {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }

    /// Whether SQLite is to stop what it does.
    fn is_stopped(&self) -> bool {
        let stop = self.stop.load(Relaxed) || self.large_row.load(Relaxed) || self.account.is_exhausted();
        stop && !self.host.load(Relaxed)
    }
}

/// A query that has a connection. When this is dropped, SQLite stops working on it.
pub(crate) struct Running(Arc<Guard>);

impl Running {
    /// From now on, until the result is dropped, what is compiled is the guest's, and what runs until the host ends it.
    pub(crate) fn guest(&self) -> Guest<'_> {
        self.0.guest.store(true, Relaxed);
        self.0.host.store(false, Relaxed);
        Guest(&self.0)
    }

    /// Runs a statement that was compiled before: SQLite may not compile it, or anything else, until it has ended. None: it
    /// would have to, because the schema has changed, or because the statement is one that compiles others. What was found
    /// until then is not to be relied on.
    pub(crate) async fn settled<T>(&self, run: impl Future<Output = T>) -> Option<T> {
        self.0.unsettled.store(false, Relaxed);
        self.0.settled.store(true, Relaxed);
        let settled = Settled(&self.0);
        let result = run.await;
        drop(settled);
        (!self.0.unsettled.load(Relaxed)).then_some(result)
    }

    /// Why the query was refused, if it was not SQLite that found something wrong with it.
    pub(crate) fn take_refused(&self) -> Option<QueryError> {
        if let Some(denied) = self.0.take_denied() {
            return Some(denied);
        }
        if self.0.large_row.load(Relaxed) {
            return Some(QueryError::TooLarge(format!("a row has more than {MAX_BYTES} bytes")));
        }
        let exhausted = self.0.account.is_exhausted();
        exhausted.then(|| QueryError::TooLarge(format!("the statement takes more than {MAX_MEMORY} bytes of memory")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.stop.store(true, Relaxed);
        self.0.account.end();
    }
}

/// While it lives, the host compiles nothing of its own.
pub(crate) struct Guest<'a>(&'a Guard);

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        // A statement that is being compiled at this moment is never run: the query was given up.
        self.0.guest.store(false, Relaxed);
    }
}

/// While it lives, nothing is compiled.
struct Settled<'a>(&'a Guard);

impl Drop for Settled<'_> {
    fn drop(&mut self) {
        self.0.settled.store(false, Relaxed);
    }
}

/// Sets limits and authorizer, and the check that lets a query be stopped. The guard belongs to the connection.
pub(crate) fn install(handle: &mut LockedSqliteHandle<'_>) -> Result<Arc<Guard>, sqlx::Error> {
    if !memory::is_counted() {
        return Err(sqlx::Error::Io(io::Error::other("the memory of SQLite is not counted in this process")));
    }
    let guard = Arc::<Guard>::default();
    let shared = Arc::clone(&guard);
    let db = handle.as_raw_handle().as_ptr();
    for (limit, value) in LIMITS {
        // SAFETY: `db` is an open connection that nobody else uses while `handle` is locked.
        unsafe { ffi::sqlite3_limit(db, *limit, c_int::try_from(*value).unwrap_or(c_int::MAX)) };
    }
    // A statement stays as it was compiled, whatever its parameters are: otherwise each `LIMIT ?` would be compiled anew.
    // SAFETY: `db` as above. The setting takes a number, and a place for the answer that may be null.
    let stable = unsafe { ffi::sqlite3_db_config(db, ffi::SQLITE_DBCONFIG_ENABLE_QPSG, 1, ptr::null_mut::<c_int>()) };
    if stable != ffi::SQLITE_OK {
        return Err(sqlx::Error::Io(io::Error::other("SQLite does not keep its plans stable")));
    }
    // SAFETY: `db` as above.
    if !unsafe { text::install(db) } {
        return Err(sqlx::Error::Io(io::Error::from(io::ErrorKind::OutOfMemory)));
    }
    let guard = Arc::into_raw(guard).cast_mut().cast::<c_void>();
    // SAFETY: `db` as above. `guard` is one reference count, which now belongs to the connection: SQLite calls
    // `release` with it exactly once, when the connection is closed, or at once if this call fails.
    let kept = unsafe { ffi::sqlite3_set_clientdata(db, CLIENT_DATA.as_ptr(), guard, Some(release)) };
    if kept != ffi::SQLITE_OK {
        return Err(sqlx::Error::Io(io::Error::from(io::ErrorKind::OutOfMemory)));
    }
    // SAFETY: `db` as above. `guard` lives until the connection is closed, and SQLite gives it up only after the last
    // statement is gone, so that none of the three functions sees it freed. They are called from whichever thread
    // compiles or runs a statement; `Guard` may be shared between threads.
    let set = unsafe {
        ffi::sqlite3_progress_handler(db, INSTRUCTIONS_BETWEEN_CHECKS, Some(progress), guard);
        ffi::sqlite3_trace_v2(db, ffi::SQLITE_TRACE_ROW as c_uint, Some(row), guard) == ffi::SQLITE_OK
            && ffi::sqlite3_set_authorizer(db, Some(authorize), guard) == ffi::SQLITE_OK
    };
    if !set {
        return Err(sqlx::Error::Io(io::Error::other("SQLite does not take an authorizer")));
    }
    Ok(shared)
}

/// Whether the connection is in a transaction, as SQLite sees it.
pub(crate) fn is_in_transaction(handle: &mut LockedSqliteHandle<'_>) -> bool {
    // SAFETY: it is an open connection that nobody else uses while `handle` is locked.
    unsafe { ffi::sqlite3_get_autocommit(handle.as_raw_handle().as_ptr()) == 0 }
}

/// How many bytes the connection has written to temporary files, for want of memory.
#[cfg(test)]
pub(crate) fn spilled(handle: &mut LockedSqliteHandle<'_>) -> c_int {
    let (mut bytes, mut peak) = (0, 0);
    let db = handle.as_raw_handle().as_ptr();
    // SAFETY: `db` is an open connection that nobody else uses while `handle` is locked.
    unsafe { ffi::sqlite3_db_status(db, ffi::SQLITE_DBSTATUS_TEMPBUF_SPILL, &raw mut bytes, &raw mut peak, 0) };
    bytes
}

/// What SQLite made of a statement.
pub(crate) struct Statement {
    /// The names of its columns.
    pub(crate) columns: Vec<String>,
    /// Whether it leaves the database as it is.
    pub(crate) read_only: bool,
    /// A parameter with a name, which sqlx cannot fill in.
    pub(crate) named_parameter: Option<String>,
    /// The memory that it takes, in bytes.
    pub(crate) bytes: usize,
}

/// Finds the statement that sqlx has compiled from `sql`. `None`: `sql` is not one statement, but none, several, or one
/// with something after its semicolon.
pub(crate) fn compiled(handle: &mut LockedSqliteHandle<'_>, sql: &str) -> Option<Statement> {
    let sql = whole(sql.trim().as_bytes());
    let db = handle.as_raw_handle().as_ptr();
    let mut statement = ptr::null_mut();
    loop {
        // SAFETY: `db` is an open connection that nobody else uses while `handle` is locked, and `statement` is null or
        // a statement of it that was not finalized since.
        statement = unsafe { ffi::sqlite3_next_stmt(db, statement) };
        if statement.is_null() {
            return None;
        }
        // SAFETY: `statement` is alive, and its text is a C string that lives as long as it.
        let text = unsafe { c_str(ffi::sqlite3_sql(statement)) };
        if text.is_some_and(|text| whole(text.to_bytes()) == sql) {
            break;
        }
    }
    // SAFETY: `statement` is alive, as above.
    let (read_only, parameters) =
        unsafe { (ffi::sqlite3_stmt_readonly(statement) != 0, ffi::sqlite3_bind_parameter_count(statement)) };
    let named_parameter = (1..=parameters).find_map(|index| {
        // SAFETY: `statement` is alive, as above, and a name lives as long as its statement.
        let name = unsafe { c_str(ffi::sqlite3_bind_parameter_name(statement, index)) }?;
        // A number is the only name that sqlx knows: `?2`.
        (!name.to_bytes().starts_with(b"?")).then(|| name.to_string_lossy().into_owned())
    });
    // SAFETY: `statement` is alive, as above.
    let count = unsafe { ffi::sqlite3_column_count(statement) };
    let columns = (0..count).map(|index| {
        // SAFETY: `statement` is alive, as above, and a name lives until the next one is asked for.
        let name = unsafe { c_str(ffi::sqlite3_column_name(statement, index)) };
        name.map(CStr::to_string_lossy).unwrap_or_default().into_owned()
    });
    let columns = columns.collect();
    // SAFETY: `statement` is alive, as above.
    let bytes = unsafe { ffi::sqlite3_stmt_status(statement, ffi::SQLITE_STMTSTATUS_MEMUSED, 0) };
    Some(Statement { columns, read_only, named_parameter, bytes: usize::try_from(bytes).unwrap_or(usize::MAX) })
}

/// A statement without what may follow it.
fn whole(mut sql: &[u8]) -> &[u8] {
    while let [start @ .., b';' | b' ' | b'\t' | b'\n' | b'\r' | b'\x0c'] = sql {
        sql = start;
    }
    sql
}

/// # Safety
///
/// `text` is null or a C string that lives for `'a`.
unsafe fn c_str<'a>(text: *const c_char) -> Option<&'a CStr> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

/// SQLite calls it when it is done with a guard.
unsafe extern "C" fn release(guard: *mut c_void) {
    // SAFETY: `guard` is the pointer that `install` got from `Arc::into_raw`, and SQLite gives it back once.
    drop(unsafe { Arc::from_raw(guard.cast::<Guard>().cast_const()) });
}

/// SQLite calls it while a statement runs. It stops for anything but 0.
unsafe extern "C" fn progress(guard: *mut c_void) -> c_int {
    // SAFETY: `guard` is what `install` registered together with this function, alive while the connection is open.
    let guard = unsafe { &*guard.cast::<Guard>() };
    c_int::from(guard.is_stopped())
}

/// SQLite calls it for each row, of statements of its own as well, ahead of the look at whether it should stop, and of
/// sqlx, which copies all of a row whatever it has. That a value is as long as many others does not mean that it takes
/// memory already: it may be of zeros, or the same as another.
unsafe extern "C" fn row(_: c_uint, guard: *mut c_void, statement: *mut c_void, _: *mut c_void) -> c_int {
    // SAFETY: `guard` is what `install` registered together with this function, alive while the connection is open; for
    // this event `statement` is the one that has the row, whose values may be asked for until it goes on.
    let (guard, bytes) = unsafe {
        let statement = statement.cast::<ffi::sqlite3_stmt>();
        let bytes = (0..ffi::sqlite3_data_count(statement)).map(|column| {
            let value = ffi::sqlite3_column_value(statement, column);
            let bytes = match ffi::sqlite3_value_type(value) {
                // UTF-16 becomes UTF-8, as it would when sqlx asks. Where there is no memory for that, the account
                // knows.
                ffi::SQLITE_TEXT | ffi::SQLITE_BLOB => ffi::sqlite3_value_bytes(value),
                _ => 0,
            };
            usize::try_from(bytes).unwrap_or(usize::MAX)
        });
        (&*guard.cast::<Guard>(), bytes.fold(0, usize::saturating_add))
    };
    if bytes > MAX_BYTES {
        guard.large_row.store(true, Relaxed);
    }
    0
}

/// SQLite calls it for everything that a statement would do, while it compiles the statement.
unsafe extern "C" fn authorize(
    guard: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    _database: *const c_char,
    _trigger: *const c_char,
) -> c_int {
    // SAFETY: `guard` is what `install` registered together with this function, alive while the connection is open.
    let guard = unsafe { &*guard.cast::<Guard>() };
    if guard.settled.load(Relaxed) {
        guard.unsettled.store(true, Relaxed);
        return ffi::SQLITE_DENY;
    }
    // Nothing runs that was not compiled before, on the same thread.
    if !memory::charge(&guard.account) {
        return ffi::SQLITE_DENY;
    }
    // SAFETY: SQLite passes null or C strings that live for this call.
    let (first, second) = unsafe { (c_str(first), c_str(second)) };
    let name = |text: Option<&CStr>| text.map(CStr::to_string_lossy).unwrap_or_default().into_owned();
    let allowed = match action {
        ffi::SQLITE_SELECT | ffi::SQLITE_READ | ffi::SQLITE_RECURSIVE => true,
        ffi::SQLITE_FUNCTION if second.is_some_and(is_pattern) => {
            if guard.patterns.fetch_add(1, Relaxed) >= MAX_PATTERNS {
                let message = format!("it compares with LIKE or GLOB more than {MAX_PATTERNS} times");
                guard.deny(QueryError::TooLarge(message));
                return ffi::SQLITE_DENY;
            }
            true
        }
        ffi::SQLITE_FUNCTION => second.and_then(|name| name.to_str().ok()).is_some_and(functions::is_allowed),
        // Full text search reads it to see whether somebody else has written. It takes no value.
        ffi::SQLITE_PRAGMA => first == Some(c"data_version") && second.is_none(),
        // The host's own, around the guest's statement.
        ffi::SQLITE_TRANSACTION if !guard.guest.load(Relaxed) => {
            guard.host.store(true, Relaxed);
            true
        }
        _ => false,
    };
    if allowed {
        return ffi::SQLITE_OK;
    }
    let refused = match action {
        ffi::SQLITE_FUNCTION => format!("the function `{}` cannot be called", name(second)),
        ffi::SQLITE_PRAGMA => format!("the pragma `{}` cannot be used", name(first)),
        ffi::SQLITE_INSERT | ffi::SQLITE_UPDATE | ffi::SQLITE_DELETE => {
            format!("the database can only be read, and this writes to `{}`", name(first))
        }
        ffi::SQLITE_ATTACH | ffi::SQLITE_DETACH => "no other file can be attached or written".to_owned(),
        ffi::SQLITE_TRANSACTION | ffi::SQLITE_SAVEPOINT => "each query is a transaction of its own".to_owned(),
        _ => "the database can only be read".to_owned(),
    };
    guard.deny(QueryError::NotAllowed(refused));
    ffi::SQLITE_DENY
}

fn is_pattern(function: &CStr) -> bool {
    function == c"like" || function == c"glob"
}
