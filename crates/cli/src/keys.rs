//! The keys that a type takes from a configuration file, asked of the type itself.

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor, value::Error as Stop},
    forward_to_deserialize_any,
};

/// The names of the fields of a struct, as its `Deserialize` calls them. Empty for what is not a struct.
pub(crate) fn keys_of<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    let mut keys: &'static [&'static str] = &[];
    // The answer is an error in any case: there is nothing to read.
    let _ = T::deserialize(Ask(&mut keys));
    keys
}

/// Says which fields are asked for, and gives none.
struct Ask<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Ask<'_> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        Err(Stop::custom("there is nothing to read"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The known name that was probably meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance is quadratic in the length; what is longer than this resembles no key of ours.
    let name = (name.len() <= 64).then_some(name)?;
    let distances = known.into_iter().map(|near| (strsim::damerau_levenshtein(name, near), near));
    distances.min().filter(|(distance, near)| *distance <= near.len().max(name.len()) / 2).map(|(_, near)| near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Two {
            _first: u8,
            #[serde(rename = "second")]
            _other: u8,
        }
        assert_eq!(keys_of::<Two>(), ["-first", "second"]);
        assert_eq!(keys_of::<String>(), [""; 0]);
    }

    #[test]
    fn nearest_names() {
        assert_eq!(nearest("lisetn", ["listen", "title"]), Some("listen"));
        assert_eq!(nearest("xyzzy", ["listen", "title"]), None);
    }
}
