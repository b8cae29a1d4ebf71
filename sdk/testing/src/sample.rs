//! Items to test with.

use tapline_sdk::{FormattedText, Item, Reference, Value};

/// An article with 14 fields of every type, about 2.4 KB as JSON: the payload that the project's gates and benches use.
#[must_use]
pub fn article() -> Item {
    let tag = |id, label| Reference::new("tag", id, label);
    let item = |id, label| Reference::new("item", id, label);
    Item::builder("wasm-in-practice")
        .revision(7)
        .kind("article")
        .title("WebAssembly in practice")
        .author("Ada Example")
        .promoted(true)
        // 2026-03-01 09:30 and 2026-03-04 16:05 UTC.
        .created(1_772_357_400)
        .changed(1_772_640_300)
        .field("body", FormattedText::markdown(BODY))
        .field("category", Reference::new("category", "engineering", "Engineering"))
        .field("email", "ada@example.org")
        .field("flags", Value::Json(r#"{"featured":true,"syndicated":false,"comments":true}"#.to_owned()))
        .field("image", Value::Json(IMAGE.to_owned()))
        .field("metadata", Value::Json(METADATA.to_owned()))
        .field("price", 12.5)
        .field("published_date", "2026-03-01")
        .field("rating", 4.7)
        .field("related", vec![item("component-model", "The component model"), item("sandboxing", "Sandboxing")])
        .field("summary", SUMMARY)
        .field("tags", vec![tag("wasm", "WebAssembly"), tag("rust", "Rust"), tag("performance", "Performance")])
        .field("views", 18_432)
        .field("word_count", 232)
        .build()
}

const SUMMARY: &str = "What a plugin costs when every call gets a fresh sandbox, where that cost comes from, and which of \
    the usual remedies are worth their price.";

const BODY: &str = include_str!("sample/body.md").trim_ascii_end();

const IMAGE: &str = r#"{"file":"images/wasm-in-practice.webp","alt":"A stack of small boxes, each with a lock","title":"One box for each call"}"#;

const METADATA: &str = r#"{"source":"field notes","license":"CC BY 4.0","language":"en","editor":"Grace Example"}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_article_is_the_payload_of_the_gates() {
        let article = article();
        assert_eq!(article.fields().len(), 14);
        assert_eq!(article.text("body").unwrap().split("\n\n").count(), 2);
        assert_eq!(
            article.text("body").unwrap().split_whitespace().count() as i64,
            article.integer("word_count").unwrap()
        );
        let json = json(&article);
        assert!((2300..=2500).contains(&json.len()), "{} bytes", json.len());
    }

    /// The item as JSON, in the simplest form.
    fn json(item: &Item) -> String {
        let value = |value: &Value| match value {
            Value::Null => "null".to_owned(),
            Value::Boolean(answer) => answer.to_string(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Json(json) => json.clone(),
            Value::Text(text) => format!("{text:?}"),
            Value::Formatted(text) => format!(r#"{{"format":{:?},"text":{:?}}}"#, text.format, text.text),
            Value::Reference(_) | Value::References(_) => {
                let one = |r: &Reference| format!(r#"{{"kind":{:?},"id":{:?},"label":{:?}}}"#, r.kind, r.id, r.label);
                format!("[{}]", value.as_references().iter().map(one).collect::<Vec<_>>().join(","))
            }
        };
        let fields: Vec<_> = item.fields().map(|field| format!("{:?}:{}", field.name, value(&field.value))).collect();
        let header = item.header();
        format!(
            r#"{{"id":{:?},"revision":{},"kind":{:?},"title":{:?},"author":{:?},"published":{},"promoted":{},"sticky":{},"created":{},"changed":{},"fields":{{{}}}}}"#,
            header.id,
            header.revision,
            header.kind,
            header.title,
            header.author,
            header.published,
            header.promoted,
            header.sticky,
            header.created,
            header.changed,
            fields.join(","),
        )
    }
}
