//! Items and the values of their fields.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift, Lower};

/// Longest identifier of an item, in bytes.
pub const MAX_ID: usize = 200;
/// Longest title, in bytes.
pub const MAX_TITLE: usize = 1024;
/// Longest name of a field, in bytes.
pub const MAX_FIELD_NAME: usize = 64;
/// Most fields of one item.
pub const MAX_FIELDS: usize = 1000;

/// Text in a markup language.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lower, Lift, Serialize, Deserialize)]
#[component(record)]
pub struct FormattedText {
    /// The markup language, for example `markdown` or `html`.
    pub format: Arc<str>,
    /// The source, in that language.
    pub text: Arc<str>,
}

/// A pointer to something else.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lower, Lift, Serialize, Deserialize)]
#[component(record)]
pub struct Reference {
    /// What kind of thing it is, for example `tag`, `file` or `item`.
    pub kind: Arc<str>,
    /// Its identifier within that kind.
    pub id: Arc<str>,
    /// What to show a reader. May be empty.
    pub label: Arc<str>,
}

/// What one field holds. Cheap to clone: text is shared.
#[derive(Clone, Debug, PartialEq, ComponentType, Lower, Lift, Serialize, Deserialize)]
#[component(variant)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// Nothing.
    #[component(name = "null")]
    Null,
    /// Yes or no.
    #[component(name = "boolean")]
    Boolean(bool),
    /// A whole number.
    #[component(name = "integer")]
    Integer(i64),
    /// A number.
    #[component(name = "float")]
    Float(f64),
    /// Plain text.
    #[component(name = "text")]
    Text(Arc<str>),
    /// Text in a markup language.
    #[component(name = "formatted")]
    Formatted(FormattedText),
    /// A pointer to something else.
    #[component(name = "reference")]
    Reference(Reference),
    /// Several of them.
    #[component(name = "references")]
    References(Arc<[Reference]>),
    /// What has no shape of its own, as JSON text. Checked when it enters the host.
    #[component(name = "json")]
    Json(Arc<str>),
}

impl Value {
    /// The text of `Text` and `Formatted`.
    #[must_use]
    pub fn text(&self) -> Option<&Arc<str>> {
        match self {
            Self::Text(text) | Self::Formatted(FormattedText { text, .. }) => Some(text),
            _ => None,
        }
    }

    /// How many bytes it holds, about.
    #[must_use]
    pub fn size(&self) -> usize {
        // Three texts with their counts: also an empty reference takes room.
        let reference = |one: &Reference| 2 * size_of::<Reference>() + one.kind.len() + one.id.len() + one.label.len();
        match self {
            Self::Null | Self::Boolean(_) | Self::Integer(_) | Self::Float(_) => 8,
            Self::Text(text) | Self::Json(text) => text.len(),
            Self::Formatted(formatted) => formatted.format.len() + formatted.text.len(),
            Self::Reference(one) => reference(one),
            Self::References(many) => many.iter().map(reference).sum(),
        }
    }

    /// Refuses what no host may store: JSON that does not parse.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Json(text) => serde_json::from_str::<serde::de::IgnoredAny>(text)
                .map(drop)
                .map_err(|error| format!("the JSON does not parse: {error}")),
            _ => Ok(()),
        }
    }
}

/// A named value.
#[derive(Clone, Debug, PartialEq, ComponentType, Lower, Lift, Serialize, Deserialize)]
#[component(record)]
pub struct Field {
    /// Lower-case letters, digits and underscores.
    pub name: Arc<str>,
    /// What it holds.
    pub value: Value,
}

/// What every item has.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lower, Lift, Serialize, Deserialize)]
#[component(record)]
pub struct Header {
    /// Unique in the site; part of the item's address.
    pub id: Arc<str>,
    /// Grows by one with each save.
    pub revision: u64,
    /// The type of the item, for example `document`.
    pub kind: Arc<str>,
    /// Plain text.
    pub title: Arc<str>,
    /// Who wrote it. May be empty.
    pub author: Arc<str>,
    /// Whether readers may see it, if no tap denies them.
    pub published: bool,
    /// Whether it is shown on the front page.
    pub promoted: bool,
    /// Whether it stays at the top of lists.
    pub sticky: bool,
    /// Seconds since 1970-01-01 UTC.
    pub created: i64,
    /// Seconds since 1970-01-01 UTC.
    pub changed: i64,
}

/// A content item. Taps get it as `Arc<Item>`, so that a lazy plugin's handle shares it for the length of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    header: Header,
    /// Sorted by name, each name once.
    fields: Vec<Field>,
}

/// An item breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ItemError {
    /// The identifier cannot be part of an address.
    #[error("the id `{id}` is refused: it takes 1 to {MAX_ID} lower-case letters, digits, `-`, `_` and `.`")]
    Id {
        /// The identifier.
        id: String,
    },
    /// The title is empty or too long.
    #[error("a title of {length} bytes is refused: it takes 1 to {MAX_TITLE}")]
    Title {
        /// Its length.
        length: usize,
    },
    /// The name of a field.
    #[error(
        "the field name `{name}` is refused: it takes 1 to {MAX_FIELD_NAME} lower-case letters, digits and underscores"
    )]
    FieldName {
        /// The name.
        name: String,
    },
    /// Too many fields.
    #[error("{count} fields are refused: an item has at most {MAX_FIELDS}")]
    TooManyFields {
        /// How many.
        count: usize,
    },
    /// The value of a field.
    #[error("the value of the field `{name}` is refused: {reason}")]
    Value {
        /// The name of the field.
        name: String,
        /// Why.
        reason: String,
    },
}

impl Item {
    /// Puts an item together. Of two fields of one name the later wins.
    ///
    /// # Errors
    ///
    /// The identifier, the title, the name of a field or a value breaks a rule.
    pub fn new(header: Header, fields: impl IntoIterator<Item = Field>) -> Result<Self, ItemError> {
        check_id(&header.id)?;
        check_title(&header.title)?;
        let mut sorted: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        for field in fields {
            check_field(&field)?;
            sorted.insert(field.name, field.value);
        }
        if sorted.len() > MAX_FIELDS {
            return Err(ItemError::TooManyFields { count: sorted.len() });
        }
        Ok(Self { header, fields: sorted.into_iter().map(|(name, value)| Field { name, value }).collect() })
    }

    /// What every item has.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// For the store, which counts revisions and keeps the time. The identifier and the title stay as checked.
    pub fn stamp(&mut self, revision: u64, created: i64, changed: i64) {
        self.header.revision = revision;
        self.header.created = created;
        self.header.changed = changed;
    }

    /// All fields, sorted by name.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// One field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        let index = self.fields.binary_search_by(|field| field.name.as_ref().cmp(name)).ok()?;
        Some(&self.fields[index].value)
    }

    /// Applies what a presave tap wants changed.
    ///
    /// # Errors
    ///
    /// The title, the name of a field or a value breaks a rule; the item is as it was.
    pub fn with_changes(&self, changes: Changes) -> Result<Self, ItemError> {
        // A plugin decides how many there are, and each is compared with all fields.
        let count = changes.set.len().max(changes.removed.len());
        if count > MAX_FIELDS {
            return Err(ItemError::TooManyFields { count });
        }
        let mut header = self.header.clone();
        if let Some(title) = changes.title {
            check_title(&title)?;
            header.title = title;
        }
        // What stays was checked when this item was made: a save pays for what it changes.
        let kept = self.fields.iter().filter(|field| !changes.removed.contains(&field.name));
        let mut fields: Vec<Field> = kept.cloned().collect();
        for field in changes.set {
            check_field(&field)?;
            match fields.binary_search_by(|known| known.name.cmp(&field.name)) {
                Ok(place) => fields[place] = field,
                Err(place) => fields.insert(place, field),
            }
        }
        if fields.len() > MAX_FIELDS {
            return Err(ItemError::TooManyFields { count: fields.len() });
        }
        Ok(Self { header, fields })
    }
}

/// What a presave tap wants changed. What is not named stays as it is.
#[derive(Clone, Debug, Default, PartialEq, ComponentType, Lower, Lift)]
#[component(record)]
pub struct Changes {
    /// The new title.
    pub title: Option<Arc<str>>,
    /// Fields to add or replace.
    pub set: Vec<Field>,
    /// Names of fields to take away.
    pub removed: Vec<Arc<str>>,
}

impl Changes {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.title.is_none() && self.set.is_empty() && self.removed.is_empty()
    }
}

fn check_id(id: &str) -> Result<(), ItemError> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    // A name of dots alone would be a step in a path, not a page.
    let ok = (1..=MAX_ID).contains(&id.len()) && id.bytes().all(fits) && !id.bytes().all(|byte| byte == b'.');
    if ok { Ok(()) } else { Err(ItemError::Id { id: tapline_host_core::cut(id, MAX_ID).to_owned() }) }
}

pub(crate) fn check_title(title: &str) -> Result<(), ItemError> {
    let length = title.len();
    let blank = title.trim().is_empty();
    if !blank && length <= MAX_TITLE {
        Ok(())
    } else {
        Err(ItemError::Title { length: if blank { 0 } else { length } })
    }
}

pub(crate) fn check_field_name(name: &str) -> Result<(), ItemError> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if (1..=MAX_FIELD_NAME).contains(&name.len()) && name.bytes().all(fits) {
        Ok(())
    } else {
        Err(ItemError::FieldName { name: tapline_host_core::cut(name, MAX_FIELD_NAME).to_owned() })
    }
}

pub(crate) fn check_field(field: &Field) -> Result<(), ItemError> {
    check_field_name(&field.name)?;
    field.value.check().map_err(|reason| ItemError::Value { name: field.name.to_string(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(id: &str) -> Header {
        Header {
            id: id.into(),
            revision: 1,
            kind: "document".into(),
            title: "A title".into(),
            author: "".into(),
            published: true,
            promoted: false,
            sticky: false,
            created: 0,
            changed: 0,
        }
    }

    fn field(name: &str, text: &str) -> Field {
        Field { name: name.into(), value: Value::Text(text.into()) }
    }

    #[test]
    fn fields_are_sorted_and_the_later_of_two_wins() {
        let item = Item::new(header("a"), [field("b", "1"), field("a", "2"), field("b", "3")]).unwrap();
        assert_eq!(item.fields(), [field("a", "2"), field("b", "3")]);
        assert_eq!(item.field("b"), Some(&Value::Text("3".into())));
        assert_eq!(item.field("c"), None);
    }

    #[test]
    fn changes_replace_add_and_remove() {
        let item = Item::new(header("a"), [field("a", "1"), field("b", "2")]).unwrap();
        let changes = Changes {
            title: Some("New".into()),
            set: vec![field("b", "3"), field("c", "4")],
            removed: vec!["a".into(), "missing".into()],
        };
        let item = item.with_changes(changes).unwrap();
        assert_eq!(&*item.header().title, "New");
        assert_eq!(item.fields(), [field("b", "3"), field("c", "4")]);
    }

    #[test]
    fn rules_are_kept() {
        for id in ["", "a/b", "A", "..", "ü", &"x".repeat(MAX_ID + 1)] {
            assert!(matches!(Item::new(header(id), []), Err(ItemError::Id { .. })), "{id}");
        }
        for name in ["", "A", "a-b", "ü", &"x".repeat(MAX_FIELD_NAME + 1)] {
            assert!(matches!(Item::new(header("a"), [field(name, "")]), Err(ItemError::FieldName { .. })), "{name}");
        }
        let many = (0..=MAX_FIELDS).map(|number| field(&format!("f{number}"), ""));
        assert_eq!(Item::new(header("a"), many), Err(ItemError::TooManyFields { count: MAX_FIELDS + 1 }));
        let json = Field { name: "j".into(), value: Value::Json("{".into()) };
        assert!(matches!(Item::new(header("a"), [json]), Err(ItemError::Value { .. })));
        let item = Item::new(header("a"), []).unwrap();
        let blank = Changes { title: Some("  ".into()), ..Changes::default() };
        assert_eq!(item.with_changes(blank), Err(ItemError::Title { length: 0 }));
        let much = MAX_FIELDS + 1;
        for changes in [
            Changes { set: vec![field("a", ""); much], ..Changes::default() },
            Changes { removed: vec!["a".into(); much], ..Changes::default() },
        ] {
            assert_eq!(item.with_changes(changes), Err(ItemError::TooManyFields { count: much }));
        }
        let set = |field| Changes { set: vec![field], ..Changes::default() };
        let json = Field { name: "j".into(), value: Value::Json("{".into()) };
        assert!(matches!(item.with_changes(set(json)), Err(ItemError::Value { .. })));
        assert!(matches!(item.with_changes(set(field("A", ""))), Err(ItemError::FieldName { .. })));
        let full = Item::new(header("a"), (0..MAX_FIELDS).map(|number| field(&format!("f{number}"), ""))).unwrap();
        assert_eq!(
            full.with_changes(set(field("one_more", ""))),
            Err(ItemError::TooManyFields { count: MAX_FIELDS + 1 })
        );
    }
}
