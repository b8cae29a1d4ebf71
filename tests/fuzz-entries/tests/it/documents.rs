//! Documents and the metadata of plugins.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tapline_content::Value;
use tapline_fuzz_entries::{document, metadata};
use tapline_host_core::TapRecord;

/// Lines with a meaning in front matter, and some without.
const LINES: [&str; 20] = [
    "---",
    "+++",
    "title: A",
    "title = \"A\"",
    "tags: [a, b]",
    "a: &a [x]",
    "b: *a",
    "b: {<<: *a}",
    "date: 2026-01-31",
    "date = 2026-01-31",
    "draft: yes",
    "embargo_until: soon",
    "- a",
    "? [a]",
    "\"x\\u0000\": |",
    "  text",
    "n: 1e999",
    "x: !!binary AA",
    "# Heading",
    "\u{feff}",
];

proptest! {
    #![proptest_config(crate::cases(2000))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(document(&bytes));
    }

    #[test]
    fn any_lines_are_read_or_refused(
        head in prop::sample::select(&["", "---\n", "+++\n", "\u{feff}---\r\n"][..]),
        lines in prop::collection::vec(prop::sample::select(&LINES[..]), 0..12),
        end in prop::sample::select(&["\n", "\r\n", "\r"][..]),
    ) {
        drop(document(format!("{head}{}", lines.join(end)).as_bytes()));
    }

    /// Both syntaxes say the same: JSON is YAML, and what JSON and TOML have in common is written alike.
    #[test]
    fn both_kinds_of_front_matter_keep_values(
        fields in prop::collection::btree_map("[a-z]_[a-z0-9_]{0,9}", value(), 0..8),
        body in "[a-zA-Z \u{e4}\u{1f600}]{0,40}",
    ) {
        let yaml: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {}", written(value))).collect();
        let toml: Vec<String> = fields.iter().map(|(name, value)| format!("{name} = {}", written(value))).collect();
        let yaml = document(format!("---\n{}\n---\n{body}", yaml.join("\n")).as_bytes()).unwrap();
        let toml = document(format!("+++\n{}\n+++\n{body}", toml.join("\n")).as_bytes()).unwrap();
        prop_assert_eq!(&yaml, &toml);
        prop_assert_eq!(yaml.fields().len(), fields.len() + 1);
        for (name, value) in &fields {
            prop_assert_eq!(yaml.field(name), Some(value));
        }
        let text = yaml.field("body").and_then(Value::text).unwrap();
        prop_assert_eq!(&**text, &*body);
    }

    #[test]
    fn any_section_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(metadata(&bytes));
    }

    /// The linker writes the records in any order.
    #[test]
    fn the_order_of_records_does_not_matter(
        (records, shuffled) in prop::collection::btree_map(("[a-z_]{1,8}", "full|lazy"), record(), 0..8).prop_flat_map(|map| {
            let lines: Vec<String> = map.into_iter().map(|((tap, mode), rest)| record_line(&tap, &mode, &rest)).collect();
            (Just(lines.clone()), Just(lines).prop_shuffle())
        }),
        blank in "\n{0,3}",
    ) {
        let lines = |records: Vec<TapRecord>| -> Vec<String> {
            records.iter().map(|record| serde_json::to_string(record).unwrap()).collect()
        };
        let straight = metadata(records.join("\n").as_bytes()).unwrap();
        prop_assert_eq!(straight.len(), records.len());
        let other = metadata(format!("{blank}{}{blank}", shuffled.join(&format!("\n{blank}"))).as_bytes()).unwrap();
        prop_assert_eq!(lines(straight), lines(other));
    }
}

/// What YAML and TOML write alike: text without escapes that one of them lacks, whole numbers, truth.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Boolean),
        "[ -!#-\\[\\]-~\u{e4}\u{1f600}]{0,20}".prop_map(|text| Value::Text(text.as_str().into())),
    ]
}

fn written(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("\"{text}\""),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(answer) => answer.to_string(),
        other => panic!("not made above: {other:?}"),
    }
}

type Record = (i32, Vec<String>, Option<Vec<String>>);

fn record() -> impl Strategy<Value = Record> {
    let names = || prop::collection::vec("[a-z]{1,5}", 0..3);
    (any::<i32>(), names(), prop::option::of(names()))
}

fn record_line(tap: &str, mode: &str, (weight, after, fields): &Record) -> String {
    let record = BTreeMap::from([
        ("schema", serde_json::json!(1)),
        ("tap", tap.into()),
        ("mode", mode.into()),
        ("weight", (*weight).into()),
        ("after", after.clone().into()),
        ("fields", fields.clone().into()),
    ]);
    serde_json::to_string(&record).unwrap()
}
