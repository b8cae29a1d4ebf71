//! One item per line, as JSON.

use serde::Deserialize;
use serde_json::{Map, Value as Json};
use tapline_content::{Field, Reference, Value};

use super::{DEFAULT_KIND, DocumentError, Draft, embargo, field, formatted, plain, point_in_time, tags};

/// A line of a JSON lines file. Only `id` and `title` must be there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    title: String,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    author: String,
    #[serde(default = "yes")]
    published: bool,
    #[serde(default)]
    promoted: bool,
    #[serde(default)]
    sticky: bool,
    /// A date as text, or seconds.
    #[serde(default)]
    created: Option<Json>,
    #[serde(default)]
    fields: Map<String, Json>,
}

fn yes() -> bool {
    true
}

/// A value that has a shape of its own.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Shaped {
    Formatted {
        format: String,
        text: String,
    },
    Reference {
        kind: String,
        id: String,
        #[serde(default)]
        label: String,
    },
}

/// Reads one line.
pub(crate) fn from_json_line(line: &str) -> Result<Draft, DocumentError> {
    let line: Line = serde_json::from_str(line)
        .map_err(|error| DocumentError::Json { column: error.column(), message: without_place(&error) })?;
    let refused = |key: &str| {
        let key = key.to_owned();
        move |reason| DocumentError::Key { key, line: None, reason }
    };
    let created = line.created.as_ref().map(point_in_time).transpose().map_err(refused("created"))?;
    let fields = line
        .fields
        .into_iter()
        .map(|(name, json)| match value(&name, json) {
            Ok(value) => Ok(field(&name, value)),
            Err(reason) => Err(refused(&name)(reason)),
        })
        .collect::<Result<Vec<Field>, _>>()?;
    Ok(Draft {
        id: line.id,
        kind: line.kind.unwrap_or_else(|| DEFAULT_KIND.to_owned()),
        title: line.title,
        author: line.author,
        published: line.published,
        promoted: line.promoted,
        sticky: line.sticky,
        created: created.unwrap_or_default(),
        fields,
    })
}

/// The parser ends its messages with a place that counts lines of its own.
fn without_place(error: &serde_json::Error) -> String {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = error.to_string();
    message.strip_suffix(&place).unwrap_or(&message).to_owned()
}

fn value(name: &str, json: Json) -> Result<Value, String> {
    if name == "embargo_until" && !json.is_null() {
        return embargo(&json);
    }
    Ok(match &json {
        Json::Array(all) if name == "tags" && all.iter().all(Json::is_string) => {
            tags(all.iter().filter_map(Json::as_str))
        }
        Json::Array(all) if !all.is_empty() => match all.iter().map(reference).collect::<Option<Vec<_>>>() {
            Some(references) => Value::References(references.into()),
            None => plain(json),
        },
        Json::Object(_) => match Shaped::deserialize(&json) {
            Ok(Shaped::Formatted { format, text }) => formatted(&format, &text),
            Ok(Shaped::Reference { kind, id, label }) => Value::Reference(make(kind, id, label)),
            Err(_) => plain(json),
        },
        _ => plain(json),
    })
}

fn reference(json: &Json) -> Option<Reference> {
    match Shaped::deserialize(json) {
        Ok(Shaped::Reference { kind, id, label }) => Some(make(kind, id, label)),
        _ => None,
    }
}

fn make(kind: String, id: String, label: String) -> Reference {
    Reference { kind: kind.into(), id: id.into(), label: label.into() }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Expect) {
        let shown = match from_json_line(line) {
            Ok(draft) => format!("{draft:#?}\n"),
            Err(error) => format!("{error}\n"),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn values() {
        check(
            r#"{"id":"a","title":"A","created":"1970-01-02","fields":{"body":{"format":"html","text":"<p>"},
                "tags":["One","Two words"],"views":12,"price":1.5,"ok":true,"none":null,"text":"t",
                "image":{"kind":"file","id":"f","label":"L"},"see":[{"kind":"item","id":"b"}],"list":["x"],"map":{"k":1}}}"#,
            expect![[r#"
                Draft {
                    id: "a",
                    kind: "document",
                    title: "A",
                    author: "",
                    published: true,
                    promoted: false,
                    sticky: false,
                    created: 86400,
                    fields: [
                        Field {
                            name: "body",
                            value: Formatted(
                                FormattedText {
                                    format: "html",
                                    text: "<p>",
                                },
                            ),
                        },
                        Field {
                            name: "image",
                            value: Reference(
                                Reference {
                                    kind: "file",
                                    id: "f",
                                    label: "L",
                                },
                            ),
                        },
                        Field {
                            name: "list",
                            value: Json(
                                "[\"x\"]",
                            ),
                        },
                        Field {
                            name: "map",
                            value: Json(
                                "{\"k\":1}",
                            ),
                        },
                        Field {
                            name: "none",
                            value: Null,
                        },
                        Field {
                            name: "ok",
                            value: Boolean(
                                true,
                            ),
                        },
                        Field {
                            name: "price",
                            value: Float(
                                1.5,
                            ),
                        },
                        Field {
                            name: "see",
                            value: References(
                                [
                                    Reference {
                                        kind: "item",
                                        id: "b",
                                        label: "",
                                    },
                                ],
                            ),
                        },
                        Field {
                            name: "tags",
                            value: References(
                                [
                                    Reference {
                                        kind: "tag",
                                        id: "one",
                                        label: "One",
                                    },
                                    Reference {
                                        kind: "tag",
                                        id: "two-words",
                                        label: "Two words",
                                    },
                                ],
                            ),
                        },
                        Field {
                            name: "text",
                            value: Text(
                                "t",
                            ),
                        },
                        Field {
                            name: "views",
                            value: Integer(
                                12,
                            ),
                        },
                    ],
                }
            "#]],
        );
    }

    #[test]
    fn refusals() {
        check(
            "not json",
            expect![[r#"
            it is not an item in JSON: expected ident at column 2
        "#]],
        );
        check(
            r#"{"id":"a"}"#,
            expect![[r#"
            it is not an item in JSON: missing field `title` at column 10
        "#]],
        );
        check(
            r#"{"id":"a","title":"A","titel":"B"}"#,
            expect![[r#"
            it is not an item in JSON: unknown field `titel`, expected one of `id`, `title`, `kind`, `author`, `published`, `promoted`, `sticky`, `created`, `fields` at column 29
        "#]],
        );
        check(
            r#"{"id":"a","title":"A","created":"soon"}"#,
            expect![[r#"
            the key `created` holds `"soon"`, not a date such as 2026-01-31 or 2026-01-31T12:00:00Z
        "#]],
        );
        check(
            r#"{"id":"a","title":"A","fields":{"embargo_until":"soon"}}"#,
            expect![[r#"
            the key `embargo_until` holds `"soon"`, not a date such as 2026-01-31 or 2026-01-31T12:00:00Z
        "#]],
        );
        check(
            r#"[1]"#,
            expect![[r#"
            it is not an item in JSON: invalid type: integer `1`, expected a string at column 2
        "#]],
        );
    }
}
