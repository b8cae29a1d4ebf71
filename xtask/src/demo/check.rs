//! Fetches every page and says which plugin contributed to what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::{Program, pages, server::Server};
use crate::build_plugins::Plugin;
use crate::{table, workspace};

const REPORT: &str = "target/demo/import.json";

/// Plugins that look for other items, and find none for some pages.
const SOME_PAGES: [&str; 1] = ["related"];

/// What was seen of all plugins.
#[derive(Default)]
struct Seen {
    pages: Vec<Page>,
    /// How often each plugin was called, and how often that failed, while importing and while serving.
    calls: BTreeMap<String, Calls>,
}

struct Page {
    path: String,
    status: u16,
    contributors: BTreeSet<String>,
}

#[derive(Default, Clone, Copy)]
struct Calls {
    invocations: u64,
    failures: u64,
}

pub(super) fn check(program: &Program<'_>, plugins: &[Plugin]) -> Result<()> {
    workspace::run(program.command().args(["import", "--report", REPORT, "README.md", "docs"]))?;
    let report = fs::read_to_string(program.workspace.root.join(REPORT)).context("the report of the import")?;
    let report: Value = serde_json::from_str(&report).context("the report of the import is no JSON")?;
    let mut seen = Seen::default();
    seen.count_import(&report);

    let server = Server::start(program.command().arg("serve"))?;
    visit(&server.address, &mut seen)?;
    let (_, status) = get(&server.address, "/status")?;
    seen.count_status(&serde_json::from_str(&status).context("/status is no JSON")?);
    let stopped = server.stop();

    let wrong = judge(plugins, &seen);
    println!("\n{}", table::render(&page_rows(&seen)));
    println!("{}", table::render(&plugin_rows(plugins, &seen, &wrong)));
    stopped?;
    ensure!(!seen.pages.is_empty(), "the list at / links to no item");
    if let Some(page) = seen.pages.iter().find(|page| page.status != 200) {
        bail!("{} answered {}", page.path, page.status);
    }
    if !wrong.is_empty() {
        let reasons: Vec<&str> = wrong.values().map(String::as_str).collect();
        bail!("{}", reasons.join("; "));
    }
    let imported = report["items"].as_u64().unwrap_or_default();
    println!("demo: {imported} items imported, {} pages fetched, every plugin contributed", seen.pages.len());
    Ok(())
}

fn visit(address: &str, seen: &mut Seen) -> Result<()> {
    let (status, list) = get(address, "/")?;
    ensure!(status == 200, "the list at / answered {status}");
    let items = pages::items(&list);
    let progress = ProgressBar::new(items.len() as u64)
        .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").context("a progress bar")?);
    for path in items {
        progress.set_message(path.clone());
        let (status, page) = get(address, &path)?;
        seen.pages.push(Page { path, status, contributors: pages::contributors(&page) });
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(())
}

/// A page and its status. A redirection is not followed: no page of the demo needs one.
fn get(address: &str, path: &str) -> Result<(u16, String)> {
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(60)))
        .http_status_as_error(false)
        .max_redirects(0)
        .build()
        .new_agent();
    let url = format!("{address}{path}");
    let mut response = agent.get(&url).call().with_context(|| format!("GET {url}"))?;
    let text = response.body_mut().read_to_string().with_context(|| format!("GET {url}"))?;
    Ok((response.status().as_u16(), text))
}

impl Seen {
    /// `{"plugins":[{"name","tap","invocations","failures"}]}`
    fn count_import(&mut self, report: &Value) {
        for plugin in workspace::list(&report["plugins"]) {
            self.count(&plugin["name"], plugin);
        }
    }

    /// `{"plugins":[{"name","taps":[{"tap","invocations","failures"}]}]}`
    fn count_status(&mut self, status: &Value) {
        for plugin in workspace::list(&status["plugins"]) {
            for tap in workspace::list(&plugin["taps"]) {
                self.count(&plugin["name"], tap);
            }
        }
    }

    fn count(&mut self, name: &Value, tap: &Value) {
        let calls = self.calls.entry(workspace::text(name)).or_default();
        calls.invocations += tap["invocations"].as_u64().unwrap_or_default();
        calls.failures += tap["failures"].as_u64().unwrap_or_default();
    }

    fn pages_of(&self, plugin: &Plugin) -> usize {
        self.pages.iter().filter(|page| page.contributors.contains(&plugin.name)).count()
    }

    fn calls_of(&self, plugin: &Plugin) -> Calls {
        self.calls.get(&plugin.name).copied().unwrap_or_default()
    }
}

/// What is missing, by plugin. Empty: all is well.
fn judge(plugins: &[Plugin], seen: &Seen) -> BTreeMap<String, String> {
    let mut wrong = BTreeMap::new();
    for plugin in plugins {
        let name = &plugin.name;
        let (pages, calls) = (seen.pages_of(plugin), seen.calls_of(plugin));
        let on_pages = plugin.taps().any(|tap| tap == "item-view" || tap == "item-view-lazy");
        // What a plugin from outside adds, and to which pages, is its own affair.
        let everywhere = on_pages && !plugin.outside && !SOME_PAGES.contains(&name.as_str());
        let reason = if calls.failures > 0 {
            format!("`{name}` failed {} times", calls.failures)
        } else if on_pages && pages == 0 {
            format!("`{name}` contributed to no page")
        } else if everywhere && pages < seen.pages.len() {
            format!("`{name}` contributed to {pages} of {} pages", seen.pages.len())
        } else if calls.invocations == 0 {
            format!("`{name}` was never called")
        } else {
            continue;
        };
        wrong.insert(name.clone(), reason);
    }
    wrong
}

fn page_rows(seen: &Seen) -> Vec<Vec<String>> {
    let mut rows = vec![["page", "status", "contributed"].map(str::to_owned).to_vec()];
    for page in &seen.pages {
        let names: Vec<&str> = page.contributors.iter().map(String::as_str).collect();
        rows.push(vec![page.path.clone(), page.status.to_string(), names.join(", ")]);
    }
    rows
}

fn plugin_rows(plugins: &[Plugin], seen: &Seen, wrong: &BTreeMap<String, String>) -> Vec<Vec<String>> {
    let mut rows = vec![["plugin", "calls", "failures", "pages", "result"].map(str::to_owned).to_vec()];
    for plugin in plugins {
        let calls = seen.calls_of(plugin);
        let numbers =
            [calls.invocations, calls.failures, seen.pages_of(plugin) as u64].map(|number| number.to_string());
        let result = if wrong.contains_key(&plugin.name) { "WRONG" } else { "ok" };
        rows.push([vec![plugin.name.clone()], numbers.to_vec(), vec![result.to_owned()]].concat());
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn plugin(name: &str, tap: &str, outside: bool) -> Plugin {
        Plugin {
            name: name.to_owned(),
            outside,
            core_bytes: 0,
            component_bytes: 0,
            interfaces: vec![format!("tapline:content/{tap}@0.1.0")],
        }
    }

    /// Two pages: both with `seo`, the second with `related` as well.
    fn seen() -> Seen {
        let page = |path: &str, names: &[&str]| Page {
            path: path.to_owned(),
            status: 200,
            contributors: names.iter().map(ToString::to_string).collect(),
        };
        let mut seen =
            Seen { pages: vec![page("/item/a", &["seo"]), page("/item/b", &["seo", "related"])], ..Seen::default() };
        seen.count_import(&serde_json::json!({"plugins": [
            {"name": "house-style", "tap": "item_presave", "invocations": 2, "failures": 0},
            {"name": "audit-log", "tap": "item_insert", "invocations": 2, "failures": 1}]}));
        seen.count_status(&serde_json::json!({"plugins": [
            {"name": "seo", "taps": [{"tap": "item_view", "invocations": 2, "failures": 0}]},
            {"name": "related", "taps": [{"tap": "item_view", "invocations": 2, "failures": 0}]},
            {"name": "audit-log", "taps": [{"tap": "item_insert", "invocations": 1, "failures": 0}]},
            {"name": "embargo", "taps": [{"tap": "item_access", "invocations": 0, "failures": 0}]}]}));
        seen
    }

    #[track_caller]
    fn verdict(name: &str, tap: &str, outside: bool) -> Option<String> {
        judge(&[plugin(name, tap, outside)], &seen()).remove(name)
    }

    #[test]
    fn those_that_contributed_pass() {
        assert_eq!(verdict("seo", "item-view", false), None);
        assert_eq!(verdict("related", "item-view-lazy", false), None);
        assert_eq!(verdict("related", "item-view", true), None);
        assert_eq!(verdict("house-style", "item-presave", false), None);
    }

    #[test]
    fn those_that_did_not_are_named() {
        assert_eq!(verdict("reading-time", "item-view-lazy", false).unwrap(), "`reading-time` contributed to no page");
        assert_eq!(verdict("audit-log", "item-insert", false).unwrap(), "`audit-log` failed 1 times");
        assert_eq!(verdict("embargo", "item-access", false).unwrap(), "`embargo` was never called");
        assert_eq!(verdict("mine", "item-view", true).unwrap(), "`mine` contributed to no page");
        let mut fewer = seen();
        fewer.pages[0].contributors.clear();
        let wrong = judge(&[plugin("seo", "item-view", false)], &fewer);
        assert_eq!(wrong["seo"], "`seo` contributed to 1 of 2 pages");
    }

    /// Answers requests by their path, once each, on a port of its own.
    fn site(answers: [(&'static str, &'static str); 3]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for _ in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let first = request.next().unwrap();
                request.find(String::is_empty);
                let path = first.split(' ').nth(1).unwrap();
                let found = answers.iter().find(|(wanted, _)| *wanted == path);
                let (status, body) = found.map_or((404, ""), |(_, body)| (200, *body));
                let length = body.len();
                write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
                    .unwrap();
            }
        });
        format!("http://{address}")
    }

    #[test]
    fn every_linked_page_is_fetched_with_its_status() {
        let list = r#"<a href="/item/a">a</a> <a href="/item/gone">b</a>"#;
        let address = site([("/", list), ("/item/a", "<!-- head: seo -->"), ("/item/b", "not linked")]);
        let mut seen = Seen::default();
        visit(&address, &mut seen).unwrap();
        let rows = page_rows(&seen);
        assert_eq!(rows[1..], [["/item/a", "200", "seo"], ["/item/gone", "404", ""]]);
    }
}
