//! An item as JSON: what crosses where there are no typed values. The same form as the host's own.

use serde::{Deserialize, Serialize};

/// A whole item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// What every item has.
    pub header: Header,
    /// Sorted by name.
    pub fields: Vec<Field>,
}

/// What every item has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the SDK's header has the words")]
pub struct Header {
    pub id: String,
    pub revision: u64,
    pub kind: String,
    pub title: String,
    pub author: String,
    pub published: bool,
    pub promoted: bool,
    pub sticky: bool,
    pub created: i64,
    pub changed: i64,
}

/// A named value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub value: Value,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the SDK's value has the words")]
pub enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Formatted(FormattedText),
    Reference(Reference),
    References(Vec<Reference>),
    Json(String),
}

/// Text in a markup language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormattedText {
    /// The markup language.
    pub format: String,
    /// The source.
    pub text: String,
}

/// A pointer to something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// What kind of thing it is.
    pub kind: String,
    /// Its identifier.
    pub id: String,
    /// What to show a reader.
    pub label: String,
}

impl Item {
    /// What the field holds.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        let place = self.fields.binary_search_by(|field| field.name.as_str().cmp(name)).ok()?;
        Some(&self.fields[place].value)
    }

    /// Adds or replaces a field.
    pub fn set(&mut self, name: &str, value: Value) {
        match self.fields.binary_search_by(|field| field.name.as_str().cmp(name)) {
            Ok(place) => self.fields[place].value = value,
            Err(place) => self.fields.insert(place, Field { name: name.to_owned(), value }),
        }
    }
}
