//! Who may depend on whom.

use std::fs;

use anyhow::{Context as _, Result};

use super::{Mode, Problem, Tree};
use crate::workspace::Package;

/// Directories of packages, and of those that they may need. A `*` at the end stands for any rest; the first line that
/// fits a package counts. Dependencies for tests alone are free.
const EDGES: [(&str, &[&str]); 21] = [
    ("crates/limits", &[]),
    ("crates/cache", &[]),
    ("crates/metrics", &[]),
    ("crates/tap-dispatch", &[]),
    ("crates/telemetry", &[]),
    ("crates/host-core", &["crates/cache", "crates/limits", "crates/metrics", "crates/tap-dispatch"]),
    ("crates/function", &["crates/componentize", "crates/host-core"]),
    ("crates/content", &["crates/host-core"]),
    ("crates/host-*", &["crates/host-core"]),
    ("crates/store", &["crates/content", "crates/host-core"]),
    ("crates/server", &["crates/content", "crates/store", "crates/host-core", "crates/telemetry"]),
    ("crates/cli", &["crates/*"]),
    ("crates/componentize", &[]),
    ("sdk", &["sdk/macros"]),
    ("sdk/macros", &[]),
    ("sdk/testing", &["sdk"]),
    ("plugins/*", &["sdk"]),
    ("benches", &["*"]),
    ("benches/guests", &["sdk"]),
    ("xtask", &[]),
    ("tests/*", &["*"]),
];

const TABLE: &str = "xtask/src/tidy/edges.rs";
const DOCUMENT: &str = "ARCHITECTURE.md";
const BEGIN: &str = "<!-- edges -->";
const END: &str = "<!-- /edges -->";

/// Compares what packages need with the table.
pub(super) fn check(packages: &[Package]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in packages {
        let manifest = format!("{}/Cargo.toml", package.directory);
        let Some((_, allowed)) = EDGES.iter().find(|(pattern, _)| fits(pattern, &package.directory)) else {
            problems.push(Problem::new(manifest, "not in the table of edges", format!("add it to {TABLE}")));
            continue;
        };
        for need in package.needs.iter().filter(|need| !allowed.iter().any(|pattern| fits(pattern, need))) {
            problems.push(Problem::new(
                &manifest,
                format!("may not depend on {need}"),
                format!("take the dependency out, or change {TABLE} and say why in the commit"),
            ));
        }
    }
    problems
}

/// Compares the table in ARCHITECTURE.md with ours, or replaces it.
pub(super) fn document(tree: &Tree<'_>, mode: Mode) -> Result<Option<Problem>> {
    let Some(text) = tree.text(DOCUMENT) else {
        return Ok(Some(Problem::new(DOCUMENT, "is missing", format!("write it, with {BEGIN} and {END} in it"))));
    };
    let Some(wanted) = replaced(&text) else {
        let fix = format!("put the lines {BEGIN} and {END} where the table goes, then run `cargo xtask tidy --write`");
        return Ok(Some(Problem::new(DOCUMENT, "has no place for the table of edges", fix)));
    };
    if wanted == text {
        return Ok(None);
    }
    if mode == Mode::Write {
        fs::write(tree.root.join(DOCUMENT), wanted).with_context(|| format!("cannot write {DOCUMENT}"))?;
        return Ok(None);
    }
    Ok(Some(Problem::new(DOCUMENT, "shows another table of edges", "run `cargo xtask tidy --write`")))
}

fn replaced(text: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}{END}{after}", render()))
}

fn render() -> String {
    let mut text = "| package | may depend on |\n|---|---|\n".to_owned();
    for (package, allowed) in EDGES {
        let allowed = match allowed {
            [] => "none of ours".to_owned(),
            ["*"] => "all".to_owned(),
            names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        };
        text.push_str(&format!("| `{package}` | {allowed} |\n"));
    }
    text
}

fn fits(pattern: &str, directory: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => directory.starts_with(beginning),
        None => directory == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::Directory;
    use super::*;

    #[track_caller]
    fn wrong(directory: &str, needs: &[&str]) -> Vec<String> {
        let needs = needs.iter().map(ToString::to_string).collect();
        let package = Package { directory: directory.to_owned(), needs, ..Package::default() };
        check(&[package]).into_iter().map(|problem| problem.wrong).collect()
    }

    #[test]
    fn edges_of_the_table_are_allowed() {
        assert!(wrong("crates/host-core", &["crates/cache", "crates/limits"]).is_empty());
        assert!(wrong("crates/host-kv", &["crates/host-core"]).is_empty());
        assert!(wrong("crates/cli", &["crates/store", "crates/host-kv"]).is_empty());
        assert!(wrong("plugins/new", &["sdk"]).is_empty());
        assert!(wrong("benches", &["crates/content", "sdk"]).is_empty());
    }

    #[test]
    fn others_are_refused() {
        assert_eq!(wrong("crates/cache", &["crates/limits"]), ["may not depend on crates/limits"]);
        // host-core is not one of the host-* that may need it.
        assert_eq!(wrong("crates/host-core", &["crates/content"]), ["may not depend on crates/content"]);
        assert_eq!(wrong("crates/host-log", &["crates/host-database"]), ["may not depend on crates/host-database"]);
        assert_eq!(wrong("crates/cli", &["sdk"]), ["may not depend on sdk"]);
        assert_eq!(wrong("plugins/seo", &["sdk", "sdk/macros"]), ["may not depend on sdk/macros"]);
        assert_eq!(wrong("crates/unheard-of", &[]), ["not in the table of edges"]);
    }

    #[test]
    fn the_document_is_compared_and_written() {
        let old = format!("# A\n{BEGIN}\nold\n{END}\nrest\n");
        let directory = Directory::new(&[("ARCHITECTURE.md", &old)]);
        let tree = directory.tree(&[]);
        assert_eq!(document(&tree, Mode::Check).unwrap().unwrap().wrong, "shows another table of edges");
        assert_eq!(document(&tree, Mode::Write).unwrap(), None);
        assert_eq!(document(&tree, Mode::Check).unwrap(), None);
        let text = tree.text("ARCHITECTURE.md").unwrap();
        assert!(text.starts_with("# A\n") && text.ends_with("rest\n") && !text.contains("old"), "{text}");
        assert!(text.contains("| `crates/limits` | none of ours |\n"), "{text}");
    }

    #[test]
    fn a_missing_document_or_place_is_said() {
        let empty = Directory::new(&[]);
        assert_eq!(document(&empty.tree(&[]), Mode::Write).unwrap().unwrap().wrong, "is missing");
        let unmarked = Directory::new(&[("ARCHITECTURE.md", "text")]);
        let problem = document(&unmarked.tree(&[]), Mode::Write).unwrap().unwrap();
        assert_eq!(problem.wrong, "has no place for the table of edges");
    }
}
