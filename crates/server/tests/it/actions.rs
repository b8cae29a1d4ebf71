//! The buttons of the page for operators, and those who would like to press them.

use std::{path::Path, time::Duration};

use tapline_host_core::{HostConfig, PluginName, PluginSpec};
use tapline_server::{OperatorToken, ServerConfig, SpecSource};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{Answer, Site, formatted, has, has_not, item};

const SEO: &str = "<!-- head: seo -->";

fn name(name: &str) -> PluginName {
    PluginName::new(name).unwrap()
}

async fn site(config: ServerConfig) -> Site {
    let site = Site::with(&["seo"], config, HostConfig { pool_size: 10, ..HostConfig::default() }).await;
    site.save(item("a", "A", [("body", formatted("markdown", "Text"))])).await;
    site
}

/// The token of the forms on a page.
fn token_of(page: &str) -> String {
    page.split("name=\"token\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

async fn form(site: &Site) -> String {
    format!("token={}", token_of(&site.get("/_tapline").await.body))
}

/// Presses a button as a browser does, and returns the page to which that leads.
async fn press(site: &Site, plugin: &str, action: &str) -> String {
    let path = format!("/_tapline/plugins/{plugin}/{action}");
    let headers = [("origin", site.address.as_str()), ("sec-fetch-site", "same-origin")];
    let answer = site.post(&path, &headers, &form(site).await).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let (page, fragment) = answer.header("location").split_once('#').unwrap();
    assert_eq!(fragment, "outcome");
    site.get(page).await.body
}

#[track_caller]
fn says(page: &str, bad: bool, text: &str) {
    let class = if bad { "outcome bad" } else { "outcome" };
    has(page, &format!("<p id=\"outcome\" class=\"{class}\" role=\"status\" tabindex=\"-1\">{text}"));
}

#[tokio::test]
async fn a_plugin_is_switched_off_and_on() {
    let site = site(ServerConfig::default()).await;
    let page = site.get("/_tapline").await;
    has(page.header("content-security-policy"), "form-action 'self'");
    has(&page.body, "<form class=\"actions\" method=\"post\" action=\"/_tapline/plugins/seo/disable\">");
    has(&page.body, "<button aria-label=\"Disable seo\">Disable</button>");
    has_not(&page.body, "role=\"status\"");

    let page = press(&site, "seo", "disable").await;
    says(&page, false, "seo stays loaded and is not called any more.</p>");
    has(&page, "<span class=\"badge bad\">disabled</span>");
    has(&page, "<button aria-label=\"Enable seo\">Enable</button>");
    has_not(&page, "<strong>seo</strong>");
    has_not(&site.get("/item/a").await.body, SEO);
    let status: serde_json::Value = serde_json::from_str(&site.get("/status").await.body).unwrap();
    assert_eq!(status["plugins"][0]["enabled"], false);
    // Again, which changes nothing.
    says(&press(&site, "seo", "disable").await, false, "seo stays loaded");

    let page = press(&site, "seo", "enable").await;
    says(&page, false, "seo is called.</p>");
    has_not(&page, "disabled");
    has(&page, "<strong>seo</strong>");
    has(&site.get("/item/a").await.body, SEO);
    has_not(&site.get("/_tapline").await.body, "role=\"status\"");
}

#[tokio::test]
async fn who_switches_a_vote_off_is_told_what_that_shows() {
    let site = site(ServerConfig::default()).await;
    site.host.load(crate::spec("embargo")).await.unwrap();
    let page = site.get("/_tapline").await.body;
    assert_eq!(page.matches("It has a vote: what it alone denies is shown when it is disabled.").count(), 1);
    has(&page, "<button aria-label=\"Disable embargo\" aria-describedby=\"votes-embargo\">");
    has(&press(&site, "embargo", "disable").await, "what it alone denies is shown while it is disabled.");
}

#[tokio::test]
async fn a_plugin_is_loaded_again_and_one_that_is_broken_is_not() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("first.wasm");
    let install = |plugin: &str| {
        let from = Path::new("../../target/plugins").join(plugin).with_extension("wasm");
        std::fs::copy(from, &file).unwrap();
    };
    install("reading-time");
    let of_configuration = file.clone();
    let specs = SpecSource::new(move |name| match name.as_str() {
        "first" => Ok(Some(PluginSpec::file(name.clone(), &of_configuration))),
        "gone" => Ok(None),
        "odd" => Err("tapline.toml:1: <b>nothing</b> is called `x`.".to_owned()),
        _ => panic!("asked for {name}"),
    });
    let site = site(ServerConfig { specs: Some(specs), ..ServerConfig::default() }).await;
    for plugin in ["first", "gone", "odd"] {
        site.host.load(PluginSpec::file(name(plugin), &file)).await.unwrap();
    }
    let page = site.get("/_tapline").await.body;
    has(&page, "<button formaction=\"/_tapline/plugins/first/reload\" aria-label=\"Reload first\">Reload</button>");

    says(&press(&site, "first", "reload").await, false, "first was loaded again, from the same file as before.</p>");
    install("seo");
    says(&press(&site, "first", "reload").await, false, "first was loaded again, from another file than before.</p>");
    has(&site.get("/item/a").await.body, "<!-- head: first -->");

    // What cannot be loaded says why, and what was loaded serves on.
    std::fs::write(&file, "This is not WebAssembly.").unwrap();
    let page = press(&site, "first", "reload").await;
    says(&page, true, "first is as it was, because reload failed. plugin `first` is not WebAssembly");
    has(&page, "To mend it: give the path of the `.wasm` file");
    std::fs::remove_file(&file).unwrap();
    let page = press(&site, "first", "reload").await;
    says(&page, true, "first is as it was, because reload failed. plugin `first`: cannot read ");
    has(&page, "No such file");
    says(
        &press(&site, "gone", "reload").await,
        true,
        "gone is as it was, because reload failed. The configuration has no",
    );
    let page = press(&site, "odd", "reload").await;
    says(&page, true, "odd is as it was, because reload failed. tapline.toml:1: &#60;b&#62;nothing");
    has_not(&page, "<b>");
    has(&site.get("/item/a").await.body, "<!-- head: first -->");

    // A disabled plugin can be mended before it is called again.
    install("seo");
    press(&site, "first", "disable").await;
    says(
        &press(&site, "first", "reload").await,
        false,
        "first was loaded again, from the same file as before. It is still",
    );
    has_not(&site.get("/item/a").await.body, "<!-- head: first -->");
}

#[tokio::test]
async fn without_a_source_nothing_is_loaded_again() {
    let site = site(ServerConfig::default()).await;
    has_not(&site.get("/_tapline").await.body, "Reload");
    says(
        &press(&site, "seo", "reload").await,
        true,
        "seo is as it was, because reload failed. This server does not know",
    );
    has(&site.get("/item/a").await.body, SEO);
}

#[tokio::test]
async fn a_form_of_another_page_changes_nothing() {
    let site = site(ServerConfig::default()).await;
    let (path, form) = ("/_tapline/plugins/seo/disable", form(&site).await);
    let here = ("origin", site.address.as_str());
    let refused = |answer: Answer, text: &str| {
        assert_eq!(answer.status, 403, "{}", answer.body);
        has(&answer.body, text);
        assert!(site.host.is_enabled(&name("seo")));
    };
    // A page of somebody else in the operator's browser, which cannot read the token, and even one that could.
    for origin in ["https://evil.example", "null", "http://localhost", "http://127.0.0.1:1"] {
        let text = "this came from a page at";
        refused(site.post(path, &[("origin", origin)], "").await, text);
        refused(site.post(path, &[("origin", origin)], &form).await, text);
    }
    for fetch in ["cross-site", "same-site", "none"] {
        refused(site.post(path, &[here, ("sec-fetch-site", fetch)], &form).await, "another site sent this");
    }
    // Scripts and old browsers say nothing of where they come from: the token is what counts.
    for wrong in ["", "token=", "token=0", &form[..form.len() - 1], &format!("{form}0"), "token=%00%ff"] {
        refused(site.post(path, &[], wrong).await, "an earlier run of the server");
        refused(site.post(path, &[here], wrong).await, "an earlier run of the server");
    }
    // Not in the address, where histories and logs would keep it.
    refused(site.post(&format!("{path}?{form}"), &[here], "").await, "an earlier run of the server");

    assert_eq!(site.post(path, &[], &form).await.status, 303, "a script of the operator");
    assert!(!site.host.is_enabled(&name("seo")));
}

#[tokio::test]
async fn what_is_no_button_changes_nothing() {
    let site = site(ServerConfig::default()).await;
    let form = form(&site).await;
    for action in ["disable", "enable", "reload"] {
        let answer = site.get(&format!("/_tapline/plugins/seo/{action}?{form}")).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
        has(&answer.body, "what a button of the page for operators sends");
    }
    let long = "a".repeat(10_000);
    let names =
        ["none", "SEO", "seo%20", "%3Cscript%3E", "..", "%2e%2e%2fseo", "%00", "%c3%a9", "se%6f%0d%0aX:%20y", &long];
    for plugin in names {
        let answer = site.post(&format!("/_tapline/plugins/{plugin}/disable"), &[], &form).await;
        assert_eq!(answer.status, 404, "{plugin}: {}", answer.body);
        has_not(&answer.body, "<script>");
    }
    assert_eq!(site.post("/_tapline/plugins/%ff/disable", &[], &form).await.status, 400);
    for action in ["delete", "DISABLE", "disable%00", "%3Cscript%3E"] {
        let answer = site.post(&format!("/_tapline/plugins/seo/{action}"), &[], &form).await;
        assert_eq!(answer.status, 404, "{action}");
        has(&answer.body, "enabled, disabled and reloaded");
    }
    let path = "/_tapline/plugins/seo/disable";
    assert_eq!(site.post(path, &[("content-type", "application/json")], "{}").await.status, 415);
    assert_eq!(site.post(path, &[], &format!("{form}&x={}", "x".repeat(5000))).await.status, 413);
    assert!(site.host.is_enabled(&name("seo")));
    // The address of the page says nothing on the page.
    for outcome in ["1", "0", "-1", "18446744073709551616", "%3Cb%3E", "you+won"] {
        let page = site.get(&format!("/_tapline?outcome={outcome}")).await;
        assert_eq!(page.status, 200);
        has_not(&page.body, "role=\"status\"");
        has_not(&page.body, "you won");
    }
}

#[tokio::test]
async fn only_operators_change_anything() {
    let path = "/_tapline/plugins/seo/disable";
    let local = site(ServerConfig::default()).await;
    let form = form(&local).await;
    for stranger in [("x-forwarded-for", "10.0.0.1"), ("host", "tapline.example")] {
        let answer = local.post(path, &[stranger], &form).await;
        assert_eq!(answer.status, 404, "as if there were no such address");
    }
    assert!(local.host.is_enabled(&name("seo")));

    let token = Some(OperatorToken::from("secret".to_owned()));
    let site = site(ServerConfig { operator_token: token, ..ServerConfig::default() }).await;
    let answer = site.post(path, &[], "").await;
    assert_eq!(answer.status, 401);
    has(answer.header("www-authenticate"), "Basic realm=");
    let operator = ("authorization", "Bearer secret");
    // The password alone is what a browser sends for any page that asks for it.
    assert_eq!(site.post(path, &[operator], "").await.status, 403);
    assert_eq!(site.post(path, &[operator], &form).await.status, 403, "the token of another server");
    assert!(site.host.is_enabled(&name("seo")));
    let form = format!("token={}", token_of(&site.ask("/_tapline", &[operator]).await.body));
    assert_eq!(site.post(path, &[], &form).await.status, 401);
    assert_eq!(site.post(path, &[operator], &form).await.status, 303);
    assert!(!site.host.is_enabled(&name("seo")));
}

#[tokio::test]
async fn a_form_that_never_ends_is_given_up() {
    let config = ServerConfig { client_timeout: Duration::from_millis(100), ..ServerConfig::default() };
    let site = site(config).await;
    let form = form(&site).await;
    let mut stream = TcpStream::connect(site.address.strip_prefix("http://").unwrap()).await.unwrap();
    let head = "POST /_tapline/plugins/seo/disable HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n\r\n";
    stream.write_all(format!("{head}{form}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(site.host.is_enabled(&name("seo")));
}
