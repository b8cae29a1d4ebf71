//! What goes into a query and comes out of it.

use wasmtime::component::{ComponentType, Lift, Lower};

/// A value in a row, or a parameter of a statement: the contract's `value`.
#[derive(Clone, Debug, PartialEq, ComponentType, Lift, Lower)]
#[component(variant)]
pub enum Value {
    /// No value.
    #[component(name = "null")]
    Null,
    /// As a parameter 0 or 1. SQLite has no booleans of its own: it never returns one.
    #[component(name = "boolean")]
    Boolean(bool),
    /// A whole number.
    #[component(name = "integer")]
    Integer(i64),
    /// A number that need not be whole. SQLite takes one that is not a number for null.
    #[component(name = "float")]
    Float(f64),
    /// Text.
    #[component(name = "text")]
    Text(String),
    /// Bytes.
    #[component(name = "bytes")]
    Bytes(Vec<u8>),
}

impl Value {
    /// What it counts against [`MAX_BYTES`](crate::MAX_BYTES).
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Boolean(_) | Self::Integer(_) | Self::Float(_) => 8,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// What a query found: the contract's `rows`.
#[derive(Clone, Debug, Default, PartialEq, ComponentType, Lower)]
#[component(record)]
pub struct Rows {
    /// The names of the columns, in the order of the values in each row.
    pub columns: Vec<String>,
    /// The rows, each with as many values as there are columns.
    pub rows: Vec<Vec<Value>>,
}

impl Rows {
    /// What it counts against [`MAX_BYTES`](crate::MAX_BYTES).
    pub(crate) fn bytes(&self) -> u64 {
        let columns: usize = self.columns.iter().map(String::len).sum();
        let values: usize = self.rows.iter().flatten().map(Value::size).sum();
        (columns + values) as u64
    }
}
