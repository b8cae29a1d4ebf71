//! One purpose, one sentence, three places.

use super::{Problem, Tree};
use crate::workspace::Package;

pub(super) fn check(tree: &Tree<'_>, packages: &[Package]) -> Vec<Problem> {
    let readme = tree.text("README.md").unwrap_or_default();
    let mut problems = Vec::new();
    for package in packages {
        let purpose = &package.description;
        if purpose.is_empty() {
            let manifest = format!("{}/Cargo.toml", package.directory);
            problems.push(Problem::new(manifest, "has no description", "say in one sentence what the package is for"));
            continue;
        }
        let text = tree.text(&package.entry).unwrap_or_default();
        let wanted = format!("//! {purpose}");
        if text.lines().next() != Some(wanted.as_str()) {
            let wrong = "the first line is not the description of Cargo.toml";
            problems.push(Problem::new(&package.entry, wrong, format!("make both say: {wanted}")));
        }
        let wanted = row(package);
        if !readme.lines().any(|line| line.trim_end() == wanted) {
            let wrong = format!("no row gives the purpose of {}", package.name);
            problems.push(Problem::new("README.md", wrong, format!("put this line into the table: {wanted}")));
        }
    }
    problems
}

fn row(package: &Package) -> String {
    format!("| [`{}`]({}) | {} |", package.name, package.directory, package.description)
}

#[cfg(test)]
mod tests {
    use super::super::made_up::Directory;
    use super::*;

    fn package() -> Package {
        Package {
            name: "tapline-limits".to_owned(),
            description: "How much.".to_owned(),
            directory: "crates/limits".to_owned(),
            entry: "crates/limits/src/lib.rs".to_owned(),
            ..Package::default()
        }
    }

    fn wrong(package: &Package, code: &str, readme: &str) -> Vec<String> {
        let directory = Directory::new(&[("crates/limits/src/lib.rs", code), ("README.md", readme)]);
        check(&directory.tree(&[]), std::slice::from_ref(package)).into_iter().map(|problem| problem.file).collect()
    }

    #[test]
    fn three_equal_sentences_pass() {
        let readme = "# T\n\n| [`tapline-limits`](crates/limits) | How much. |\n";
        assert!(wrong(&package(), "//! How much.\n\nfn f() {}\n", readme).is_empty());
    }

    #[test]
    fn each_place_that_differs_is_named() {
        let readme = "| [`tapline-limits`](crates/limits) | How much. |";
        assert_eq!(wrong(&package(), "//! How much", readme), ["crates/limits/src/lib.rs"]);
        assert_eq!(wrong(&package(), "\n//! How much.", readme), ["crates/limits/src/lib.rs"]);
        assert_eq!(wrong(&package(), "//! How much.", "| `tapline-limits` | How much. |"), ["README.md"]);
        assert_eq!(wrong(&package(), "", ""), ["crates/limits/src/lib.rs", "README.md"]);
        let nameless = Package { description: String::new(), ..package() };
        assert_eq!(wrong(&nameless, "", ""), ["crates/limits/Cargo.toml"]);
    }
}
