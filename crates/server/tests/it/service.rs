//! What operators see, and how a server ends.

use std::time::Duration;

use sqlx::{Connection as _, SqliteConnection};
use tapline_host_core::HostConfig;
use tapline_server::ServerConfig;
use tapline_store::StoreConfig;

use crate::{Site, formatted, has, item};

#[tokio::test]
async fn metrics_and_status_count_what_was_served() {
    let site = Site::new(&["seo", "related"]).await;
    site.save(item("a", "A", [("body", formatted("markdown", "Text"))])).await;
    for _ in 0..3 {
        assert_eq!(site.get("/item/a").await.status, 200);
    }
    let metrics = site.ask("/metrics", &[("accept", "application/openmetrics-text; version=1.0.0, */*;q=0.1")]).await;
    has(metrics.header("content-type"), "openmetrics-text");
    has(&metrics.body, "tapline_tap_invocations_total{plugin=\"seo\",tap=\"item_view\",outcome=\"ok\"} 3");
    assert!(metrics.body.ends_with("# EOF\n"));
    let older = site.get("/metrics").await;
    assert_eq!(older.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    has(&older.body, "# TYPE tapline_tap_invocations_total counter");

    let status = site.get("/status").await;
    assert_eq!(status.header("content-type"), "application/json");
    let status: serde_json::Value = serde_json::from_str(&status.body).unwrap();
    assert_eq!(status["plugins"][0]["name"], "related");
    assert_eq!(status["plugins"][0]["grants"][0], "database");
    let seo = &status["plugins"][1]["taps"][0];
    assert_eq!((&seo["tap"], &seo["invocations"], &seo["failures"]), (&"item_view".into(), &3.into(), &0.into()));
    assert!(seo["total_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(status["pool"]["limit"], 10);
    assert!(status["memory"]["peak_pages"].as_u64().unwrap() > 0);
    assert!(status["uptime_seconds"].as_f64().unwrap() >= 0.0);
}

#[tokio::test]
async fn health() {
    let site = Site::new(&[]).await;
    assert_eq!(site.get("/health/live").await.status, 200);
    assert_eq!(site.get("/health/ready").await.status, 200);
    let report = |answer: &crate::Answer| serde_json::from_str::<serde_json::Value>(&answer.body).unwrap();
    let ready = report(&site.get("/health/ready").await);
    assert_eq!(ready["status"], "ready", "{ready}");
    assert_eq!(ready["checks"]["plugins"]["loaded"], 0);
    assert!(ready["checks"]["memory"]["current_pages"].is_u64());
    has(&site.get("/metrics").await.body, "tapline_health 0");
    site.store.close().await;
    assert_eq!(site.get("/health/live").await.status, 200);
    let unready = site.get("/health/ready").await;
    assert_eq!((unready.status, &report(&unready)["checks"]["database"]["status"]), (503, &"unready".into()));
    has(&site.get("/metrics").await.body, "tapline_health 2");
    let page = site.get("/").await;
    assert_eq!(page.status, 500);
    has(&page.body, "The operator finds the reason in the log.");
}

/// A page is refused for a moment, and the host is still ready.
#[tokio::test]
async fn a_database_that_has_too_much_to_do() {
    let config = StoreConfig {
        max_connections: 1,
        max_wait: Duration::from_millis(100),
        busy_timeout: Duration::from_secs(60),
        ..StoreConfig::default()
    };
    let host = HostConfig { pool_size: 10, ..HostConfig::default() };
    let site = Site::on(&config, &[], ServerConfig::default(), host).await;
    site.save(item("a", "A", [])).await;
    let url = format!("sqlite:{}", site.directory.path().join("site.db").display());
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    // It keeps the only connection while it waits for the lock.
    let waiting = tokio::spawn({
        let (store, host) = (site.store.clone(), site.host.clone());
        async move { store.cron(&host, 1).await }
    });
    for path in ["/item/a", "/"] {
        let refused = loop {
            let page = site.get(path).await;
            if page.status != 200 {
                break page;
            }
        };
        assert_eq!((refused.status, refused.header("retry-after")), (503, "2"), "{path}: {}", refused.body);
        has(&refused.body, "Please try again in a moment.");
    }
    let ready = site.get("/health/ready").await;
    assert_eq!(ready.status, 200, "{}", ready.body);
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    waiting.await.unwrap().unwrap();
    while site.get("/item/a").await.status != 200 {}
}

#[tokio::test]
async fn cron_runs_at_once_and_the_server_ends_in_order() {
    let config = ServerConfig { cron: Some(Duration::from_secs(3600)), ..ServerConfig::default() };
    let mut site = Site::with(&["probe"], config, HostConfig { pool_size: 10, ..HostConfig::default() }).await;
    let ran = || {
        site.host.metrics().tap_snapshots().iter().any(|snapshot| snapshot.tap == "cron" && snapshot.invocations == 1)
    };
    while !ran() {
        tokio::task::yield_now().await;
    }
    assert!(site.stop().await);
}

#[tokio::test]
async fn what_runs_for_too_long_is_cut_off() {
    let config = ServerConfig { drain: Duration::from_millis(50), ..ServerConfig::default() };
    let mut site = Site::with(&["probe"], config, HostConfig { pool_size: 10, ..HostConfig::default() }).await;
    site.put(item("loop", "Loop", [("do", crate::text("loop"))])).await;
    let url = format!("{}/item/loop", site.address);
    let request = tokio::task::spawn_blocking(move || ureq::get(&url).call().is_err());
    while site.host.slots().0 == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!site.stop().await, "the loop has 500 ms, the server waits 50");
    request.await.unwrap();
}
