//! Rows by the names of their columns.

use super::Value;

/// One row of [`Rows`](super::Rows).
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    columns: &'a [String],
    values: &'a [Value],
}

/// A row does not hold what was asked of it: the statement and the code that reads its rows do not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// The statement has no such column.
    #[error("there is no column `{column}`")]
    NoColumn {
        /// The name that was asked for.
        column: String,
    },
    /// The column holds something else in this row.
    #[error("the column `{column}` holds {found}, not {expected}")]
    WrongType {
        /// The name of the column.
        column: String,
        /// What was asked for.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
}

/// A type that [`Row::get`] can read.
pub trait FromValue<'a>: Sized {
    /// What it is, for error messages, for example `text`.
    const WHAT: &'static str;

    /// Reads the value. None when it is of another type.
    fn from_value(value: &'a Value) -> Option<Self>;
}

impl<'a> Row<'a> {
    pub(super) fn new(columns: &'a [String], values: &'a [Value]) -> Self {
        Self { columns, values }
    }

    /// The value of a column, as `&str`, `String`, `i64`, `f64`, `bool`, `&[u8]` or `&Value`, or as an `Option` of these
    /// where the column may be null.
    ///
    /// # Errors
    ///
    /// [`RowError`]: there is no such column, or it holds something else.
    pub fn get<T: FromValue<'a>>(&self, column: &str) -> Result<T, RowError> {
        let value = (self.columns.iter().position(|name| name == column))
            .and_then(|place| self.values.get(place))
            .ok_or_else(|| RowError::NoColumn { column: column.to_owned() })?;
        T::from_value(value).ok_or_else(|| RowError::WrongType {
            column: column.to_owned(),
            expected: T::WHAT,
            found: value.what(),
        })
    }

    /// The values, in the order of the columns.
    #[must_use]
    pub fn values(&self) -> &'a [Value] {
        self.values
    }
}

impl Value {
    fn what(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
        }
    }
}

macro_rules! from_value {
    ($($type:ty, $what:literal, $($pattern:pat => $result:expr),+;)*) => {
        $(impl<'a> FromValue<'a> for $type {
            const WHAT: &'static str = $what;

            fn from_value(value: &'a Value) -> Option<Self> {
                match value {
                    $($pattern => Some($result),)+
                    _ => None,
                }
            }
        })*
    };
}

from_value! {
    &'a str, "text", Value::Text(text) => text;
    String, "text", Value::Text(text) => text.clone();
    &'a [u8], "bytes", Value::Bytes(bytes) => bytes;
    i64, "an integer", Value::Integer(number) => *number;
    f64, "a number", Value::Float(number) => *number, Value::Integer(number) => *number as f64;
    bool, "a boolean", Value::Boolean(answer) => *answer, Value::Integer(number @ (0 | 1)) => *number == 1;
}

impl<'a> FromValue<'a> for &'a Value {
    const WHAT: &'static str = "a value";

    fn from_value(value: &'a Value) -> Option<Self> {
        Some(value)
    }
}

/// Null is None.
impl<'a, T: FromValue<'a>> FromValue<'a> for Option<T> {
    const WHAT: &'static str = T::WHAT;

    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Rows;

    #[test]
    fn columns_are_read_by_name_and_type() {
        let columns = ["id", "shared", "score", "note", "open"].map(str::to_owned).to_vec();
        let values = vec!["readme".into(), 3.into(), 0.5.into(), Value::Null, 1.into()];
        let rows = Rows::new(columns, vec![values]);
        let row = rows.first().unwrap();

        assert_eq!(row.get("id"), Ok("readme"));
        assert_eq!(row.get("shared"), Ok(3_i64));
        assert_eq!(row.get("shared"), Ok(3.0_f64));
        assert_eq!(row.get("score"), Ok(0.5_f64));
        assert_eq!(row.get("note"), Ok(None::<String>));
        assert_eq!(row.get("open"), Ok(true));
        assert_eq!(row.get("open"), Ok(&Value::Integer(1)));
        let error = row.get::<&str>("shared").unwrap_err();
        assert_eq!(error.to_string(), "the column `shared` holds an integer, not text");
        assert_eq!(row.get::<bool>("title"), Err(RowError::NoColumn { column: "title".to_owned() }));
    }
}
