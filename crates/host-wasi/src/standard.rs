//! What every program expects to be there: streams, arguments, an environment and a way to exit. None of it carries
//! authority.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde::Deserialize as _;
use tapline_host_core::{CallState, Capability, GrantValue, Granted, GuestOutput};
use wasmtime::{
    Trap,
    component::{HasData, Linker, Resource, ResourceTable},
};
use wasmtime_wasi::{
    WasiCtx, async_trait,
    cli::{WasiCli, WasiCliCtx, WasiCliCtxView},
    p2::{
        DynOutputStream, OutputStream, Pollable, StreamResult,
        bindings::{
            cli as bindings,
            io::{error, poll, streams},
        },
    },
};

/// How much one write may hand over, in bytes: as much as all the output of a call that is kept.
const WRITE: usize = 64 << 10;

/// Standard streams, arguments, environment and exit, and the streams that other interfaces use. Needs no grant.
///
/// Output goes where that of a sealed plugin goes, with the same limits: 64 KiB and 1000 lines for each call. Input is at
/// its end, there are no arguments, and nothing is a terminal. The environment is never the host's: it is empty, or what
/// [`Environment`] grants. Whoever
/// exits, with whatever status, ends the call as a trap does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standard;

impl Capability for Standard {
    fn grant_name(&self) -> Option<&'static str> {
        None
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &[
            "wasi:cli/environment@0.2.12",
            "wasi:cli/exit@0.2.12",
            "wasi:cli/stdin@0.2.12",
            "wasi:cli/stdout@0.2.12",
            "wasi:cli/stderr@0.2.12",
            "wasi:cli/terminal-input@0.2.12",
            "wasi:cli/terminal-output@0.2.12",
            "wasi:cli/terminal-stdin@0.2.12",
            "wasi:cli/terminal-stdout@0.2.12",
            "wasi:cli/terminal-stderr@0.2.12",
            "wasi:io/error@0.2.12",
            "wasi:io/poll@0.2.12",
            "wasi:io/streams@0.2.12",
        ]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        bindings::environment::add_to_linker::<_, WasiCli>(linker, cli)?;
        bindings::stdin::add_to_linker::<_, WasiCli>(linker, cli)?;
        bindings::terminal_input::add_to_linker::<_, WasiCli>(linker, cli)?;
        bindings::terminal_output::add_to_linker::<_, WasiCli>(linker, cli)?;
        bindings::terminal_stdin::add_to_linker::<_, WasiCli>(linker, cli)?;
        bindings::terminal_stdout::add_to_linker::<_, WasiCli>(linker, cli)?;
        bindings::terminal_stderr::add_to_linker::<_, WasiCli>(linker, cli)?;
        bindings::exit::add_to_linker::<_, Ours>(linker, process)?;
        bindings::stdout::add_to_linker::<_, Ours>(linker, process)?;
        bindings::stderr::add_to_linker::<_, Ours>(linker, process)?;
        error::add_to_linker::<_, Table>(linker, table)?;
        poll::add_to_linker::<_, Table>(linker, table)?;
        streams::add_to_linker::<_, Table>(linker, table)
    }
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

fn table(state: &mut CallState) -> &mut ResourceTable {
    state.count_host_call();
    state.table()
}

/// The variables of a plugin's environment, granted by name: `environment = { LANG = "en" }`. They are seen through
/// `wasi:cli/environment`, which [`Standard`] offers; the host's own variables are seen by nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Environment;

struct EnvironmentGrant(Vec<(String, String)>);

impl Capability for Environment {
    fn grant_name(&self) -> Option<&'static str> {
        Some("environment")
    }

    fn grant_example(&self) -> &'static str {
        r#"{ LANG = "en" }"#
    }

    fn carries_user_data(&self) -> bool {
        false
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &[]
    }

    fn link(&self, _linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn grant(&self, _plugin: &str, value: &GrantValue) -> Result<Granted, String> {
        let variables = BTreeMap::<String, String>::deserialize(value)
            .map_err(|error| format!("it takes a table of texts, such as {}: {error}", self.grant_example()))?;
        let unfit =
            |(name, value): &(&String, &String)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0');
        if let Some((name, _)) = variables.iter().find(unfit) {
            return Err(format!("`{}` is no name of a variable, or has a value with a zero byte", name.escape_debug()));
        }
        Ok(Arc::new(EnvironmentGrant(variables.into_iter().collect())))
    }
}

/// `wasmtime-wasi`'s own, of which everything is empty until it is filled. Only variables ever are.
#[derive(Default)]
struct Cli {
    empty: WasiCliCtx,
    granted: Option<WasiCtx>,
}

fn cli(state: &mut CallState) -> WasiCliCtxView<'_> {
    state.count_host_call();
    if let Some(grant) = state.grant::<EnvironmentGrant>() {
        let build = || WasiCtx::builder().envs(&grant.0).build();
        state.local::<Cli>().granted.get_or_insert_with(build);
    }
    let (cli, table) = state.local_and_table::<Cli>();
    let ctx = match &mut cli.granted {
        Some(granted) => granted.cli(),
        None => &mut cli.empty,
    };
    WasiCliCtxView { ctx, table }
}

struct Ours;

impl HasData for Ours {
    type Data<'a> = Process<'a>;
}

struct Process<'a>(&'a mut CallState);

fn process(state: &mut CallState) -> Process<'_> {
    state.count_host_call();
    Process(state)
}

impl bindings::exit::Host for Process<'_> {
    fn exit(&mut self, _status: Result<(), ()>) -> wasmtime::Result<()> {
        // As in a sealed plugin, where exiting is the instruction `unreachable`.
        Err(Trap::UnreachableCodeReached.into())
    }

    fn exit_with_code(&mut self, _status: u8) -> wasmtime::Result<()> {
        Err(Trap::UnreachableCodeReached.into())
    }
}

impl Process<'_> {
    fn stream(&mut self, write: fn(&GuestOutput, &[u8])) -> wasmtime::Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(Log { output: self.0.output(), write });
        Ok(self.0.table().push(stream)?)
    }
}

impl bindings::stdout::Host for Process<'_> {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.stream(GuestOutput::stdout)
    }
}

impl bindings::stderr::Host for Process<'_> {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.stream(GuestOutput::stderr)
    }
}

/// A stream into the host's log.
struct Log {
    output: GuestOutput,
    write: fn(&GuestOutput, &[u8]),
}

impl OutputStream for Log {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        (self.write)(&self.output, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE)
    }
}

#[async_trait]
impl Pollable for Log {
    async fn ready(&mut self) {}
}
