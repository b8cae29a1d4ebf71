//! The body of an item as markup that is safe to write into a page.

use std::{collections::BTreeMap, sync::Arc};

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use tapline_content::{FormattedText, Item, Value, clean};
use tapline_store::{Store, StoreError};

use crate::{error::PageError, server::Server};

/// Links of one document that are looked up in the store, each with a query. Those beyond stay as they are.
const MAX_LINKS: usize = 1000;

/// Renders the field `body`: Markdown and HTML as such, cleaned; anything else as the text that it is.
pub(crate) async fn render(server: &Server, item: &Item) -> Result<String, PageError> {
    let (format, text) = match item.field("body") {
        Some(Value::Formatted(FormattedText { format, text })) => (&**format, text),
        Some(Value::Text(text)) => ("", text),
        _ => return Ok(String::new()),
    };
    let text = Arc::clone(text);
    match format {
        "markdown" => markdown(server, item, text).await,
        "html" => server.heavy().run(text.len(), move || clean(&text)).await,
        _ => server.heavy().run(text.len(), move || source(&text)).await,
    }
}

fn source(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 64);
    escaped.push_str("<pre class=\"source\">\n");
    // Writing into a string does not fail.
    let _ = pulldown_cmark::html::write_html_fmt(&mut escaped, std::iter::once(Event::Text(text.into())));
    escaped.push_str("</pre>");
    escaped
}

/// The store is asked in the middle, so that a document with links is parsed twice.
async fn markdown(server: &Server, item: &Item, text: Arc<str>) -> Result<String, PageError> {
    let size = text.len();
    let mut targets = BTreeMap::new();
    if may_lead_to_documents(&text) {
        let parsed = Arc::clone(&text);
        let links = server.heavy().run(size, move || links_to_documents(&parse(&parsed))).await?;
        if !links.is_empty() {
            targets = resolve(server.store(), item, links).await?;
        }
    }
    let title = Arc::clone(&item.header().title);
    server.heavy().run(size, move || write(&text, &title, &targets)).await
}

fn parse(text: &str) -> Vec<Event<'_>> {
    Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH).collect()
}

/// The markup of a document. `targets`: where links lead instead.
fn write(text: &str, title: &str, targets: &BTreeMap<String, String>) -> String {
    let mut events = parse(text);
    let skip = title_events(&events, title);
    for event in &mut events {
        match event {
            Event::Start(Tag::Link { dest_url, .. }) => {
                if let Some(target) = targets.get(&**dest_url) {
                    *dest_url = CowStr::from(target.clone());
                }
            }
            // The title of the page is its only heading of the first level.
            Event::Start(Tag::Heading { level, .. }) | Event::End(TagEnd::Heading(level)) => *level = below(*level),
            _ => {}
        }
    }
    let mut html = String::with_capacity(text.len() * 3 / 2);
    pulldown_cmark::html::push_html(&mut html, events.into_iter().skip(skip));
    clean(&html)
}

fn below(level: HeadingLevel) -> HeadingLevel {
    if level == HeadingLevel::H1 { HeadingLevel::H2 } else { level }
}

/// The number of events at the start that only repeat the title of the page.
fn title_events(events: &[Event<'_>], title: &str) -> usize {
    if !matches!(events.first(), Some(Event::Start(Tag::Heading { level: HeadingLevel::H1, .. }))) {
        return 0;
    }
    let Some(end) = events.iter().position(|event| matches!(event, Event::End(TagEnd::Heading(_)))) else { return 0 };
    let mut heading = String::new();
    for event in &events[..end] {
        if let Event::Text(text) | Event::Code(text) = event {
            heading.push_str(text);
        }
    }
    // Plugins may have changed the punctuation of one and not of the other.
    let letters = |text: &str| text.chars().filter(|letter| letter.is_alphanumeric()).collect::<String>();
    if letters(&heading) == letters(title) { end + 1 } else { 0 }
}

/// `false`: no link can, and so none is looked for. The end of such an address is written as it is, or as an entity.
fn may_lead_to_documents(text: &str) -> bool {
    text.contains(".md") || text.contains('&')
}

/// Relative links that lead to a Markdown document.
fn links_to_documents(events: &[Event<'_>]) -> Vec<String> {
    let links = events.iter().filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. }) => Some(&**dest_url),
        _ => None,
    });
    let relative = links.filter(|link| !link.starts_with('/') && !link.contains(':') && path_of(link).ends_with(".md"));
    relative.take(MAX_LINKS).map(str::to_owned).collect()
}

/// The addresses of the items that were imported from the documents to which `links` lead.
async fn resolve(store: &Store, item: &Item, links: Vec<String>) -> Result<BTreeMap<String, String>, StoreError> {
    let mut targets = BTreeMap::new();
    let Some(here) = store.path_of_id(&item.header().id).await? else { return Ok(targets) };
    for link in links {
        if targets.contains_key(&link) {
            continue;
        }
        if let Some(id) = store.id_of_path(&follow(&here, path_of(&link))).await? {
            // Headings have no identifiers on the page, so a fragment would lead nowhere.
            targets.insert(link, format!("/item/{id}"));
        }
    }
    Ok(targets)
}

fn path_of(link: &str) -> &str {
    link.split(['#', '?']).next().unwrap_or(link)
}

/// The path of `link`, as it stands in the document at `here`.
fn follow(here: &str, link: &str) -> String {
    let mut parts: Vec<&str> = here.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed() {
        assert_eq!(follow("README.md", "docs/a.md"), "docs/a.md");
        assert_eq!(follow("docs/a.md", "../README.md"), "README.md");
        assert_eq!(follow("docs/a.md", "./b.md"), "docs/b.md");
        assert_eq!(follow("../x/a.md", "../../y.md"), "../../y.md");
        assert_eq!(follow("/srv/a.md", "b.md"), "/srv/b.md");
    }

    #[test]
    fn only_a_heading_that_repeats_the_title_goes() {
        let skipped = |text: &str, title: &str| {
            let events: Vec<Event<'_>> = Parser::new(text).collect();
            title_events(&events, title)
        };
        assert_eq!(skipped("# The `tap` crate\n\nText", "The tap crate"), 5);
        assert_eq!(skipped("# \"Quoted\"", "“Quoted”"), 3);
        assert_eq!(skipped("# Another", "Title"), 0);
        assert_eq!(skipped("Text\n\n# Title", "Title"), 0);
        assert_eq!(skipped("", "Title"), 0);
    }

    #[test]
    fn every_link_to_a_document_is_looked_for() {
        for text in
            ["[a](b.md)", "[a](b.md#c)", "[a](<b.md?c> \"t\")", "[a]\n\n[a]: b.md", "[a](b&#46;md)", "[a](b\\.md)"]
        {
            assert_eq!(links_to_documents(&parse(text)).len(), 1, "{text}");
            assert!(may_lead_to_documents(text), "{text}");
        }
        assert!(!may_lead_to_documents("[a](https://example.org/b)"));
    }

    #[test]
    fn a_document_asks_the_store_about_so_many_links() {
        let text = "[a](a.md) ".repeat(MAX_LINKS + 1);
        assert_eq!(links_to_documents(&Parser::new(&text).collect::<Vec<_>>()).len(), MAX_LINKS);
    }

    #[test]
    fn other_formats_are_text() {
        assert_eq!(source("<b>&"), "<pre class=\"source\">\n&lt;b&gt;&amp;</pre>");
    }
}
