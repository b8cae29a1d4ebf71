//! A Markdown document with front matter.

use serde_json::Value as Json;
use tapline_content::Value;

use super::{DEFAULT_KIND, DocumentError, Draft, embargo, field, formatted, front_matter, plain, point_in_time, shown};

/// Reads a Markdown document. `id` and `name` stand in when it does not name its identifier or its title.
///
/// Keys that have no meaning of their own become fields.
pub(crate) fn from_markdown(text: &str, id: String, name: &str) -> Result<Draft, DocumentError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(DocumentError::Empty);
    }
    let mut document = front_matter::split(text)?;
    let keys = std::mem::take(&mut document.keys);
    let mut draft = Draft {
        id,
        kind: DEFAULT_KIND.to_owned(),
        title: String::new(),
        author: String::new(),
        published: true,
        promoted: false,
        sticky: false,
        created: 0,
        fields: Vec::with_capacity(keys.len() + 1),
    };
    let both = |a: &str, b: &str| keys.get(a).and(keys.get(b)).is_some();
    let twice = [("published", "draft"), ("created", "date")].into_iter().find(|(a, b)| both(a, b));
    if let Some((a, b)) = twice {
        let reason = format!("says what `{a}` says as well: keep one of them");
        return Err(DocumentError::Key { key: b.to_owned(), line: document.line(b), reason });
    }
    for (key, value) in keys {
        let refused = |reason| DocumentError::Key { line: document.line(&key), key: key.clone(), reason };
        read_key(&mut draft, &key, value).map_err(refused)?;
    }
    let body = document.body.trim_start_matches(['\n', '\r']);
    draft.fields.push(field("body", formatted("markdown", body)));
    if draft.title.is_empty() {
        draft.title = first_heading(body).unwrap_or_else(|| name.to_owned());
    }
    Ok(draft)
}

fn read_key(draft: &mut Draft, key: &str, value: Json) -> Result<(), String> {
    match key {
        "id" => draft.id = text(value)?,
        "kind" => draft.kind = text(value)?,
        "title" => draft.title = text(value)?.trim().to_owned(),
        "author" => draft.author = text(value)?,
        "published" => draft.published = yes_or_no(&value)?,
        "draft" => draft.published = !yes_or_no(&value)?,
        "promoted" => draft.promoted = yes_or_no(&value)?,
        "sticky" => draft.sticky = yes_or_no(&value)?,
        "created" | "date" => draft.created = point_in_time(&value)?,
        "tags" => draft.fields.push(field(key, tags(value)?)),
        "embargo_until" => draft.fields.push(field(key, embargo(&value)?)),
        "body" => return Err("is the text below the front matter: use another name".to_owned()),
        _ => {
            check_name(key)?;
            draft.fields.push(field(key, plain(value)));
        }
    }
    Ok(())
}

/// The rule of [`tapline_content::Field`], checked here because here the line is known.
fn check_name(key: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if (1..=tapline_content::MAX_FIELD_NAME).contains(&key.len()) && key.bytes().all(fits) {
        return Ok(());
    }
    let max = tapline_content::MAX_FIELD_NAME;
    Err(format!("cannot name a field: a name takes 1 to {max} lower-case letters, digits and underscores"))
}

fn text(value: Json) -> Result<String, String> {
    match value {
        Json::String(text) => Ok(text),
        // `title: 2026` is a number to YAML and a title to its author.
        Json::Number(number) => Ok(number.to_string()),
        Json::Null => Ok(String::new()),
        other => Err(format!("holds {}, not text", shown(&other))),
    }
}

fn yes_or_no(value: &Json) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("holds {}, not true or false", shown(value)))
}

fn tags(value: Json) -> Result<Value, String> {
    let labels = match value {
        Json::Null => Vec::new(),
        Json::Array(labels) => labels.into_iter().map(text).collect::<Result<_, _>>()?,
        other => text(other)?.split(',').map(str::to_owned).collect(),
    };
    Ok(super::tags(labels.iter().map(String::as_str)))
}

/// The text of the first `# Heading` that is not inside a code block.
fn first_heading(body: &str) -> Option<String> {
    let mut fence: Option<&str> = None;
    for line in body.lines() {
        let start = line.trim_start();
        let opens = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
        match (fence, opens) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => {
                if let Some(heading) = line.strip_prefix("# ") {
                    let plain = heading.trim().trim_end_matches('#').replace(['`', '*'], "");
                    return Some(plain.trim().to_owned()).filter(|title| !title.is_empty());
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Expect) {
        let shown = match from_markdown(text, "from-path".to_owned(), "name") {
            Ok(draft) => format!("{draft:#?}\n"),
            Err(error) => format!("line {:?}: {error}\n", error.line()),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn every_key() {
        check(
            "---\nid: my-id\nkind: note\ntitle: 2026\nauthor: Ada\ndraft: true\npromoted: true\nsticky: true\n\
             date: 1970-01-02\ntags: Rust, Web Assembly\nembargo_until: 2027-01-31\nsummary: Short\nviews: 12\n\
             rating: 4.5\nlist: [1, two]\nnothing:\n---\n\nBody\n",
            expect![[r#"
                Draft {
                    id: "my-id",
                    kind: "note",
                    title: "2026",
                    author: "Ada",
                    published: false,
                    promoted: true,
                    sticky: true,
                    created: 86400,
                    fields: [
                        Field {
                            name: "embargo_until",
                            value: Text(
                                "2027-01-31",
                            ),
                        },
                        Field {
                            name: "list",
                            value: Json(
                                "[1,\"two\"]",
                            ),
                        },
                        Field {
                            name: "nothing",
                            value: Null,
                        },
                        Field {
                            name: "rating",
                            value: Float(
                                4.5,
                            ),
                        },
                        Field {
                            name: "summary",
                            value: Text(
                                "Short",
                            ),
                        },
                        Field {
                            name: "tags",
                            value: References(
                                [
                                    Reference {
                                        kind: "tag",
                                        id: "rust",
                                        label: "Rust",
                                    },
                                    Reference {
                                        kind: "tag",
                                        id: "web-assembly",
                                        label: "Web Assembly",
                                    },
                                ],
                            ),
                        },
                        Field {
                            name: "views",
                            value: Integer(
                                12,
                            ),
                        },
                        Field {
                            name: "body",
                            value: Formatted(
                                FormattedText {
                                    format: "markdown",
                                    text: "Body\n",
                                },
                            ),
                        },
                    ],
                }
            "#]],
        );
    }

    #[test]
    fn titles() {
        let title = |text| from_markdown(text, "id".to_owned(), "file name").unwrap().title;
        assert_eq!(title("# The `tap` *crate* #\ntext"), "The tap crate");
        assert_eq!(title("```\n# comment\n```\n# Title"), "Title");
        assert_eq!(title("## Smaller\ntext"), "file name");
        assert_eq!(title("---\ntitle: ' '\n---\n# Heading"), "Heading");
        assert_eq!(title("\u{feff}---\ntitle: With a mark\n---\n"), "With a mark");
    }

    #[test]
    fn wrong_keys() {
        check(
            " \n\n",
            expect![[r#"
            line None: it is empty
        "#]],
        );
        check(
            "---\ntitle: A\nmy-key: 1\n---\n",
            expect![[r#"
            line Some(3): the key `my-key` cannot name a field: a name takes 1 to 64 lower-case letters, digits and underscores
        "#]],
        );
        check(
            "---\n\"Ä\": 1\n---\n",
            expect![[r#"
            line Some(2): the key `Ä` cannot name a field: a name takes 1 to 64 lower-case letters, digits and underscores
        "#]],
        );
        check(
            "---\ntitle: [a]\n---\n",
            expect![[r#"
            line Some(2): the key `title` holds `["a"]`, not text
        "#]],
        );
        check(
            "---\npublished: maybe\n---\n",
            expect![[r#"
            line Some(2): the key `published` holds `"maybe"`, not true or false
        "#]],
        );
        check(
            "---\ndraft: true\npublished: true\n---\n",
            expect![[r#"
            line Some(2): the key `draft` says what `published` says as well: keep one of them
        "#]],
        );
        check(
            "---\nx: 1\ndate: soon\n---\n",
            expect![[r#"
            line Some(3): the key `date` holds `"soon"`, not a date such as 2026-01-31 or 2026-01-31T12:00:00Z
        "#]],
        );
        check(
            "---\nembargo_until: next week\n---\n",
            expect![[r#"
            line Some(2): the key `embargo_until` holds `"next week"`, not a date such as 2026-01-31 or 2026-01-31T12:00:00Z
        "#]],
        );
        check(
            "---\ntags: [[a]]\n---\n",
            expect![[r#"
            line Some(2): the key `tags` holds `["a"]`, not text
        "#]],
        );
        check(
            "---\nbody: text\n---\n",
            expect![[r#"
            line Some(2): the key `body` is the text below the front matter: use another name
        "#]],
        );
    }
}
