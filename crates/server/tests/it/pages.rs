//! What readers see.

use tapline_host_core::HostConfig;
use tapline_server::ServerConfig;

use crate::{Site, formatted, has, has_not, item, text};

#[tokio::test]
async fn each_plugin_adds_its_part_to_the_page() {
    let site = Site::new(&["seo", "reading-time", "related", "house-style", "embargo", "audit-log"]).await;
    site.import(&[
        ("one.md", "---\ntitle: One\nauthor: Ada\ndate: 2026-01-31\ntags: [Rust, wasm]\nsummary: In short.\n---\nIt's \"one\"..."),
        ("two.md", "---\ntitle: Two\ntags: wasm\n---\nText"),
    ])
    .await;
    let page = site.get("/item/one").await;
    assert_eq!(page.status, 200);
    let body = &page.body;
    has(body, "<title>One · Tapline</title>");
    has(body, "<time datetime=\"2026-01-31\">31 January 2026</time> · Ada");
    has(body, "<span class=\"badge\">Rust</span>");
    has(body, "<p>It’s “one”…</p>");
    has(body, "<!-- head: seo -->");
    has(body, "<meta name=\"description\" content=\"In short.\">");
    has(body, "<section data-plugin=\"reading-time\"");
    has(body, "1 min read");
    has(body, "<section data-plugin=\"related\"");
    has(body, "<a href=\"/item/two\"");
    has_not(body, "did not answer");
    // In the order of the tap.
    assert!(body.find("data-plugin=\"reading-time\"") < body.find("data-plugin=\"related\""));

    let timing = page.header("server-timing");
    for part in ["load;dur=", "access;dur=", "dispatch;dur=", "render;dur=", "total;dur="] {
        has(timing, part);
    }
}

#[tokio::test]
async fn the_list_shows_what_may_be_seen_in_pages() {
    let config = ServerConfig { page_size: 2, title: "A & B".to_owned(), ..ServerConfig::default() };
    let site = Site::with(&["embargo"], config, HostConfig { pool_size: 10, ..HostConfig::default() }).await;
    site.import(&[
        ("a.md", "---\ntitle: First\ndate: 2026-01-04\n---\n"),
        ("b.md", "---\ntitle: Secret\ndate: 2026-01-03\nembargo_until: 2999-01-01\n---\n"),
        ("c.md", "---\ntitle: Draft\ndraft: true\n---\n"),
        ("d.md", "---\ntitle: Past\ndate: 2026-01-02\nembargo_until: 2020-01-01\n---\n"),
        ("e.md", "---\ntitle: Last\ndate: 2026-01-01\n---\n"),
    ])
    .await;
    let first = site.get("/").await.body;
    has(&first, "<title>A &#38; B</title>");
    has(&first, "<a href=\"/item/a\">First</a>");
    has(&first, "rel=\"next\" href=\"/?page=2\"");
    has_not(&first, "rel=\"prev\"");
    let second = site.get("/?page=2").await.body;
    has(&second, "<a href=\"/item/d\">Past</a>");
    has(&second, "<a href=\"/item/e\">Last</a>");
    has(&second, "rel=\"prev\" href=\"/?page=1\"");
    has_not(&second, "rel=\"next\"");
    for hidden in ["Secret", "Draft"] {
        has_not(&first, hidden);
        has_not(&second, hidden);
    }
    for odd in ["/?page=0", "/?page=-1", "/?page=x", "/?other=1"] {
        assert_eq!(site.get(odd).await.body, first, "{odd}");
    }
    has(&site.get("/?page=4294967295").await.body, "nothing to read on this page");
}

#[tokio::test]
async fn what_may_not_be_seen_is_told_without_its_title() {
    let site = Site::new(&["embargo"]).await;
    site.import(&[
        ("secret.md", "---\ntitle: Secret\nembargo_until: 2999-01-01\n---\n"),
        ("draft.md", "---\ntitle: Secret\ndraft: true\n---\n"),
    ])
    .await;
    // A plugin that cannot read the date denies.
    site.put(item("broken", "Secret", [("embargo_until", text("soon"))])).await;
    for path in ["/item/secret", "/item/draft", "/item/broken"] {
        let page = site.get(path).await;
        assert_eq!(page.status, 403, "{path}");
        has_not(&page.body, "Secret");
        has_not(&page.body, "embargo");
    }
    for path in ["/item/none", "/nowhere", "/item/", "/item/a/b", "/item/%2e%2e"] {
        assert_eq!(site.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn links_between_documents_lead_to_items() {
    let site = Site::new(&[]).await;
    site.import(&[
        ("README.md", "# Read me\n\n[guide](docs/Guide.md#part) [gone](docs/gone.md) [web](https://example.org/a.md)"),
        ("docs/Guide.md", "# Guide\n\n[back](../README.md) [same](./Guide.md)"),
    ])
    .await;
    let body = site.get("/item/readme").await.body;
    has(&body, "<a href=\"/item/docs-guide\"");
    has(&body, "<a href=\"docs/gone.md\"");
    has(&body, "<a href=\"https://example.org/a.md\"");
    let body = site.get("/item/docs-guide").await.body;
    has(&body, "<a href=\"/item/readme\"");
    has(&body, "<a href=\"/item/docs-guide\"");
}

#[tokio::test]
async fn bodies_of_every_format() {
    let site = Site::new(&[]).await;
    let markdown = "# Title\n\n# Again\n\n| a | b |\n|---|---|\n| 1 | ~~2~~ |\n\n```rust\nfn main() {}\n```\n";
    site.save(item("markdown", "Title", [("body", formatted("markdown", markdown))])).await;
    site.save(item("html", "Title", [("body", formatted("html", "<p>A <em>b</em></p>"))])).await;
    site.save(item("other", "Title", [("body", formatted("asciidoc", "= <b>"))])).await;
    site.save(item("text", "Title", [("body", text("a < b"))])).await;
    site.save(item("none", "Title", [])).await;
    let body = site.get("/item/markdown").await.body;
    assert_eq!(body.matches("<h1>").count(), 1, "the heading that repeats the title is gone");
    has(&body, "<h2>Again</h2>");
    has(&body, "<td><del>2</del></td>");
    has(&body, "<pre><code class=\"language-rust\">fn main() {}\n</code></pre>");
    has(&site.get("/item/html").await.body, "<p>A <em>b</em></p>");
    has(&site.get("/item/other").await.body, "<pre class=\"source\">\n= &lt;b&gt;</pre>");
    has(&site.get("/item/text").await.body, "<pre class=\"source\">\na &lt; b</pre>");
    assert_eq!(site.get("/item/none").await.status, 200);
}

/// What is large is rendered elsewhere, and as before.
#[tokio::test]
async fn a_large_body_is_shown_as_a_small_one_is() {
    let site = Site::new(&[]).await;
    let more = "All work and no play. ".repeat(10_000);
    let markdown = |rest: &str| format!("# Title\n\n[guide](guide.md) <b onclick=\"x\">bold</b>\n\n{rest}");
    let (small, large) = (markdown(""), markdown(&more));
    site.import(&[
        ("guide.md", "# Guide"),
        ("small.md", &format!("---\ntitle: Title\n---\n{small}")),
        ("large.md", &format!("---\ntitle: Title\n---\n{large}")),
    ])
    .await;
    for (id, format, text) in [("h", "html", "<p onclick=\"x\">A <em>b</em></p>"), ("t", "asciidoc", "= <b>")] {
        site.save(item(&format!("{id}-small"), "Title", [("body", formatted(format, text))])).await;
        site.save(item(&format!("{id}-large"), "Title", [("body", formatted(format, &format!("{text}{more}")))])).await;
    }
    for (small, large, part) in [
        ("small", "large", "<p><a href=\"/item/guide\" rel=\"noopener noreferrer\">guide</a> <b>bold</b></p>"),
        ("h-small", "h-large", "<p>A <em>b</em></p>"),
        ("t-small", "t-large", "<pre class=\"source\">\n= &lt;b&gt;"),
    ] {
        for id in [small, large] {
            let page = site.get(&format!("/item/{id}")).await;
            assert_eq!((page.status, page.body.matches("<h1>").count()), (200, 1), "{id}");
            has(&page.body, part);
            assert_eq!(page.body.matches("All work").count(), if id == small { 0 } else { more.len() / 22 }, "{id}");
        }
    }
}

#[tokio::test]
async fn an_item_of_five_megabytes() {
    let site = Site::new(&["seo", "reading-time"]).await;
    let body = "All work and no play. ".repeat(5 * 1024 * 1024 / 22);
    site.save(item("large", "Large", [("body", formatted("markdown", &body))])).await;
    let page = site.get("/item/large").await;
    assert_eq!(page.status, 200);
    has(&page.body, "<!-- head: seo -->");
    has(&page.body, "data-plugin=\"reading-time\"");
    assert!(page.body.len() > 5_000_000);
}
