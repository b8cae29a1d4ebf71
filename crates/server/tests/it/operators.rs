//! What only operators see.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use tapline_host_core::{Compilation, HostConfig};
use tapline_server::{OperatorToken, Server, ServerConfig};
use tokio::net::TcpListener;

use crate::{Site, formatted, has, has_not, item, spec};

const PLUGINS: [&str; 3] = ["seo", "reading-time", "embargo"];

async fn site(token: Option<&str>) -> Site {
    let config = ServerConfig {
        operator_token: token.map(|token| OperatorToken::from(token.to_owned())),
        ..ServerConfig::default()
    };
    let site = Site::with(&PLUGINS, config, HostConfig { pool_size: 10, ..HostConfig::default() }).await;
    site.save(item("a", "A", [("body", formatted("markdown", "Text"))])).await;
    site
}

#[tokio::test]
async fn the_panel_shows_what_is_loaded_and_what_it_did() {
    let site = site(None).await;
    site.host.load(spec("related")).await.unwrap();
    assert_eq!(site.get("/item/a").await.status, 200);
    let page = site.get("/_tapline").await;
    assert_eq!(page.status, 200);
    for part in [
        "<h2 id=\"plugin-seo\">seo <span class=\"badge\">0.1.0</span></h2>",
        "<tr><th scope=\"row\">item_view</th><td>1</td><td>0</td>",
        "<td>closed</td>",
        "<dd>database</dd>",
        "<h3>item_access</h3>",
        "<strong>embargo</strong> <span class=\"meta\">weight ",
        "<dt>Slots of the pool in use</dt><dd>0 of 10</dd>",
        "<dt>Calls each second</dt><dd>",
        "<dt>Failed</dt><dd>0.0 %</dd>",
        "<dt>Memory at most</dt><dd>",
        "<th scope=\"col\">p50</th><th scope=\"col\">p99</th>",
        "<dt>Instances whose code was there</dt><dd>",
        "<dt>Compiled plugins in memory</dt><dd>",
        "<dt>Plugins found compiled, in memory and on disk</dt><dd>",
        "<dt>Plugins compiled</dt><dd>4</dd>",
        "<dt>Compiled plugins that had to leave</dt><dd>0</dd>",
        "<dt>Compiled plugins on disk</dt><dd>not kept: no directory is configured</dd>",
        "<tr><th scope=\"row\">process start</th><td>0</td><td>–</td><td>–</td><td>–</td></tr>",
        "<tr><th scope=\"row\">compile</th><td>4</td>",
        "<tr><th scope=\"row\">load artifact</th><td>0</td>",
        "<tr><th scope=\"row\">instantiate fresh</th><td>",
        "<tr><th scope=\"row\">take from stock</th><td>0</td>",
        "<tr><th scope=\"row\">warm start, instantiate fresh, p95</th><td>&#60; 10 ms</td><td>",
        "<tr><th scope=\"row\">load artifact, p95</th><td>&#60;= 0.5 ms</td><td>–</td><td>not measured yet</td></tr>",
    ] {
        has(&page.body, part);
    }
    let seo = page.body.split("<h2 id=\"plugin-seo\">").nth(1).unwrap();
    let memory = seo.split("<dt>Memory at most</dt><dd>").nth(1).unwrap().split('<').next().unwrap();
    assert!(memory.ends_with("iB"), "{memory}");
    let row = seo.split("<th scope=\"row\">item_view</th>").nth(1).unwrap();
    let cells: Vec<&str> = row.split("<td>").skip(1).take(5).map(|cell| cell.split('<').next().unwrap()).collect();
    assert_eq!((cells[0], cells[1], cells[4]), ("1", "0", "closed"));
    assert!(cells[2..4].iter().all(|time| time.ends_with('s')), "p50 and p99 of a call: {cells:?}");
    // Its one script is a file of our own, and nothing else may run or be reached.
    let policy = page.header("content-security-policy");
    has(policy, "script-src 'self'; connect-src 'self'");
    has_not(policy, "unsafe");
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.body.matches("<script").count(), 1);
    has_not(&page.body, " style=");
    let script = site.get("/_tapline/live.js").await;
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
}

#[tokio::test]
async fn what_the_host_was_told_and_does_not_follow_is_seen() {
    let site = site(None).await;
    let document = async |path: &str| -> Value { serde_json::from_str(&site.get(path).await.body).unwrap() };
    assert_eq!(document("/health/ready").await["status"], "ready");
    let (reason, hint) = ("/etc/tapline.toml:3: nothing is called `plugns`", "did you mean `plugins`?");
    site.host.note_refused_change(reason.to_owned(), Some(hint.to_owned()));
    let degraded = document("/health/ready").await;
    assert_eq!(degraded["status"], "degraded");
    assert_eq!(degraded["checks"]["plugins"]["refused"], serde_json::json!(["configuration"]));
    let status = document("/status").await;
    assert_eq!(status["refused_changes"][0]["of"], "configuration");
    assert!(status["refused_changes"][0]["since"].is_string(), "{status}");
    assert!(!status.to_string().contains("/etc/"), "paths are for operators");
    has(&site.get("/_tapline").await.body, "/etc/tapline.toml:3: nothing is called `plugns`. To mend it: did you mean");
}

#[tokio::test]
async fn a_plugin_that_cannot_be_compiled_is_seen_until_it_can() {
    // Whoever waits for the compiler gives up, and it is done a little later.
    let compilation = Compilation { timeout: Duration::from_millis(1), ..Compilation::default() };
    let host = HostConfig { pool_size: 10, compilation, ..HostConfig::default() };
    let site = Site::with(&[], ServerConfig::default(), host).await;
    site.put(item("a", "A", [("body", formatted("markdown", "Text"))])).await;
    site.host.load_lazily(spec("reading-time")).await.unwrap();
    let document = async |path: &str| -> Value { serde_json::from_str(&site.get(path).await.body).unwrap() };
    let ready = document("/health/ready").await;
    assert_eq!((&ready["status"], &ready["checks"]["plugins"]["status"]), (&"ready".into(), &"ready".into()));
    assert_eq!(document("/status").await["plugins"][0]["code"], "absent");

    has(&site.get("/item/a").await.body, "<!-- plugin reading-time did not answer -->");
    let answer = site.get("/health/ready").await;
    assert_eq!(answer.status, 200, "degraded is not dead");
    let degraded: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        (&degraded["status"], &degraded["checks"]["plugins"]["status"]),
        (&"degraded".into(), &"degraded".into())
    );
    assert_eq!(degraded["checks"]["plugins"]["without_code"], serde_json::json!(["reading-time"]));
    let status = document("/status").await["plugins"][0].take();
    assert_eq!(status["code"], "failed");
    assert!(status["code_failed_since"].is_string() && status["code_retry_in_seconds"].is_number(), "{status}");
    let panel = site.get("/_tapline").await.body;
    has(&panel, "because its code could not be brought: plugin `reading-time` was not compiled within 1ms");
    has(&panel, "To mend it: raise `timeout_ms`");
    has(&panel, "has failed</span>");

    let name = spec("reading-time").name;
    // One that is switched off is missed by nobody.
    site.host.disable(&name).await.unwrap();
    assert_eq!(document("/health/ready").await["status"], "ready");
    while !site.host.plugins()[0].has_code() {
        site.host.enable(&name).await.unwrap();
        site.get("/item/a").await;
    }
    assert_eq!(document("/health/ready").await["status"], "ready");
    let status = document("/status").await["plugins"][0].take();
    assert_eq!((&status["code"], &status["code_failed_since"]), (&"ready".into(), &Value::Null));
    has_not(&site.get("/_tapline").await.body, "could not be brought");
}

#[tokio::test]
async fn a_plugin_that_fails_is_marked_and_the_last_minute_is_drawn() {
    let site = Site::new(&["probe"]).await;
    site.put(item("bad", "Bad", [("do", crate::text("panic"))])).await;
    site.get("/item/bad").await;
    // The server takes a sample every second, the first at once.
    let drawn = async || {
        let page = site.get("/_tapline").await.body;
        page.contains("<polyline points=").then_some(page)
    };
    let page = loop {
        if let Some(page) = drawn().await {
            break page;
        }
        tokio::task::yield_now().await;
    };
    has(&page, "role=\"img\" aria-label=\"Calls for each second in the last 2 seconds");
    has(&page, "<td>1</td><td>1</td>");
}

#[tokio::test]
async fn on_this_machine_an_operator_needs_no_token_and_a_proxy_is_no_operator() {
    let site = site(None).await;
    assert_eq!(site.get("/_tapline").await.status, 200);
    for headers in [("x-forwarded-for", "10.0.0.1"), ("host", "tapline.example"), ("forwarded", "for=10.0.0.1")] {
        let page = site.ask("/_tapline", &[headers]).await;
        assert_eq!(page.status, 404, "{headers:?}");
        has_not(&page.body, "seo");
        let page = site.ask("/item/a?explain", &[headers]).await;
        assert_eq!(page.status, 200);
        has_not(&page.body, "What the plugins did");
    }
}

#[tokio::test]
async fn where_others_can_ask_nobody_is_an_operator_without_a_token() {
    let mut site = site(None).await;
    has(&site.get("/item/a?explain").await.body, "What the plugins did");
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    site.address = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let server = Server::new(site.host.clone(), site.store.clone(), ServerConfig::default());
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    for path in ["/_tapline", "/_tapline/trace"] {
        let page = site.get(path).await;
        assert_eq!(page.status, 404, "{path}");
        has_not(&page.body, "seo");
    }
    assert_eq!(site.post("/_tapline/plugins/seo/disable", &[], "").await.status, 404);
    let page = site.get("/item/a?explain").await;
    assert_eq!(page.status, 200);
    has_not(&page.body, "What the plugins did");
}

#[tokio::test]
async fn with_a_token_only_who_has_it_is_an_operator() {
    let site = site(Some("secret")).await;
    let refused = site.get("/_tapline").await;
    assert_eq!(refused.status, 401);
    has(refused.header("www-authenticate"), "Basic realm=");
    has_not(&refused.body, "seo");
    has_not(&site.get("/item/a?explain").await.body, "What the plugins did");
    for header in ["Bearer secret", "Basic YW55Ym9keTpzZWNyZXQ="] {
        assert_eq!(site.ask("/_tapline", &[("authorization", header)]).await.status, 200);
        has(&site.ask("/item/a?explain", &[("authorization", header)]).await.body, "What the plugins did");
    }
    assert_eq!(site.ask("/_tapline", &[("authorization", "Bearer secre")]).await.status, 401);
}

#[tokio::test]
async fn explain_shows_every_handler_of_the_request() {
    let site = site(None).await;
    let plain = site.get("/item/a").await;
    has_not(&plain.body, "What the plugins did");
    let page = site.get("/item/a?explain").await.body;
    let rows: Vec<&str> = page.split("<tr>").filter(|row| row.contains("<th scope=\"row\">")).collect();
    let starts: Vec<&str> = rows.iter().map(|row| row.split("</th>").next().unwrap()).collect();
    assert_eq!(
        starts,
        [
            "<td>item_access</td><td>1</td><th scope=\"row\">embargo",
            "<td>item_view</td><td>1</td><th scope=\"row\">reading-time",
            "<td>item_view</td><td>2</td><th scope=\"row\">seo",
        ]
    );
    // Outcome, time, running time, no fuel, memory, host calls: the lazy plugin asks for its fields.
    let cells: Vec<&str> = rows[1].split("<td>").skip(3).map(|cell| cell.split('<').next().unwrap()).collect();
    assert_eq!((cells[0], cells[3]), ("ok", "–"));
    let number = |cell: usize| cells[cell].parse::<f64>().unwrap();
    assert!(number(1) > 0.0 && number(2) > 0.0 && number(2) <= number(1), "{cells:?}");
    assert!(number(4) > 0.0 && number(5) > 0.0, "{cells:?}");
}

#[tokio::test]
async fn the_browsers_tools_see_the_time_of_each_plugin() {
    let site = site(None).await;
    let timing = site.get("/item/a").await.header("server-timing").to_owned();
    for part in ["total;dur=", "embargo.item_access;dur=", "seo.item_view;dur=", "reading-time.item_view;dur="] {
        has(&timing, part);
    }
}

#[tokio::test]
async fn the_list_has_one_time_for_all_that_a_plugin_was_asked() {
    let site = site(None).await;
    for id in ["b", "c"] {
        site.save(item(id, "More", [])).await;
    }
    let page = site.get("/").await;
    assert_eq!((page.status, page.body.matches("<li>").count()), (200, 3));
    let timing = page.header("server-timing");
    for part in ["load;dur=", "access;dur=", "render;dur=", "total;dur="] {
        has(timing, part);
    }
    assert_eq!(timing.matches("embargo.item_access;dur=").count(), 1, "{timing}");
    has_not(timing, "item_view");
    let calls = "tapline_tap_invocations_total{plugin=\"embargo\",tap=\"item_access\",outcome=\"ok\"} 3";
    has(&site.get("/metrics").await.body, calls);
}

#[tokio::test]
async fn advice_says_that_what_was_compiled_is_kept_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::new(&["seo"]).await;
    let advice = "cache.directory: the code was there for 0 % of the instances; set it, so that the next start finds what this \
                  one compiled.";
    assert_eq!(advice_of(&site).await, serde_json::json!([advice]));
    let panel = site.get("/_tapline").await.body;
    has(&panel, "<h2 id=\"advice\">Advice</h2>");
    has(&panel, &format!("<li>{advice}</li>"));

    // With a directory it is kept, and a second start has nothing to advise.
    let start = async || {
        let cache_directory = Some(directory.path().join("cache"));
        let host = HostConfig { pool_size: 10, cache_directory, ..HostConfig::default() };
        Site::with(&["seo"], ServerConfig::default(), host).await
    };
    let advice = "cache.directory: the code was there for 0 % of the instances; the others waited for the compiler, which a \
                  warm directory prevents.";
    assert_eq!(advice_of(&start().await).await, serde_json::json!([advice]));
    let site = start().await;
    assert_eq!(advice_of(&site).await, serde_json::json!([]));
    has_not(&site.get("/_tapline").await.body, "id=\"advice\"");
}

/// Who may look at the status document may not know where things lie.
#[tokio::test]
async fn operators_see_whether_compiled_plugins_are_kept_and_why_not() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    let start = async || {
        let host = HostConfig { pool_size: 10, cache_directory: Some(cache.clone()), ..HostConfig::default() };
        Site::with(&["seo"], ServerConfig::default(), host).await
    };
    let disk = async |site: &Site| -> Value {
        serde_json::from_str::<Value>(&site.get("/status").await.body).unwrap()["cache"]["disk"].take()
    };
    let site = start().await;
    assert_eq!(disk(&site).await, "ready");
    has(&site.get("/_tapline").await.body, &format!("<dd>kept in {}</dd>", cache.display()));

    std::fs::set_permissions(&cache, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let site = start().await;
    assert_eq!(disk(&site).await, "unusable");
    let panel = site.get("/_tapline").await.body;
    has(&panel, &format!("<dd>not kept in {}: ", cache.display()));
    has(&panel, "it cannot be used, and /_tapline says why.</li>");
    has_not(&site.get("/status").await.body, &cache.display().to_string());
}

async fn advice_of(site: &Site) -> Value {
    let mut status: Value = serde_json::from_str(&site.get("/status").await.body).unwrap();
    status["advice"].take()
}

/// The keys of a document, with dots between and `[]` for the entries of a list.
fn keys(prefix: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                found.insert(key.clone());
                keys(&key, value, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys(&format!("{prefix}[]"), value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_status_document_is_what_its_documentation_says() {
    let site = site(None).await;
    assert_eq!(site.get("/item/a").await.status, 200);
    site.host.note_refused_change("the file cannot be read".to_owned(), None);
    let mut found = BTreeSet::new();
    keys("", &serde_json::from_str(&site.get("/status").await.body).unwrap(), &mut found);
    let documentation = std::fs::read_to_string("../../docs/status.md").unwrap();
    let rows = documentation.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented: BTreeSet<String> = rows.map(|(key, _)| key.to_owned()).collect();
    let inner = |key: &&String| {
        !found.iter().any(|other| other.starts_with(&format!("{key}.")) || other.starts_with(&format!("{key}[].")))
    };
    let leaves: BTreeSet<String> = found.iter().filter(inner).cloned().collect();
    assert_eq!(leaves, documented);
}
