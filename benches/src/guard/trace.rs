//! What is counted from outside, by running a program under a tool.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// A tool that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    /// System calls of the first thread, which runs all taps.
    Strace,
    /// Instructions of all threads.
    Callgrind,
}

impl Tool {
    fn program(self) -> &'static str {
        match self {
            Self::Strace => "strace",
            Self::Callgrind => "valgrind",
        }
    }

    fn command(self, output: &Path) -> Command {
        let mut command = Command::new(self.program());
        match self {
            Self::Strace => command.arg("-c").arg("-o").arg(output),
            Self::Callgrind => command
                .args(["--tool=callgrind", "--dump-before=*guard_boundary*"])
                .arg(format!("--callgrind-out-file={}", output.display())),
        };
        command
    }
}

/// System calls of one tap. A program runs twice, with few taps and with many: what its start takes is in both, and falls
/// out of the difference. The inner error: the tool is not installed or cannot run here, and why.
///
/// # Errors
///
/// The program fails without the tool as well, or the tool says nothing.
pub fn system_calls(
    program: &dyn Fn(u32) -> Command,
    (few, many): (u32, u32),
    scratch: &Path,
) -> Result<Result<f64, String>> {
    let output = scratch.join("strace");
    let mut counts = [0, 0];
    for (count, calls) in counts.iter_mut().zip([few, many]) {
        if let Err(reason) = run(Tool::Strace, &program(calls), &output)? {
            return Ok(Err(reason));
        }
        *count = total(&output, strace_total)?;
    }
    let [few_count, many_count] = counts;
    Ok(Ok((many_count as f64 - few_count as f64) / f64::from(many - few)))
}

/// Instructions of one tap, of so many that `program` counts. The profile is in parts, and the second is that of the taps;
/// see [`taps::run`](super::taps::run). The inner error as above.
///
/// # Errors
///
/// The program fails without the tool as well, or the tool says nothing.
pub fn instructions(program: &Command, taps: u32, scratch: &Path) -> Result<Result<f64, String>> {
    let output = scratch.join("callgrind");
    if let Err(reason) = run(Tool::Callgrind, program, &output)? {
        return Ok(Err(reason));
    }
    let count = total(&output.with_extension("2"), callgrind_total)?;
    Ok(Ok(count as f64 / f64::from(taps)))
}

fn total(summary: &Path, find: fn(&str) -> Option<u64>) -> Result<u64> {
    let text = fs::read_to_string(summary).with_context(|| format!("there is no summary {}", summary.display()))?;
    find(&text).with_context(|| format!("no total in the summary {}", summary.display()))
}

fn run(tool: Tool, command: &Command, output: &Path) -> Result<Result<(), String>> {
    let mut traced = tool.command(output);
    traced.arg(command.get_program()).args(command.get_args()).stdout(Stdio::null()).stdin(Stdio::null());
    let answer = match traced.output() {
        Ok(answer) => answer,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Err(format!("{} is not installed", tool.program())));
        }
        Err(error) => return Err(error).with_context(|| format!("{} does not start", tool.program())),
    };
    if !answer.status.success() {
        let mut alone = Command::new(command.get_program());
        let alone = alone.args(command.get_args()).output().context("the program does not start")?;
        let words = String::from_utf8_lossy(&alone.stderr);
        ensure!(alone.status.success(), "the program fails: {}", words.trim_end());
        let words = String::from_utf8_lossy(&answer.stderr);
        // Its own lines begin with its process in equals signs; what it runs says more.
        let said = words.lines().filter(|line| !line.trim().is_empty());
        let last = said.clone().rfind(|line| !line.starts_with("==")).or_else(|| said.clone().next_back());
        let last = last.unwrap_or("it says nothing");
        return Ok(Err(format!("{} cannot run it here: {last}", tool.program())));
    }
    Ok(Ok(()))
}

/// The number of calls in the last line of `strace -c`: percent, seconds, microseconds for each, calls.
fn strace_total(summary: &str) -> Option<u64> {
    let line = summary.lines().rfind(|line| line.trim_end().ends_with("total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

/// The line `totals: N` of a part.
fn callgrind_total(profile: &str) -> Option<u64> {
    profile.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_found() {
        let strace = "% time     seconds  usecs/call     calls    errors syscall\n\
                       60.00    0.000600           0     12000           ioctl\n\
                      100.00    0.001000           0     12345         2 total\n";
        assert_eq!(strace_total(strace), Some(12_345));
        assert_eq!(callgrind_total("version: 1\nevents: Ir\nfn=(1)\n1 5\n\ntotals: 678\n"), Some(678));
        assert_eq!((strace_total("nothing"), callgrind_total("nothing")), (None, None));
    }

    #[test]
    fn a_program_that_fails_is_an_error_and_not_a_missing_tool() {
        let scratch = tempfile::tempdir().unwrap();
        let program = |_: u32| {
            let mut command = Command::new("sh");
            command.args(["-c", "echo broken >&2; exit 3"]);
            command
        };
        match system_calls(&program, (1, 2), scratch.path()) {
            Err(error) => assert_eq!(error.to_string(), "the program fails: broken"),
            Ok(Err(reason)) => assert_eq!(reason, "strace is not installed"),
            Ok(Ok(count)) => panic!("{count}"),
        }
    }
}
