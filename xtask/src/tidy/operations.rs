//! What `docs/operations.md` owes to whoever is called at night: a section for each alert, and none for others.

use std::collections::BTreeSet;

use super::{Problem, Tree, alerts};

const DOCUMENT: &str = "docs/operations.md";

pub(super) fn check(tree: &Tree<'_>) -> Vec<Problem> {
    let alerts = alerts::named(tree, "- alert:");
    let Some(document) = tree.text(DOCUMENT) else {
        let is_owed = !alerts.is_empty();
        let missing = Problem::new(DOCUMENT, "it is missing", "write a section for each alert");
        return is_owed.then_some(missing).into_iter().collect();
    };

    let mut problems = Vec::new();
    let sections: BTreeSet<&str> =
        document.lines().filter_map(|line| line.strip_prefix("### ")).map(|title| title.trim_matches('`')).collect();
    for alert in alerts.iter().filter(|alert| !sections.contains(alert.as_str())) {
        let fix = format!("write a section `### {alert}`: what it means, and what to do");
        problems.push(Problem::new(DOCUMENT, format!("nothing about the alert {alert}"), fix));
    }
    for section in sections.iter().filter(|title| title.starts_with("Tapline")) {
        if !alerts.contains(*section) {
            problems.push(Problem::new(DOCUMENT, format!("there is no alert {section}"), "take its section out"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::made_up::Directory;
    use super::*;

    const RULES: &str = "deploy/observability/rules.yml";

    fn found(rules: &str, document: &str) -> Vec<String> {
        let directory = Directory::new(&[(RULES, rules), (DOCUMENT, document)]);
        check(&directory.tree(&[RULES, DOCUMENT])).iter().map(ToString::to_string).collect()
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
    fn alerts_without_a_document() {
        let directory = Directory::new(&[(RULES, "- alert: TaplineDown")]);
        assert_eq!(check(&directory.tree(&[RULES])).len(), 1);
        assert!(check(&Directory::new(&[]).tree(&[])).is_empty());
    }
}
