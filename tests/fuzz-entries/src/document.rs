//! Documents that become items.

use tapline_content::{Item, Value};
use tapline_store::{DocumentError, parse_json_line, parse_markdown};

/// Reads `bytes` as a Markdown document and as a line of JSON, and returns what the first came to.
///
/// # Errors
///
/// The Markdown document is refused.
pub fn document(bytes: &[u8]) -> Result<Item, DocumentError> {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(item) = parse_json_line(&text) {
        assert_survives(&item);
    }
    let parsed = parse_markdown(&text, "id", "name");
    match &parsed {
        Ok(item) => {
            assert_survives(item);
            assert_keeps_body(&text, item);
        }
        Err(error) => {
            let lines = text.split('\n').count();
            if let Some(line) = error.line() {
                assert!((1..=lines).contains(&line), "line {line} of {lines}: {error}");
            }
            let message = error.to_string();
            assert!(message.len() <= 128 << 10, "an error of {} bytes", message.len());
        }
    }
    parsed
}

/// The store keeps items as JSON: what goes in must come out.
fn assert_survives(item: &Item) {
    let written = serde_json::to_string(item).unwrap();
    let read: Item = serde_json::from_str(&written).expect("an item that was written can be read");
    assert_eq!(&read, item);
}

/// The body is the end of the document as it was written, up to its last byte.
fn assert_keeps_body(text: &str, item: &Item) {
    let Some(Value::Formatted(body)) = item.field("body") else { panic!("a document has a body: {item:?}") };
    assert_eq!(&*body.format, "markdown");
    assert!(text.ends_with(&*body.text), "{:?} does not end with {:?}", text, body.text);
    let head = text.trim_start_matches('\u{feff}').lines().next().unwrap_or_default().trim_end();
    if !matches!(head, "---" | "+++") {
        let whole = text.strip_prefix('\u{feff}').unwrap_or(text).trim_start_matches(['\n', '\r']);
        assert_eq!(&*body.text, whole, "without front matter the body is the document");
    }
}
