//! Clients that stand still, names that nobody would choose, and more plugins than anybody has.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tapline_host_core::{
    HostConfig, PluginName, PluginSpec,
    metrics::{Deployment, Surface},
};
use tapline_server::ServerConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::{Site, formatted, has, has_not, item, warnings};

/// A site that gives up on clients soon.
async fn impatient(plugins: &[&str]) -> Site {
    let config = ServerConfig { client_timeout: Duration::from_millis(200), ..ServerConfig::default() };
    let site = Site::with(plugins, config, HostConfig { pool_size: 10, ..HostConfig::default() }).await;
    site.save(item("a", "A", [("body", formatted("markdown", "Text"))])).await;
    site
}

fn address(site: &Site) -> SocketAddr {
    site.address.strip_prefix("http://").unwrap().parse().unwrap()
}

#[tokio::test]
async fn scrapers_that_read_nothing_are_cut_off_with_one_warning() {
    let mut site = impatient(&["seo"]).await;
    warnings();
    let mut scrapers = Vec::new();
    for _ in 0..3 {
        // With a small buffer of its own, and asking for far more than buffers hold.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut scraper = socket.connect(address(&site)).await.unwrap();
        scraper.write_all("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000).as_bytes()).await.unwrap();
        scrapers.push(scraper);
    }
    let mut warned = Vec::new();
    while warned.is_empty() {
        assert_eq!(site.get("/item/a").await.status, 200, "visitors do not notice");
        has(&site.get("/metrics").await.body, "tapline_tap_invocations_total");
        warned = warnings();
    }
    // Nothing is left of any of them.
    assert!(site.stop().await);
    warned.append(&mut warnings());
    assert_eq!(warned.len(), 1, "{warned:?}");
    has(&warned[0].to_string(), "asks and does not read");
}

#[tokio::test]
async fn a_request_that_never_ends_is_given_up() {
    let mut site = impatient(&[]).await;
    for start in ["", "GET", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\nX-Never: e"] {
        let mut slow = TcpStream::connect(address(&site)).await.unwrap();
        slow.write_all(start.as_bytes()).await.unwrap();
        assert_eq!(site.get("/").await.status, 200);
        let mut answer = Vec::new();
        // Closed, with an answer or without, in order or not: it is over.
        let _ = slow.read_to_end(&mut answer).await;
        has_not(&String::from_utf8_lossy(&answer), "200 OK");
    }
    // One that has been answered, and says nothing more.
    let mut quiet = TcpStream::connect(address(&site)).await.unwrap();
    quiet.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = quiet.read_to_end(&mut answer).await;
    has(&String::from_utf8_lossy(&answer), "live\n");
    assert!(site.stop().await);
}

#[tokio::test]
async fn a_server_that_ends_does_not_wait_for_clients_that_stand_still() {
    let mut site = impatient(&[]).await;
    let mut clients = Vec::new();
    for start in ["", "GET / HTTP/1.1\r\nX-Never: e", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut client = TcpStream::connect(address(&site)).await.unwrap();
        client.write_all(start.as_bytes()).await.unwrap();
        clients.push(client);
    }
    assert_eq!(site.get("/").await.status, 200);
    assert!(site.stop().await, "all of them have ended, and nothing had to be cut off");
}

#[tokio::test]
async fn whoever_comes_when_all_connections_are_taken_waits_for_one() {
    let config = ServerConfig { max_connections: 2, ..ServerConfig::default() };
    let mut site = Site::with(&[], config, HostConfig { pool_size: 10, ..HostConfig::default() }).await;
    warnings();
    let ask = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = TcpStream::connect(address(&site)).await.unwrap();
        client.write_all(ask).await.unwrap();
        clients.push(client);
    }
    let [first, second, third] = &mut clients[..] else { unreachable!("there are three") };
    let mut byte = [0];
    for served in [&mut *first, second] {
        served.read_exact(&mut byte).await.unwrap();
    }
    // Nothing comes for it, however long that is looked at.
    assert!(tokio::time::timeout(Duration::from_millis(200), third.read_exact(&mut byte)).await.is_err());
    first.shutdown().await.unwrap();
    third.read_exact(&mut byte).await.unwrap();
    let warned = warnings();
    assert_eq!(warned.len(), 1, "{warned:?}");
    has(&warned[0].to_string(), "no more connections are taken");
    drop(clients);
    assert!(site.stop().await);
}

#[tokio::test]
async fn labels_and_titles_with_strange_characters() {
    const STRANGE: &str = "a\"b\\c\nd{e=\"f\"} 1\n# EOF\n<script>\u{202e}\u{0}";
    let deployment = Deployment { surface: Surface::Server, service: STRANGE.to_owned() };
    let host = HostConfig { pool_size: 10, deployment, ..HostConfig::default() };
    let site = Site::with(&[], ServerConfig { title: STRANGE.to_owned(), ..ServerConfig::default() }, host).await;
    // The longest name that a plugin can have.
    let longest = format!("a{}", "-9".repeat(31));
    let seo = std::fs::read("../../target/plugins/seo.wasm").unwrap();
    site.host.load(PluginSpec::bytes(PluginName::new(&longest).unwrap(), seo)).await.unwrap();
    site.save(item("a", "A", [("body", formatted("markdown", "Text"))])).await;
    assert_eq!(site.get("/item/a").await.status, 200);

    let escaped = "service=\"a\\\"b\\\\c\\nd{e=\\\"f\\\"} 1\\n# EOF\\n<script>\u{202e}\u{0}\"";
    for accept in ["text/plain", "application/openmetrics-text"] {
        let text = site.ask("/metrics", &[("accept", accept)]).await.body;
        has(&text, escaped);
        has(
            &text,
            &format!("tapline_tap_invocations_total{{plugin=\"{longest}\",tap=\"item_view\",outcome=\"ok\"}} 1"),
        );
        let is_sound = |line: &str| line.starts_with("# ") || line.rsplit(' ').next().unwrap().parse::<f64>().is_ok();
        let broken: Vec<&str> = text.lines().filter(|line| !is_sound(line)).collect();
        assert!(broken.is_empty(), "{broken:?}");
        assert_eq!(text.lines().filter(|line| *line == "# EOF").count(), usize::from(accept != "text/plain"));
    }
    let status: serde_json::Value = serde_json::from_str(&site.get("/status").await.body).unwrap();
    assert_eq!(status["service"], STRANGE);
    let panel = site.get("/_tapline").await.body;
    has(&panel, &format!("action=\"/_tapline/plugins/{longest}/disable\""));
    assert_eq!(panel.to_lowercase().matches("<script").count(), 1);
}

#[tokio::test]
async fn five_hundred_plugins() {
    const PLUGINS: usize = 500;
    // Calls wait for each other as long as a slow machine takes.
    let max_wait = Duration::from_secs(60);
    // On such a machine calls are slow as well, which is not what is warned about here.
    let host = HostConfig { pool_size: 10, max_wait, slow_call: None, ..HostConfig::default() };
    let site = Site::with(&[], ServerConfig::default(), host).await;
    warnings();
    let seo: Arc<[u8]> = std::fs::read("../../target/plugins/seo.wasm").unwrap().into();
    let name = |number: usize| PluginName::new(&format!("p{number}")).unwrap();
    let specs = (0..PLUGINS).map(|number| PluginSpec::bytes(name(number), Arc::clone(&seo)));
    assert_eq!(site.host.apply(specs.collect()).await.unwrap().added.len(), PLUGINS);
    site.save(item("a", "A", [("body", formatted("markdown", "Text"))])).await;
    // All at once, as they come.
    let pages = [(); 3].map(|()| site.asking("/item/a", &[]));
    let [metrics, status, panel] = ["/metrics", "/status", "/_tapline"].map(|path| site.asking(path, &[]));
    for page in pages {
        let page = page.await.unwrap();
        assert_eq!((page.status, page.body.matches("<!-- head: p").count()), (200, PLUGINS));
        // Proxies refuse what is longer.
        let timing = page.header("server-timing");
        assert!(timing.len() < 8 << 10, "{} bytes", timing.len());
        assert_eq!(timing.matches(".item_view;dur=").count(), 50, "{timing}");
    }
    for answer in [metrics, status, panel] {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    let metrics = site.get("/metrics").await.body;
    let status: serde_json::Value = serde_json::from_str(&site.get("/status").await.body).unwrap();
    let panel = site.get("/_tapline").await.body;
    assert_eq!(status["plugins"].as_array().unwrap().len(), PLUGINS);
    for number in [0, 250, PLUGINS - 1] {
        let name = name(number);
        has(
            &metrics,
            &format!("tapline_tap_invocations_total{{plugin=\"{name}\",tap=\"item_view\",outcome=\"ok\"}} 3"),
        );
        has(&panel, &format!("<h2 id=\"plugin-{name}\">"));
    }
    // What a scrape is long is what its bound was made for.
    assert!(metrics.len() < PLUGINS * 20_000, "{} bytes", metrics.len());
    let warned = warnings();
    assert!(warned.len() <= 1, "{warned:?}");
}
