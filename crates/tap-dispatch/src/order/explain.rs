//! Why each plugin stands where it stands.

use std::{collections::BTreeMap, fmt};

use super::{Node, Order, group_and_weight};
use crate::PluginName;

/// The two constraints that a plugin can declare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// The plugin has to come before the one it names.
    Before,
    /// The plugin has to come after the one it names.
    After,
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

/// One reason for a plugin's place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It is `first`.
    First,
    /// It is `last`.
    Last,
    /// It declares a constraint.
    Declared {
        /// Which.
        relation: Relation,
        /// The name that it gives.
        other: String,
        /// Whether a plugin of that name handles the tap. If not, the constraint has no effect.
        loaded: bool,
    },
    /// It has to come before a plugin that is `first` or was moved ahead, and was taken along.
    TakenAlong {
        /// That plugin.
        by: PluginName,
    },
    /// Nothing else says where it belongs, and no other plugin has its weight.
    Weight,
    /// Nothing else says where it belongs, and another plugin has the same weight: names decide.
    Name,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("first"),
            Self::Last => f.write_str("last"),
            // A name that is not loaded is a stranger's text: control characters are escaped.
            Self::Declared { relation, other, loaded } => {
                let note = if *loaded { "" } else { " (not loaded)" };
                write!(f, "{relation} `{}`{note}", other.escape_debug())
            }
            Self::TakenAlong { by } => write!(f, "taken along by `{by}`"),
            Self::Weight => f.write_str("weight"),
            Self::Name => f.write_str("name, among equal weights"),
        }
    }
}

/// One plugin's place in an [`Order`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The plugin.
    pub plugin: PluginName,
    /// Its weight, with the operator's override.
    pub weight: i32,
    /// Why it stands here. Never empty.
    pub reasons: Vec<Reason>,
}

pub(super) fn entry(nodes: &[Node], ranks: &BTreeMap<PluginName, usize>, rank: usize) -> Entry {
    let node = &nodes[rank];
    let placement = &node.placement;
    let mut reasons = Vec::new();
    if placement.first {
        reasons.push(Reason::First);
    }
    if placement.last {
        reasons.push(Reason::Last);
    }
    for (relation, names) in [(Relation::Before, &placement.before), (Relation::After, &placement.after)] {
        reasons.extend(names.iter().map(|name| Reason::Declared {
            relation,
            other: name.clone(),
            loaded: ranks.contains_key(name.as_str()),
        }));
    }
    if node.target < rank {
        // Of the plugins that share the target, the one that it follows from. Its own `before` is a reason already.
        let by = node.successors.iter().find(|&(&later, _)| nodes[later].target == node.target);
        if let Some((&later, false)) = by {
            reasons.push(Reason::TakenAlong { by: nodes[later].plugin.clone() });
        }
    }
    if reasons.iter().all(|reason| matches!(reason, Reason::Declared { loaded: false, .. })) {
        // Those of equal weight have neighbouring ranks.
        let neighbours =
            [rank.checked_sub(1), rank.checked_add(1)].into_iter().flatten().filter_map(|it| nodes.get(it));
        let key = group_and_weight(placement);
        let has_equal = neighbours.into_iter().any(|other| group_and_weight(&other.placement) == key);
        reasons.push(if has_equal { Reason::Name } else { Reason::Weight });
    }
    Entry { plugin: node.plugin.clone(), weight: placement.weight, reasons }
}

impl Order {
    /// A table for people: place, plugin, weight and why. Ends with a line break.
    #[must_use]
    pub fn explain(&self) -> String {
        let tap = &self.tap;
        let mut text = match self.entries.len() {
            0 => return format!("{tap}: no handlers\n"),
            1 => format!("{tap}: 1 handler\n"),
            count => format!("{tap}: {count} handlers\n"),
        };
        let width = self.plugins.iter().map(|plugin| plugin.as_str().len()).max().unwrap_or(0).max("plugin".len());
        text += &format!("{:>4}  {:width$}  {:>11}  why\n", "#", "plugin", "weight");
        for (index, entry) in self.entries.iter().enumerate() {
            let reasons: Vec<String> = entry.reasons.iter().map(ToString::to_string).collect();
            text +=
                &format!("{:>4}  {:width$}  {:>11}  {}\n", index + 1, entry.plugin, entry.weight, reasons.join("; "));
        }
        text
    }
}
