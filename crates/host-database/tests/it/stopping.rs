//! What ends a query: its deadline, a dropped future, a lock, and too many at once.

use std::{
    future::{Future as _, poll_fn},
    task::Poll,
    time::Duration,
};

use tapline_host_database::{DatabaseConfig, QueryError, Value};
use tokio::time::{Instant, timeout};

use crate::{ENDLESS, PATIENCE, Site, config};

#[tokio::test]
async fn an_endless_statement_ends_at_its_deadline_and_gives_its_connection_back() {
    let site = Site::new("CREATE TABLE t (x)").await;
    for _ in 0..3 {
        let start = Instant::now();
        let error = site.database.run(ENDLESS, vec![], start + Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error, QueryError::Unavailable("the call is over".to_owned()));
        assert!((50..5000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
        // There is one connection: it answers only if the statement has been stopped.
        let next = timeout(PATIENCE, site.value("SELECT 1")).await.unwrap();
        assert_eq!(next, Value::Integer(1));
    }
}

/// Nothing stops SQLite inside of one function. With its own functions each of these takes minutes or hours.
#[tokio::test]
async fn no_function_takes_long_for_four_megabytes() {
    let site = Site::new("CREATE TABLE t (x)").await;
    let (long, half) = ("a".repeat(4_000_000), "a".repeat(2_000_000));
    let characters: String = ('\u{4e00}'..='\u{9fff}').cycle().take(600_000).collect();
    for (sql, first, second, expected) in [
        ("SELECT instr(?, ?)", long.clone(), format!("{half}b"), 0),
        ("SELECT length(replace(?, ?, 'c'))", long.clone(), format!("{half}b"), 4_000_000),
        ("SELECT length(trim(?, ?))", long.clone(), format!("{characters}a"), 0),
        ("SELECT length(ltrim(?, ?))", long.clone(), format!("{characters}a"), 0),
        ("SELECT length(rtrim(?, ?))", long.clone(), format!("{characters}a"), 0),
    ] {
        let found = site.ask(sql, [Value::Text(first), Value::Text(second)]).await;
        assert_eq!(found.unwrap().rows, [[Value::Integer(expected)]], "{sql}");
    }
    assert!(matches!(
        site.ask("SELECT replace(?, 'a', 'aa')", [Value::Text(long)]).await,
        Err(QueryError::TooLarge(_))
    ));
    // More characters than any script has: the set of them would take memory that nobody counts.
    let characters: String = ('\u{10000}'..='\u{2ffff}').collect();
    assert!(matches!(site.ask("SELECT trim('a', ?)", [Value::Text(characters)]).await, Err(QueryError::TooLarge(_))));
    for call in ["json_patch('{}', '{}')", "unhex('00')"] {
        assert!(matches!(site.error(&format!("SELECT {call}")).await, QueryError::NotAllowed(_)), "{call}");
    }
}

/// SQLite looks whether it should stop where a program goes back, and these do not. Without an end of their own they
/// would keep their connection for minutes.
#[tokio::test]
async fn functions_that_stand_beside_each_other_do_not_keep_a_connection() {
    let config = DatabaseConfig { acquire_timeout: Duration::from_secs(3), ..config() };
    let site = Site::with("CREATE TABLE t (x)", config).await;
    let functions: Vec<_> = (0..1000).map(|number| format!("length(quote(randomblob(2000000)) || {number})")).collect();
    let sql = format!("SELECT 1 WHERE 0 IN ({})", functions.join(", "));
    for _ in 0..2 {
        let error = site.database.run(&sql, vec![], Instant::now() + Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error, QueryError::Unavailable("the call is over".to_owned()));
        assert_eq!(site.value("SELECT 1").await, Value::Integer(1));
    }
    let like =
        |count: usize| format!("SELECT 'a' IN ({})", vec!["x LIKE 'a'"; count].join(", ")) + " FROM (SELECT 1 AS x)";
    assert_eq!(site.value(&like(50)).await, Value::Integer(0));
    let refused = QueryError::TooLarge("it compares with LIKE or GLOB more than 50 times".to_owned());
    assert_eq!(site.error(&like(51)).await, refused);
    assert_eq!(site.error(&like(51).replace("LIKE", "GLOB")).await, refused);
    assert_eq!(site.value(&like(50)).await, Value::Integer(0));
}

#[tokio::test]
async fn a_query_whose_future_is_dropped_is_stopped() {
    let site = Site::new("CREATE TABLE t (x)").await;
    let far = Instant::now() + Duration::from_secs(3600);
    timeout(Duration::from_millis(50), site.database.run(ENDLESS, vec![], far)).await.unwrap_err();
    assert_eq!(timeout(PATIENCE, site.value("SELECT 1")).await.unwrap(), Value::Integer(1));
}

/// What the host needs around a statement is not stopped with it.
#[tokio::test]
async fn a_query_that_gave_no_answer_keeps_no_lock() {
    let site = Site::new("PRAGMA journal_mode = DELETE; CREATE TABLE t (x); INSERT INTO t VALUES (1)").await;
    let mut owner = site.owner().await;
    let refused = [
        "SELECT x, total_changes() FROM t",
        "SELECT y FROM t",
        "SELECT abs(-9223372036854775808) FROM t",
        "SELECT zeroblob(4000000), zeroblob(4000000) FROM t",
        "SELECT length(max(randomblob(4000000 - x), randomblob(4000001 - x), zeroblob(x))) FROM t",
        "WITH RECURSIVE n(i, b) AS (SELECT 1, zeroblob(4000000) UNION SELECT i + 1, b FROM n)
         SELECT count(*) FROM n, t",
    ];
    for sql in refused {
        let _ = site.ask(sql, []).await;
        // The owner waits for five seconds, then this fails.
        sqlx::raw_sql("UPDATE t SET x = 1").execute(&mut owner).await.unwrap();
    }
    // Given up at each point at which it waits. What is asked for the first time has a transaction around it.
    for polls in 0.. {
        let sql = format!("SELECT x + {polls} FROM t");
        let mut query = Box::pin(site.ask(&sql, []));
        let mut left = polls;
        let answered = poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(None);
            }
            left -= 1;
            query.as_mut().poll(context).map(Some)
        });
        if let Some(answer) = answered.await {
            answer.unwrap();
            assert!(polls > 3, "it waits for a thread, several times: {polls}");
            break;
        }
        drop(query);
        sqlx::raw_sql("UPDATE t SET x = 1").execute(&mut owner).await.unwrap();
    }
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_kept() {
    let site = Site::new("CREATE TABLE t (x)").await;
    let error = site.database.run("SELECT 1", vec![], Instant::now()).await.unwrap_err();
    assert_eq!(error, QueryError::Unavailable("the call is over".to_owned()));
    assert_eq!(site.value("SELECT 1").await, Value::Integer(1));
}

#[tokio::test]
async fn waiting_for_a_connection_counts_against_the_deadline() {
    let site = Site::new("CREATE TABLE t (x)").await;
    let now = Instant::now();
    let first = site.database.run(ENDLESS, vec![], now + Duration::from_millis(1000));
    let second = site.database.run("SELECT 1", vec![], now + Duration::from_millis(50));
    let (first, second) = tokio::join!(first, async {
        let result = second.await;
        (result, now.elapsed())
    });
    assert!(matches!(first, Err(QueryError::Unavailable(_))), "{first:?}");
    assert!(matches!(second.0, Err(QueryError::Unavailable(_))), "{second:?}");
    assert!(second.1 < Duration::from_millis(900), "{second:?}");
}

#[tokio::test]
async fn a_pool_that_stays_full_is_unavailable() {
    let config = DatabaseConfig { acquire_timeout: Duration::from_millis(50), ..config() };
    let site = Site::with("CREATE TABLE t (x)", config).await;
    let now = Instant::now();
    let (_, second) = tokio::join!(
        site.database.run(ENDLESS, vec![], now + Duration::from_millis(1000)),
        site.database.run("SELECT 1", vec![], now + PATIENCE),
    );
    assert_eq!(second, Err(QueryError::Unavailable("no connection became free in time".to_owned())));
}

#[tokio::test]
async fn a_hundred_calls_share_one_connection() {
    let site = Site::new("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2), (3)").await;
    let deadline = Instant::now() + PATIENCE;
    let calls = (0..100).map(|number| {
        let database = site.database.clone();
        tokio::spawn(
            async move { database.run("SELECT sum(x) + ? FROM t", vec![Value::Integer(number)], deadline).await },
        )
    });
    for (number, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
        let found = call.await.unwrap().unwrap();
        assert_eq!(found.rows, [[Value::Integer(6 + number as i64)]]);
    }
}

/// The flag that stops a query belongs to its connection: a query that ends must not stop the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_that_are_stopped_do_not_stop_others() {
    let site = Site::new("CREATE TABLE t (x)").await;
    let slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) SELECT count(*) FROM n";
    let calls = (0..60).map(|number| {
        let database = site.database.clone();
        tokio::spawn(async move {
            if number % 2 == 0 {
                let moment = Duration::from_micros(100 * number);
                timeout(moment, database.run(ENDLESS, vec![], Instant::now() + PATIENCE)).await.unwrap_err();
            } else {
                let found = database.run(slow, vec![], Instant::now() + PATIENCE).await.unwrap();
                assert_eq!(found.rows, [[Value::Integer(20_000)]]);
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        timeout(PATIENCE, call).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_locked_database_is_unavailable_until_the_lock_is_gone() {
    let site = Site::new("CREATE TABLE t (x)").await;
    let mut owner = site.owner().await;
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut owner).await.unwrap();
    let start = Instant::now();
    assert_eq!(site.error("SELECT * FROM t").await, QueryError::Unavailable("database is locked".to_owned()));
    assert!(start.elapsed() < Duration::from_secs(5), "the busy timeout of this test is short");
    sqlx::raw_sql("COMMIT").execute(&mut owner).await.unwrap();
    assert_eq!(site.ask("SELECT * FROM t", []).await.unwrap().rows.len(), 0);
}

#[tokio::test]
async fn a_long_read_does_not_lock_the_program_out_of_a_wal_database() {
    let site = Site::new("PRAGMA journal_mode = WAL; CREATE TABLE t (x)").await;
    let mut owner = site.owner().await;
    let read = site.database.run(ENDLESS, vec![], Instant::now() + Duration::from_millis(500));
    let write = sqlx::query("INSERT INTO t VALUES (1)").execute(&mut owner);
    let (read, write) = tokio::join!(read, write);
    assert!(read.is_err());
    assert_eq!(write.unwrap().rows_affected(), 1);
    assert_eq!(site.value("SELECT count(*) FROM t").await, Value::Integer(1));
}

/// SQLite and sqlx must agree on the columns of a row, whatever happens between compiling and reading.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_changes_all_the_time_never_breaks_a_row() {
    let site = Site::new("PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1), (2), (3)").await;
    let mut owner = site.owner().await;
    let changing = tokio::spawn(async move {
        for _ in 0..200 {
            sqlx::raw_sql("ALTER TABLE t ADD COLUMN b DEFAULT 5").execute(&mut owner).await.unwrap();
            sqlx::raw_sql("ALTER TABLE t DROP COLUMN b").execute(&mut owner).await.unwrap();
        }
    });
    let mut answers = 0;
    while !changing.is_finished() {
        match site.ask("SELECT * FROM t", []).await {
            Ok(found) => {
                answers += 1;
                assert_eq!(found.rows.len(), 3);
                assert!(found.rows.iter().all(|row| row.len() == found.columns.len()), "{found:?}");
            }
            Err(error) => assert!(matches!(error, QueryError::Unavailable(_)), "{error:?}"),
        }
    }
    changing.await.unwrap();
    assert!(answers > 0);
    assert_eq!(site.ask("SELECT * FROM t", []).await.unwrap().columns, ["a"]);
}

/// One query begins where another has just ended, on the same connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_queries_on_four_connections_are_all_answered() {
    let schema = "CREATE TABLE t (id TEXT PRIMARY KEY, x); INSERT INTO t VALUES ('a', 7)";
    let site = Site::with(schema, DatabaseConfig { max_connections: 4, acquire_timeout: PATIENCE, ..config() }).await;
    let queries = (0..3000).map(|_| {
        let database = site.database.clone();
        tokio::spawn(async move {
            let id = vec![Value::Text("a".to_owned())];
            database.run("SELECT x FROM t WHERE id = ?", id, Instant::now() + PATIENCE).await
        })
    });
    for query in queries.collect::<Vec<_>>() {
        assert_eq!(query.await.unwrap().unwrap().rows, [[Value::Integer(7)]]);
    }
}
