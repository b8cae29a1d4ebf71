//! The tap of gate 1: reads three fields, renders the title and the first 100 characters of the body, writes the result
//! into a fourth field.

use tapline_sdk::{ChangeError, FormattedText, Item, ItemHandle};

pub use crate::render::{WRITTEN, json, render};

/// The work on a whole item.
pub fn full(item: &mut Item) {
    let body = item.text("body").unwrap_or_default();
    let tags = item.references("tags").len();
    let html = render(item.title(), body, tags, item.integer("views").unwrap_or_default());
    item.set(WRITTEN, FormattedText::html(html));
}

/// The work through a handle: four crossings to read, one to write.
///
/// # Errors
///
/// The host refused the change.
pub fn lazy(item: &ItemHandle) -> Result<(), ChangeError> {
    let body = item.text("body").unwrap_or_default();
    let tags = item.field("tags").as_ref().map_or(0, |tags| tags.as_references().len());
    let html = render(&item.title(), &body, tags, item.integer("views").unwrap_or_default());
    item.set(WRITTEN, FormattedText::html(html))
}

#[cfg(test)]
mod tests {
    use tapline_sdk::Value;
    use tapline_sdk_testing::sample;

    use super::*;
    use crate::json;

    #[test]
    fn a_handle_gives_the_same_as_the_item() {
        let mut item = sample::article();
        full(&mut item);
        let handle = ItemHandle::from(sample::article());
        lazy(&handle).unwrap();
        assert_eq!(handle.field(WRITTEN), item.field(WRITTEN).cloned());
        assert!(item.text(WRITTEN).unwrap().contains("3 tags, 18432 views"), "{:?}", item.text(WRITTEN));
    }

    #[test]
    fn json_gives_the_same_and_keeps_the_rest() {
        let text = r#"{"header":{"id":"a","revision":1,"kind":"k","title":"T","author":"","published":true,"promoted":false,
            "sticky":false,"created":1,"changed":2},"fields":[{"name":"body","value":{"text":"Body"}},
            {"name":"other","value":"null"},{"name":"views","value":{"integer":5}}]}"#;
        let answer: json::Item = serde_json::from_str(&json(text).unwrap()).unwrap();
        let names: Vec<_> = answer.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["body", "other", WRITTEN, "views"]);
        let mut item = Item::builder("a").title("T").field("body", "Body").field("views", Value::Integer(5)).build();
        full(&mut item);
        let Some(json::Value::Formatted(teaser)) = answer.field(WRITTEN) else { panic!("{answer:?}") };
        assert_eq!(Some(teaser.text.as_str()), item.text(WRITTEN));
        assert!(json("{").is_err());
    }
}
