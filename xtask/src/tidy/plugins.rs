//! Every plugin is built, and some test of the host calls it.

use std::collections::BTreeMap;

use super::{Problem, Tree};
use crate::build_plugins::plugin_name;
use crate::workspace::Package;

/// Where tests find components. Tests that never name this directory call no plugin, whatever names they make up.
const COMPONENTS: &str = "target/plugins";

pub(super) fn check(tree: &Tree<'_>, packages: &[Package]) -> Vec<Problem> {
    let mut tests: BTreeMap<String, String> = BTreeMap::new();
    for (path, text) in tree.texts(".rs") {
        if let Some(package) = tested(path) {
            tests.entry(package).or_default().push_str(&text);
        }
    }
    tests.retain(|_, text| text.contains(COMPONENTS));
    let mut problems = Vec::new();
    for package in packages.iter().filter(|package| package.directory.starts_with("plugins/")) {
        let name = plugin_name(&package.name);
        let literal = format!("\"{name}\"");
        let component = format!("{COMPONENTS}/{name}.wasm");
        if !tests.values().any(|text| text.contains(&literal) || text.contains(&component)) {
            let fix = format!("write one in crates/*/tests that loads {literal} from {COMPONENTS}");
            problems.push(Problem::new(&package.directory, "no test calls this plugin", fix));
        }
        if !tree.exists(&component) {
            problems.push(Problem::new(component, "not built", "run `cargo xtask build-plugins`"));
        }
    }
    problems
}

/// The package `…` of a path `crates/…/tests/…`.
fn tested(path: &str) -> Option<String> {
    let (package, rest) = path.strip_prefix("crates/")?.split_once('/')?;
    rest.starts_with("tests/").then(|| package.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::made_up::Directory;
    use super::*;

    fn found(files: &[(&str, &str)], tracked: &[&str]) -> Vec<String> {
        let directory = Directory::new(files);
        let package = Package {
            name: "tapline-plugin-seo".to_owned(),
            directory: "plugins/seo".to_owned(),
            ..Package::default()
        };
        check(&directory.tree(tracked), &[package]).into_iter().map(|problem| problem.wrong).collect()
    }

    const BUILT: (&str, &str) = ("target/plugins/seo.wasm", "");
    const TEST: &str = "crates/server/tests/it/main.rs";
    const LOADS: &str = "load(\"target/plugins\", \"seo\")";

    #[test]
    fn built_and_called() {
        assert!(found(&[BUILT, (TEST, LOADS)], &[TEST]).is_empty());
        assert!(found(&[BUILT, (TEST, "load(\"target/plugins/seo.wasm\")")], &[TEST]).is_empty());
        let helper = "crates/server/tests/it/load.rs";
        let files = [BUILT, (TEST, "load(\"seo\")"), (helper, "let directory = \"../../target/plugins\";")];
        assert!(found(&files, &[TEST, helper]).is_empty());
    }

    #[test]
    fn a_name_elsewhere_is_no_call() {
        let code = "crates/server/src/lib.rs";
        assert_eq!(found(&[BUILT, (code, LOADS)], &[code]), ["no test calls this plugin"]);
        assert_eq!(found(&[BUILT, (TEST, "target/plugins seo")], &[TEST]), ["no test calls this plugin"]);
        assert_eq!(found(&[BUILT, (TEST, "order(\"seo\")")], &[TEST]), ["no test calls this plugin"]);
        let other = "crates/cli/tests/it/main.rs";
        let files = [BUILT, (TEST, "order(\"seo\")"), (other, "target/plugins")];
        assert_eq!(found(&files, &[TEST, other]), ["no test calls this plugin"]);
    }

    #[test]
    fn a_plugin_that_is_not_built() {
        assert_eq!(found(&[(TEST, LOADS)], &[TEST]), ["not built"]);
    }
}
