//! Read-only SQL on the database that the operator granted.
//!
//! A plugin that calls [`query`] asks for the capability `database`, and is not loaded without it. Natively there is no
//! database, unless a test brings one with `tapline-sdk-testing`.

mod row;

pub use row::{FromValue, Row, RowError};

/// A value in a row, or a parameter of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// Yes or no. SQLite has none and gives integers.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

macro_rules! from {
    ($($type:ty => $case:ident;)*) => {
        $(impl From<$type> for Value {
            fn from(from: $type) -> Self {
                Self::$case(from.into())
            }
        })*
    };
}

from! {
    bool => Boolean;
    i32 => Integer;
    i64 => Integer;
    u32 => Integer;
    f64 => Float;
    &str => Text;
    String => Text;
    Vec<u8> => Bytes;
}

/// None becomes [`Value::Null`].
impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(from: Option<T>) -> Self {
        from.map_or(Self::Null, Into::into)
    }
}

/// What a query found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Value>>,
}

impl Rows {
    /// Rows for a test, from the names of the columns and the values of each row.
    #[must_use]
    pub fn new(columns: Vec<String>, rows: Vec<Vec<Value>>) -> Self {
        Self { columns, rows }
    }

    /// The names of the columns, in the order of the values in each row.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How many rows there are, at most 1000.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows, in the order of the statement.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        self.rows.iter().map(|values| Row::new(&self.columns, values))
    }

    /// The first row.
    #[must_use]
    pub fn first(&self) -> Option<Row<'_>> {
        self.rows.first().map(|values| Row::new(&self.columns, values))
    }
}

/// Why a query failed. The text is meant for the author of the plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The statement is wrong, or it has more or fewer placeholders than parameters.
    #[error("the query is not valid: {0}")]
    Invalid(
        /// What is wrong.
        String,
    ),
    /// The statement would write, attach another file or change a setting.
    #[error("the query is not allowed: {0}")]
    NotAllowed(
        /// What it tried.
        String,
    ),
    /// More than 1000 rows, or more than 4 MiB.
    #[error("the query finds too much: {0}")]
    TooLarge(
        /// Which bound it passed.
        String,
    ),
    /// The database did not answer: it is locked, missing or broken.
    #[error("the database is not available: {0}")]
    Unavailable(
        /// What the host knows about it.
        String,
    ),
}

/// Runs one statement with `parameters` in place of its `?` and waits for the rows. The wait counts towards the deadline
/// of the tap.
///
/// ```no_run
/// use tapline_sdk::database;
///
/// let rows = database::query("SELECT id, title FROM items WHERE kind = ? LIMIT ?", &["document".into(), 5.into()])?;
/// for row in rows.iter() {
///     let (id, title): (&str, &str) = (row.get("id")?, row.get("title")?);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`QueryError`]: the statement is wrong or would write, it finds more than 1000 rows or 4 MiB, or the database does not
/// answer.
pub fn query(sql: &str, parameters: &[Value]) -> Result<Rows, QueryError> {
    place::query(sql, parameters)
}

#[cfg(target_arch = "wasm32")]
mod place {
    pub(super) use crate::bindings::database::query;
}

#[cfg(not(target_arch = "wasm32"))]
mod place {
    pub(super) use crate::double::database::query;
}
