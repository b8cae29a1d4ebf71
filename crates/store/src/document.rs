//! Documents: Markdown with front matter, and lines of JSON. Both become items.

mod front_matter;
mod json;
mod markdown;

use std::path::PathBuf;

use serde_json::Value as Json;
use tapline_content::{Field, FormattedText, Header, Item, ItemError, Reference, Value};

use crate::time;

use json::from_json_line;
use markdown::from_markdown;

/// Largest document, in bytes: large enough for any text, small enough to be held in memory several times.
pub const MAX_DOCUMENT: u64 = 64 << 20;
/// Largest front matter, in bytes.
pub const MAX_FRONT_MATTER: usize = 64 << 10;

/// A document cannot become an item. Its author or the operator has to act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The file cannot be read.
    #[error("it cannot be read")]
    Read(#[source] std::io::Error),
    /// The file has a name that says of what kind it is, and the kind is not known.
    #[error("it is neither a directory nor a `.md` or `.jsonl` file")]
    UnknownKind,
    /// The document holds nothing.
    #[error("it is empty")]
    Empty,
    /// The document is too large.
    #[error("it has {bytes} bytes, {MAX_DOCUMENT} are allowed")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// The document is not text.
    #[error("it is not UTF-8, from byte {offset} on")]
    NotUtf8 {
        /// The line, counted from 1.
        line: usize,
        /// The first byte that is wrong, counted from 0.
        offset: usize,
    },
    /// The front matter has no end.
    #[error("its front matter is not closed")]
    NotClosed {
        /// The line that opens and closes it.
        marker: &'static str,
    },
    /// The front matter is too large.
    #[error("its front matter has {bytes} bytes, {MAX_FRONT_MATTER} are allowed")]
    FrontMatterTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The front matter cannot be parsed.
    #[error("its front matter is not {syntax}: {message}")]
    FrontMatter {
        /// YAML or TOML.
        syntax: &'static str,
        /// The line in the document, counted from 1, where the parser knows it.
        line: Option<usize>,
        /// What the parser says.
        message: String,
    },
    /// A key of the document has a name or a value that it cannot have.
    #[error("the key `{key}` {reason}")]
    Key {
        /// The key.
        key: String,
        /// The line, counted from 1, where it is known.
        line: Option<usize>,
        /// What is wrong with it.
        reason: String,
    },
    /// A line of a JSON lines file is not what it should be.
    #[error("it is not an item in JSON: {message} at column {column}")]
    Json {
        /// The column, counted from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// Two documents of one import have the same identifier.
    #[error("the id `{id}` is taken by {}", first.display())]
    Duplicate {
        /// The identifier.
        id: String,
        /// The document that was imported under it.
        first: PathBuf,
    },
    /// What the document says makes no item.
    #[error(transparent)]
    Item(#[from] ItemError),
}

impl DocumentError {
    /// The line of the document, counted from 1, where it is known.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::NotUtf8 { line, .. } => Some(*line),
            Self::NotClosed { .. } => Some(1),
            Self::FrontMatter { line, .. } | Self::Key { line, .. } => *line,
            _ => None,
        }
    }

    /// What to do, in one sentence, where there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read(error) if error.kind() == std::io::ErrorKind::NotFound => {
                "check the path, and import again if the file has just been moved".to_owned()
            }
            Self::UnknownKind => "name the file `.md` or `.jsonl`".to_owned(),
            Self::Empty => "write something into it, or delete it".to_owned(),
            Self::NotUtf8 { .. } => "save it as UTF-8".to_owned(),
            Self::NotClosed { marker } => format!("put a line `{marker}` behind the last key"),
            Self::FrontMatter { syntax: "YAML", .. } => {
                "put values with `:` or `#` in them into quotes, and indent with spaces".to_owned()
            }
            Self::Duplicate { .. } => "give one of them another `id`".to_owned(),
            _ => return None,
        })
    }
}

/// What a document says about an item, before the rules for items are checked.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) title: String,
    pub(crate) author: String,
    pub(crate) published: bool,
    pub(crate) promoted: bool,
    pub(crate) sticky: bool,
    /// 0: the document does not say.
    pub(crate) created: i64,
    pub(crate) fields: Vec<Field>,
}

impl Draft {
    pub(crate) fn into_item(self) -> Result<Item, DocumentError> {
        let header = Header {
            id: self.id.into(),
            revision: 0,
            kind: self.kind.into(),
            title: self.title.into(),
            author: self.author.into(),
            published: self.published,
            promoted: self.promoted,
            sticky: self.sticky,
            created: self.created,
            changed: 0,
        };
        Ok(Item::new(header, self.fields)?)
    }
}

/// What [`import`](crate::import()) makes of the text of a Markdown file, without storing it. `id` and `name` stand in
/// when the document does not name its identifier or its title.
///
/// # Errors
///
/// The text cannot become an item; the error knows the line where that is possible.
pub fn parse_markdown(text: &str, id: &str, name: &str) -> Result<Item, DocumentError> {
    from_markdown(text, id.to_owned(), name)?.into_item()
}

/// What [`import`](crate::import()) makes of one line of a JSON lines file, without storing it.
///
/// # Errors
///
/// The line cannot become an item.
pub fn parse_json_line(line: &str) -> Result<Item, DocumentError> {
    from_json_line(line)?.into_item()
}

/// What an item is when its document does not say.
const DEFAULT_KIND: &str = "document";

fn field(name: &str, value: Value) -> Field {
    Field { name: name.into(), value }
}

fn formatted(format: &str, text: &str) -> Value {
    Value::Formatted(FormattedText { format: format.into(), text: text.into() })
}

/// Tags as references: the identifier is made of what was written, which stays the label.
fn tags<'a>(labels: impl IntoIterator<Item = &'a str>) -> Value {
    let labels = labels.into_iter().map(str::trim).filter(|label| !label.is_empty());
    let tag = |label: &str| Reference { kind: "tag".into(), id: slug(label).into(), label: label.into() };
    Value::References(labels.map(tag).collect())
}

/// The point in time of a key that holds one: text, or seconds.
fn point_in_time(value: &Json) -> Result<i64, String> {
    let read = match value {
        Json::String(text) => time::parse(text),
        Json::Number(number) => number.as_i64(),
        _ => None,
    };
    read.ok_or_else(|| format!("holds {}, not a date such as 2026-01-31 or 2026-01-31T12:00:00Z", shown(value)))
}

/// The field `embargo_until`. A plugin that cannot read it would hide the item for ever, so it is checked here.
fn embargo(value: &Json) -> Result<Value, String> {
    let seconds = point_in_time(value)?;
    Ok(match value {
        Json::String(text) if text.trim().len() == "2026-01-31".len() => Value::Text(text.trim().into()),
        _ => Value::Integer(seconds),
    })
}

/// A value without a shape of its own.
fn plain(value: Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Boolean(value),
        Json::Number(number) => match number.as_i64() {
            Some(value) => Value::Integer(value),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::Text(text.into()),
        composed => Value::Json(composed.to_string().into()),
    }
}

fn shown(value: &Json) -> String {
    let text = value.to_string();
    match tapline_host_core::cut(&text, 60) {
        all if all.len() == text.len() => format!("`{all}`"),
        part => format!("`{part}…`"),
    }
}

/// What can be part of an address: lower-case letters and digits, everything else becomes one `-`.
pub(crate) fn slug(text: &str) -> String {
    let mut slug = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || matches!(character, '_' | '.') {
            slug.push(character.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    // Letters outside ASCII leave nothing: the name then needs something that tells it from others.
    if slug.is_empty() && !text.is_empty() {
        slug = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        slug.truncate(60);
    }
    slug
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs() {
        assert_eq!(slug("README"), "readme");
        assert_eq!(slug("decisions/0001 One & Two!"), "decisions-0001-one-two");
        assert_eq!(slug("a_b.c"), "a_b.c");
        assert_eq!(slug("日本"), "e697a5e69cac");
        assert_eq!(slug("日本"), slug("日本"));
        assert_ne!(slug("日本"), slug("中国"));
        assert_eq!(slug(""), "");
    }

    #[test]
    fn an_embargo_must_be_a_date() {
        assert_eq!(embargo(&"2027-01-31".into()), Ok(Value::Text("2027-01-31".into())));
        assert_eq!(embargo(&"1970-01-01T00:01:00Z".into()), Ok(Value::Integer(60)));
        assert_eq!(embargo(&60.into()), Ok(Value::Integer(60)));
        assert!(embargo(&"soon".into()).unwrap_err().contains("`\"soon\"`"));
        assert!(embargo(&true.into()).is_err());
    }
}
