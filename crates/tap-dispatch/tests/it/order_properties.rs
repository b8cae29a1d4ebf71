//! What holds for every order.

use proptest::prelude::*;
use tapline_tap_dispatch::{OrderError, Placement, PluginName, TapName, resolve};

fn name(index: usize) -> String {
    format!("p{index}")
}

type Plugins = Vec<(PluginName, Placement)>;

/// Up to nine plugins, with up to two constraints each; some constraints name plugins that are not there.
fn plugins() -> impl Strategy<Value = Plugins> {
    let names = || prop::collection::vec((0..11_usize).prop_map(name), 0..2);
    let placement = (-2..3_i32, names(), names(), 0..6_u8).prop_map(|(weight, before, after, group)| Placement {
        weight,
        before,
        after,
        first: group == 0,
        last: group == 1,
    });
    prop::collection::vec(placement, 0..9).prop_map(|placements| {
        let named = placements.into_iter().enumerate().map(|(index, mut placement)| {
            let own = name(index);
            placement.before.retain(|other| *other != own);
            placement.after.retain(|other| *other != own);
            (PluginName::new(&own).unwrap(), placement)
        });
        named.collect()
    })
}

fn with_permutation() -> impl Strategy<Value = (Plugins, Plugins)> {
    plugins().prop_flat_map(|plugins| (Just(plugins.clone()), Just(plugins).prop_shuffle()))
}

/// The pairs of loaded plugins of which the first has to come before the second.
fn constraints(plugins: &[(PluginName, Placement)]) -> Vec<(String, String)> {
    let loaded = |other: &&String| plugins.iter().any(|(plugin, _)| plugin.as_str() == other.as_str());
    let mut pairs = Vec::new();
    for (plugin, placement) in plugins {
        pairs.extend(placement.before.iter().filter(loaded).map(|later| (plugin.to_string(), later.clone())));
        pairs.extend(placement.after.iter().filter(loaded).map(|earlier| (earlier.clone(), plugin.to_string())));
    }
    pairs
}

/// Whether the constraints have a cycle, found in another way than the crate does: by transitive closure.
fn has_cycle(pairs: &[(String, String)]) -> bool {
    let mut reach = pairs.to_vec();
    loop {
        let more: Vec<_> = reach
            .iter()
            .flat_map(|(a, b)| pairs.iter().filter(move |(c, _)| c == b).map(move |(_, d)| (a.clone(), d.clone())))
            .filter(|pair| !reach.contains(pair))
            .collect();
        match more.into_iter().next() {
            None => return reach.iter().any(|(a, b)| a == b),
            Some(pair) => reach.push(pair),
        }
    }
}

proptest! {
    #[test]
    fn every_permutation_gives_the_same((plugins, shuffled) in with_permutation()) {
        let tap = TapName::new("t").unwrap();
        prop_assert_eq!(resolve(&tap, plugins), resolve(&tap, shuffled));
    }

    #[test]
    fn constraints_hold_or_a_real_cycle_is_named(plugins in plugins()) {
        let pairs = constraints(&plugins);
        match resolve(&TapName::new("t").unwrap(), plugins.clone()) {
            Ok(order) => {
                prop_assert!(!has_cycle(&pairs));
                let mut names: Vec<_> = order.plugins().to_vec();
                let place = |name: &str| names.iter().position(|plugin| plugin.as_str() == name).unwrap();
                for (earlier, later) in &pairs {
                    prop_assert!(place(earlier) < place(later), "{earlier} before {later}\n{}", order.explain());
                }
                names.sort();
                let mut all: Vec<_> = plugins.into_iter().map(|(plugin, _)| plugin).collect();
                all.sort();
                prop_assert_eq!(names, all);
                prop_assert!(order.entries().iter().all(|entry| !entry.reasons.is_empty()));
                prop_assert!(order.entries().iter().map(|entry| &entry.plugin).eq(order.plugins()));
            }
            Err(OrderError::Cycle { edges, .. }) => {
                prop_assert!(has_cycle(&pairs));
                prop_assert!(!edges.is_empty());
                for (index, edge) in edges.iter().enumerate() {
                    prop_assert_eq!(&edge.later, &edges[(index + 1) % edges.len()].earlier);
                    prop_assert!(pairs.contains(&(edge.earlier.to_string(), edge.later.to_string())));
                    let (_, placement) = plugins.iter().find(|(plugin, _)| plugin == edge.declared_by()).unwrap();
                    let said = if edge.declared_by() == &edge.earlier { &placement.before } else { &placement.after };
                    let other = if edge.declared_by() == &edge.earlier { &edge.later } else { &edge.earlier };
                    prop_assert!(said.iter().any(|name| name == other.as_str()));
                }
            }
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }

    #[test]
    fn without_constraints_the_order_is_the_sorted_one(plugins in plugins()) {
        let mut free = plugins;
        for (_, placement) in &mut free {
            placement.before.clear();
            placement.after.clear();
        }
        let order = resolve(&TapName::new("t").unwrap(), free.clone()).unwrap();
        free.sort_by_key(|(plugin, placement)| (!placement.first, placement.last, placement.weight, plugin.clone()));
        prop_assert!(free.iter().map(|(plugin, _)| plugin).eq(order.plugins()));
    }
}
