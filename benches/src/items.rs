//! The payload: an item with 14 fields, as large as asked for.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tapline_content::{Field, FormattedText, Header, Item, Reference, Value};
use tapline_sdk::Item as SdkItem;

/// The sizes of the gates, by their names in ids: bytes of JSON.
pub const SIZES: [(&str, usize); 4] = [("2k4", 2_400), ("10k", 10_000), ("50k", 50_000), ("100k", 100_000)];

/// Words of the texts: plain, and of several lengths.
const WORDS: [&str; 16] = [
    "a", "plugin", "asks", "the", "host", "for", "one", "field", "and", "pays", "only", "what", "it", "reads", "twice",
    "never",
];

/// An item of `bytes` bytes as JSON, with the 14 fields that the source documents name. At least half of it is structure:
/// references, numbers and small texts. The rest is the body, in two paragraphs.
///
/// # Errors
///
/// It is too small for its structure.
pub fn item(bytes: usize) -> Result<SdkItem> {
    let mut related = 2;
    let mut size = json_bytes(&with(related, ""))?;
    // One more reference is about as long as the last one: no need to try each number.
    let reference = json_bytes(&with(related + 1, ""))? - size;
    while size < bytes / 2 {
        related += ((bytes / 2 - size) / (reference + 2)).max(1);
        size = json_bytes(&with(related, ""))?;
    }
    ensure!(size <= bytes, "{bytes} bytes are too few for 14 fields");
    // The line break between the paragraphs has two bytes in memory, and two more as JSON.
    let item = with(related, &body((bytes - size).saturating_sub(2)));
    let total = json_bytes(&item)?;
    ensure!(total.abs_diff(bytes) * 20 <= bytes, "{total} bytes came out instead of {bytes}");
    Ok(item)
}

/// The same item as the host has it.
///
/// # Errors
///
/// It breaks a rule of items.
pub fn host_item(item: &SdkItem) -> Result<Arc<Item>> {
    let from = item.header();
    let header = Header {
        id: from.id.as_str().into(),
        revision: from.revision,
        kind: from.kind.as_str().into(),
        title: from.title.as_str().into(),
        author: from.author.as_str().into(),
        published: from.published,
        promoted: from.promoted,
        sticky: from.sticky,
        created: from.created,
        changed: from.changed,
    };
    let fields = item.fields().map(|field| Field { name: field.name.as_str().into(), value: value(&field.value) });
    Ok(Arc::new(Item::new(header, fields).context("an item of a bench")?))
}

fn json_bytes(item: &SdkItem) -> Result<usize> {
    Ok(serde_json::to_vec(&*host_item(item)?)?.len())
}

fn with(related: usize, body: &str) -> SdkItem {
    use tapline_sdk::{FormattedText, Reference, Value};
    let tag = |id: &str| Reference::new("tag", id, id.to_uppercase());
    let related: Vec<_> =
        (0..related).map(|number| Reference::new("item", format!("item-{number}"), text(number, 24))).collect();
    SdkItem::builder("gate-item")
        .revision(7)
        .kind("article")
        .title("What a fresh sandbox costs")
        .author("Ada Example")
        .promoted(true)
        .created(1_772_357_400)
        .changed(1_772_640_300)
        .field("body", FormattedText::markdown(body))
        .field("category", Reference::new("category", "engineering", "Engineering"))
        .field("email", "ada@example.org")
        .field("flags", Value::Json(r#"{"featured":true,"syndicated":false,"comments":true}"#.to_owned()))
        .field("image", Value::Json(r#"{"file":"images/one.webp","alt":"A box","title":"One box"}"#.to_owned()))
        .field(
            "metadata",
            Value::Json(r#"{"source":"notes","licence":"MIT","language":"en","editor":"Bo"}"#.to_owned()),
        )
        .field("price", 12.5)
        .field("published_date", "2026-03-01")
        .field("rating", 4.7)
        .field("related", related)
        .field("summary", text(3, 90))
        .field("tags", vec![tag("wasm"), tag("rust"), tag("speed")])
        .field("views", 18_432)
        .field("word_count", 232)
        .build()
}

/// `length` bytes of words.
fn text(seed: usize, length: usize) -> String {
    let words = (seed..).map(|place| WORDS[place % WORDS.len()]);
    let mut text = String::with_capacity(length + 8);
    for word in words {
        if text.len() >= length {
            break;
        }
        text.push_str(word);
        text.push(' ');
    }
    text.truncate(length);
    text
}

fn body(length: usize) -> String {
    let first = length / 2;
    format!("{}\n\n{}", text(0, first.saturating_sub(1)), text(5, length.saturating_sub(first + 1)))
}

fn value(value: &tapline_sdk::Value) -> Value {
    use tapline_sdk::Value as From;
    let reference = |from: &tapline_sdk::Reference| Reference {
        kind: from.kind.as_str().into(),
        id: from.id.as_str().into(),
        label: from.label.as_str().into(),
    };
    match value {
        From::Null => Value::Null,
        From::Boolean(answer) => Value::Boolean(*answer),
        From::Integer(number) => Value::Integer(*number),
        From::Float(number) => Value::Float(*number),
        From::Text(text) => Value::Text(text.as_str().into()),
        From::Formatted(from) => {
            Value::Formatted(FormattedText { format: from.format.as_str().into(), text: from.text.as_str().into() })
        }
        From::Reference(from) => Value::Reference(reference(from)),
        From::References(from) => Value::References(from.iter().map(reference).collect()),
        From::Json(text) => Value::Json(text.as_str().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_as_large_as_asked_for_and_half_of_it_is_structure() {
        for (name, bytes) in SIZES {
            let item = host_item(&item(bytes).unwrap()).unwrap();
            let json = serde_json::to_vec(&*item).unwrap().len();
            assert!(json.abs_diff(bytes) * 20 <= bytes, "{name}: {json}");
            let body = item.field("body").and_then(Value::text).unwrap();
            assert!(body.len() * 2 <= json, "{name}: {} of {json} bytes are one text", body.len());
            assert!(body.len() * 5 >= json, "{name}: {} of {json} bytes are text", body.len());
            assert_eq!(body.split("\n\n").count(), 2, "{name}");
            assert_eq!(item.fields().len(), 14, "{name}");
            for read in tapline_bench_guests::plan::READ {
                assert!(item.field(read).is_some(), "{name}: {read}");
            }
        }
    }

    #[test]
    fn an_item_without_room_for_its_fields_is_an_error() {
        assert!(item(300).unwrap_err().to_string().contains("too few"));
    }
}
