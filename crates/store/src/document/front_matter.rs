//! The keys at the head of a document: YAML between `---`, or TOML between `+++`.

use serde_json::{Map, Value as Json};

use super::{DocumentError, MAX_FRONT_MATTER};

/// Nodes, events and repeated nodes of one front matter. 64 KiB of text have fewer nodes of their own than this; what
/// goes beyond it comes from aliases that repeat each other.
const MAX_NODES: usize = 50_000;

/// The head of a document, and the rest.
pub(super) struct Split<'a> {
    pub(super) keys: Map<String, Json>,
    /// The front matter as it was written, to find lines in it.
    pub(super) source: &'a str,
    pub(super) body: &'a str,
}

impl Split<'_> {
    /// The line of a key, counted from 1 in the document. An alias or a quote may hide it.
    pub(super) fn line(&self, key: &str) -> Option<usize> {
        let is_key = |line: &str| {
            let rest = line.trim_start_matches(['"', '\'']).strip_prefix(key);
            rest.is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with([':', '=']))
        };
        // The first line of the document is the marker.
        self.source.lines().position(is_key).map(|index| index + 2)
    }
}

/// Takes the front matter off a document. A document without one has no keys.
pub(super) fn split(text: &str) -> Result<Split<'_>, DocumentError> {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let marker = match first.trim_end() {
        "---" => "---",
        "+++" => "+++",
        _ => return Ok(Split { keys: Map::new(), source: "", body: text }),
    };
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == marker {
            let source = &rest[..end];
            if source.len() > MAX_FRONT_MATTER {
                return Err(DocumentError::FrontMatterTooLarge { bytes: source.len() });
            }
            let keys = if marker == "---" { yaml(source)? } else { toml(source)? };
            return Ok(Split { keys, source, body: &rest[end + line.len()..] });
        }
        end += line.len();
    }
    Err(DocumentError::NotClosed { marker })
}

fn yaml(source: &str) -> Result<Map<String, Json>, DocumentError> {
    if source.trim().is_empty() {
        return Ok(Map::new());
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: MAX_NODES,
            max_nodes: MAX_NODES,
            max_aliases: 100,
            max_recorded_anchor_events: MAX_NODES,
            max_depth: 32,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_NODES },
        // YAML 1.1 reads `y`, `no` and `on` as truth values, and turns tags of these names into something else.
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options::<Option<Map<String, Json>>>(source, options)
        .map(Option::unwrap_or_default)
        .map_err(|error| DocumentError::FrontMatter {
            syntax: "YAML",
            line: error.location().map(|place| line_in_document(source, place.line())),
            message: yaml_message(&error),
        })
}

/// The line of the document for a line of the YAML in it. YAML also ends a line at a lone carriage return, which an editor
/// does not.
fn line_in_document(source: &str, line: u64) -> usize {
    let (mut ends, mut feeds) = (0, 0);
    let mut bytes = source.bytes().peekable();
    while ends + 1 < line {
        match (bytes.next(), bytes.peek()) {
            (Some(b'\n'), _) => (ends, feeds) = (ends + 1, feeds + 1),
            (Some(b'\r'), next) if next != Some(&b'\n') => ends += 1,
            (Some(_), _) => {}
            (None, _) => break,
        }
    }
    // The first line of the document is the marker.
    feeds + 2
}

fn toml(source: &str) -> Result<Map<String, Json>, DocumentError> {
    let table: toml::Table = source.parse().map_err(|error: toml::de::Error| DocumentError::FrontMatter {
        syntax: "TOML",
        line: error.span().map(|span| source[..span.start].matches('\n').count() + 2),
        message: one_line(error.message()),
    })?;
    Ok(table.into_iter().map(|(key, value)| (key, json(value))).collect())
}

fn json(value: toml::Value) -> Json {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(point) => point.to_string().into(),
        toml::Value::Array(values) => values.into_iter().map(json).collect(),
        toml::Value::Table(table) => Json::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect()),
    }
}

/// The parser ends its messages with a place that counts from the first line of the front matter, not of the document.
fn yaml_message(error: &serde_saphyr::Error) -> String {
    let message = one_line(&error.render_with_formatter(&serde_saphyr::UserMessageFormatter));
    let place = error.location().map(|place| format!(" at line {}, column {}", place.line(), place.column()));
    place.and_then(|place| message.strip_suffix(&place).map(str::to_owned)).unwrap_or(message)
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Expect) {
        let shown = match split(text) {
            Ok(split) => format!("{} | {:?}\n", Json::Object(split.keys), split.body),
            Err(error) => format!("line {:?}: {error}\n", error.line()),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn both_syntaxes() {
        check(
            "no front matter\n---\n",
            expect![[r#"
            {} | "no front matter\n---\n"
        "#]],
        );
        check(
            "---\ntitle: A\ntags: [x, y]\n---\nBody\n",
            expect![[r#"
            {"tags":["x","y"],"title":"A"} | "Body\n"
        "#]],
        );
        check(
            "---\r\ntitle: A\r\n---\r\nBody",
            expect![[r#"
            {"title":"A"} | "Body"
        "#]],
        );
        check(
            "+++\ntitle = \"A\"\ndate = 2026-01-31\nn = 1.5\n+++\n\nBody\n",
            expect![[r#"
                {"date":"2026-01-31","n":1.5,"title":"A"} | "\nBody\n"
            "#]],
        );
        check(
            "---\n---\nBody",
            expect![[r#"
            {} | "Body"
        "#]],
        );
        check(
            "---\n# only a comment\n---\nBody",
            expect![[r#"
            {} | "Body"
        "#]],
        );
        check(
            "+++\n+++",
            expect![[r#"
            {} | ""
        "#]],
        );
    }

    #[test]
    fn broken() {
        check(
            "---\ntitle: A\n",
            expect![[r#"
            line Some(1): its front matter is not closed
        "#]],
        );
        check(
            "+++\ntitle = 1\n---\n",
            expect![[r#"
            line Some(1): its front matter is not closed
        "#]],
        );
        check(
            "---",
            expect![[r#"
            line Some(1): its front matter is not closed
        "#]],
        );
        check(
            "---\ntitle: \"A\nb: [1\n---\n",
            expect![[r#"
                line Some(3): its front matter is not YAML: invalid indentation in multiline quoted scalar
            "#]],
        );
        check(
            "---\na: |\n  x\r\r\r\n  y\r\nb\n---\n",
            expect![[r#"
                line Some(5): its front matter is not YAML: simple key expected ':'
            "#]],
        );
        check(
            "---\ntitle: A\ntitle: B\n---\n",
            expect![[r#"
                line Some(3): its front matter is not YAML: duplicate mapping key: title not allowed here
            "#]],
        );
        check(
            "---\n- a\n- list\n---\n",
            expect![[r#"
                line Some(2): its front matter is not YAML: expected mapping start
            "#]],
        );
        check(
            "+++\na = 1\nb = \n+++\n",
            expect![[r#"
                line Some(3): its front matter is not TOML: string values must be quoted, expected literal string
            "#]],
        );
        check(
            "---\nn: .inf\n---\n",
            expect![[r#"
                line Some(2): its front matter is not YAML: value `.inf` is not a finite number
            "#]],
        );
        let large = format!("---\n{}---\n", "# comment\n".repeat(MAX_FRONT_MATTER / 10 + 1));
        check(
            &large,
            expect![[r#"
            line None: its front matter has 65540 bytes, 65536 are allowed
        "#]],
        );
    }

    #[test]
    fn aliases_that_repeat_each_other_are_refused() {
        let mut text = String::from("---\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            text += &format!("a{level}: &a{level} [{}]\n", before.trim_end_matches(", "));
        }
        text += "---\n";
        assert!(matches!(split(&text), Err(DocumentError::FrontMatter { syntax: "YAML", .. })));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let text = format!("---\na: {}{}\n---\n", "[".repeat(10_000), "]".repeat(10_000));
        assert!(matches!(split(&text), Err(DocumentError::FrontMatter { syntax: "YAML", .. })));
        let text = format!("+++\na = {}{}\n+++\n", "[".repeat(10_000), "]".repeat(10_000));
        assert!(matches!(split(&text), Err(DocumentError::FrontMatter { syntax: "TOML", .. })));
    }
}
