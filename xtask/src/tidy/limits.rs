//! The table of limits: each row has the values that the code has, and names a metric that there is.

use super::{Problem, Tree};

const DOCUMENT: &str = "docs/limits.md";

/// Each row of the table, with the constants that it speaks of: file and name.
const ROWS: &[(&str, &[(&str, &str)])] = &[
    ("time", &[("crates/limits/src/limits.rs", "DEFAULT_MAX_EXECUTION_TIME_MS")]),
    ("memory", &[("crates/limits/src/limits.rs", "DEFAULT_MAX_MEMORY_BYTES")]),
    ("memories", &[("crates/limits/src/limits.rs", "DEFAULT_MAX_MEMORIES")]),
    ("table elements", &[("crates/limits/src/limits.rs", "DEFAULT_MAX_TABLE_ELEMENTS")]),
    ("tables", &[("crates/host-core/src/engine.rs", "TABLES_PER_COMPONENT")]),
    ("instances", &[("crates/limits/src/limits.rs", "DEFAULT_MAX_INSTANCES")]),
    ("nested components", &[("crates/host-core/src/load.rs", "MAX_NESTED_COMPONENTS")]),
    ("functions", &[("crates/limits/src/limits.rs", "DEFAULT_MAX_FUNCTIONS")]),
    ("functions, imports and globals of all instances", &[("crates/host-core/src/load.rs", "MAX_STATE_BYTES")]),
    ("data and elements that an instance starts with", &[("crates/host-core/src/load.rs", "MAX_SEGMENTS")]),
    (
        "imported interfaces, imported functions",
        &[("crates/host-core/src/functions.rs", "MAX_IMPORTS"), ("crates/host-core/src/functions.rs", "MAX_FUNCTIONS")],
    ),
    ("exported functions, for `tapline run`", &[("crates/host-core/src/exported.rs", "MAX_FUNCTIONS")]),
    (
        "tap records",
        &[
            ("crates/host-core/src/manifest.rs", "MAX_RECORDS"),
            ("crates/host-core/src/manifest.rs", "MAX_RECORD"),
            ("crates/host-core/src/manifest.rs", "MAX_NAMES"),
            ("crates/host-core/src/manifest.rs", "MAX_NAME"),
        ],
    ),
    ("stack", &[("crates/limits/src/limits.rs", "DEFAULT_MAX_STACK_SIZE_BYTES")]),
    ("fuel", &[("crates/limits/src/limits.rs", "DEFAULT_FUEL_LIMIT")]),
    (
        "answers and arguments",
        &[
            ("crates/host-core/src/config.rs", "DEFAULT_MAX_ANSWER_BYTES"),
            ("crates/cli/src/config.rs", "DEFAULT_MAX_ANSWER_BYTES"),
        ],
    ),
    ("handles", &[("crates/host-core/src/config.rs", "DEFAULT_MAX_HANDLES")]),
    (
        "output",
        &[
            ("crates/host-core/src/diagnostics.rs", "MAX_OUTPUT"),
            ("crates/host-core/src/diagnostics.rs", "MAX_LINES"),
            ("crates/host-core/src/diagnostics.rs", "MAX_LINE"),
        ],
    ),
    (
        "message of a panic",
        &[("crates/host-core/src/diagnostics.rs", "MAX_MESSAGE"), ("crates/host-core/src/diagnostics.rs", "MAX_FILE")],
    ),
    ("backtrace", &[("crates/host-core/src/call.rs", "FRAMES"), ("crates/host-core/src/call.rs", "LONGEST")]),
    ("size of a file, with the grant `files`", &[("crates/host-wasi/src/config.rs", "DEFAULT_MAX_FILE_SIZE")]),
    ("open files, with the grant `files`", &[("crates/host-wasi/src/config.rs", "DEFAULT_MAX_OPEN_FILES")]),
    ("streams of an open file", &[("crates/host-wasi/src/config.rs", "MAX_FILE_STREAMS")]),
    ("entries of a listed directory", &[("crates/host-wasi/src/config.rs", "MAX_DIRECTORY_ENTRIES")]),
    ("operations on files of all plugins at once", &[("crates/host-wasi/src/config.rs", "MAX_FILE_OPERATIONS")]),
    (
        "sockets and lookups, with the grant `network`",
        &[("crates/host-wasi/src/config.rs", "MAX_CONNECTIONS"), ("crates/host-wasi/src/config.rs", "MAX_LOOKUPS")],
    ),
    ("lookups of all plugins at once", &[("crates/host-wasi/src/config.rs", "MAX_LOOKUPS_AT_ONCE")]),
    ("random bytes, with the grant `random`", &[("crates/host-wasi/src/config.rs", "MAX_RANDOM_BYTES")]),
    (
        "log lines",
        &[
            ("crates/host-log/src/config.rs", "MAX_LINES"),
            ("crates/host-log/src/config.rs", "MAX_LINE_BYTES"),
            ("crates/host-core/src/log_rate.rs", "MAX_LOG_LINES_PER_SECOND"),
        ],
    ),
    (
        "changes on a handle",
        &[("crates/content/src/handle.rs", "MAX_CHANGE_BYTES"), ("crates/content/src/item.rs", "MAX_FIELDS")],
    ),
    (
        "nodes, depth, text of a render element",
        &[
            ("crates/content/src/render.rs", "MAX_NODES"),
            ("crates/content/src/render.rs", "MAX_DEPTH"),
            ("crates/content/src/render.rs", "MAX_TEXT"),
        ],
    ),
    (
        "tag, attributes and head entries of a render element",
        &[
            ("crates/content/src/render.rs", "MAX_TAG"),
            ("crates/content/src/render.rs", "MAX_ATTRIBUTES"),
            ("crates/content/src/render.rs", "MAX_HEAD"),
        ],
    ),
    (
        "an item that a plugin changes",
        &[
            ("crates/content/src/item.rs", "MAX_TITLE"),
            ("crates/content/src/item.rs", "MAX_FIELD_NAME"),
            ("crates/content/src/item.rs", "MAX_FIELDS"),
        ],
    ),
    ("spans of host calls in a trace", &[("crates/host-core/src/trace.rs", "MAX_HOST_CALL_SPANS")]),
    (
        "markup of an item with more than 1000 tags",
        &[
            ("crates/content/src/render.rs", "MAX_REPAIRED_TAGS"),
            ("crates/content/src/render.rs", "MAX_DEPTH"),
            ("crates/content/src/render.rs", "MAX_FORMATTING"),
        ],
    ),
    (
        "rows, bytes of a query",
        &[("crates/host-database/src/config.rs", "MAX_ROWS"), ("crates/host-database/src/config.rs", "MAX_BYTES")],
    ),
    ("memory of a query", &[("crates/host-database/src/config.rs", "MAX_MEMORY")]),
    (
        "statement, its parameters and columns",
        &[
            ("crates/host-database/src/config.rs", "MAX_SQL_BYTES"),
            ("crates/host-database/src/config.rs", "MAX_PARAMETERS"),
            ("crates/host-database/src/config.rs", "MAX_COLUMNS"),
            ("crates/host-database/src/sqlite_guard.rs", "MAX_PATTERNS"),
        ],
    ),
    // A table of SQLite's own limits: see `LIMITS` in `sqlite_guard.rs`.
    ("parts of a statement", &[]),
    (
        "connections of plugins to the database",
        &[
            ("crates/host-database/src/config.rs", "DEFAULT_MAX_CONNECTIONS"),
            ("crates/host-database/src/config.rs", "SHARE_PERCENT"),
            ("crates/host-database/src/config.rs", "DEFAULT_ACQUIRE_TIMEOUT"),
            ("crates/host-database/src/config.rs", "DEFAULT_BUSY_TIMEOUT"),
        ],
    ),
    (
        "statements that a connection to the database keeps compiled",
        &[
            ("crates/host-database/src/connections.rs", "STATEMENTS"),
            ("crates/host-database/src/sqlite.rs", "MAX_KEPT"),
        ],
    ),
    (
        "waiting calls",
        &[
            ("crates/host-core/src/config.rs", "DEFAULT_MAX_WAITING"),
            ("crates/host-core/src/config.rs", "DEFAULT_MAX_WAIT"),
        ],
    ),
    (
        "callers that wait for a connection to the database of items",
        &[
            ("crates/store/src/store.rs", "DEFAULT_MAX_WAITING"),
            ("crates/store/src/store.rs", "DEFAULT_MAX_WAIT"),
            ("crates/store/src/store.rs", "DEFAULT_MAX_CONNECTIONS"),
        ],
    ),
    ("connections of clients at the same time", &[("crates/server/src/server.rs", "DEFAULT_MAX_CONNECTIONS")]),
    (
        "time of a client, time to end",
        &[("crates/server/src/server.rs", "DEFAULT_CLIENT_TIMEOUT"), ("crates/server/src/server.rs", "DEFAULT_DRAIN")],
    ),
    ("one plugin's calls at once", &[("crates/host-core/src/config.rs", "DEFAULT_PLUGIN_SHARE_PERCENT")]),
    ("one plugin's waiting calls", &[("crates/host-core/src/config.rs", "DEFAULT_PLUGIN_SHARE_PERCENT")]),
    ("calls within calls", &[("crates/host-core/src/nesting.rs", "MAX_NESTED_CALLS")]),
    (
        "failures in a row",
        &[
            ("crates/tap-dispatch/src/breaker.rs", "DEFAULT_BREAKER_FAILURES"),
            ("crates/tap-dispatch/src/breaker.rs", "DEFAULT_FIRST_OPEN"),
            ("crates/tap-dispatch/src/breaker.rs", "DEFAULT_MAX_OPEN"),
        ],
    ),
    ("uses of an instance", &[("crates/host-core/src/reuse.rs", "MAX_USES")]),
    ("instances made ahead", &[]),
    ("entries of the plugin directory", &[("crates/cli/src/config/directory.rs", "MAX_ENTRIES")]),
    ("size of a component", &[("crates/host-core/src/compile.rs", "DEFAULT_MAX_COMPONENT_BYTES")]),
    ("size of a function", &[("crates/host-core/src/compile.rs", "DEFAULT_MAX_FUNCTION_BYTES")]),
    ("time of a compilation", &[("crates/host-core/src/compile.rs", "DEFAULT_COMPILE_TIMEOUT")]),
    ("memory of a compilation", &[("crates/host-core/src/compile.rs", "DEFAULT_COMPILE_MEMORY_BYTES")]),
    ("compilations at once", &[("crates/host-core/src/compile.rs", "DEFAULT_MAX_COMPILATIONS")]),
];

pub(super) fn check(tree: &Tree<'_>) -> Vec<Problem> {
    let Some(document) = tree.text(DOCUMENT) else { return Vec::new() };
    let rows: Vec<(&str, &str)> = rows(&document).collect();
    let problem = |row: &str, wrong: String| Problem::new(DOCUMENT, format!("`{row}`: {wrong}"), "mend the table");
    let mut problems = Vec::new();
    for (name, _) in &rows {
        if !ROWS.iter().any(|(known, _)| known == name) {
            problems
                .push(problem(name, "xtask/src/tidy/limits.rs does not say which constants it speaks of".to_owned()));
        }
    }
    for (name, constants) in ROWS {
        let Some((_, text)) = rows.iter().find(|(row, _)| row == name) else {
            problems.push(problem(name, "there is no such row".to_owned()));
            continue;
        };
        for (file, constant) in *constants {
            match tree.text(file).and_then(|code| value(&code, constant)) {
                None => problems.push(problem(name, format!("{file} has no {constant}"))),
                Some(value) if value.spellings().iter().any(|spelling| has(text, spelling)) => {}
                Some(value) => {
                    problems
                        .push(problem(name, format!("{constant} is {}, which it does not say", value.spellings()[0])));
                }
            }
        }
    }
    problems
}

/// The rows of the first table: the name of the limit, and all of the row.
fn rows(document: &str) -> impl Iterator<Item = (&str, &str)> {
    let table = document.lines().skip_while(|line| !line.starts_with("| limit |")).skip(2);
    table.map_while(|line| Some((line.strip_prefix("| ")?.split(" | ").next()?, line)))
}

/// Whether a text has these words, and they are not the end or the beginning of a larger number.
fn has(text: &str, words: &str) -> bool {
    text.match_indices(words).any(|(at, _)| {
        let before = text[..at].trim_end_matches(' ').chars().next_back();
        let rest = &text[at + words.len()..];
        let after = rest.chars().next();
        let three = rest.strip_prefix(' ').map_or(0, |rest| rest.chars().take_while(char::is_ascii_digit).count());
        let is_larger = before.is_some_and(|letter| letter.is_ascii_digit()) && text[..at].ends_with(' ');
        let is_glued = text[..at].chars().next_back().is_some_and(char::is_alphanumeric);
        !is_larger && !is_glued && !after.is_some_and(char::is_alphanumeric) && three != 3
    })
}

/// What a constant is.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    Number(u128),
    Milliseconds(u128),
}

impl Value {
    /// How a document may say it.
    fn spellings(&self) -> Vec<String> {
        match *self {
            Self::Number(number) => {
                let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
                let in_units = units.iter().filter(|(unit, _)| number >= *unit && number % unit == 0);
                let mut spellings: Vec<String> =
                    in_units.map(|(unit, name)| format!("{} {name}", number / unit)).collect();
                spellings.push(grouped(number));
                spellings
            }
            Self::Milliseconds(time) if time % 1000 == 0 => vec![format!("{} s", time / 1000), grouped(time)],
            Self::Milliseconds(time) => vec![format!("{time} ms")],
        }
    }
}

/// With a space between thousands, where there are more than four digits.
fn grouped(number: u128) -> String {
    let digits = number.to_string();
    if digits.len() <= 4 {
        return digits;
    }
    let first = (digits.len() + 2) % 3 + 1;
    let (head, rest) = digits.split_at(first);
    rest.as_bytes().chunks(3).fold(head.to_owned(), |text, three| text + " " + &String::from_utf8_lossy(three))
}

/// The value of a constant, where it is a number, a product, a shift or a duration.
fn value(code: &str, name: &str) -> Option<Value> {
    let start = format!("const {name}: ");
    let line = code.lines().find(|line| {
        line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ").starts_with(&start)
    })?;
    let expression = line.split_once(" = ")?.1.split(';').next()?;
    for (call, factor) in [("Duration::from_secs(", 1000), ("Duration::from_millis(", 1)] {
        if let Some(inner) = expression.strip_prefix(call) {
            return Some(Value::Milliseconds(number(inner.strip_suffix(')')?)? * factor));
        }
    }
    number(expression).map(Value::Number)
}

fn number(expression: &str) -> Option<u128> {
    if let Some((value, shift)) = expression.split_once(" << ") {
        return Some(number(value)? << shift.trim().parse::<u32>().ok()?);
    }
    expression.split(" * ").map(|factor| factor.trim().replace('_', "").parse::<u128>().ok()).product()
}

#[cfg(test)]
mod tests {
    use super::super::made_up::Directory;
    use super::*;

    #[test]
    fn constants_as_they_are_written() {
        let code = "pub const A: u64 = 128 * 1024 * 1024;\n    const B: usize = 64 << 10;\npub(crate) const C: u32 = 10_000;\n\
                    pub const D: Duration = Duration::from_secs(5);\nconst E: usize = other::E;\n";
        assert_eq!(value(code, "A").unwrap().spellings(), ["128 MiB", "131072 KiB", "134 217 728"]);
        assert_eq!(value(code, "B").unwrap().spellings(), ["64 KiB", "65 536"]);
        assert_eq!(value(code, "C").unwrap().spellings(), ["10 000"]);
        assert_eq!(value(code, "D").unwrap().spellings(), ["5 s", "5000"]);
        assert_eq!((value(code, "E"), value(code, "F")), (None, None));
    }

    #[test]
    fn a_number_is_not_found_in_a_larger_one() {
        assert!(
            has("| a | 1000, 4 MiB |", "1000")
                && has("| at most 10 000 |", "10 000")
                && has("| 64 KiB each |", "64 KiB")
        );
        for text in ["| 10 000 |", "| 1000000 |", "| 000x |"] {
            assert!(!has(text, "000"), "{text}");
        }
        assert!(!has("| 110 000 |", "10 000") && !has("| 1 100 |", "100") && !has("| 100 000 segments |", "100"));
    }

    #[test]
    fn a_row_that_says_something_else_is_found() {
        let code = ("crates/limits/src/limits.rs", "pub const DEFAULT_MAX_MEMORIES: u32 = 1;\n");
        let found = |rows: &str| {
            let document = format!("| limit | key |\n|---|---|\n{rows}\nafter\n| other | table |\n");
            let directory = Directory::new(&[code, (DOCUMENT, document.as_str())]);
            let problems = check(&directory.tree(&[code.0, DOCUMENT]));
            let of_row = |row: &str| problems.iter().filter(|it| it.wrong.starts_with(&format!("`{row}`"))).count();
            [of_row("memories"), of_row("new"), of_row("other"), of_row("fuel")]
        };
        assert_eq!(found("| memories | `max_memories` | 1 |"), [0, 0, 0, 1], "fuel has no row");
        assert_eq!(found("| memories | `max_memories` | 2 |"), [1, 0, 0, 1]);
        assert_eq!(found("| memories | 1 |\n| new | 7 |"), [0, 1, 0, 1], "nobody compares it");
    }
}
