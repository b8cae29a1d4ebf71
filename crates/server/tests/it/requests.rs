//! What a request is to its caller, to the log, and to an operator who looks at its trace.

use serde_json::Value;
use tapline_host_core::HostConfig;
use tapline_server::{OperatorToken, ServerConfig};
use tapline_telemetry::Trace;

use crate::{Answer, Site, formatted, has, has_not, item, text, traces, warnings};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A site whose requests are recorded.
async fn traced(plugins: &[&str], token: Option<&str>) -> Site {
    let operator_token = token.map(|token| OperatorToken::from(token.to_owned()));
    let config = ServerConfig { traces: traces(), operator_token, ..ServerConfig::default() };
    Site::with(plugins, config, HostConfig { pool_size: 10, ..HostConfig::default() }).await
}

fn id(answer: &Answer) -> String {
    answer.header("x-request-id").to_owned()
}

/// Asks for a page, and for its trace. It is recorded when the request has ended, which may be after its answer has been read.
async fn recorded(site: &Site, path: &str, headers: &[(&'static str, &'static str)]) -> (Answer, Trace) {
    let answer = site.ask(path, headers).await;
    let trace = format!("/_tapline/trace/{}", id(&answer));
    let mut found = site.ask(&trace, headers).await;
    for _ in 0..500 {
        if found.status != 404 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        found = site.ask(&trace, headers).await;
    }
    let mut found: Vec<Trace> = serde_json::from_str(&found.body).unwrap_or_else(|_| panic!("{path}: {}", found.body));
    assert_eq!(found.len(), 1);
    (answer, found.remove(0))
}

#[tokio::test]
async fn a_request_has_the_identifier_of_its_callers_trace_or_a_new_one() {
    let site = Site::new(&[]).await;
    for path in ["/", "/item/none", "/nowhere", "/metrics"] {
        let answer = site.ask(path, &[("traceparent", TRACEPARENT)]).await;
        assert_eq!(id(&answer), TRACE, "{path}");
        let next = answer.header("traceresponse");
        assert!(next.starts_with(&format!("00-{TRACE}-")) && next.ends_with("-01"), "{next}");
        assert!(!next.contains("00f067aa0ba902b7"), "the request has a span of its own");
    }
    let (one, other) = (id(&site.get("/").await), id(&site.get("/").await));
    assert!(one.len() == 32 && one != other, "{one} {other}");
    let wrong = site.ask("/", &[("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7")]).await;
    assert_ne!(id(&wrong), TRACE);
}

#[tokio::test]
async fn the_trace_of_a_page_shows_who_did_what_for_how_long() {
    let site = traced(&["embargo", "related", "seo"], None).await;
    let tags = tapline_content::Value::References(
        [tapline_content::Reference { kind: "tag".into(), id: "t".into(), label: "T".into() }].into(),
    );
    for id in ["a", "b"] {
        site.save(item(id, "A", [("body", formatted("markdown", "Text")), ("tags", tags.clone())])).await;
    }
    let (answer, trace) = recorded(&site, "/item/a", &[]).await;
    let mut lines: Vec<String> = Vec::new();
    for span in &trace.spans {
        let parents = std::iter::successors(span.parent, |parent| trace.spans[*parent].parent);
        lines.push(format!("{}{}", "  ".repeat(parents.count()), span.label()));
    }
    // Handlers of one tap run at the same time; here they begin in their order.
    let expected = "GET /item/{id}
  load
  dispatch item_access
    embargo.item_access
  dispatch item_view
    related.item_view
      database.query
        sql
    seo.item_view
  render";
    let mut sorted: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut expected: Vec<&str> = expected.lines().collect();
    sorted.sort_unstable();
    expected.sort_unstable();
    assert_eq!(sorted, expected, "{lines:#?}");
    let find = |label: &str| trace.spans.iter().find(|span| span.label() == label).unwrap();
    let root = &trace.spans[0];
    assert_eq!((root.field("path"), root.field("status")), (Some("/item/a"), Some("200")));
    let sql = find("sql");
    assert_eq!(
        (sql.field("plugin"), sql.field("tap"), sql.field("rows")),
        (Some("related"), Some("item_view"), Some("1"))
    );
    assert!(sql.field("sql").unwrap().contains("JOIN item_tags"), "{sql:?}");
    let seo = find("seo.item_view");
    assert_eq!((seo.field("outcome"), seo.failed()), (Some("ok"), false));
    assert!(seo.duration_ns > 0 && seo.start_ns + seo.duration_ns <= root.duration_ns, "{seo:?}");

    // The list has it as well, and nothing of those that called no plugin.
    assert_eq!(site.get("/metrics").await.status, 200);
    let list: Vec<Value> = serde_json::from_str(&site.get("/_tapline/trace").await.body).unwrap();
    assert!(list.iter().all(|request| request["path"] != "/metrics"), "{list:?}");
    let ours: Vec<&Value> = list.iter().filter(|request| request["trace_id"] == id(&answer)).collect();
    assert_eq!(ours.len(), 1, "{list:?}");
    assert_eq!(ours[0]["label"], "GET /item/{id}");
    let none = site.get("/_tapline/trace/none").await;
    assert_eq!(none.status, 404);
    has(&none.body, "No trace of this identifier is kept");
}

#[tokio::test]
async fn every_event_of_a_request_has_its_identifier() {
    let site = traced(&["probe"], None).await;
    site.put(item("bad", "Bad", [("do", text("panic"))])).await;
    site.put(item("good", "Good", [])).await;
    assert_eq!(warnings(), Vec::<Value>::new());
    let bad = site.get("/item/bad").await;
    let lines = warnings();
    assert!(!lines.is_empty());
    for line in &lines {
        assert_eq!(line["fields"]["plugin"], "probe", "{line}");
        assert_eq!(line["spans"][0]["trace_id"], id(&bad), "{line}");
        assert_eq!((&line["spans"][0]["method"], &line["spans"][0]["path"]), (&"GET".into(), &"/item/bad".into()));
    }
    let (_, trace) = recorded(&site, "/item/bad", &[]).await;
    let failed: Vec<String> = trace.spans.iter().filter(|span| span.failed()).map(|span| span.label()).collect();
    assert_eq!(failed, ["probe.item_access"]);
}

#[tokio::test]
async fn a_page_that_cannot_be_made_says_what_to_tell_the_operator() {
    let site = traced(&[], None).await;
    site.store.close().await;
    let page = site.get("/").await;
    assert_eq!(page.status, 500);
    has(&page.body, &format!("Request <code>{}</code>", id(&page)));
    let line = warnings().remove(0);
    assert_eq!(line["spans"][0]["trace_id"], id(&page));
    has_not(&site.get("/nowhere").await.body, "Request <code>");
}

#[tokio::test]
async fn explain_names_the_request() {
    let site = traced(&["seo"], None).await;
    site.save(item("a", "A", [])).await;
    let page = site.get("/item/a?explain").await;
    has(&page.body, &format!("Request <code>{}</code>", id(&page)));
    let plain = site.get("/item/a").await;
    has_not(&plain.body, &id(&plain));
}

#[tokio::test]
async fn traces_are_for_operators() {
    let site = traced(&["seo"], Some("secret")).await;
    site.save(item("a", "A", [])).await;
    let (page, _) = recorded(&site, "/item/a", &[("authorization", "Bearer secret")]).await;
    let address = format!("/_tapline/trace/{}", id(&page));
    for address in ["/_tapline/trace", &*address] {
        let refused = site.get(address).await;
        assert_eq!(refused.status, 401);
        has_not(&refused.body, "seo");
        let shown = site.ask(address, &[("authorization", "Bearer secret")]).await;
        assert_eq!((shown.status, shown.header("content-type")), (200, "application/json"));
        assert_eq!(shown.header("cache-control"), "no-store");
    }
    let open = traced(&["seo"], None).await;
    assert_eq!(open.get("/_tapline/trace").await.status, 200);
    let through_a_proxy = open.ask("/_tapline/trace", &[("x-forwarded-for", "10.0.0.1")]).await;
    assert_eq!(through_a_proxy.status, 404);
}

#[tokio::test]
async fn a_run_of_cron_is_a_trace() {
    let traces = traces();
    let config = ServerConfig {
        cron: Some(std::time::Duration::from_secs(1)),
        traces: traces.clone(),
        ..ServerConfig::default()
    };
    let _site = Site::with(&["probe"], config, HostConfig { pool_size: 10, ..HostConfig::default() }).await;
    let trace = loop {
        let runs =
            traces.summaries().into_iter().filter(|summary| &*summary.label == "RUN cron" && &*summary.path == "cron");
        let mut runs = runs.flat_map(|run| traces.find(&run.trace_id));
        // Of all sites of the tests, this one has the probe.
        if let Some(trace) = runs.find(|trace| trace.spans.iter().any(|span| span.label() == "probe.cron")) {
            break trace;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert!(!trace.spans.iter().any(|span| span.failed()), "{trace:?}");
}

#[tokio::test]
async fn a_scraper_that_does_not_read_holds_up_nobody() {
    use std::io::Write;

    let mut site = Site::with(
        &["seo"],
        ServerConfig { drain: std::time::Duration::from_millis(200), ..ServerConfig::default() },
        HostConfig { pool_size: 10, ..HostConfig::default() },
    )
    .await;
    site.save(item("a", "A", [])).await;
    let address = site.address.trim_start_matches("http://").to_owned();
    // More answers than the buffers of a connection hold: the server waits for somebody to read them.
    let hanging: Vec<std::net::TcpStream> = (0..20)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(&address).unwrap();
            stream.write_all("GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(200).as_bytes()).unwrap();
            stream
        })
        .collect();
    for _ in 0..10 {
        assert_eq!(site.get("/item/a").await.status, 200);
        assert_eq!(site.get("/metrics").await.status, 200);
    }
    site.stop().await;
    drop(hanging);
}
