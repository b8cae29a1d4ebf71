//! What no file may be or hold.

use super::{Problem, Tree};

/// What comes before a call has five stages; this word says none of them.
const VAGUE: [&str; 2] = ["cold start", "cold-start"];
/// The stages, by the words that give them away.
const STAGES: [&str; 5] = ["process start", "compil", "load artifact", "instantiat", "take from stock"];

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
    let dashboards = tree.texts(".json").filter(|(path, _)| path.contains("dashboards/"));
    let pages = tree.texts(".html").chain(tree.texts(".yml"));
    problems.extend(tree.texts(".md").chain(dashboards).chain(pages).flat_map(|(path, text)| vague(path, &text)));
    problems
}

/// Lines of a document that speak of a cold start, and neither they nor the next ones say which stages that has. A decision
/// stays as it was written.
fn vague(path: &str, text: &str) -> Vec<Problem> {
    let lines: Vec<String> = text.lines().map(str::to_lowercase).collect();
    let says = |line: &String, words: &[&str]| words.iter().any(|word| line.contains(word));
    let is_vague = |number: &usize| {
        let near = &lines[number.saturating_sub(1)..lines.len().min(number + 2)];
        says(&lines[*number], &VAGUE) && !near.iter().any(|line| says(line, &STAGES))
    };
    let is_decision = path.starts_with("docs/decisions/");
    let found = (0..lines.len()).filter(|number| !is_decision && is_vague(number));
    let problem =
        |number| Problem::new(format!("{path}:{}", number + 1), "a cold start of no stage", "name its stages");
    found.map(problem).collect()
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
    fn a_start_has_stages() {
        let wrong = ["a.md:2: a cold start of no stage; name its stages"];
        assert_eq!(found("a.md", "One\nCold starts are fast.\nThree\n\nWhat it compiles.\n"), wrong);
        assert!(
            found("a.md", "A `cold-start` is\nload artifact and what follows; see `cold_start_target_ms`.\n")
                .is_empty()
        );
        assert!(found("docs/decisions/0001-a.md", "A cold start.\n").is_empty());
        assert_eq!(found("dashboards/a.json", "\"title\": \"Cold start\"").len(), 1);
        assert!(found("a.rs", "// A cold start.\n").is_empty());
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
