//! Runs everything that must pass, in the order in which failures are cheapest.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::workspace::{self, Workspace};
use crate::{build_plugins, demo, guard, observability, table, tidy};

pub(crate) const HELP: &str = "\
Runs everything that must pass, and stops at the first failure: format, rules, plugins, clippy, tidy, tests
(with documentation examples and benches), documentation, dependencies, advisories, demo, guard. The last line says whether
all of it passed, and what was skipped: the rules where promtool is not installed, the dependencies where cargo-deny is not,
the advisories where their database cannot be reached.

Usage: cargo xtask test";

enum Work {
    /// A cargo command that talks to the terminal itself.
    Cargo(&'static [&'static str]),
    /// `promtool` on the rules of Prometheus, which somebody may not have installed.
    Rules,
    /// A cargo command, with warnings of rustdoc as errors.
    Documentation(&'static [&'static str]),
    /// `cargo deny`, which somebody may not have installed, after what it has to fetch from a place that may be out of reach.
    Deny { fetch: Option<&'static [&'static str]>, check: &'static [&'static str] },
    /// A verb of this program.
    Verb(&'static str, fn(&Workspace) -> Result<()>),
}

/// Why a step did not run.
type Skipped = Option<&'static str>;

const STEPS: [(&str, Work); 11] = [
    ("format", Work::Cargo(&["fmt", "--all", "--check"])),
    ("rules", Work::Rules),
    (
        "plugins",
        Work::Verb("build-plugins", |workspace| build_plugins::build(workspace, &Default::default()).map(drop)),
    ),
    ("clippy", Work::Cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"])),
    ("tidy", Work::Verb("tidy", |workspace| tidy::check(workspace, tidy::Mode::Check))),
    // Not with `--all-targets`: that builds the examples as tests, and leaves none that a test could run as a program.
    // The default selection has them, the documentation examples, and the benches that say `test = true`.
    ("tests", Work::Cargo(&["test", "--workspace"])),
    ("documentation", Work::Documentation(&["doc", "--workspace", "--no-deps"])),
    ("dependencies", Work::Deny { fetch: None, check: &["deny", "check", "licenses", "bans", "sources"] }),
    ("advisories", Work::Deny { fetch: Some(&["deny", "fetch", "db"]), check: &["deny", "check", "advisories"] }),
    ("demo", Work::Verb("demo --check", demo::check_here)),
    ("guard", Work::Verb("guard --counts --against benches/baseline.json", guard::counts)),
];

pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<()> {
    if let Some(argument) = arguments.next()? {
        return Err(argument.unexpected().into());
    }
    let workspace = Workspace::load()?;
    let started = Instant::now();
    let mut rows = vec![["step", "result", "seconds"].map(str::to_owned).to_vec()];
    let mut skipped = Vec::new();
    for (number, (name, work)) in STEPS.iter().enumerate() {
        let command = work.spell();
        println!("[{}/{}] {name}: {command}", number + 1, STEPS.len());
        let step = Instant::now();
        let outcome = work.run(&workspace);
        let took = seconds(step.elapsed());
        let result = match outcome {
            Ok(None) => "passed",
            Ok(Some(why)) => {
                println!("skipped: {why}");
                skipped.push(*name);
                "skipped"
            }
            Err(error) => {
                rows.push(vec![(*name).to_owned(), "FAILED".to_owned(), took.clone()]);
                print!("\n{}", table::render(&rows));
                bail!("{name} failed after {took} s: {error:#}\nrun it alone with: {}", work.again());
            }
        };
        println!("[{}/{}] {name}: {result} in {took} s\n", number + 1, STEPS.len());
        rows.push(vec![(*name).to_owned(), result.to_owned(), took]);
    }
    print!("{}", table::render(&rows));
    println!("{}", verdict(&skipped, &seconds(started.elapsed())));
    Ok(())
}

fn verdict(skipped: &[&str], took: &str) -> String {
    let passed = STEPS.len() - skipped.len();
    match skipped {
        [] => format!("ALL PASSED: {passed} of {} steps in {took} s", STEPS.len()),
        names => {
            let names = names.join(", ");
            format!("ALL PASSED: {passed} of {} steps in {took} s; skipped: {names}", STEPS.len())
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64())
}

impl Work {
    fn spell(&self) -> String {
        match self {
            Self::Cargo(words) | Self::Deny { check: words, .. } => format!("cargo {}", words.join(" ")),
            Self::Documentation(words) => {
                format!("RUSTDOCFLAGS='-D warnings' cargo {}", words.join(" "))
            }
            Self::Rules => {
                let commands = observability::PROMTOOL.map(|words| format!("promtool {}", words.join(" ")));
                format!("cd {} && {}", observability::DEPLOY, commands.join(" && "))
            }
            Self::Verb(verb, _) => format!("cargo xtask {verb}"),
        }
    }

    /// The command that repeats this step, or repairs what it found where cargo can do that.
    fn again(&self) -> String {
        match self {
            Self::Cargo(["fmt", ..]) => "cargo fmt --all".to_owned(),
            _ => self.spell(),
        }
    }

    fn run(&self, workspace: &Workspace) -> Result<Skipped> {
        match self {
            Self::Cargo(words) => workspace::run(workspace.cargo().args(*words))?,
            Self::Documentation(words) => {
                workspace::run(workspace.cargo().args(*words).env("RUSTDOCFLAGS", "-D warnings"))?;
            }
            Self::Rules => {
                if !is_installed(&mut Command::new("promtool")) {
                    return Ok(Some(
                        "promtool is not installed, so the alerts are NOT tried (sudo apt-get install prometheus)",
                    ));
                }
                observability::check_rules(workspace, Path::new("promtool"))?;
            }
            Self::Deny { fetch, check } => {
                if !is_installed(workspace.cargo().arg("deny")) {
                    return Ok(Some("cargo-deny is not installed (cargo install cargo-deny --locked)"));
                }
                if let Some(fetch) = fetch
                    && workspace::run(workspace.cargo().args(*fetch)).is_err()
                {
                    return Ok(Some(
                        "the advisory database cannot be reached, so known vulnerabilities are NOT checked",
                    ));
                }
                workspace::run(workspace.cargo().args(*check))?;
            }
            Self::Verb(_, verb) => verb(workspace)?,
        }
        Ok(None)
    }
}

fn is_installed(command: &mut Command) -> bool {
    let command = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_can_be_repeated_by_hand() {
        let again: Vec<String> = STEPS.iter().map(|(_, work)| work.again()).collect();
        assert_eq!(again[0], "cargo fmt --all");
        assert_eq!(
            again[1],
            "cd deploy/observability && promtool check config prometheus.yml && promtool test rules rules.test.yml"
        );
        assert_eq!(again[4], "cargo xtask tidy");
        assert_eq!(again[6], "RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps");
    }

    #[test]
    fn a_skipped_step_is_named_in_the_last_line() {
        assert_eq!(verdict(&[], "9.0"), "ALL PASSED: 11 of 11 steps in 9.0 s");
        assert_eq!(verdict(&["demo"], "9.0"), "ALL PASSED: 10 of 11 steps in 9.0 s; skipped: demo");
    }
}
