//! Orders that have no solution.

use std::fmt;

use super::{Node, Relation};
use crate::{PluginName, TapName};

/// One constraint between two plugins, and who declared it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The plugin that has to come earlier.
    pub earlier: PluginName,
    /// The plugin that has to come later.
    pub later: PluginName,
    /// Which of the two said so: [`Relation::Before`] is the word of `earlier`, [`Relation::After`] that of `later`.
    pub declared: Relation,
}

impl Edge {
    /// The plugin whose placement has this constraint.
    #[must_use]
    pub fn declared_by(&self) -> &PluginName {
        match self.declared {
            Relation::Before => &self.earlier,
            Relation::After => &self.later,
        }
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.declared {
            Relation::Before => write!(f, "`{}` declares before `{}`", self.earlier, self.later),
            Relation::After => write!(f, "`{}` declares after `{}`", self.later, self.earlier),
        }
    }
}

/// The handlers of a tap cannot be put in order. Plugins and configuration together are at fault; the operator has the
/// last word over both, so the operator has to act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// The constraints run in a circle.
    #[error("the order of tap `{tap}` has a cycle: {}", Cycle(edges))]
    Cycle {
        /// The tap.
        tap: TapName,
        /// The constraints of the circle: each one's `later` is the next one's `earlier`.
        edges: Vec<Edge>,
    },
    /// A plugin wants to be both `first` and `last`.
    #[error("plugin `{plugin}` is both first and last in tap `{tap}`")]
    FirstAndLast {
        /// The tap.
        tap: TapName,
        /// The plugin.
        plugin: PluginName,
    },
    /// A plugin names itself in `before` or `after`.
    #[error("plugin `{plugin}` wants to be {relation} itself in tap `{tap}`")]
    Itself {
        /// The tap.
        tap: TapName,
        /// The plugin.
        plugin: PluginName,
        /// In which of its lists.
        relation: Relation,
    },
    /// A plugin was given twice.
    #[error("plugin `{plugin}` has two handlers in tap `{tap}`")]
    Twice {
        /// The tap.
        tap: TapName,
        /// The plugin.
        plugin: PluginName,
    },
}

impl OrderError {
    /// What to do, in one sentence, where there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cycle { edges, .. } => edges.first().map(|edge| {
                format!(
                    "override `{}` of plugin `{}` in the configuration with a list without `{}`",
                    edge.declared,
                    edge.declared_by(),
                    if edge.declared == Relation::Before { &edge.later } else { &edge.earlier },
                )
            }),
            Self::FirstAndLast { plugin, .. } => {
                Some(format!("override `first` or `last` of plugin `{plugin}` with `false` in the configuration"))
            }
            Self::Itself { plugin, relation, .. } => {
                Some(format!("override `{relation}` of plugin `{plugin}` in the configuration with a list without it"))
            }
            Self::Twice { .. } => Some("load the plugin once, or give one of the two another name".to_owned()),
        }
    }
}

/// Spells a cycle out: the way round, then who declared each step.
struct Cycle<'a>(&'a [Edge]);

impl fmt::Display for Cycle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for edge in self.0 {
            write!(f, "{} before ", edge.earlier)?;
        }
        if let Some(start) = self.0.first() {
            write!(f, "{} (", start.earlier)?;
        }
        for (index, edge) in self.0.iter().enumerate() {
            write!(f, "{}{edge}", if index == 0 { "" } else { ", " })?;
        }
        f.write_str(")")
    }
}

/// Finds a cycle among `rest`, the ranks that could not be sorted. Every one of them has a predecessor in `rest`, so
/// walking from predecessor to predecessor has to come round.
pub(super) fn cycle(tap: &TapName, nodes: &[Node], rest: &[usize]) -> OrderError {
    let mut path: Vec<usize> = rest.first().copied().into_iter().collect();
    while let Some(&here) = path.last() {
        let Some(&earlier) = nodes[here].predecessors.iter().filter(|rank| rest.contains(rank)).min() else {
            break;
        };
        if let Some(start) = path.iter().position(|&rank| rank == earlier) {
            path.drain(..start);
            break;
        }
        path.push(earlier);
    }
    // The walk went backwards, and where it began says nothing: start with the smallest rank.
    path.reverse();
    let smallest = path.iter().enumerate().min_by_key(|(_, rank)| **rank).map_or(0, |(index, _)| index);
    path.rotate_left(smallest);
    let edge = |(index, &rank): (usize, &usize)| {
        let later = path[(index + 1) % path.len()];
        let own = nodes[rank].successors.get(&later).copied().unwrap_or_default();
        Edge {
            earlier: nodes[rank].plugin.clone(),
            later: nodes[later].plugin.clone(),
            declared: if own { Relation::Before } else { Relation::After },
        }
    };
    OrderError::Cycle { tap: tap.clone(), edges: path.iter().enumerate().map(edge).collect() }
}
