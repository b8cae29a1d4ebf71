//! What fields hold.

use std::slice;

/// Text in a markup language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormattedText {
    /// The name of the markup language, for example `markdown` or `html`.
    pub format: String,
    /// The source, in that language.
    pub text: String,
}

impl FormattedText {
    /// Text in Markdown.
    #[must_use]
    pub fn markdown(text: impl Into<String>) -> Self {
        Self { format: "markdown".to_owned(), text: text.into() }
    }

    /// Text in HTML.
    #[must_use]
    pub fn html(text: impl Into<String>) -> Self {
        Self { format: "html".to_owned(), text: text.into() }
    }
}

/// A pointer to something else: a term, a file, another item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// What kind of thing it is, for example `tag`, `file` or `item`.
    pub kind: String,
    /// Its identifier within that kind.
    pub id: String,
    /// What to show a reader. May be empty.
    pub label: String,
}

impl Reference {
    /// A reference from its three parts.
    #[must_use]
    pub fn new(kind: impl Into<String>, id: impl Into<String>, label: impl Into<String>) -> Self {
        Self { kind: kind.into(), id: id.into(), label: label.into() }
    }
}

/// What one field holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// The field is there and holds nothing.
    Null,
    /// Yes or no.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Plain text.
    Text(String),
    /// Text in a markup language.
    Formatted(FormattedText),
    /// A pointer to something else.
    Reference(Reference),
    /// Several pointers.
    References(Vec<Reference>),
    /// A JSON document, for what has no shape of its own.
    Json(String),
}

impl Value {
    /// The text of a [`Text`](Self::Text), or the source of a [`Formatted`](Self::Formatted).
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Formatted(formatted) => Some(&formatted.text),
            _ => None,
        }
    }

    /// The number of an [`Integer`](Self::Integer).
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The number of a [`Float`](Self::Float) or, rounded to the nearest if it is beyond 2^53, of an
    /// [`Integer`](Self::Integer).
    #[must_use]
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            Self::Integer(number) => Some(*number as f64),
            _ => None,
        }
    }

    /// What a [`Boolean`](Self::Boolean) says.
    #[must_use]
    pub fn as_boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(answer) => Some(*answer),
            _ => None,
        }
    }

    /// The references of a [`References`](Self::References), or the one of a [`Reference`](Self::Reference). Empty for
    /// everything else.
    #[must_use]
    pub fn as_references(&self) -> &[Reference] {
        match self {
            Self::References(references) => references,
            Self::Reference(reference) => slice::from_ref(reference),
            _ => &[],
        }
    }
}

macro_rules! from {
    ($($type:ty => |$from:ident| $value:expr;)*) => {
        $(impl From<$type> for Value {
            fn from($from: $type) -> Self {
                $value
            }
        })*
    };
}

from! {
    bool => |from| Self::Boolean(from);
    i32 => |from| Self::Integer(from.into());
    i64 => |from| Self::Integer(from);
    u32 => |from| Self::Integer(from.into());
    f64 => |from| Self::Float(from);
    &str => |from| Self::Text(from.to_owned());
    String => |from| Self::Text(from);
    FormattedText => |from| Self::Formatted(from);
    Reference => |from| Self::Reference(from);
    Vec<Reference> => |from| Self::References(from);
}

/// None becomes [`Value::Null`].
impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(from: Option<T>) -> Self {
        from.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_from_plain_rust() {
        assert_eq!(Value::from(3), Value::Integer(3));
        assert_eq!(Value::from("a"), Value::Text("a".to_owned()));
        assert_eq!(Value::from(None::<bool>), Value::Null);
        assert_eq!(Value::from(Some(true)), Value::Boolean(true));
    }

    #[test]
    fn accessors_see_through_the_wrapping() {
        assert_eq!(Value::from(FormattedText::markdown("*a*")).as_text(), Some("*a*"));
        assert_eq!(Value::from(2).as_float(), Some(2.0));
        assert_eq!(Value::from(2.5).as_integer(), None);
        let tag = Reference::new("tag", "wasm", "Wasm");
        assert_eq!(Value::from(tag.clone()).as_references(), slice::from_ref(&tag));
        assert_eq!(Value::from("wasm").as_references(), &[]);
    }
}
