//! Names of metrics where somebody asks for them: in the guides for the night and for limits, in the rules, in the dashboards.

use std::collections::BTreeSet;

use super::{Problem, Tree, alerts};

const METRICS: &str = "docs/metrics.md";
const GUIDES: [&str; 2] = ["docs/operations.md", "docs/limits.md"];
const RULES: &str = "deploy/observability/rules.yml";
const DASHBOARDS: &str = "deploy/observability/dashboards/";

pub(super) fn check(tree: &Tree<'_>) -> Vec<Problem> {
    let asking = tree.paths.iter().map(String::as_str).filter(|path| asks(path));
    let texts: Vec<(&str, String)> = asking.filter_map(|path| Some((path, tree.text(path)?))).collect();
    let known = known(&tree.text(METRICS).unwrap_or_default());
    if known.is_empty() && !texts.is_empty() {
        return vec![Problem::new(METRICS, "it names no metric", "write it from crates/metrics/src/instrument.rs")];
    }
    let families: BTreeSet<&str> = known.iter().filter_map(|name| Some(name.split_once('_')?.0)).collect();
    let recorded = alerts::named(tree, "- record:");

    let mut problems = Vec::new();
    for (path, text) in &texts {
        for (number, line) in text.lines().enumerate() {
            for word in words(line) {
                let is_recorded = word.contains(':') && word.starts_with("tapline:");
                let is_metric = word.split_once('_').is_some_and(|(family, _)| families.contains(family));
                if (is_recorded && !recorded.contains(word)) || (is_metric && !is_recorded && !known.contains(word)) {
                    let place = format!("{path}:{}", number + 1);
                    problems.push(Problem::new(place, format!("no metric is called {word}"), format!("see {METRICS}")));
                }
            }
        }
    }
    problems
}

/// Whether this file asks for metrics by their names.
fn asks(path: &str) -> bool {
    let is_dashboard = path.starts_with(DASHBOARDS) && path.ends_with(".json");
    is_dashboard || GUIDES.contains(&path) || path == RULES
}

/// What may be names. A colon at the end belongs to the sentence.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split(|letter: char| !(letter.is_ascii_alphanumeric() || matches!(letter, '_' | ':')));
    words.map(|word| word.trim_end_matches(':'))
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

    const DASHBOARD: &str = "deploy/observability/dashboards/a.json";
    const TABLE: &str =
        "| `tapline_calls_total` | counter |\n| `tapline_time_seconds` | histogram |\n| `rss_bytes` | gauge |\n";

    fn found(path: &str, text: &str) -> Vec<String> {
        let recording = ("deploy/observability/recording.yml", "  - record: tapline:x:ratio5m\n");
        let directory = Directory::new(&[recording, (METRICS, TABLE), (path, text)]);
        check(&directory.tree(&[recording.0, METRICS, path])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn metrics_and_recorded_names_exist() {
        let good = "`rate(tapline_time_seconds_bucket[5m])`, rss_bytes / `tapline:x:ratio5m`, `pool_size`, TAPLINE_LOG";
        assert!(found(GUIDES[0], good).is_empty());
        assert_eq!(
            found(GUIDES[0], "text\n`rate(tapline_cals_total[5m])` `tapline:y` tapline_calls_total_sum"),
            [
                "docs/operations.md:2: no metric is called tapline_cals_total; see docs/metrics.md",
                "docs/operations.md:2: no metric is called tapline:y; see docs/metrics.md",
                "docs/operations.md:2: no metric is called tapline_calls_total_sum; see docs/metrics.md",
            ]
        );
    }

    #[test]
    fn so_they_do_in_rules_and_dashboards() {
        assert!(found(RULES, "action: \"Compare it with rss_bytes: what is not there is elsewhere.\"\n").is_empty());
        assert_eq!(
            found(RULES, "expr: rate(tapline_cals_total[5m])\n"),
            ["deploy/observability/rules.yml:1: no metric is called tapline_cals_total; see docs/metrics.md"]
        );
        assert!(found(DASHBOARD, "{\"expr\": \"sum by (plugin) (rate(tapline_calls_total[5m]))\"}").is_empty());
        assert_eq!(
            found(DASHBOARD, "{\n\"expr\": \"rss_bites / tapline:z\"}"),
            [
                "deploy/observability/dashboards/a.json:2: no metric is called rss_bites; see docs/metrics.md",
                "deploy/observability/dashboards/a.json:2: no metric is called tapline:z; see docs/metrics.md",
            ]
        );
    }

    #[test]
    fn other_files_may_say_what_they_like() {
        assert!(found("docs/other.md", "tapline_cals_total").is_empty());
        assert!(found("deploy/observability/rules.test.yml", "tapline_cals_total").is_empty());
    }

    #[test]
    fn without_the_table_nothing_is_known() {
        let directory = Directory::new(&[(GUIDES[0], "tapline_cals_total")]);
        let problems = check(&directory.tree(&[GUIDES[0]]));
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].wrong, "it names no metric");
        assert!(check(&Directory::new(&[]).tree(&[])).is_empty());
    }
}
