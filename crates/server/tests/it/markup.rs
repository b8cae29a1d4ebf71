//! Whether the page for operators, and the colours of all pages, can be read by everybody.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tapline_host_core::HostConfig;
use tapline_server::{ServerConfig, SpecSource};

use crate::{Site, formatted, item, spec};

/// What WCAG 2.2 asks of text on its background, for level AA.
const LEAST_CONTRAST: f64 = 4.5;

const PLUGINS: [&str; 4] = ["seo", "reading-time", "embargo", "related"];

/// The tags of a page that open something, without their brackets.
fn opening(page: &str) -> Vec<&str> {
    let tags = page.split('<').skip(1).filter_map(|rest| rest.split_once('>')).map(|(tag, _)| tag);
    tags.filter(|tag| tag.starts_with(|first: char| first.is_ascii_lowercase())).collect()
}

fn name(tag: &str) -> &str {
    tag.split([' ', '/']).next().unwrap()
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    rest.split('"').next()
}

/// What an attribute says in each of the tags with a name. Each has it.
#[track_caller]
fn said<'a>(tags: &[&'a str], of: &str, attribute_name: &str) -> Vec<&'a str> {
    let tags = tags.iter().copied().filter(|tag| name(tag) == of);
    tags.map(|tag| attribute(tag, attribute_name).unwrap_or_else(|| panic!("no {attribute_name}: <{tag}>"))).collect()
}

#[track_caller]
fn are_unique(values: &[&str]) {
    let unique: BTreeSet<&str> = values.iter().copied().collect();
    assert_eq!(unique.len(), values.len(), "{values:?}");
}

/// The page with all that it can have: a line, a plugin that is switched off, one with a vote, and all buttons.
async fn full_page() -> String {
    let specs = SpecSource::new(|plugin| Ok(Some(spec(plugin.as_str()))));
    let config = ServerConfig { specs: Some(specs), ..ServerConfig::default() };
    let host = HostConfig { pool_size: 10, ..HostConfig::default() };
    let site = Site::with(&PLUGINS, config, host).await;
    site.save(item("a", "A", [("body", formatted("markdown", "Text"))])).await;
    assert_eq!(site.get("/item/a").await.status, 200);
    site.host.disable(&spec("related").name).await.unwrap();
    // The server takes a sample every second, and draws from two on.
    loop {
        let page = site.get("/_tapline").await;
        assert_eq!(page.status, 200);
        if page.body.matches("<polyline").count() == PLUGINS.len() {
            return page.body;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_panel_can_be_read_without_seeing_it() {
    let page = full_page().await;
    let tags = opening(&page);
    let level = |tag: &&str| name(tag).strip_prefix('h')?.parse::<u32>().ok();
    let levels: Vec<u32> = tags.iter().filter_map(level).collect();
    assert_eq!((levels[0], levels.iter().filter(|level| **level == 1).count()), (1, 1), "{levels:?}");
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "a level is skipped: {levels:?}");

    let ids: Vec<&str> = tags.iter().filter_map(|tag| attribute(tag, "id")).collect();
    assert!(ids.contains(&"plugin-seo"), "{ids:?}");
    are_unique(&ids);
    for reference in ["aria-labelledby", "aria-describedby"] {
        for id in tags.iter().filter_map(|tag| attribute(tag, reference)) {
            assert!(ids.contains(&id), "{reference} of nothing: {id}");
        }
    }

    let buttons = said(&tags, "button", "aria-label");
    assert_eq!(buttons.len(), 2 * PLUGINS.len(), "{buttons:?}");
    are_unique(&buttons);
    let lines = said(&tags, "svg", "aria-label");
    assert_eq!(lines.len(), PLUGINS.len());
    assert!(lines.iter().all(|words| words.starts_with("Calls for each second")), "{lines:?}");
    assert!(said(&tags, "svg", "role").iter().all(|role| *role == "img"));
    let scopes = said(&tags, "th", "scope");
    assert!(scopes.contains(&"row") && scopes.iter().all(|scope| ["row", "col"].contains(scope)), "{scopes:?}");
}

/// The colours of each block of custom properties: those of the day, and those of the night.
fn palettes() -> Vec<BTreeMap<&'static str, &'static str>> {
    let style = include_str!("../../templates/style.css");
    let blocks = style.split(":root {").skip(1).map(|rest| rest.split('}').next().unwrap());
    let property = |line: &'static str| line.trim().strip_prefix("--")?.strip_suffix(';')?.split_once(": ");
    blocks.map(|block| block.lines().filter_map(property).collect()).collect()
}

/// As WCAG 2.2 defines it, of a colour such as `#1d1f21`.
fn luminance(colour: &str) -> f64 {
    let part = |start: usize| {
        let value = f64::from(u8::from_str_radix(&colour[start..start + 2], 16).unwrap()) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
}

fn contrast(one: &str, other: &str) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn text_stands_out_by_day_and_by_night() {
    assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 1e-9);
    assert!((contrast("#767676", "#ffffff") - 4.54).abs() < 0.01);
    let palettes = palettes();
    assert_eq!(palettes.len(), 2);
    for palette in palettes {
        for ink in ["ink", "faint", "link", "bad"] {
            for paper in ["paper", "panel"] {
                let contrast = contrast(palette[ink], palette[paper]);
                assert!(contrast >= LEAST_CONTRAST, "{ink} on {paper}: {contrast:.2} in {palette:?}");
            }
        }
    }
}
