//! The rows that are other rows seen differently. They cost nothing until somebody looks.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use crate::histogram::Counts;
use crate::instrument::Id;
use crate::label::CacheLevel;
use crate::registry::{Families, Family, GONE, Samples};

/// The samples of a row that is derived from others. `None`: it is recorded.
pub(crate) fn derive(families: &Families, id: Id) -> Option<Samples> {
    Some(match id {
        Id::OpCpu => Samples::Histograms(of_modules(families, sums(families, Id::TapCpu, 0))),
        Id::OpLatency => Samples::Histograms(of_modules(families, sums(families, Id::TapDuration, 0))),
        Id::WasmColdStart => Samples::Histograms(vec![(Vec::new(), total(families, Id::Startup))]),
        Id::WasmWarmStart => Samples::Histograms(vec![(Vec::new(), total(families, Id::InstantiateDuration))]),
        Id::WasmInstantiates => numbers(families, &instantiates(families), |made, _| made),
        Id::WasmCacheHits => numbers(families, &instantiates(families), |made, compiled| made.saturating_sub(compiled)),
        Id::WasmCacheHitRate => {
            let instances = instantiates(families);
            let sum = instances.values().fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
            let rate = (sum.0 > 0).then(|| sum.0.saturating_sub(sum.1) as f64 / sum.0 as f64);
            // Without an instance there is no rate, and no sample.
            Samples::Numbers(rate.map(|rate| (Vec::new(), rate)).into_iter().collect())
        }
        Id::RiptideAotHits => one(loads(families, CacheLevel::Memory) + loads(families, CacheLevel::Disk)),
        Id::RiptideAotMisses => one(loads(families, CacheLevel::Compiled)),
        Id::WasmActiveVms => {
            let [in_use, idle] =
                [Id::PoolSlotsInUse, Id::PoolSlotsIdle].map(|id| families.number(id, &[]).load(Relaxed));
            one(in_use.saturating_sub(idle))
        }
        Id::WasmIdleVms => one(families.number(Id::PoolSlotsIdle, &[]).load(Relaxed)),
        _ => return None,
    })
}

/// The sum over all series of a histogram.
pub(crate) fn total(families: &Families, id: Id) -> Counts {
    let mut all = Counts::default();
    sums(families, id, 0).values().for_each(|counts| all.add(counts));
    all
}

/// The histograms of a row, added up by one of their labels; without labels, all of them.
fn sums(families: &Families, id: Id, label: usize) -> BTreeMap<String, Counts> {
    let mut sums: BTreeMap<String, Counts> = BTreeMap::new();
    if let Family::Histograms(series) = &*families.family(id) {
        for (labels, histogram) in series {
            let key = labels.get(label).cloned().unwrap_or_default();
            sums.entry(key).or_default().add(&histogram.counts());
        }
    }
    sums
}

fn of_modules<T>(families: &Families, by_module: BTreeMap<String, T>) -> Vec<(Vec<String>, T)> {
    let shown = by_module.into_iter().filter(|(module, _)| module != GONE);
    shown.map(|(module, value)| (families.module_labels(&module), value)).collect()
}

/// Instances that were made, and those among them whose code had to be compiled, by module.
fn instantiates(families: &Families) -> BTreeMap<String, (u64, u64)> {
    let mut instances: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    // The module is the third of the labels of a start.
    for (id, label) in [(Id::InstantiateDuration, 0), (Id::Startup, 2)] {
        for (module, counts) in sums(families, id, label) {
            instances.entry(module).or_default().0 += counts.count();
        }
    }
    for (module, (_, compiled)) in &mut instances {
        *compiled = families.module_value(Id::WasmCacheMisses, module);
    }
    instances
}

fn numbers(families: &Families, by_module: &BTreeMap<String, (u64, u64)>, of: fn(u64, u64) -> u64) -> Samples {
    let shown = by_module.iter().filter(|(module, _)| *module != GONE);
    let samples = shown.map(|(module, (a, b))| (families.module_labels(module), of(*a, *b) as f64));
    Samples::Numbers(samples.collect())
}

fn loads(families: &Families, level: CacheLevel) -> u64 {
    families.number(Id::CacheLoads, &[level.as_str()]).load(Relaxed)
}

fn one(number: u64) -> Samples {
    Samples::Numbers(vec![(Vec::new(), number as f64)])
}
