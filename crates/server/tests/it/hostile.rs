//! Content and plugins that mean harm.

use std::time::Duration;

use tapline_host_core::{BreakerSettings, HostConfig};
use tapline_server::ServerConfig;

use crate::{Answer, Site, formatted, has, has_not, item, text};

/// The pages have no scripts of their own: every `<script` but a block of JSON-LD would be somebody else's.
#[track_caller]
fn is_harmless(page: &str) {
    let page = page.to_lowercase();
    let scripts = page.matches("<script").count();
    assert_eq!(scripts, page.matches("<script type=\"application/ld+json\">").count(), "{page}");
    for part in ["javascript:", " onerror", " onclick", " onload", "<iframe", "<object", "<svg", "<base", "<form"] {
        has_not(&page, part);
    }
}

const MARKUP: &str = "<script>alert(1)</script><img src=x onerror=alert(1)><a href=\"javascript:alert(1)\">x</a>\
                      <iframe src=//evil></iframe><svg onload=alert(1)><base href=//evil><form action=//evil>\
                      </div></main><b onclick=alert(1)>text</b>";

#[tokio::test]
async fn markup_in_content() {
    let site = Site::new(&["seo", "reading-time", "related"]).await;
    let title = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let tags = tapline_content::Value::References(
        [tapline_content::Reference { kind: "tag".into(), id: "t".into(), label: "<script>".into() }].into(),
    );
    for (id, format) in [("a", "markdown"), ("b", "html"), ("c", "<script>")] {
        let fields = [
            ("body", formatted(format, MARKUP)),
            ("summary", text("</script><script>alert(1)</script>")),
            ("tags", tags.clone()),
        ];
        site.save(item(id, title, fields)).await;
    }
    for path in ["/item/a", "/item/b", "/item/c", "/"] {
        let page = site.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        let lower = page.body.to_lowercase();
        if path == "/item/c" || path == "/" {
            // Escaped, the words are harmless.
            assert_eq!(
                lower.matches("<script").count(),
                lower.matches("<script type=\"application/ld+json\">").count()
            );
            has_not(&lower, "<img src=x");
        } else {
            has_not(&lower, "<img src=\"x\" onerror");
            let body = lower.split("<div class=\"body\">").nth(1).unwrap().split("</article>").next().unwrap();
            is_harmless(body);
            assert_eq!(lower.matches("</main>").count(), 1, "content cannot leave its place");
        }
        assert_eq!(lower.matches("<title>").count(), 1);
        assert_eq!(lower.matches("</title>").count(), 1);
    }
}

#[tokio::test]
async fn a_plugin_that_fails_when_it_votes_denies() {
    let host = HostConfig { pool_size: 10, breaker: BreakerSettings::OFF, ..HostConfig::default() };
    let site = Site::with(&["probe"], ServerConfig::default(), host).await;
    for command in ["panic", "error", "loop", "allocate", "recurse", "abort"] {
        site.put(item(command, "Secret", [("do", text(command))])).await;
        let page = site.get(&format!("/item/{command}")).await;
        assert_eq!(page.status, 403, "{command}");
        has_not(&page.body, "Secret");
    }
    site.put(item("good", "Open", [])).await;
    let list = site.get("/").await;
    has(&list.body, "Open");
    has_not(&list.body, "Secret");
}

#[tokio::test]
async fn a_plugin_that_fails_again_and_again_is_not_asked_and_still_denies() {
    let hour = Duration::from_secs(3600);
    let breaker = BreakerSettings { first_open: hour, max_open: hour, ..BreakerSettings::default() };
    let host = HostConfig { pool_size: 10, breaker, ..HostConfig::default() };
    let site = Site::with(&["probe"], ServerConfig::default(), host).await;
    site.put(item("good", "Open", [])).await;
    site.put(item("bad", "Secret", [("do", text("panic"))])).await;
    assert_eq!(site.get("/item/good").await.status, 200);
    for _ in 0..breaker.failures {
        assert_eq!(site.get("/item/bad").await.status, 403);
    }
    assert_eq!(site.get("/item/good").await.status, 403, "who cannot be asked has not allowed it");
    let status: serde_json::Value = serde_json::from_str(&site.get("/status").await.body).unwrap();
    let taps = status["plugins"][0]["taps"].as_array().unwrap();
    let breaker = &taps.iter().find(|tap| tap["tap"] == "item_access").unwrap()["breaker"];
    assert_eq!(breaker["state"], "open");
    assert_eq!(breaker["openings"], 1);
    has(&site.get("/metrics").await.body, "tapline_breaker_state{plugin=\"probe\",tap=\"item_access\"} 2");
    // Degraded is not dead: visitors still come.
    let ready = site.get("/health/ready").await;
    let report: serde_json::Value = serde_json::from_str(&ready.body).unwrap();
    assert_eq!((ready.status, &report["status"]), (200, &"degraded".into()));
    assert_eq!(report["checks"]["breakers"]["open"][0], "probe.item_access");
    // Mended and loaded again, it is asked at once.
    let probe = crate::spec("probe");
    assert!(site.host.unload(&probe.name).await.unwrap());
    site.host.load(probe).await.unwrap();
    assert_eq!(site.get("/item/good").await.status, 200);
}

#[tokio::test]
async fn a_plugin_that_fails_costs_its_own_part_only() {
    // Too little memory to receive the item.
    let site = Site::new(&["reading-time"]).await;
    let spec = crate::spec("seo")
        .limits(tapline_host_core::limits::PartialLimits { max_memory_bytes: Some(2 << 20), ..Default::default() });
    site.host.load(spec).await.unwrap();
    let body = "Words and words. ".repeat(500_000);
    site.save(item("large", "Large", [("body", formatted("markdown", &body))])).await;
    let page = site.get("/item/large").await;
    assert_eq!(page.status, 200);
    has(&page.body, "<!-- plugin seo did not answer -->");
    has_not(&page.body, "<!-- head: seo -->");
    has(&page.body, "data-plugin=\"reading-time\"");
    has(
        &site.get("/metrics").await.body,
        "tapline_tap_invocations_total{plugin=\"seo\",tap=\"item_view\",outcome=\"out_of_memory\"} 1",
    );
}

#[tokio::test]
async fn every_answer_forbids_scripts() {
    let site = Site::new(&[]).await;
    site.save(item("a", "A", [])).await;
    for path in ["/", "/item/a", "/item/none", "/nowhere", "/style.css", "/metrics", "/status", "/health/live"] {
        let answer = site.get(path).await;
        let policy = answer.header("content-security-policy");
        has(policy, "default-src 'none'");
        has_not(policy, "script-src");
        has_not(policy, "unsafe");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        has(answer.header("referrer-policy"), "strict-origin");
    }
}

/// What the report on the host's health says of its pool.
fn pool_of(report: &Answer) -> String {
    let report: serde_json::Value = serde_json::from_str(&report.body).unwrap();
    report["checks"]["pool"]["status"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_overloaded_host_says_when_to_come_back() {
    let host = HostConfig { pool_size: 1, max_waiting: 0, max_wait: Duration::from_millis(1), ..HostConfig::default() };
    let site = Site::with(&["probe"], ServerConfig::default(), host).await;
    site.put(item("a", "A", [])).await;
    site.put(item("loop", "Loop", [("do", text("loop"))])).await;
    let url = format!("{}/item/loop", site.address);
    let slow = tokio::task::spawn_blocking(move || ureq::get(&url).call().is_err());
    while site.host.slots().0 == 0 {
        tokio::task::yield_now().await;
    }
    // Both while the loop has the only slot.
    let [page, ready] = ["/item/a", "/health/ready"].map(|path| site.asking(path, &[]));
    let (page, ready) = (page.await.unwrap(), ready.await.unwrap());
    assert_eq!(page.status, 503, "{}", page.body);
    assert_eq!(page.header("retry-after"), "2");
    has_not(&page.body, "overloaded");
    assert_eq!((ready.status, pool_of(&ready)), (200, "degraded".to_owned()), "{}", ready.body);
    slow.await.unwrap();
    assert_eq!(site.get("/item/a").await.status, 200);
    let ready = site.get("/health/ready").await;
    assert_eq!((ready.status, pool_of(&ready)), (200, "ready".to_owned()), "{}", ready.body);
}

#[tokio::test]
async fn a_host_that_is_shut_down_is_not_ready() {
    let site = Site::new(&["seo"]).await;
    assert_eq!(site.get("/health/ready").await.status, 200);
    site.host.shut_down(Duration::ZERO).await;
    let ready = site.get("/health/ready").await;
    assert_eq!((ready.status, pool_of(&ready)), (503, "unready".to_owned()), "{}", ready.body);
    assert_eq!(site.get("/health/live").await.status, 200, "it still answers");
}
