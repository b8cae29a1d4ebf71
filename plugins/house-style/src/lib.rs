//! Presave tap: cleans the typography of every text field before an item is stored.
//!
//! Straight quotes become curly, three dots an ellipsis, two hyphens an en dash, several spaces one. Code is never touched,
//! and neither is a text without a space in it: that is an address or a key and no prose. HTML is left as it is.

mod markdown;
mod prose;

use tapline_sdk::{FormattedText, Item, Value, tap};

/// It runs early, so that the plugins behind it see what will be stored.
#[tap(weight = -10)]
fn item_presave(item: &mut Item) {
    if let Some(title) = changed(item.title(), prose::clean) {
        item.set_title(title);
    }
    let cleaned: Vec<_> = item.fields().filter_map(|field| Some((field.name.clone(), clean(&field.value)?))).collect();
    for (name, value) in cleaned {
        item.set(name, value);
    }
}

/// The cleaned value. None: it is clean, or it is not prose.
fn clean(value: &Value) -> Option<Value> {
    match value {
        Value::Text(text) => changed(text, prose::clean).map(Value::Text),
        Value::Formatted(FormattedText { format, text }) if format == "markdown" => {
            let text = changed(text, markdown::clean)?;
            Some(Value::Formatted(FormattedText { format: format.clone(), text }))
        }
        _ => None,
    }
}

fn changed(text: &str, clean: fn(&str) -> String) -> Option<String> {
    if !text.contains(char::is_whitespace) {
        return None;
    }
    let cleaned = clean(text);
    (cleaned != text).then_some(cleaned)
}

#[cfg(test)]
mod tests {
    use tapline_sdk_testing::sample;

    use super::*;

    #[test]
    fn title_and_fields_are_cleaned_and_the_rest_stays() {
        let before = Item::builder("a")
            .title("It's \"done\"...")
            .field("body", FormattedText::markdown("Say \"hi\", not `\"hi\"`."))
            .field("html", FormattedText::html("<a title=\"x\">it's</a>"))
            .field("slug", "a--b...c")
            .field("note", "pages 3--5")
            .field("views", 3)
            .build();
        let mut item = before.clone();
        item_presave(&mut item);
        assert_eq!(item.title(), "It’s “done”…");
        assert_eq!(item.text("body"), Some("Say “hi”, not `\"hi\"`."));
        assert_eq!(item.text("note"), Some("pages 3–5"));
        for untouched in ["html", "slug", "views"] {
            assert_eq!(item.field(untouched), before.field(untouched));
        }
    }

    #[test]
    fn a_second_run_changes_nothing() {
        let mut once = sample::article();
        once.set("summary", "\"Quoted\" -- and  more...");
        item_presave(&mut once);
        let mut twice = once.clone();
        item_presave(&mut twice);
        assert_eq!(twice, once);
    }
}
