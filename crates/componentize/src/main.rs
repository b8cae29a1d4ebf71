//! Turns the core module that cargo builds for wasm32-wasip1 into a sealed component.

use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use tapline_componentize::{Adapter, Error, Options, componentize_with};

const HELP: &str = "\
Turns the core module that cargo builds for wasm32-wasip1 into a sealed component.

Usage: tapline-componentize IN.wasm -o OUT.wasm [--wasi] [--names] [--no-trim]

  -o, --output FILE  where the component goes
      --wasi         leave WASI calls to the host, which asks for grants; without it they are answered inside
      --names        keep names of functions
      --no-trim      keep what the plugin never runs, and with --names debug information
  -h, --help         show this help

Prints one line of JSON: core_bytes, component_bytes, exports, imports.
Exit codes: 0 done, 1 the module was refused or a file could not be read or written, 2 wrong usage.
";

struct Args {
    input: PathBuf,
    output: PathBuf,
    options: Options,
}

fn main() -> ExitCode {
    let args = match parse() {
        Ok(Some(args)) => args,
        Ok(None) => return print(HELP),
        Err(error) => return fail(&error, 2),
    };
    match run(&args) {
        Ok(line) => print(&line),
        Err(error) => fail(&error, 1),
    }
}

fn parse() -> Result<Option<Args>> {
    use lexopt::prelude::{Long, Short, Value};
    let (mut input, mut output, mut options) = (None, None, Options::default());
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(None),
            Short('o') | Long("output") => output = Some(PathBuf::from(parser.value()?)),
            Long("wasi") => options = options.adapter(Adapter::Wasi),
            Long("names") => options = options.keep_names(true),
            Long("no-trim") => options = options.keep_everything(true),
            Value(path) if input.is_none() => input = Some(PathBuf::from(path)),
            other => return Err(other.unexpected().into()),
        }
    }
    let (Some(input), Some(output)) = (input, output) else {
        bail!("usage: tapline-componentize IN.wasm -o OUT.wasm [--wasi] [--names] [--no-trim]");
    };
    Ok(Some(Args { input, output, options }))
}

fn run(args: &Args) -> Result<String> {
    let core = std::fs::read(&args.input).with_context(|| format!("cannot read {}", args.input.display()))?;
    let component = componentize_with(&core, args.options).with_context(|| args.input.display().to_string())?;
    std::fs::write(&args.output, &component.bytes)
        .with_context(|| format!("cannot write {}", args.output.display()))?;
    let line = serde_json::json!({
        "core_bytes": core.len(),
        "component_bytes": component.bytes.len(),
        "exports": component.exports,
        "imports": component.imports,
    });
    Ok(format!("{line}\n"))
}

/// A reader that has gone away is no failure of ours to report.
fn print(text: &str) -> ExitCode {
    match stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[expect(clippy::print_stderr, reason = "this is where a command line tool says what went wrong")]
fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("error: {error:#}");
    if let Some(hint) = error.downcast_ref::<Error>().and_then(Error::hint) {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(code)
}
