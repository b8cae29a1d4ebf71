//! The command line.

pub(crate) mod module;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

pub(crate) use self::module::ModuleArguments;

/// The command that makes this program a worker of its own host.
pub const WORKER: &str = "compile-worker";

/// Runs WebAssembly plugins over content.
#[derive(Debug, Parser)]
#[command(name = "tapline", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes. A flag is stronger than the environment, and that is stronger than the file.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Global {
    /// The configuration file; ./tapline.toml if there is one [variable: TAPLINE_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The database, for example sqlite:tapline.db [variable: TAPLINE_DATABASE_URL]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// Where to listen, for example 127.0.0.1:8380 [variable: TAPLINE_LISTEN]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// What to log: off, error, warn, info, debug, trace, or a filter such as info,tapline_host_core=debug
    /// [variable: TAPLINE_LOG]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
    /// How to log [default: human] [variable: TAPLINE_LOG_FORMAT]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// Lines for people.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the items, with what the plugins add, until SIGINT or SIGTERM
    ///
    /// Prints `listening on http://ADDRESS` when it is ready. Ends with 0, or with 3 when something was still running
    /// after 10 seconds and was cut off. SIGHUP loads what has changed, as --watch
    /// does without being asked; where the program has a terminal, it ends it.
    Serve {
        /// Follow the configuration and the files of the plugins: what changes is loaded while the program serves
        #[arg(long)]
        watch: bool,
        /// Sample what plugins do, and write it when the program ends: folded stacks, which tools for flame graphs read
        #[arg(long, value_name = "FILE")]
        profile: Option<PathBuf>,
    },
    /// Import documents: directories of Markdown, Markdown files, or files with one JSON item per line
    ///
    /// Keeps going past what it cannot import, reports it, and ends with 1.
    Import {
        /// Directories, .md and .jsonl files
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Write a report as JSON
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// Print the page of an item as HTML
    Render {
        /// The identifier of the item
        id: String,
    },
    /// List the plugins of the configuration, with their taps and grants
    Plugins,
    /// Show what a plugin's file says about itself; needs no configuration and runs nothing
    Inspect {
        /// The component
        #[arg(value_name = "FILE.wasm")]
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Call an exported function of a component or a core module: tapline run FILE.wasm 'fibonacci(10)'
    ///
    /// Prints the result on stdout; time, fuel and memory on stderr. Arguments and results are in WAVE: 1, -2.5, true, 'c',
    /// "text", [1, 2], (1, "two"), {name: "value"}, some(1), none, ok(1), err("no"). Without a call it lists the functions.
    Run {
        #[command(flatten)]
        module: ModuleArguments,
        /// The call; the functions are listed if there is none
        call: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure what comes before a call, stage by stage, and compare it with the targets
    ///
    /// Each iteration loads the compiled code anew and calls on a fresh instance, then calls again without loading.
    Bench {
        #[command(flatten)]
        module: ModuleArguments,
        /// The call
        call: String,
        /// How often, at least 100
        #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
        iterations: u32,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show every setting that is in force, for the host and for each plugin, and where it comes from
    ///
    /// Reads the configuration as every other command does, and neither opens nor loads anything.
    Config {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what one request did, and for how long, or the last requests if none is named
    ///
    /// Asks the host that serves. The identifier of a request is in its answer, as X-Request-Id, and in each of its log lines.
    /// A request that called no plugin has no trace.
    Trace {
        /// The identifier of the request: 32 hexadecimal digits
        id: Option<String>,
        /// Where the host serves [default: http:// and the address that the configuration has]
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Look after the directory with compiled plugins; a host may use it meanwhile
    Cache {
        #[command(subcommand)]
        action: CacheAction,
    },
    /// Compile one plugin for the host that started this process
    #[command(name = WORKER, hide = true)]
    Worker,
    /// Show the order of the plugins in a tap, and why
    Explain {
        /// The tap, for example item_view
        tap: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheAction {
    /// List the compiled plugins, those that were used last first
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show how much there is, and how much of it is for this configuration
    Stats {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Check every compiled plugin as it is checked before it is loaded; ends with 1 when one is damaged
    ///
    /// A host compiles a plugin anew whose file is damaged, so that nothing has to be done about it.
    Verify,
    /// Remove what no host with this configuration would load: other versions and settings, damaged files, leftovers
    Prune,
    /// Remove all compiled plugins; the next start compiles anew
    Clear,
}
