//! A module and what it may use, as flags.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value};
use tapline_function::{Access, Directory, SyscallPattern};
use tapline_host_core::{
    FunctionPattern,
    limits::{PartialLimits, Preset},
};

/// A module, and what it may use.
#[derive(Debug, Args)]
pub(crate) struct ModuleArguments {
    /// The component or core module
    #[arg(value_name = "FILE.wasm")]
    pub(crate) file: PathBuf,
    /// Refuse the file if its SHA-256 is another
    #[arg(long, value_name = "HEX")]
    pub(crate) sha256: Option<String>,
    /// Limits over those of the configuration: a preset such as untrusted, or fields such as
    /// max_memory_bytes=33554432,max_execution_time_ms=500
    #[arg(long, value_name = "LIMITS", value_parser = limits, value_delimiter = ',')]
    pub(crate) limits: Vec<PartialLimits>,
    /// Meter fuel, and give each call so much
    #[arg(long, value_name = "UNITS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) fuel: Option<u64>,
    /// Give it a directory, to read, or to write as well with `:write` at the end; seen under the same path, or under AT
    #[arg(long, value_name = "PATH[::AT][:write]", value_parser = directory)]
    pub(crate) dir: Vec<Directory>,
    /// Give it an environment variable; the program's own are never seen
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// Let it import these: environ_get or environ_* for a core module, wasi:clocks/* for a component. A component may import
    /// whatever it is granted; with this, it may import no others
    #[arg(long, value_name = "FUNCTIONS", value_parser = pattern, value_delimiter = ',')]
    pub(crate) allow: Vec<Pattern>,
    /// Do not let it import these, whatever is allowed
    #[arg(long, value_name = "FUNCTIONS", value_parser = pattern, value_delimiter = ',')]
    pub(crate) deny: Vec<Pattern>,
    /// Grant another capability: clocks, random, or network=["example.org:443"]
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = grant)]
    pub(crate) grant: Vec<(String, Value)>,
    /// Refuse a core module that imports WASI
    #[arg(long)]
    pub(crate) no_wasi: bool,
}

/// A pattern over imports: functions of preview 1 have no package.
#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    Syscall(SyscallPattern),
    Function(FunctionPattern),
}

fn limits(text: &str) -> Result<PartialLimits, String> {
    let Some((field, value)) = text.split_once('=') else {
        let presets = Preset::ALL.map(Preset::as_str).join(", ");
        let unknown = |error| format!("{error}; the presets are {presets}, and fields are given as NAME=VALUE");
        let preset: Preset = text.parse().map_err(unknown)?;
        return Ok(preset.limits().into());
    };
    let value = match value {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        number => number.parse::<u64>().map(Value::from).map_err(|error| {
            format!("`{number}`: {error}; it takes a whole number without a unit, or true or false")
        })?,
    };
    serde_json::from_value(Value::Object(Map::from_iter([(field.to_owned(), value)])))
        .map_err(|error| error.to_string())
}

fn directory(text: &str) -> Result<Directory, String> {
    let (text, access) = match text.strip_suffix(":write") {
        Some(text) => (text, Access::Write),
        None => (text, Access::Read),
    };
    let (path, at) = match text.split_once("::") {
        Some((path, at)) => (PathBuf::from(path), at.to_owned()),
        None => {
            let path = std::path::absolute(text).map_err(|error| error.to_string())?;
            let at = path.to_str().ok_or("its path is not UTF-8: say with ::AT where it is seen")?.to_owned();
            (path, at)
        }
    };
    let trimmed = at.trim_end_matches('/');
    Ok(Directory { path, at: if trimmed.is_empty() { at } else { trimmed.to_owned() }, access })
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it has to be NAME=VALUE".to_owned()),
    }
}

fn pattern(text: &str) -> Result<Pattern, String> {
    if text.contains(':') {
        return text.parse().map(Pattern::Function).map_err(|error: tapline_host_core::PatternError| error.to_string());
    }
    text.parse().map(Pattern::Syscall).map_err(|error: tapline_function::Error| error.to_string())
}

fn grant(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, "true"));
    let value = serde_json::from_str(value).map_err(|error| format!("`{value}` is no JSON: {error}"))?;
    Ok((name.to_owned(), value))
}
