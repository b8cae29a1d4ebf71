//! Each alert was tried: on a bad day, where it fires, and on a good one, where it does not.

use std::collections::BTreeSet;

use super::{Problem, Tree};

const DEPLOY: &str = "deploy/observability/";
const TESTS: &str = "deploy/observability/rules.test.yml";

pub(super) fn check(tree: &Tree<'_>) -> Vec<Problem> {
    let text = tree.text(TESTS).unwrap_or_default();
    let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("- name:"));
    let tests: BTreeSet<&str> = names.map(|name| name.trim().trim_matches('"')).collect();
    let mut problems = Vec::new();
    for alert in named(tree, "- alert:") {
        for day in ["bad", "good"] {
            let test = format!("{alert}: a {day} day");
            if !tests.contains(test.as_str()) {
                let fix = format!("write a test with `name: \"{test}\"`");
                problems.push(Problem::new(TESTS, format!("the alert {alert} has no {day} day"), fix));
            }
        }
    }
    problems
}

/// What follows this key in the rules: the names of alerts, or those of what is recorded.
pub(super) fn named(tree: &Tree<'_>, key: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, text) in tree.texts(".yml").filter(|(path, _)| path.starts_with(DEPLOY)) {
        let found = text.lines().filter_map(|line| line.trim_start().strip_prefix(key));
        names.extend(found.map(|name| name.trim().to_owned()));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::made_up::Directory;
    use super::*;

    const RULES: &str = "deploy/observability/rules.yml";

    fn found(tests: &str) -> Vec<String> {
        let rules = "rules:\n  - record: tapline:x\n    expr: x\n  - alert: TaplineDown\n    expr: y\n";
        let directory = Directory::new(&[(RULES, rules), (TESTS, tests)]);
        check(&directory.tree(&[RULES, TESTS])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_alert_has_two_days() {
        let (bad, good) = ("  - name: \"TaplineDown: a bad day\"\n", "  - name: \"TaplineDown: a good day\"\n");
        assert!(found(&format!("{bad}    interval: 1m\n{good}")).is_empty());
        let no_good = "deploy/observability/rules.test.yml: the alert TaplineDown has no good day; write a test with `name: \
                       \"TaplineDown: a good day\"`";
        assert_eq!(found(bad), [no_good]);
        assert_eq!(found(good).len(), 1);
        assert_eq!(found("").len(), 2);
    }

    #[test]
    fn another_name_is_no_day() {
        let other = "- name: \"TaplineDown: a bad day of a host\"\n# name: \"TaplineDown: a good day\"\n";
        assert_eq!(found(other).len(), 2);
    }

    #[test]
    fn alerts_and_recorded_names_are_told_apart() {
        let directory =
            Directory::new(&[(RULES, "- record: tapline:x\n- alert: TaplineDown\n"), ("a.yml", "- alert: A")]);
        let tree = directory.tree(&[RULES, "a.yml"]);
        assert_eq!(named(&tree, "- record:"), BTreeSet::from(["tapline:x".to_owned()]));
        assert_eq!(named(&tree, "- alert:"), BTreeSet::from(["TaplineDown".to_owned()]));
    }
}
