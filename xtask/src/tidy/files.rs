//! What no file may be or hold.

use super::{Problem, Tree};

/// A file that is longer has more than one idea in it.
const MAX_LINES: usize = 1000;

pub(super) fn check(tree: &Tree<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for path in &tree.paths {
        let name = path.rsplit('/').next().unwrap_or(path);
        if name == "mod.rs" {
            let named = path.trim_end_matches("/mod.rs");
            problems.push(Problem::new(path, "a module file without a name", format!("call it {named}.rs")));
        }
        if name.ends_with(".wasm") {
            problems.push(Problem::new(path, "compiled code", "take it out of git, and build it where it is used"));
        }
    }
    // The words are put together here, so that this file does not contain them.
    let ignored_test = concat!("#[", "ignore");
    let ignored_example = concat!("```", "ignore");
    for (path, text) in tree.texts(".rs") {
        let lines = text.lines().count();
        if lines > MAX_LINES {
            problems.push(Problem::new(path, format!("{lines} lines"), format!("split it: at most {MAX_LINES}")));
        }
        for (number, line) in text.lines().enumerate() {
            let place = || format!("{path}:{}", number + 1);
            if line.trim_start().starts_with(ignored_test) {
                problems.push(Problem::new(place(), "an ignored test", "make it pass, or take it out"));
            }
            if line.contains(ignored_example) {
                problems.push(Problem::new(place(), "an ignored example", "make it compile, or mark it as text"));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::made_up::Directory;
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let directory = Directory::new(&[(path, text)]);
        check(&directory.tree(&[path])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_thousand_lines_are_enough() {
        assert!(found("a.rs", &"x\n".repeat(1000)).is_empty());
        assert_eq!(found("a.rs", &"x\n".repeat(1001)), ["a.rs: 1001 lines; split it: at most 1000"]);
        assert!(found("a.md", &"x\n".repeat(1001)).is_empty());
    }

    #[test]
    fn nothing_is_ignored() {
        let test = format!("fn f() {{}}\n  {}\n", concat!("#[", "ignore = \"slow\"]"));
        assert_eq!(found("a.rs", &test), ["a.rs:2: an ignored test; make it pass, or take it out"]);
        let example = format!("/// {}\n", concat!("```", "ignore"));
        assert_eq!(found("a.rs", &example), ["a.rs:1: an ignored example; make it compile, or mark it as text"]);
    }

    #[test]
    fn files_of_the_wrong_kind() {
        assert_eq!(found("src/a/mod.rs", ""), ["src/a/mod.rs: a module file without a name; call it src/a.rs"]);
        assert_eq!(
            found("x/seo.wasm", "")[0],
            "x/seo.wasm: compiled code; take it out of git, and build it where it is used"
        );
        assert!(found("src/amod.rs", "").is_empty());
    }
}
