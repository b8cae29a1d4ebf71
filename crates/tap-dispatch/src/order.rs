//! The order of a tap's handlers.
//!
//! The natural order is: those that are `first`, then the others, then those that are `last`; inside each group by
//! weight, then by name. Constraints change it as little as they can:
//!
//! - `before` moves the plugin that says it ahead, to just before the one it names;
//! - `after` moves the plugin that says it back, to behind the one it names;
//! - what is `first`, or was moved ahead, takes along whatever has to come before it.
//!
//! The result depends on names and placements only, not on the order of the input.

mod error;
mod explain;

use std::collections::BTreeMap;

pub use error::{Edge, OrderError};
pub use explain::{Entry, Reason, Relation};

use crate::{Placement, PluginName, TapName};

/// The handlers of one tap in the order of their turn, with the reasons. Made by [`resolve`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    tap: TapName,
    plugins: Vec<PluginName>,
    entries: Vec<Entry>,
}

impl Order {
    /// The tap.
    #[must_use]
    pub fn tap(&self) -> &TapName {
        &self.tap
    }

    /// The plugins in the order of their turn.
    #[must_use]
    pub fn plugins(&self) -> &[PluginName] {
        &self.plugins
    }

    /// What is known of each plugin's place, in the same order as [`Order::plugins`].
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// One plugin while its place is being found. Nodes are sorted by natural order; their index is their rank.
struct Node {
    plugin: PluginName,
    placement: Placement,
    /// Ranks of the nodes that come later, and whether this node asked for it with its own `before`.
    successors: BTreeMap<usize, bool>,
    /// Ranks of the nodes that come earlier.
    predecessors: Vec<usize>,
    /// The place this node aims for: its own rank, or the smaller one of a node that takes it along.
    target: usize,
}

/// Finds the order of a tap's handlers.
///
/// A name in `before` or `after` that no plugin has is not an error: the order notes it as not loaded.
///
/// # Errors
///
/// [`OrderError`] when a plugin is given twice, is both `first` and `last`, or names itself, and when the constraints
/// have a cycle. All of them are the operator's to solve, by an override or by leaving a plugin out.
pub fn resolve(tap: &TapName, plugins: Vec<(PluginName, Placement)>) -> Result<Order, OrderError> {
    let mut nodes = natural_order(tap, plugins)?;
    let ranks = link(tap, &mut nodes)?;
    let sorted = if nodes.iter().all(|node| node.successors.is_empty()) {
        // As nearly always: nobody asked for anything that a weight does not say.
        (0..nodes.len()).collect()
    } else {
        let sorted = topological(&nodes).map_err(|rest| error::cycle(tap, &nodes, &rest))?;
        take_along(&mut nodes, &sorted);
        // The targets never contradict the constraints, so the same nodes can be sorted again.
        topological(&nodes).map_err(|rest| error::cycle(tap, &nodes, &rest))?
    };
    Ok(Order {
        tap: tap.clone(),
        plugins: sorted.iter().map(|&rank| nodes[rank].plugin.clone()).collect(),
        entries: sorted.iter().map(|&rank| explain::entry(&nodes, &ranks, rank)).collect(),
    })
}

fn natural_order(tap: &TapName, mut plugins: Vec<(PluginName, Placement)>) -> Result<Vec<Node>, OrderError> {
    plugins.sort_by(|(a, _), (b, _)| a.cmp(b));
    if let Some(pair) = plugins.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(OrderError::Twice { tap: tap.clone(), plugin: pair[0].0.clone() });
    }
    if let Some((plugin, _)) = plugins.iter().find(|(_, placement)| placement.first && placement.last) {
        return Err(OrderError::FirstAndLast { tap: tap.clone(), plugin: plugin.clone() });
    }
    // A stable sort: equal weights stay sorted by name.
    plugins.sort_by_key(|(_, placement)| group_and_weight(placement));
    let node = |(target, (plugin, placement))| Node {
        plugin,
        placement,
        successors: BTreeMap::new(),
        predecessors: Vec::new(),
        target,
    };
    Ok(plugins.into_iter().enumerate().map(node).collect())
}

fn group_and_weight(placement: &Placement) -> (i8, i32) {
    (i8::from(placement.last) - i8::from(placement.first), placement.weight)
}

/// Draws the edges. The answer has the rank of every plugin, by its name.
fn link(tap: &TapName, nodes: &mut [Node]) -> Result<BTreeMap<PluginName, usize>, OrderError> {
    let ranks: BTreeMap<PluginName, usize> =
        nodes.iter().enumerate().map(|(rank, node)| (node.plugin.clone(), rank)).collect();
    // All `before` come ahead of all `after`, so that an edge which both sides declare counts as the earlier one's own.
    for relation in [Relation::Before, Relation::After] {
        for rank in 0..nodes.len() {
            let placement = &nodes[rank].placement;
            let named = match relation {
                Relation::Before => &placement.before,
                Relation::After => &placement.after,
            };
            let others: Vec<usize> = named.iter().filter_map(|name| ranks.get(name.as_str()).copied()).collect();
            for other in others {
                if other == rank {
                    return Err(OrderError::Itself { tap: tap.clone(), plugin: nodes[rank].plugin.clone(), relation });
                }
                let (earlier, later, own) = match relation {
                    Relation::Before => (rank, other, true),
                    Relation::After => (other, rank, false),
                };
                if let std::collections::btree_map::Entry::Vacant(edge) = nodes[earlier].successors.entry(later) {
                    edge.insert(own);
                    nodes[later].predecessors.push(earlier);
                }
            }
        }
    }
    Ok(ranks)
}

/// Sorts so that every constraint holds and, among the nodes that are free to come next, the lowest target goes first.
/// `Err` has the ranks that are on a cycle or behind one.
fn topological(nodes: &[Node]) -> Result<Vec<usize>, Vec<usize>> {
    let mut waits_for: Vec<usize> = nodes.iter().map(|node| node.predecessors.len()).collect();
    let mut free: std::collections::BTreeSet<(usize, usize)> =
        (0..nodes.len()).filter(|&rank| waits_for[rank] == 0).map(|rank| (nodes[rank].target, rank)).collect();
    let mut sorted = Vec::with_capacity(nodes.len());
    while let Some((_, rank)) = free.pop_first() {
        sorted.push(rank);
        for &later in nodes[rank].successors.keys() {
            waits_for[later] -= 1;
            if waits_for[later] == 0 {
                free.insert((nodes[later].target, later));
            }
        }
    }
    if sorted.len() == nodes.len() {
        Ok(sorted)
    } else {
        Err((0..nodes.len()).filter(|&rank| waits_for[rank] > 0).collect())
    }
}

/// Lowers the targets of the nodes that are moved ahead or taken along. Goes through `sorted` from its end, so that a
/// node's successors have their final targets when its turn comes.
fn take_along(nodes: &mut [Node], sorted: &[usize]) {
    for &rank in sorted.iter().rev() {
        let pulled = nodes[rank].successors.iter().filter_map(|(&later, &own)| {
            let successor = &nodes[later];
            let pulls = own || successor.placement.first || successor.target < later;
            pulls.then_some(successor.target)
        });
        nodes[rank].target = pulled.min().map_or(rank, |target| target.min(rank));
    }
}
