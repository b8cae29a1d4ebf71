//! Full tap: JSON-LD and meta tags from the whole item.
//!
//! Everything goes into the head of the page: what search engines and link previews read, and no reader sees.

mod plain;

use tapline_sdk::{Item, RenderElement, tap};

/// What search engines show of a description before they cut it.
const DESCRIPTION_CHARS: usize = 160;

#[tap]
fn item_view(item: &Item) -> RenderElement {
    let text = item.text("summary").or_else(|| item.text("body")).unwrap_or_default();
    let description = plain::shorten(&plain::text(text), DESCRIPTION_CHARS);
    let published = iso_date(item.created());
    let article = [
        r#"{"@context":"https://schema.org","@type":"Article","headline":"#,
        &json_string(item.title()),
        r#","author":{"@type":"Person","name":"#,
        &json_string(item.author()),
        r#"},"datePublished":"#,
        &json_string(&published),
        r#","dateModified":"#,
        &json_string(&iso_date(item.changed())),
        "}",
    ]
    .concat();
    let head = RenderElement::empty()
        .property("og:type", "article")
        .property("og:title", item.title())
        .property("article:published_time", published)
        .json_ld(article);
    if description.is_empty() {
        return head;
    }
    head.meta("description", description.as_str()).property("og:description", description)
}

/// A text as JSON. The document has one shape and four texts: `serde_json` would make the plugin half as large again.
fn json_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            // JSON has no control characters, and all that have a short form are spaces here.
            c if c.is_control() => json.push(' '),
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

/// Seconds since 1970 as `2026-03-01T09:30:00Z`.
fn iso_date(seconds: i64) -> String {
    let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", time / 3600, time / 60 % 60, time % 60)
}

/// Howard Hinnant's algorithm (<https://howardhinnant.github.io/date_algorithms.html>): years begin in March, so that the
/// leap day is the last of its year, and eras of 400 years repeat.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use tapline_sdk::FormattedText;
    use tapline_sdk_testing::sample;

    use super::*;

    #[test]
    fn the_sample_gets_all_of_its_head() {
        let html = item_view(&sample::article()).to_html();
        assert_eq!(item_view(&sample::article()).to_text(), "", "nothing for the reader");
        assert!(html.contains(r#"<meta property="og:title" content="WebAssembly in practice">"#), "{html}");
        assert!(html.contains(r#"<meta name="description" content="What a plugin costs when "#), "{html}");
        assert!(html.contains(r#""datePublished":"2026-03-01T09:30:00Z""#), "{html}");
        assert!(html.contains(r#""author":{"@type":"Person","name":"Ada Example"}"#), "{html}");
    }

    #[test]
    fn without_a_summary_the_body_describes() {
        let body = FormattedText::markdown("# Title\n\nSome *marked* text.");
        let html = item_view(&Item::builder("a").field("body", body).build()).to_html();
        assert!(html.contains(r#"name="description" content="Some marked text.""#), "{html}");
    }

    #[test]
    fn an_item_without_text_has_no_description() {
        assert!(!item_view(&Item::builder("a").build()).to_html().contains("description"));
    }

    #[test]
    fn a_title_cannot_end_the_document() {
        let item = Item::builder("a").title(r#"a", "@type": "Person""#).build();
        let html = item_view(&item).to_html();
        assert!(html.contains(r#""headline":"a\", \"@type\": \"Person\"""#), "{html}");
        assert_eq!(json_string("a\\b\n\"c\""), r#""a\\b \"c\"""#);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(iso_date(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso_date(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(iso_date(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(iso_date(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(iso_date(-1), "1969-12-31T23:59:59Z");
    }
}
