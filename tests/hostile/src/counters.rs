//! What the host counts: about one plugin, and of the plugins that it refuses.

use std::collections::BTreeMap;

use tapline_host_core::Host;

/// Counters by name and the labels beside `plugin` and `tap`, for example
/// `tapline_tap_invocations_total{outcome="trap"}`. Only those that are not 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Those of one plugin, read as a scraper would.
    #[must_use]
    pub fn of(host: &Host, plugin: &str) -> Self {
        let ours = format!("plugin=\"{plugin}\"");
        Self::read(host, |name, labels| name != YIELDS && labels.contains(&ours.as_str()))
    }

    /// Plugins that the host refused, by why. They have no series of their own: whoever is refused leaves none behind.
    #[must_use]
    pub fn of_refused_loads(host: &Host) -> Self {
        Self::read(host, |name, _| name == LOADS_REFUSED)
    }

    fn read(host: &Host, wanted: impl Fn(&str, &[&str]) -> bool) -> Self {
        let text = host.metrics().render().unwrap();
        let mut counters = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Some((name, labels)) = series.trim_end_matches('}').split_once('{') else { continue };
            let labels: Vec<&str> = labels.split(',').collect();
            if !name.ends_with("_total") || value == "0" || !wanted(name, &labels) {
                continue;
            }
            let of_one = |label: &&str| label.starts_with("plugin=") || label.starts_with("tap=");
            let rest: Vec<&str> = labels.into_iter().filter(|label| !of_one(label)).collect();
            let key = if rest.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", rest.join(",")) };
            *counters.entry(key).or_default() += value.parse::<u64>().unwrap();
        }
        Self(counters)
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let difference = |(key, value): (&String, &u64)| {
            let moved = value - earlier.0.get(key).copied().unwrap_or_default();
            (moved > 0).then(|| (key.clone(), moved))
        };
        Self(self.0.iter().filter_map(difference).collect())
    }

    /// One of them; 0 when it never moved.
    #[must_use]
    pub fn get(&self, key: &str) -> u64 {
        self.0.get(key).copied().unwrap_or_default()
    }

    /// Calls that ended with `outcome`, as the metrics spell it.
    #[must_use]
    pub fn outcome(&self, outcome: &str) -> u64 {
        self.get(&outcome_key(outcome))
    }

    /// Calls, however they ended.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.iter().filter(|(key, _)| key.starts_with(INVOCATIONS)).map(|(_, value)| value).sum()
    }

    /// The names of those that are not 0, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// All that are not 0, by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(key, value)| (key.as_str(), *value))
    }
}

/// How often a guest ran into a tick of the clock is chance, and the same guest may do so or not: no counter to compare.
const YIELDS: &str = "tapline_epoch_yields_total";

const INVOCATIONS: &str = "tapline_tap_invocations_total";
const LOADS_REFUSED: &str = "tapline_loads_refused_total";

pub(crate) fn outcome_key(outcome: &str) -> String {
    format!("{INVOCATIONS}{{outcome=\"{outcome}\"}}")
}

pub(crate) fn refusal_key(reason: &str) -> String {
    format!("{LOADS_REFUSED}{{reason=\"{reason}\"}}")
}
