//! `tapline run` and `tapline bench`

use std::{
    io::{self, Write as _},
    process::{Command as Process, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tapline_content::ContentTypes;
use tapline_function::{Answer, BenchmarkResults, Error, Module, PerformanceValidation, Runtime, Sandbox};
use tapline_host_core::{
    Host, HostConfig, LoadError,
    cache::CacheDirectory,
    causes, escape,
    limits::{Limits, PartialLimits, Profile},
};
use tapline_host_log::Log;

use crate::{
    arguments::{Arguments, Command, ModuleArguments, module::Pattern},
    config::{Config, ConfigError, Origin},
    report::Hint,
    table,
    telemetry::Telemetry,
};

/// What a module says, and what is wrong with compiled code on disk: errors come at the end of this program anyway.
const QUIET_LOG: &str = "error,tapline_host_core=off,tapline_cache=warn,tapline::guest=info";
/// How often the program is started to measure the stage *process start*.
const STARTS: usize = 20;
/// How long what still runs may take when a benchmark is over.
const CLOSE: Duration = Duration::from_secs(1);

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (module, call) = match &arguments.command {
        Command::Run { module, call, .. } => (module, call.as_deref()),
        Command::Bench { module, call, .. } => (module, Some(call.as_str())),
        _ => return Ok(ExitCode::SUCCESS),
    };
    let config = Config::read(&arguments.global, std::env::vars_os())?;
    let quiet = config.settings.iter().any(|it| it.key == "log.filter" && it.origin == Origin::Default);
    Telemetry::default().log_to_stderr(if quiet { QUIET_LOG } else { &config.log }, config.log_format)?;
    let profile = profile(&config);
    let sandbox = sandbox(module, profile)?;
    let mut host = config.host;
    host.limits = limits(module, host.limits).map_err(ConfigError::Limits)?;
    // What a profile is chosen for is not raised by the way.
    if profile == Profile::Secure && host.limits.smallest(profile.settings().limits) != host.limits {
        let message = format!("in the profile `{profile}` limits can be lowered, and fuel is metered");
        return Err(Error::Setting { setting: "--limits and --fuel", message }.into());
    }
    // A benchmark loads from a file, also where none are kept.
    let scratch = match &arguments.command {
        Command::Bench { .. } if !keeps_code(&host)? => Some(tempfile::tempdir().with_context(|| Hint {
            message: "cannot make a directory for compiled code".to_owned(),
            hint: "set TMPDIR to a directory that can be written to, or TAPLINE_CACHE_DIRECTORY".to_owned(),
        })?),
        _ => None,
    };
    if let Some(scratch) = &scratch {
        host.cache_directory = Some(scratch.path().join("cache"));
    }
    let runtime = start(host, sandbox)?;
    let loaded = runtime.load_file(&module.file, module.sha256.as_deref()).await?;
    let text = match (&arguments.command, call) {
        (Command::Bench { iterations, json, .. }, Some(call)) => {
            let results = runtime.benchmark(&loaded, call, *iterations).await?;
            let (process_start_ms, validation) = (process_start()?, runtime.validate_performance());
            match json {
                true => json_text(&json!({
                    "process_start_ms": process_start_ms, "results": results, "validation": validation
                })),
                false => bench_page(process_start_ms, &results, &validation),
            }
        }
        (Command::Run { json: true, .. }, None) => json_text(&json!({ "functions": loaded.signatures() })),
        (Command::Run { json, .. }, Some(call)) => {
            let answer = loaded.call(call).await?;
            if !json {
                // An answer that nobody can be told the figures of is an answer all the same.
                let _ = writeln!(io::stderr(), "{}", figures(&loaded, &answer));
            }
            match (json, &answer.value) {
                (true, _) => json_text(&document(&loaded, &answer)),
                (false, Some(_)) => format!("{}\n", answer.text()),
                (false, None) => String::new(),
            }
        }
        _ => list(&loaded),
    };
    io::stdout().write_all(text.as_bytes())?;
    runtime.close(CLOSE).await;
    Ok(ExitCode::SUCCESS)
}

/// Whether compiled code is kept. Says why not where it is meant to be.
fn keeps_code(host: &HostConfig) -> io::Result<bool> {
    let Some(directory) = &host.cache_directory else { return Ok(false) };
    let Err(reason) = CacheDirectory::open(directory, host.cache_size, host.cache_max_bytes) else { return Ok(true) };
    let reason = causes(&reason).join(": ");
    let reason = escape(&reason);
    writeln!(io::stderr(), "warning: {reason}; this benchmark keeps its code in a directory of its own")?;
    Ok(false)
}

fn start(config: HostConfig, sandbox: Sandbox) -> Result<Runtime> {
    let builder = tapline_host_wasi::register(Host::builder().config(config)).capability(Log).capability(ContentTypes);
    Ok(Runtime::new(builder, sandbox)?)
}

/// The limits of the configuration, with the flags over them.
fn limits(
    arguments: &ModuleArguments,
    base: Limits,
) -> std::result::Result<Limits, tapline_host_core::limits::LimitsError> {
    let fuel = arguments.fuel.map(|fuel| PartialLimits {
        enable_fuel_metering: Some(true),
        fuel_limit: Some(fuel),
        ..PartialLimits::default()
    });
    // All fields at once: a limit on fuel needs the metering, which may be named after it.
    let mut base = base;
    let mut fields = PartialLimits::default();
    for one in arguments.limits.iter().copied().chain(fuel) {
        if is_preset(&one) {
            base = one.apply_to(base)?;
        } else {
            fields = over(fields, one);
        }
    }
    fields.apply_to(base)
}

/// A preset names everything.
fn is_preset(limits: &PartialLimits) -> bool {
    limits.max_memory_bytes.is_some() && limits.max_execution_time_ms.is_some()
}

fn over(below: PartialLimits, above: PartialLimits) -> PartialLimits {
    PartialLimits {
        max_memory_bytes: above.max_memory_bytes.or(below.max_memory_bytes),
        max_table_elements: above.max_table_elements.or(below.max_table_elements),
        max_instances: above.max_instances.or(below.max_instances),
        max_functions: above.max_functions.or(below.max_functions),
        max_memories: above.max_memories.or(below.max_memories),
        max_execution_time_ms: above.max_execution_time_ms.or(below.max_execution_time_ms),
        max_stack_size_bytes: above.max_stack_size_bytes.or(below.max_stack_size_bytes),
        enable_fuel_metering: above.enable_fuel_metering.or(below.enable_fuel_metering),
        fuel_limit: above.fuel_limit.or(below.fuel_limit),
    }
}

fn profile(config: &Config) -> Profile {
    let profile = config.settings.iter().find(|setting| setting.key == "host.profile");
    profile.and_then(|it| it.value.as_str()?.parse().ok()).unwrap_or_default()
}

/// The sandbox of the flags, within what the profile has.
fn sandbox(arguments: &ModuleArguments, profile: Profile) -> Result<Sandbox> {
    let mut sandbox = Sandbox { enable_wasi: !arguments.no_wasi, ..Sandbox::default() };
    sandbox.grants = arguments.grant.iter().cloned().collect();
    sandbox.network_access = sandbox.grants.contains_key("network");
    if !arguments.dir.is_empty() {
        sandbox = sandbox.directories(arguments.dir.clone());
    }
    if !arguments.env.is_empty() {
        sandbox = sandbox.environment(arguments.env.iter().cloned());
    }
    for pattern in &arguments.allow {
        match pattern {
            Pattern::Syscall(pattern) => sandbox.allowed_syscalls.push(pattern.clone()),
            Pattern::Function(pattern) => sandbox.allowed_functions.get_or_insert_default().push(pattern.clone()),
        }
    }
    for pattern in &arguments.deny {
        match pattern {
            Pattern::Syscall(pattern) => sandbox.denied_syscalls.push(pattern.clone()),
            Pattern::Function(pattern) => sandbox.denied_functions.push(pattern.clone()),
        }
    }
    let allowed = profile.settings();
    sandbox.filesystem_access = allowed.filesystem_access;
    let refuse = |setting, what| {
        let message = format!("in the profile `{profile}` no module gets {what}");
        Err(Error::Setting { setting, message }.into())
    };
    if !arguments.dir.is_empty() && !allowed.filesystem_access {
        return refuse("--dir", "files");
    }
    if sandbox.network_access && !allowed.network_access {
        return refuse("--grant network", "the network");
    }
    Ok(sandbox)
}

fn list(module: &Module) -> String {
    let mut text = String::new();
    for signature in module.signatures() {
        text.push_str(&format!("{signature}\n"));
    }
    for (name, reason) in module.left_out() {
        text.push_str(&format!("{} cannot be called: {reason}\n", tapline_host_core::escape(name)));
    }
    text
}

/// The stages before the call, the call, and what it used: in one line.
fn figures(module: &Module, answer: &Answer) -> String {
    let times = module.times();
    let compile = times.compile.map(|time| format!("compile {time:.1?}, ")).unwrap_or_default();
    let load = times.load_artifact.map(|time| format!("load artifact {time:.1?}, ")).unwrap_or_default();
    let total = times.total;
    let fuel = answer.fuel.map_or_else(|| "not metered".to_owned(), |fuel| fuel.to_string());
    format!(
        "{compile}{load}load in all {total:.1?}, instantiate fresh {:.1?}, call {:.1?}, fuel {fuel}, memory {}",
        answer.instantiate,
        answer.call,
        table::size(answer.peak_memory_bytes)
    )
}

fn document(module: &Module, answer: &Answer) -> Value {
    let times = module.times();
    json!({
        "value": answer.value.as_ref().map(tapline_function::to_text),
        "compile_ms": times.compile.map(milliseconds),
        "load_artifact_ms": times.load_artifact.map(milliseconds),
        "load_ms": milliseconds(times.total),
        "instantiate_fresh_ms": milliseconds(answer.instantiate),
        "call_ms": milliseconds(answer.call),
        "fuel": answer.fuel,
        "peak_memory_bytes": answer.peak_memory_bytes,
    })
}

fn bench_page(process_start: f64, results: &BenchmarkResults, validation: &PerformanceValidation) -> String {
    let once = |time: f64| [format!("{time:.4}"), String::new(), String::new(), String::new()];
    let row = |name: &str, [average, p50, p95, p99]: [String; 4]| [name.to_owned(), average, p50, p95, p99];
    let mut rows = vec![row("process start (median)", once(process_start))];
    rows.extend(results.compile_ms.map(|time| row("compile (once)", once(time))));
    for (name, it) in [
        ("load artifact", results.load_artifact),
        ("instantiate fresh", results.instantiate_fresh),
        ("cold start: check, load artifact, instantiate fresh", results.cold_start),
        ("warm start: instantiate fresh", results.warm_start),
        ("call", results.call),
    ] {
        rows.push(row(name, [it.average_ms, it.p50_ms, it.p95_ms, it.p99_ms].map(|time| format!("{time:.4}"))));
    }
    let mut text = table::render(["milliseconds", "average", "p50", "p95", "p99"], &rows);
    text.push_str(&format!(
        "\n{} iterations; a warm start is {:.1} times as fast as a cold start (check, load artifact, instantiate fresh)\n\n",
        results.iterations, results.improvement_factor
    ));
    let rows: Vec<[String; 4]> = validation
        .targets
        .iter()
        .map(|it| {
            let actual = it.actual.map_or_else(|| "-".to_owned(), |actual| format!("{actual:.4}"));
            [it.name.to_owned(), it.target.clone(), actual, if it.met { "met" } else { "not met" }.to_owned()]
        })
        .collect();
    text.push_str(&table::render(["measured in this run", "target", "actual", ""], &rows));
    text
}

/// How long this program takes to start and to end again, when it is asked for nothing but its version: the median.
fn process_start() -> Result<f64> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        Process::new(&program).arg("--version").stdout(Stdio::null()).status().context("cannot start this program")?;
        times.push(milliseconds(begun.elapsed()));
    }
    times.sort_by(f64::total_cmp);
    Ok(times[STARTS / 2])
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn json_text(document: &Value) -> String {
    format!("{document:#}\n")
}

/// What to do about an error, in the flags of this program.
pub(crate) fn hint(error: &Error) -> Option<String> {
    Some(match error {
        Error::Disallowed { functions, denied_by: None, .. } => {
            format!("if you trust it with them: --allow {}", functions.join(","))
        }
        Error::Disallowed { denied_by: Some(pattern), .. } if !pattern.is_default() => {
            format!("take `{pattern}` out of --deny")
        }
        Error::Disallowed { functions, .. } if functions.iter().any(|function| function == "path_open") => {
            "--allow does not change that; if it is to have a directory: --dir PATH".to_owned()
        }
        Error::Disallowed { .. } => {
            "a core module has no network; a component can have it: --grant 'network=[\"HOST:PORT\"]'".to_owned()
        }
        Error::WasiOff { .. } => "leave --no-wasi out".to_owned(),
        Error::Load(LoadError::NotGranted { grant, .. }) => format!("if you trust it with that: --grant {grant}"),
        Error::Call { fault: tapline_host_core::Fault::OutOfFuel { .. }, .. } => "give it more with --fuel".to_owned(),
        Error::Call { fault: tapline_host_core::Fault::TimedOut { .. }, .. } => {
            "give it more with --limits max_execution_time_ms=MILLISECONDS".to_owned()
        }
        other => return other.hint(),
    })
}

/// Whether the command line is at fault, and not the module.
pub(crate) fn is_usage(error: &Error) -> bool {
    matches!(
        error,
        Error::BadCall { .. }
            | Error::BadHash { .. }
            | Error::Setting { .. }
            | Error::TooFewIterations { .. }
            // Grants come from --grant, --dir and --env alone.
            | Error::Load(
                LoadError::UnknownGrant { .. } | LoadError::BadGrant { .. } | LoadError::AccessOff { .. }
            )
    )
}
