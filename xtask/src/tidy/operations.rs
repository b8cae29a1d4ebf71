//! What `docs/operations.md` owes to whoever is called at night: a section for each alert, and names that exist.

use std::collections::BTreeSet;

use super::{Problem, Tree};

const DOCUMENT: &str = "docs/operations.md";
const METRICS: &str = "docs/metrics.md";
const DEPLOY: &str = "deploy/observability/";

pub(super) fn check(tree: &Tree<'_>) -> Vec<Problem> {
    let rules: Vec<(&str, String)> = tree.texts(".yml").filter(|(path, _)| path.starts_with(DEPLOY)).collect();
    let named = |key: &'static str| {
        let lines = rules.iter().flat_map(|(_, text)| text.lines());
        lines.filter_map(move |line| line.trim_start().strip_prefix(key)).map(str::trim).collect::<BTreeSet<&str>>()
    };
    let (alerts, recorded) = (named("- alert:"), named("- record:"));
    let Some(document) = tree.text(DOCUMENT) else {
        let is_owed = !alerts.is_empty();
        let missing = Problem::new(DOCUMENT, "it is missing", "write a section for each alert");
        return is_owed.then_some(missing).into_iter().collect();
    };
    let metrics = tree.text(METRICS).unwrap_or_default();

    let mut problems = Vec::new();
    let sections: BTreeSet<&str> =
        document.lines().filter_map(|line| line.strip_prefix("### ")).map(|title| title.trim_matches('`')).collect();
    for alert in alerts.difference(&sections) {
        let fix = format!("write a section `### {alert}`: what it means, and what to do");
        problems.push(Problem::new(DOCUMENT, format!("nothing about the alert {alert}"), fix));
    }
    for section in sections.iter().filter(|title| title.starts_with("Tapline")) {
        if !alerts.contains(section) {
            problems.push(Problem::new(DOCUMENT, format!("there is no alert {section}"), "take its section out"));
        }
    }
    let known = known(&metrics);
    let families: BTreeSet<&str> = known.iter().filter_map(|name| Some(name.split_once('_')?.0)).collect();
    for (number, line) in document.lines().enumerate() {
        for word in line.split(|letter: char| !(letter.is_ascii_alphanumeric() || matches!(letter, '_' | ':'))) {
            let is_recorded = word.contains(':') && word.starts_with("tapline:");
            let is_metric = word.split_once('_').is_some_and(|(family, _)| families.contains(family));
            if (is_recorded && !recorded.contains(word)) || (is_metric && !is_recorded && !known.contains(word)) {
                let place = format!("{DOCUMENT}:{}", number + 1);
                problems.push(Problem::new(place, format!("no metric is called {word}"), format!("see {METRICS}")));
            }
        }
    }
    problems
}

/// The names of the table, with those of a histogram's samples.
fn known(metrics: &str) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for row in metrics.lines().filter_map(|line| line.strip_prefix("| `")) {
        let Some((name, rest)) = row.split_once('`') else { continue };
        known.insert(name.to_owned());
        if rest.starts_with(" | histogram ") {
            known.extend(["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")));
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::super::made_up::Directory;
    use super::*;

    const RULES: &str = "deploy/observability/rules.yml";
    const TABLE: &str =
        "| `tapline_calls_total` | counter |\n| `tapline_time_seconds` | histogram |\n| `rss_bytes` | gauge |\n";

    fn found(rules: &str, document: &str) -> Vec<String> {
        let directory = Directory::new(&[(RULES, rules), (METRICS, TABLE), (DOCUMENT, document)]);
        check(&directory.tree(&[RULES, METRICS, DOCUMENT])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_alert_has_its_section_and_each_section_its_alert() {
        let rules = "rules:\n  - record: tapline:x:ratio5m\n    expr: x\n  - alert: TaplineDown\n    expr: y\n";
        assert!(found(rules, "## Alerts\n### TaplineDown\n").is_empty());
        assert!(found(rules, "### `TaplineDown`\n### Other\n").is_empty());
        assert_eq!(
            found(rules, "### TaplineUp\n"),
            [
                "docs/operations.md: nothing about the alert TaplineDown; write a section `### TaplineDown`: what it means, and \
                 what to do",
                "docs/operations.md: there is no alert TaplineUp; take its section out",
            ]
        );
    }

    #[test]
    fn metrics_and_recorded_names_exist() {
        let rules = "  - record: tapline:x:ratio5m\n";
        let good = "`rate(tapline_time_seconds_bucket[5m])`, rss_bytes / `tapline:x:ratio5m`, `pool_size`, TAPLINE_LOG";
        assert!(found(rules, good).is_empty());
        assert_eq!(
            found(rules, "text\n`rate(tapline_cals_total[5m])` `tapline:y` tapline_calls_total_sum"),
            [
                "docs/operations.md:2: no metric is called tapline_cals_total; see docs/metrics.md",
                "docs/operations.md:2: no metric is called tapline:y; see docs/metrics.md",
                "docs/operations.md:2: no metric is called tapline_calls_total_sum; see docs/metrics.md",
            ]
        );
    }

    #[test]
    fn alerts_without_a_document() {
        let directory = Directory::new(&[(RULES, "- alert: TaplineDown")]);
        assert_eq!(check(&directory.tree(&[RULES])).len(), 1);
        assert!(check(&Directory::new(&[]).tree(&[])).is_empty());
    }
}
