//! What every program expects to be there: streams, arguments, an environment and a way to exit. None of it carries
//! authority.

use bytes::Bytes;
use tapline_host_core::{CallState, Capability, GuestOutput};
use wasmtime::{
    Trap,
    component::{HasData, Linker, Resource, ResourceTable},
};
use wasmtime_wasi::{
    async_trait,
    cli::{WasiCli, WasiCliCtx, WasiCliCtxView},
    p2::{
        DynOutputStream, OutputStream, Pollable, StreamResult,
        bindings::{
            cli,
            io::{error, poll, streams},
        },
    },
};

/// How much one write may hand over, in bytes: as much as all the output of a call that is kept.
const WRITE: usize = 64 << 10;

/// Standard streams, arguments, environment and exit, and the streams that other interfaces use. Needs no grant.
///
/// Output goes where that of a sealed plugin goes, with the same limits: 64 KiB and 1000 lines for each call. Input is at
/// its end, there are no arguments, the environment is empty whatever the host's is, and nothing is a terminal. Whoever
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
        cli::environment::add_to_linker::<_, WasiCli>(linker, empty)?;
        cli::stdin::add_to_linker::<_, WasiCli>(linker, empty)?;
        cli::terminal_input::add_to_linker::<_, WasiCli>(linker, empty)?;
        cli::terminal_output::add_to_linker::<_, WasiCli>(linker, empty)?;
        cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, empty)?;
        cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, empty)?;
        cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, empty)?;
        cli::exit::add_to_linker::<_, Ours>(linker, process)?;
        cli::stdout::add_to_linker::<_, Ours>(linker, process)?;
        cli::stderr::add_to_linker::<_, Ours>(linker, process)?;
        error::add_to_linker::<_, Table>(linker, CallState::table)?;
        poll::add_to_linker::<_, Table>(linker, CallState::table)?;
        streams::add_to_linker::<_, Table>(linker, CallState::table)
    }
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

/// `wasmtime-wasi`'s own, of which everything is empty until it is filled: nobody fills it.
#[derive(Default)]
struct Empty(WasiCliCtx);

fn empty(state: &mut CallState) -> WasiCliCtxView<'_> {
    let (cli, table) = state.local_and_table::<Empty>();
    WasiCliCtxView { ctx: &mut cli.0, table }
}

struct Ours;

impl HasData for Ours {
    type Data<'a> = Process<'a>;
}

struct Process<'a>(&'a mut CallState);

fn process(state: &mut CallState) -> Process<'_> {
    Process(state)
}

impl cli::exit::Host for Process<'_> {
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

impl cli::stdout::Host for Process<'_> {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.stream(GuestOutput::stdout)
    }
}

impl cli::stderr::Host for Process<'_> {
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
