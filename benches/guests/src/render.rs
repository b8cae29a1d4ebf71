//! The work itself, and the work on JSON. Nothing here needs the SDK: a guest of another system does the same.

use crate::json;

/// The field that is written.
pub const WRITTEN: &str = "teaser";

/// How much of the body is shown, in characters: the figure of the source documents.
const LENGTH: usize = 100;

/// The HTML of a teaser.
#[must_use]
pub fn render(title: &str, body: &str, tags: usize, views: i64) -> String {
    let end = body.char_indices().nth(LENGTH).map_or(body.len(), |(end, _)| end);
    let mut html = String::with_capacity(title.len() + 2 * LENGTH + 100);
    html.push_str("<article><h3>");
    escape(title, &mut html);
    html.push_str("</h3><p>");
    escape(&body[..end], &mut html);
    html.push_str("</p><small>");
    html.push_str(&tags.to_string());
    html.push_str(" tags, ");
    html.push_str(&views.to_string());
    html.push_str(" views</small></article>");
    html
}

fn escape(text: &str, html: &mut String) {
    for character in text.chars() {
        match character {
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '&' => html.push_str("&amp;"),
            other => html.push(other),
        }
    }
}

/// The work on JSON: the whole item is parsed, and the whole item is written again.
///
/// # Errors
///
/// The text is no item.
pub fn json(text: &str) -> Result<String, String> {
    let mut item: json::Item = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let body = match item.field("body") {
        Some(json::Value::Text(text)) => text,
        Some(json::Value::Formatted(formatted)) => &formatted.text,
        _ => "",
    };
    let tags = match item.field("tags") {
        Some(json::Value::References(tags)) => tags.len(),
        _ => 0,
    };
    let views = match item.field("views") {
        Some(json::Value::Integer(views)) => *views,
        _ => 0,
    };
    let html = render(&item.header.title, body, tags, views);
    let value = json::FormattedText { format: "html".to_owned(), text: html };
    item.set(WRITTEN, json::Value::Formatted(value));
    serde_json::to_string(&item).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_title_the_start_of_the_body_and_two_numbers() {
        let long = "é".repeat(LENGTH + 1);
        let html = render("A & B", &long, 3, -7);
        assert_eq!(
            html,
            format!(
                "<article><h3>A &amp; B</h3><p>{}</p><small>3 tags, -7 views</small></article>",
                "é".repeat(LENGTH)
            )
        );
        assert_eq!(
            render("", "<b>", 0, 0),
            "<article><h3></h3><p>&lt;b&gt;</p><small>0 tags, 0 views</small></article>"
        );
    }
}
