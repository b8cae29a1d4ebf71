//! Limits that make no sense, and names that nothing has.

/// A limit, preset or profile is refused. The fault is with whoever wrote the configuration: the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitsError {
    /// A limit is so small that nothing runs, or larger than anything can enforce.
    #[error("`{field}` is {value}, it has to be {min} to {max}")]
    OutOfRange {
        /// The limit, as the configuration calls it.
        field: &'static str,
        /// The value that was given.
        value: u64,
        /// The smallest value.
        min: u64,
        /// The greatest value.
        max: u64,
    },
    /// A fuel limit was given, and metering is off: nothing would enforce it.
    #[error("`fuel_limit` is {fuel_limit}, but `enable_fuel_metering` is off")]
    FuelWithoutMetering {
        /// The fuel limit that was given.
        fuel_limit: u64,
    },
    /// Nothing has this name.
    #[error("`{}` is not a {kind}{}", name.escape_debug(), nearest.map(|near| format!(", the nearest is `{near}`")).unwrap_or_default())]
    UnknownName {
        /// What was looked for: `preset` or `profile`.
        kind: &'static str,
        /// The name that was given.
        name: String,
        /// The known name that resembles it, when one does.
        nearest: Option<&'static str>,
        /// All known names.
        known: &'static [&'static str],
    },
}

impl LimitsError {
    pub(crate) fn unknown(kind: &'static str, name: &str, known: &'static [&'static str]) -> Self {
        // The distance is quadratic in the length; what is longer than this resembles no name of ours.
        let nearest = (name.len() <= 64)
            .then(|| known.iter().map(|near| (strsim::damerau_levenshtein(name, near), *near)).min())
            .flatten()
            .filter(|(distance, near)| *distance <= near.len() / 2)
            .map(|(_, near)| near);
        Self::UnknownName { kind, name: name.chars().take(64).collect(), nearest, known }
    }

    /// What to do, in one sentence, where there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::OutOfRange { .. } => None,
            Self::FuelWithoutMetering { .. } => {
                Some("set `enable_fuel_metering` to true, or remove `fuel_limit`".to_owned())
            }
            Self::UnknownName { kind, known, .. } => Some(format!("known {kind}s: {}", known.join(", "))),
        }
    }
}
