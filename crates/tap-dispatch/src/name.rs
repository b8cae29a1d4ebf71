//! The names of plugins and taps.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The longest name in bytes. Names become metric labels and file names, which stay readable and legal up to here.
const MAX_BYTES: usize = 64;

/// A name breaks the rule for its kind. The fault is with whoever chose the name: the operator for a plugin, the
/// author of the contract for a tap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty.
    #[error("the name of a {what} is empty")]
    Empty {
        /// What is named: `plugin` or `tap`.
        what: &'static str,
    },
    /// The name is too long.
    #[error("the name of a {what} has {bytes} bytes, {max} are allowed")]
    TooLong {
        /// What is named: `plugin` or `tap`.
        what: &'static str,
        /// The length that was given.
        bytes: usize,
        /// The greatest length.
        max: usize,
    },
    /// A character is not allowed, or not at this place.
    #[error("`{}` is not the name of a {what}: {character:?} at byte {position}", name.escape_debug())]
    Character {
        /// What is named: `plugin` or `tap`.
        what: &'static str,
        /// The name that was given, at most 64 bytes.
        name: String,
        /// The first character that is wrong.
        character: char,
        /// Where it stands, in bytes from 0.
        position: usize,
    },
}

impl NameError {
    /// What to do, in one sentence.
    #[must_use]
    pub fn hint(&self) -> String {
        let (Self::Empty { what } | Self::TooLong { what, .. } | Self::Character { what, .. }) = self;
        let separator = if *what == PluginName::WHAT { '-' } else { '_' };
        format!(
            "a {what} name is a small letter followed by small letters, digits and `{separator}`, at most {MAX_BYTES} bytes"
        )
    }
}

fn check(what: &'static str, separator: char, name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { what });
    }
    if name.len() > MAX_BYTES {
        return Err(NameError::TooLong { what, bytes: name.len(), max: MAX_BYTES });
    }
    let wrong = name.char_indices().find(|&(position, character)| {
        let inside = position > 0 && (character.is_ascii_digit() || character == separator);
        !(character.is_ascii_lowercase() || inside)
    });
    match wrong {
        None => Ok(()),
        Some((position, character)) => Err(NameError::Character { what, name: name.to_owned(), character, position }),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $separator:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            const WHAT: &str = $what;

            /// Checks a name.
            ///
            /// # Errors
            ///
            /// [`NameError`] when the name is empty, longer than 64 bytes, or has a character that is not allowed.
            pub fn new(name: &str) -> Result<Self, NameError> {
                check(Self::WHAT, $separator, name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        /// Lets a map with these names as keys be asked with a `&str`.
        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
    };
}

name! {
    /// The name of a loaded plugin: `[a-z][a-z0-9-]*`, at most 64 bytes. Cheap to clone.
    PluginName, "plugin", '-'
}

name! {
    /// The name of a tap: `[a-z][a-z0-9_]*`, at most 64 bytes. Cheap to clone.
    TapName, "tap", '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_pass() {
        let longest = "a".repeat(64);
        for name in ["a", "seo", "reading-time", "a1-", &longest] {
            assert_eq!(PluginName::new(name).unwrap().as_str(), name);
        }
        for name in ["cron", "item_view", "v2_"] {
            assert_eq!(TapName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn bad_names_say_what_is_wrong() {
        assert_eq!(PluginName::new(""), Err(NameError::Empty { what: "plugin" }));
        assert_eq!(TapName::new(&"a".repeat(65)), Err(NameError::TooLong { what: "tap", bytes: 65, max: 64 }));
        for (name, position) in
            [("Seo", 0), ("1a", 0), ("-a", 0), ("a_b", 1), ("a b", 1), ("a/../b", 1), ("aé", 1), ("a\n", 1)]
        {
            match PluginName::new(name) {
                Err(NameError::Character { position: found, .. }) => assert_eq!(found, position, "{name:?}"),
                other => panic!("{name:?} gives {other:?}"),
            }
        }
        assert!(TapName::new("item-view").is_err());
    }

    #[test]
    fn a_control_character_reaches_no_terminal() {
        let error = PluginName::new("a\u{1b}[2J").unwrap_err();
        assert_eq!(error.to_string(), "`a\\u{1b}[2J` is not the name of a plugin: '\\u{1b}' at byte 1");
        assert!(error.hint().contains("`-`"), "{}", error.hint());
    }

    #[test]
    fn serde_goes_through_the_constructor() {
        let name: PluginName = serde_json::from_str("\"seo\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"seo\"");
        let error = serde_json::from_str::<TapName>("\"Seo\"").unwrap_err();
        assert!(error.to_string().starts_with("`Seo` is not the name of a tap"), "{error}");
    }
}
