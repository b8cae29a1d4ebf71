//! Statements and parameters of plugins.

use proptest::prelude::*;
use tapline_fuzz_entries::{round_trip, sql};
use tapline_host_database::{MAX_COLUMNS, QueryError, Value};

/// Words that make statements, allowed ones and others.
const WORDS: [&str; 40] = [
    "SELECT",
    "*",
    "FROM",
    "items",
    "WHERE",
    "id",
    "=",
    "?",
    "?1",
    "?2",
    ":name",
    "(",
    ")",
    ",",
    ";",
    "UNION",
    "ALL",
    "WITH",
    "RECURSIVE",
    "x",
    "AS",
    "DELETE",
    "INSERT INTO",
    "VALUES",
    "UPDATE",
    "SET",
    "PRAGMA",
    "ATTACH",
    "'text'",
    "x'00ff'",
    "1e999",
    "-9223372036854775808",
    "randomblob",
    "load_extension",
    "LIMIT",
    "ORDER BY",
    "group_concat",
    "--",
    "/*",
    "\0",
];

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Float),
        prop_oneof!["\\PC{0,30}", "[\0-\u{7f}]{0,30}"].prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..100).prop_map(Value::Bytes),
    ]
}

/// SQLite has no booleans, and takes what is not a number for null.
fn stored(value: Value) -> Value {
    match value {
        Value::Boolean(answer) => Value::Integer(answer.into()),
        Value::Float(number) if number.is_nan() => Value::Null,
        other => other,
    }
}

proptest! {
    #![proptest_config(crate::cases(4000))]

    #[test]
    fn values_come_back_as_they_went(values in prop::collection::vec(value(), 1..8)) {
        let expected: Vec<Value> = values.iter().cloned().map(stored).collect();
        prop_assert_eq!(round_trip(values).unwrap(), expected);
    }

    #[test]
    fn any_bytes_are_answered_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        drop(sql(&bytes));
    }

    #[test]
    fn any_words_are_answered_or_refused(
        parameters in prop::sample::select(&["", "n\n", "i1\tttext\n", "xbytes\tf1.5\tb1\n"][..]),
        words in prop::collection::vec(prop::sample::select(&WORDS[..]), 1..16),
    ) {
        drop(sql(format!("{parameters}{}", words.join(" ")).as_bytes()));
    }
}

#[test]
fn as_many_columns_as_are_allowed() {
    let values = |count: usize| vec![Value::Integer(1); count];
    assert_eq!(round_trip(values(MAX_COLUMNS)).unwrap().len(), MAX_COLUMNS);
    assert!(matches!(round_trip(values(MAX_COLUMNS + 1)), Err(QueryError::TooLarge(_))));
}

#[test]
fn parameters_are_read_as_documented() {
    let rows = sql(b"n\tb1\ti-12\tf1.5\tttext\txbytes\nSELECT ?, ?, ?, ?, ?, ?").unwrap();
    let expected = [
        Value::Null,
        Value::Integer(1),
        Value::Integer(-12),
        Value::Float(1.5),
        Value::Text("text".to_owned()),
        Value::Bytes(b"bytes".to_vec()),
    ];
    assert_eq!(rows.rows, [expected]);
}
