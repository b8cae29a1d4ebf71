//! Code that may stand in few places only.

use super::{Problem, Tree};

const TABLE: &str = "xtask/src/tidy/sources.rs";

/// Code that is rare, and its places: the file of each, and why it is there. A file may have it as often as it is named.
struct Rare {
    is_in: fn(&str) -> bool,
    what: &'static str,
    fix: &'static str,
    places: &'static [(&'static str, &'static str)],
}

const RARE: [Rare; 2] = [
    Rare {
        is_in: makes_store,
        what: "makes a store",
        fix: "every store is made by the one constructor, in crates/host-core/src/call.rs",
        places: &[("crates/host-core/src/call.rs", "the one constructor, which sets every limit")],
    },
    Rare {
        is_in: makes_endless_channel,
        what: "makes a channel without bound",
        fix: "bound it, or say in xtask/src/tidy/sources.rs what keeps it short",
        places: &[
            ("crates/cache/src/worker.rs", "nothing is sent: its end is the message"),
            ("crates/cli/src/log_lines.rs", "MAX_WAITING_BYTES bounds what waits in it"),
        ],
    },
];

/// Where the tests of a file begin. They are at its end, as clippy sees to it.
const TESTS: &str = "\n#[cfg(test)]\nmod tests";

pub(super) fn check(tree: &Tree<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, text) in tree.texts(".rs").filter(|(path, _)| is_shipped(path)) {
        for rare in &RARE {
            let found: Vec<usize> =
                code(&text).filter(|(_, line)| (rare.is_in)(line)).map(|(number, _)| number).collect();
            let allowed = rare.places.iter().filter(|(place, _)| *place == path).count();
            for number in found.iter().skip(allowed) {
                problems.push(Problem::new(format!("{path}:{number}"), rare.what, rare.fix));
            }
            if found.len() < allowed {
                let wrong = format!("no longer {}", rare.what);
                problems.push(Problem::new(path, wrong, format!("take it out of {TABLE}")));
            }
        }
    }
    problems
}

/// Whether this is a file of what we ship, and not one of tests alone.
fn is_shipped(path: &str) -> bool {
    let Some((_, file)) = path.strip_prefix("crates/").and_then(|rest| rest.split_once('/')) else { return false };
    file.starts_with("src/") && !file.ends_with("/tests.rs") && !file.contains("/tests/")
}

/// The lines that are neither comments nor tests, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let shipped = text.split_once(TESTS).map_or(text, |(shipped, _)| shipped);
    let lines = shipped.lines().enumerate().map(|(number, line)| (number + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn makes_store(line: &str) -> bool {
    ["Store::new(", "Store::try_new(", "Store::<"].iter().any(|word| line.contains(word))
}

/// A channel of std takes no size, one of tokio only where it is called unbounded.
fn makes_endless_channel(line: &str) -> bool {
    let is_unsized = |rest: &str| {
        let is_import = rest.starts_with(';');
        is_import || rest.starts_with("()") || (rest.starts_with("::<") && rest.contains(">()"))
    };
    line.contains("unbounded_channel") || line.split("mpsc::channel").skip(1).any(is_unsized)
}

#[cfg(test)]
mod tests {
    use super::super::made_up::Directory;
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let directory = Directory::new(&[(path, text)]);
        check(&directory.tree(&[path])).iter().map(ToString::to_string).collect()
    }

    const CODE: &str = "crates/host-kv/src/lib.rs";
    const CONSTRUCTOR: &str = "crates/host-core/src/call.rs";
    const STORE: &str = "    let mut store = Store::new(&engine, ());\n";

    #[test]
    fn one_constructor_makes_every_store() {
        assert_eq!(
            found(CODE, &format!("fn f() {{\n{STORE}}}\n")),
            ["crates/host-kv/src/lib.rs:2: makes a store; every store is made by the one constructor, in \
              crates/host-core/src/call.rs"]
        );
        assert_eq!(found(CODE, "let store = wasmtime::Store::<u8>::new(&engine, 0);\n").len(), 1);
        assert!(found(CONSTRUCTOR, STORE).is_empty());
        assert_eq!(found(CONSTRUCTOR, &STORE.repeat(2)).len(), 1);
        assert_eq!(
            found(CONSTRUCTOR, "fn f() {}\n"),
            ["crates/host-core/src/call.rs: no longer makes a store; take it out of xtask/src/tidy/sources.rs"]
        );
    }

    #[test]
    fn comments_and_tests_are_free() {
        assert!(found(CODE, "//! let store = Store::new(&engine, ());\n    // Store::new(\n").is_empty());
        assert!(found(CODE, &format!("fn f() {{}}\n\n#[cfg(test)]\nmod tests {{\n{STORE}}}\n")).is_empty());
        assert_eq!(found(CODE, &format!("\n#[cfg(test)]\nuse a::b;\n\n{STORE}")).len(), 1);
        assert!(found("crates/host-kv/src/trim/tests.rs", STORE).is_empty());
        assert!(found("crates/host-kv/src/trim/tests/linked.rs", STORE).is_empty());
        assert!(found("crates/host-kv/tests/it/main.rs", STORE).is_empty());
        assert!(found("benches/src/main.rs", STORE).is_empty());
    }

    #[test]
    fn a_channel_has_a_bound() {
        let wrong = ["crates/host-kv/src/lib.rs:1: makes a channel without bound; bound it, or say in \
                      xtask/src/tidy/sources.rs what keeps it short"];
        assert_eq!(found(CODE, "let (sender, receiver) = mpsc::channel();\n"), wrong);
        assert_eq!(found(CODE, "let (sender, receiver) = std::sync::mpsc::channel::<()>();\n"), wrong);
        assert_eq!(found(CODE, "let (sender, receiver) = mpsc::unbounded_channel();\n"), wrong);
        assert_eq!(found(CODE, "use std::sync::mpsc::channel;\n"), wrong);
        assert!(found(CODE, "let (sender, receiver) = mpsc::channel(16);\n").is_empty());
        assert!(found(CODE, "let (sender, receiver) = mpsc::channel::<()>(16);\n").is_empty());
        assert!(found(CODE, "let (sender, receiver) = mpsc::sync_channel(1);\n").is_empty());
        assert!(found(CODE, "let (sender, receiver) = oneshot::channel();\n").is_empty());
    }

    #[test]
    fn a_channel_with_a_reason_is_allowed_once() {
        let channel = "let (messages, received) = mpsc::channel();\n";
        let path = "crates/cli/src/log_lines.rs";
        assert!(found(path, channel).is_empty());
        assert_eq!(found(path, &channel.repeat(2)).len(), 1);
        assert_eq!(found(path, "").len(), 1);
        assert!(found("crates/cache/src/worker.rs", "let (done, watch) = mpsc::channel::<()>();\n").is_empty());
    }
}
