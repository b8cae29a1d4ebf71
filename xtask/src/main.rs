//! The commands of this repository: build-plugins, demo, test, tidy, steady-state.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks through both")]

mod build_plugins;
mod demo;
mod steady_state;
mod table;
mod test;
mod tidy;
mod workspace;

use std::fmt;
use std::process::ExitCode;

use anyhow::Result;

/// A verb of `cargo xtask`.
struct Verb {
    name: &'static str,
    about: &'static str,
    help: &'static str,
    run: fn(lexopt::Parser) -> Result<()>,
}

const VERBS: [Verb; 5] = [
    Verb {
        name: "build-plugins",
        about: "builds plugins/* for WebAssembly into target/plugins",
        help: build_plugins::HELP,
        run: build_plugins::main,
    },
    Verb {
        name: "demo",
        about: "serves this repository's documents through the sample plugins",
        help: demo::HELP,
        run: demo::main,
    },
    Verb {
        name: "steady-state",
        about: "counts page faults and system calls of one tap",
        help: steady_state::HELP,
        run: steady_state::main,
    },
    Verb { name: "test", about: "runs everything that must pass", help: test::HELP, run: test::main },
    Verb { name: "tidy", about: "checks what the compiler cannot check", help: tidy::HELP, run: tidy::main },
];

/// The command was called wrongly: exit code 2, where a failure has 1.
#[derive(Debug)]
struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            let wrong_usage = error.is::<Usage>() || error.is::<lexopt::Error>();
            ExitCode::from(if wrong_usage { 2 } else { 1 })
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let name = arguments.next().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if matches!(name.as_str(), "" | "help" | "-h" | "--help") {
        println!("{}", overview());
        return Ok(());
    }
    let Some(verb) = VERBS.iter().find(|verb| verb.name == name) else {
        return Err(Usage(unknown(&name)).into());
    };
    let arguments: Vec<_> = arguments.collect();
    if arguments.iter().any(|argument| argument == "-h" || argument == "--help") {
        println!("{}", verb.help);
        return Ok(());
    }
    (verb.run)(lexopt::Parser::from_args(arguments))
}

fn overview() -> String {
    let mut text = "Usage: cargo xtask VERB [OPTIONS]\n\n".to_owned();
    for verb in &VERBS {
        text.push_str(&format!("  {:<15}{}\n", verb.name, verb.about));
    }
    text.push_str("\n`cargo xtask VERB --help` says more. Exit codes: 0 done, 1 failed, 2 wrong usage.");
    text
}

fn unknown(name: &str) -> String {
    let nearest = VERBS.iter().map(|verb| (distance(name, verb.name), verb.name)).min();
    match nearest {
        // Further away than half of the word, a suggestion is a guess. Two letters in the wrong order are two steps.
        Some((steps, verb)) if steps * 2 <= verb.len() => {
            format!("`{name}` is no verb; did you mean `cargo xtask {verb}`?")
        }
        _ => format!("`{name}` is no verb; `cargo xtask help` lists them"),
    }
}

/// How many letters to add, take away or replace to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_verb() {
        for (typed, verb) in [("tets", "test"), ("build-plugin", "build-plugins"), ("tydy", "tidy"), ("dmo", "demo")] {
            assert_eq!(unknown(typed), format!("`{typed}` is no verb; did you mean `cargo xtask {verb}`?"));
        }
        assert_eq!(unknown("deploy"), "`deploy` is no verb; `cargo xtask help` lists them");
    }

    #[test]
    fn distances() {
        for (a, b, steps) in
            [("", "", 0), ("", "abc", 3), ("abc", "abc", 0), ("abc", "axc", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), steps, "{a} {b}");
            assert_eq!(distance(b, a), steps, "{b} {a}");
        }
    }
}
