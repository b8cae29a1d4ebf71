//! What a run has measured, beside the baseline.

use std::collections::{BTreeMap, BTreeSet};

use super::{KINDS, Kind, baseline::Baseline, kind};

/// What a run has measured.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// The values by their ids.
    pub values: BTreeMap<String, f64>,
    /// Kinds that were not measured, and why.
    pub skipped: BTreeMap<&'static str, String>,
}

/// What to say about a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Grown beyond its tolerance.
    Worse,
    /// Shrunk as far: time for a new baseline.
    Better,
    /// Neither.
    Same,
    /// The baseline does not have it.
    New,
    /// It is in the baseline, and is no longer there.
    Gone,
    /// It was not measured, or cannot be compared, for this reason.
    Skipped(String),
}

/// One value.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: &'static Kind,
    /// In the baseline.
    pub before: Option<f64>,
    /// In this run.
    pub now: Option<f64>,
    /// What to say about it.
    pub verdict: Verdict,
}

/// All values.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// In the order of the kinds, then by id.
    pub rows: Vec<Row>,
}

impl Comparison {
    /// Compares the kinds that `wanted` keeps.
    #[must_use]
    pub fn new(baseline: &Baseline, place: &super::baseline::Place, now: &Measured, wanted: &[&'static Kind]) -> Self {
        let ids: BTreeSet<_> = baseline.values.keys().chain(now.values.keys()).collect();
        let row = |id: &String| {
            let kind = kind(id).filter(|kind| wanted.iter().any(|wanted| wanted.name == kind.name))?;
            let (before, now_value) = (baseline.values.get(id).copied(), now.values.get(id).copied());
            let verdict = match (before, now_value) {
                (Some(before), Some(now)) => match place.apart(&baseline.place, kind.scope) {
                    Some(reason) => Verdict::Skipped(reason.to_owned()),
                    None => judge(kind, before, now),
                },
                (Some(_), None) => match now.skipped.get(kind.name) {
                    Some(reason) => Verdict::Skipped(reason.clone()),
                    None => Verdict::Gone,
                },
                (None, _) => Verdict::New,
            };
            Some(Row { id: id.clone(), kind, before, now: now_value, verdict })
        };
        let mut rows: Vec<_> = ids.into_iter().filter_map(row).collect();
        rows.sort_by_key(|row| KINDS.iter().position(|kind| kind.name == row.kind.name));
        Self { rows }
    }

    /// The values that got worse.
    #[must_use]
    pub fn worse(&self) -> Vec<&Row> {
        self.rows.iter().filter(|row| row.verdict == Verdict::Worse).collect()
    }
}

impl Row {
    /// By how much it has grown, in percent; none from zero.
    #[must_use]
    pub fn change(&self) -> Option<f64> {
        let (before, now) = (self.before?, self.now?);
        (before > 0.0).then(|| 100.0 * (now / before - 1.0))
    }
}

fn judge(kind: &Kind, before: f64, now: f64) -> Verdict {
    let beyond = |from: f64, to: f64| to > from * (1.0 + kind.tolerance / 100.0) && to - from > kind.slack;
    if beyond(before, now) {
        Verdict::Worse
    } else if beyond(now, before) {
        Verdict::Better
    } else {
        Verdict::Same
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::baseline::Place;

    fn every() -> Vec<&'static Kind> {
        KINDS.iter().collect()
    }

    fn values(list: &[(&str, f64)]) -> BTreeMap<String, f64> {
        list.iter().map(|(id, value)| ((*id).to_owned(), *value)).collect()
    }

    fn compare(before: &[(&str, f64)], now: &[(&str, f64)]) -> Comparison {
        let place = Place::here(true);
        let measured = Measured { values: values(now), ..Measured::default() };
        Comparison::new(&Baseline::new(place.clone(), values(before)), &place, &measured, &every())
    }

    #[test]
    fn each_kind_bites_beyond_its_tolerance_and_not_before() {
        for kind in KINDS {
            let id = format!("{}.teaser", kind.name);
            let factor = 1.0 + kind.tolerance / 100.0;
            let verdict = |now: f64| compare(&[(&id, 1000.0)], &[(&id, now)]).rows[0].verdict.clone();
            assert_eq!(verdict(1000.0 * factor + 1.0), Verdict::Worse, "{id}");
            assert_eq!(verdict(1000.0 * factor - 1.0), Verdict::Same, "{id}");
            assert_eq!(verdict(1000.0), Verdict::Same, "{id}");
            assert_eq!(verdict(500.0), Verdict::Better, "{id}");
        }
    }

    #[test]
    fn what_was_zero_may_not_become_one_in_each_tap() {
        let verdict = |now: f64| compare(&[("faults.teaser", 0.0)], &[("faults.teaser", now)]).rows[0].verdict.clone();
        assert_eq!(verdict(0.002), Verdict::Same);
        assert_eq!(verdict(1.0), Verdict::Worse);
    }

    #[test]
    fn new_gone_skipped_and_unwanted_values_are_not_worse() {
        let place = Place::here(true);
        let before = values(&[("artifact.old", 9.0), ("instructions.teaser", 5.0), ("tap.teaser", 1.0)]);
        let now = Measured {
            values: values(&[("artifact.new", 1e9), ("tap.teaser", 9.0)]),
            skipped: [("instructions", "valgrind is not installed".to_owned())].into(),
        };
        let counted: Vec<_> = KINDS.iter().filter(|kind| kind.counted).collect();
        let comparison = Comparison::new(&Baseline::new(place.clone(), before), &place, &now, &counted);
        let found: Vec<_> = comparison.rows.iter().map(|row| (row.id.as_str(), row.verdict.clone())).collect();
        assert_eq!(
            found,
            [
                ("artifact.new", Verdict::New),
                ("artifact.old", Verdict::Gone),
                ("instructions.teaser", Verdict::Skipped("valgrind is not installed".to_owned())),
            ]
        );
        assert!(comparison.worse().is_empty());
    }

    #[test]
    fn another_machine_is_no_reason_to_fail() {
        let here = Place::here(true);
        let there = Place { cpu: "faster".to_owned(), ..here.clone() };
        let before = Baseline::new(there, values(&[("tap.teaser", 1.0), ("allocations.teaser", 10.0)]));
        let now =
            Measured { values: values(&[("tap.teaser", 9.0), ("allocations.teaser", 90.0)]), ..Measured::default() };
        let comparison = Comparison::new(&before, &here, &now, &every());
        let worse: Vec<_> = comparison.worse().iter().map(|row| row.id.as_str()).collect();
        assert_eq!(worse, ["allocations.teaser"]);
    }
}
