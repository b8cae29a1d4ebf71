//! A plugin that really waits for a query.

use std::time::Duration;

use futures_util::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use tapline_host_core::{
    Call, CallError, Capability, Collect, Fault, GrantValue, Host, HostConfig, Interface, LoadError, PluginName,
    PluginSpec, Signature, Tap, limits::PartialLimits,
};
use tapline_host_database::DatabaseConfig;
use tokio::time::{Instant, timeout};

use crate::{ENDLESS, PATIENCE, Site};

const NUMBER: &str = "test:database/number@1.0.0";
const OTHER: &str = "test:database/other@1.0.0";

/// A tap from number to number.
macro_rules! tap {
    ($tap:ident, $name:literal, $interface:ident) => {
        struct $tap;

        impl Tap for $tap {
            const NAME: &'static str = $name;
            const INTERFACES: &'static [Interface] = &[Interface { name: $interface, function: "run", mode: "full" }];
            type Policy = Collect;
            type Input = u32;
            type Answer = u32;

            fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
                signature.is::<(u32,), (u32,)>()
            }

            async fn call(call: &mut Call, input: &u32) -> Result<u32, CallError> {
                Ok(call.invoke::<(u32,), (u32,)>((*input,)).await?.0)
            }
        }
    };
}

tap!(Number, "number", NUMBER);
tap!(Other, "other", OTHER);

/// A plugin of one tap that runs `sql` with the tap's number as the first of `parameters` parameters, and returns the
/// integer in the first column of the first row; 1000 and the kind of the error if there is one.
fn plugin(tap: &str, sql: &str, parameters: u32) -> Vec<u8> {
    let length = sql.len();
    let sql: String = sql.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    wat::parse_str(format!(
        r#"(component
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
             (core module $memory
               (memory (export "memory") 16)
               (data (i32.const 1024) "{sql}")
               (global $next (mut i32) (i32.const 131072))
               (func (export "realloc") (param $old i32) (param i32) (param $align i32) (param $size i32) (result i32)
                 (local $start i32)
                 (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
                 (local.set $start (global.get $next))
                 (global.set $next (i32.add (global.get $next) (local.get $size)))
                 (local.get $start)))
             (core instance $memory (instantiate $memory))
             (core func $query (canon lower (func $database "query")
               (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
             (core module $m
               (import "" "memory" (memory 1))
               (import "" "query" (func $query (param i32 i32 i32 i32 i32)))
               (func (export "run") (param $x i32) (result i32)
                 ;; One parameter at 16: the case `integer` and the number.
                 (i32.store8 (i32.const 16) (i32.const 2))
                 (i64.store (i32.const 24) (i64.extend_i32_u (local.get $x)))
                 (call $query (i32.const 1024) (i32.const {length}) (i32.const 16) (i32.const {parameters}) (i32.const 64))
                 ;; The answer at 64: case, columns and their number, rows and their number.
                 (if (i32.load8_u (i32.const 64))
                   (then (return (i32.add (i32.const 1000) (i32.load8_u (i32.const 68))))))
                 ;; First row, first value, behind its case.
                 (i32.wrap_i64 (i64.load offset=8 (i32.load (i32.load (i32.const 76)))))))
             (core instance $i (instantiate $m (with "" (instance
               (export "memory" (memory $memory "memory")) (export "query" (func $query))))))
             (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
             (instance $e (export "run" (func $run)))
             (export "{tap}" (instance $e)))"#
    ))
    .unwrap()
}

fn host(site: &Site) -> Host {
    let config = HostConfig { pool_size: 16, ..HostConfig::default() };
    let builder = Host::builder().config(config).tap::<Number>().tap::<Other>();
    let host = builder.capability(site.database.clone()).build().unwrap();
    site.database.record_with(host.metrics().host_call("database"));
    host
}

fn name(name: &str) -> PluginName {
    PluginName::new(name).unwrap()
}

async fn load(host: &Host, plugin: &str, bytes: Vec<u8>, milliseconds: u64) {
    let limits = PartialLimits { max_execution_time_ms: Some(milliseconds), ..PartialLimits::default() };
    let spec = PluginSpec::bytes(name(plugin), bytes).grant("database", "read").limits(limits);
    host.load(spec).await.unwrap();
}

#[tokio::test]
async fn a_plugin_reads_what_it_asked_for() {
    let site =
        Site::new("CREATE TABLE price (item INTEGER, cents INTEGER); INSERT INTO price VALUES (1, 250), (2, 99)").await;
    let host = host(&site);
    load(&host, "prices", plugin(NUMBER, "SELECT cents FROM price WHERE item = ?", 1), 5000).await;
    assert_eq!(host.dispatch(Number, &1).await.unwrap().answers, [(name("prices"), 250)]);
    assert_eq!(host.dispatch(Number, &2).await.unwrap().answers, [(name("prices"), 99)]);
    let metrics = host.metrics().render().unwrap();
    let count = r#"tapline_host_call_duration_seconds_count{capability="database"} 2"#;
    assert!(metrics.contains(count), "{metrics}");
}

#[tokio::test]
async fn each_error_reaches_the_plugin_as_its_kind() {
    for (sql, parameters, kind) in [
        ("SELEC", 0, 0),
        ("SELECT 1", 1, 0),
        ("DELETE FROM t", 0, 1),
        ("SELECT zeroblob(1000000000)", 0, 2),
        ("SELECT * FROM t", 0, 3),
    ] {
        let site = Site::new("CREATE TABLE t (x)").await;
        let mut owner = site.owner().await;
        if kind == 3 {
            sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut owner).await.unwrap();
        }
        let host = host(&site);
        load(&host, "p", plugin(NUMBER, sql, parameters), 5000).await;
        assert_eq!(host.dispatch(Number, &7).await.unwrap().answers, [(name("p"), 1000 + kind)], "{sql}");
    }
}

#[tokio::test]
async fn an_endless_query_ends_with_its_call_and_holds_up_nobody() {
    let site = Site::new("CREATE TABLE t (x)").await;
    let host = host(&site);
    load(&host, "endless", plugin(NUMBER, ENDLESS, 0), 50).await;

    // This test has one thread. If the guest did not give it up while it waits, nothing would tick.
    let mut ticks = 0;
    let start = Instant::now();
    let ticking = async {
        let mut interval = tokio::time::interval(Duration::from_millis(1));
        loop {
            interval.tick().await;
            ticks += 1;
        }
    };
    tokio::select! {
        outcome = host.dispatch(Number, &1) => assert!(outcome.unwrap().answers.is_empty()),
        () = ticking => {}
    }
    assert!(start.elapsed() >= Duration::from_millis(50) && start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert!(ticks > 10, "{ticks}");
    let metrics = host.metrics().render().unwrap();
    let timeouts = r#"tapline_tap_invocations_total{plugin="endless",tap="number",outcome="timeout"} 1"#;
    assert!(metrics.contains(timeouts), "{metrics}");
    let count = r#"tapline_host_call_duration_seconds_count{capability="database"} 1"#;
    assert!(metrics.contains(count), "{metrics}");

    // There is one connection, and the next plugin gets it.
    host.unload(&name("endless")).await.unwrap();
    load(&host, "next", plugin(NUMBER, "SELECT ? + 1", 1), 5000).await;
    let next = timeout(PATIENCE, host.dispatch(Number, &41)).await.unwrap().unwrap();
    assert_eq!(next.answers, [(name("next"), 42)]);
}

/// As many numbers as the tap's; a number that is large enough ends with its call.
const COUNT: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) SELECT count(*) FROM n";

#[tokio::test]
async fn a_plugin_that_keeps_its_connections_busy_leaves_one_to_others() {
    let config =
        DatabaseConfig { max_connections: 4, acquire_timeout: Duration::from_secs(2), ..DatabaseConfig::default() };
    let site = Site::with("CREATE TABLE t (x)", config).await;
    let host = host(&site);
    // Of a second tap, so that each dispatch is one plugin's.
    load(&host, "greedy", plugin(NUMBER, COUNT, 1), 30_000).await;
    load(&host, "modest", plugin(OTHER, "SELECT ? + 1", 1), 30_000).await;
    let refused = r#"tapline_host_call_refusals_total{plugin="greedy",capability="database"} 1"#;

    let mut busy: FuturesUnordered<_> = (0..4).map(|_| host.dispatch(Number, &u32::MAX)).collect();
    // The one of them that gets no connection says so: then the others have theirs, and keep them.
    let first = timeout(PATIENCE, busy.next()).await.unwrap().unwrap();
    assert_eq!(first.unwrap().answers, [(name("greedy"), 1003)]);
    let metrics = host.metrics().render().unwrap();
    assert!(metrics.contains(refused), "{metrics}");
    for number in 0..10 {
        let answer = tokio::select! {
            biased;
            ended = busy.next() => panic!("{ended:?}"),
            answer = timeout(PATIENCE, host.dispatch(Other, &number)) => answer.unwrap().unwrap().answers,
        };
        assert_eq!(answer, [(name("modest"), number + 1)]);
    }

    // What it had is free again when its calls are gone.
    drop(busy);
    let many = (0..3).map(|_| host.dispatch(Number, &5));
    for outcome in timeout(PATIENCE, join_all(many)).await.unwrap() {
        assert_eq!(outcome.unwrap().answers, [(name("greedy"), 5)]);
    }
}

/// A thread that waits for somebody else's lock goes on doing so when the call is over.
#[tokio::test]
async fn a_connection_that_is_still_busy_counts_for_its_plugin() {
    let config = DatabaseConfig { max_connections: 2, acquire_timeout: Duration::from_secs(1), busy_timeout: PATIENCE };
    let site = Site::with("CREATE TABLE t (x)", config).await;
    let host = host(&site);
    load(&host, "greedy", plugin(NUMBER, COUNT, 1), 4_000).await;
    let mut owner = site.owner().await;
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut owner).await.unwrap();
    let first = host.dispatch(Number, &5).await.unwrap();
    assert!(matches!(first.failures[0].fault, Fault::TimedOut { .. }), "{first:?}");
    // It may have one connection, and there are two.
    assert_eq!(host.dispatch(Number, &5).await.unwrap().answers, [(name("greedy"), 1003)]);
    let metrics = host.metrics().render().unwrap();
    let refused = r#"tapline_host_call_refusals_total{plugin="greedy",capability="database"} 1"#;
    assert!(metrics.contains(refused), "{metrics}");
    sqlx::raw_sql("COMMIT").execute(&mut owner).await.unwrap();
    assert_eq!(host.dispatch(Number, &5).await.unwrap().answers, [(name("greedy"), 5)]);
}

#[tokio::test]
async fn a_refusal_is_counted_and_a_mistake_is_not() {
    for (sql, parameters, kind, counted) in [
        ("DELETE FROM t", 0, 1, true),
        ("PRAGMA query_only = OFF", 0, 1, true),
        ("SELECT load_extension('x')", 0, 1, true),
        ("SELECT zeroblob(1000000000)", 0, 2, true),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n", 0, 2, true),
        ("SELEC", 0, 0, false),
        ("SELECT * FROM missing", 0, 0, false),
        ("SELECT 1", 1, 0, false),
    ] {
        let site = Site::new("CREATE TABLE t (x)").await;
        let host = host(&site);
        load(&host, "p", plugin(NUMBER, sql, parameters), 30_000).await;
        for calls in 1..3 {
            assert_eq!(host.dispatch(Number, &7).await.unwrap().answers, [(name("p"), 1000 + kind)], "{sql}");
            let refusals = format!(r#"tapline_host_call_refusals_total{{plugin="p",capability="database"}} {calls}"#);
            let metrics = host.metrics().render().unwrap();
            assert_eq!(metrics.contains(&refusals), counted, "{sql}: {metrics}");
        }
    }
}

#[tokio::test]
async fn nothing_is_linked_that_is_not_granted() {
    let site = Site::new("CREATE TABLE t (x)").await;
    let host = host(&site);
    let bytes = plugin(NUMBER, "SELECT 1", 0);
    let error = host.load(PluginSpec::bytes(name("p"), bytes.clone())).await.unwrap_err();
    assert!(matches!(error, LoadError::NotGranted { grant: "database", example: "\"read\"", .. }), "{error:?}");
    let spec = PluginSpec::bytes(name("p"), bytes).grant("database", GrantValue::Bool(true));
    let error = host.load(spec).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"plugin `p`: the value of the grant `database` is refused: it takes "read", not true"#
    );
    assert_eq!(site.database.grant_name(), Some("database"));
}
