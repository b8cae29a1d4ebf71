//! Where a plugin wants to stand among the handlers of a tap.

use serde::{Deserialize, Serialize};

/// What a plugin asks for. The default is weight 0 and nothing else.
///
/// Nothing here is trusted: names of plugins that are not loaded are noted and have no effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Placement {
    /// Lower goes first. Defaults to 0.
    pub weight: i32,
    /// Plugins that have to come later than this one.
    pub before: Vec<String>,
    /// Plugins that have to come earlier than this one.
    pub after: Vec<String>,
    /// Stand before all that are not `first`, whatever the weight.
    pub first: bool,
    /// Stand behind all that are not `last`, whatever the weight.
    pub last: bool,
}

/// What the operator's configuration puts in place of a plugin's own wishes, field by field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Override {
    /// Replaces [`Placement::weight`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
    /// Replaces [`Placement::before`] as a whole; an empty list removes the plugin's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Vec<String>>,
    /// Replaces [`Placement::after`] as a whole; an empty list removes the plugin's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<String>>,
    /// Replaces [`Placement::first`]. `true` also takes back the plugin's own `last`, unless `last` is given here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<bool>,
    /// Replaces [`Placement::last`]. `true` also takes back the plugin's own `first`, unless `first` is given here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<bool>,
}

impl Override {
    /// The placement that results when the operator's word is put over the plugin's.
    #[must_use]
    pub fn apply_to(&self, plugin: Placement) -> Placement {
        Placement {
            weight: self.weight.unwrap_or(plugin.weight),
            before: self.before.clone().unwrap_or(plugin.before),
            after: self.after.clone().unwrap_or(plugin.after),
            first: self.first.unwrap_or(plugin.first && self.last != Some(true)),
            last: self.last.unwrap_or(plugin.last && self.first != Some(true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_wins_field_by_field() {
        let plugin = Placement {
            weight: 5,
            before: vec!["a".to_owned()],
            after: vec!["b".to_owned()],
            first: true,
            last: false,
        };
        assert_eq!(Override::default().apply_to(plugin.clone()), plugin);

        let all: Override =
            serde_json::from_str(r#"{"weight":-1,"before":[],"after":["c"],"first":false,"last":true}"#).unwrap();
        assert_eq!(
            all.apply_to(plugin.clone()),
            Placement { weight: -1, before: vec![], after: vec!["c".to_owned()], first: false, last: true }
        );

        let one = Override { weight: Some(7), ..Override::default() };
        assert_eq!(one.apply_to(plugin.clone()), Placement { weight: 7, ..plugin });
    }

    #[test]
    fn the_operators_last_takes_back_the_plugins_first() {
        let first = Placement { first: true, ..Placement::default() };
        let last = Placement { last: true, ..Placement::default() };
        assert_eq!(Override { last: Some(true), ..Override::default() }.apply_to(first.clone()), last);
        assert_eq!(Override { first: Some(true), ..Override::default() }.apply_to(last), first);
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_json::from_str::<Placement>(r#"{"wieght":1}"#).is_err());
        assert!(serde_json::from_str::<Override>(r#"{"wieght":1}"#).is_err());
        assert_eq!(serde_json::from_str::<Placement>("{}").unwrap(), Placement::default());
    }
}
