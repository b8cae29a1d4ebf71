//! Clocks and random bytes: what a call can learn that is not in its input.

use tapline_host_core::{CallState, Capability};
use wasmtime::component::{HasData, Linker};
use wasmtime_wasi::{
    WasiCtx,
    clocks::{WasiClocks, WasiClocksCtx, WasiClocksCtxView},
    p2::bindings::{clocks, random},
    random::{WasiRandom, WasiRandomCtx},
};

use crate::config::MAX_RANDOM_BYTES;

/// The time of day, a clock that only goes forward, and waiting until it has gone so far. Granted with `clocks = true`.
///
/// A clock with nanoseconds lets a plugin measure what others on the machine do; that is why it takes a grant. A wait
/// ends with the call's deadline.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocks;

#[derive(Default)]
struct ClocksOfCall(WasiClocksCtx);

impl Capability for Clocks {
    fn grant_name(&self) -> Option<&'static str> {
        Some("clocks")
    }

    fn carries_user_data(&self) -> bool {
        false
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["wasi:clocks/wall-clock@0.2.12", "wasi:clocks/monotonic-clock@0.2.12"]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        clocks::wall_clock::add_to_linker::<_, WasiClocks>(linker, clocks_of)?;
        clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(linker, clocks_of)
    }
}

fn clocks_of(state: &mut CallState) -> WasiClocksCtxView<'_> {
    state.count_host_call();
    let (clocks, table) = state.local_and_table::<ClocksOfCall>();
    WasiClocksCtxView { ctx: &mut clocks.0, table }
}

/// Random bytes, also those that are called insecure. Granted with `random = true`. One host call gives at most
/// [`MAX_RANDOM_BYTES`]; one that asks for more ends the plugin's call, and is counted as refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

/// The name of the grant, and of what is counted.
const RANDOM: &str = "random";

struct RandomOfCall(WasiCtx);

impl Default for RandomOfCall {
    fn default() -> Self {
        Self(WasiCtx::builder().max_random_size(MAX_RANDOM_BYTES).build())
    }
}

impl Capability for Random {
    fn grant_name(&self) -> Option<&'static str> {
        Some(RANDOM)
    }

    fn carries_user_data(&self) -> bool {
        false
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["wasi:random/random@0.2.12", "wasi:random/insecure@0.2.12", "wasi:random/insecure-seed@0.2.12"]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        random::random::add_to_linker::<_, Ours>(linker, counted)?;
        random::insecure::add_to_linker::<_, Ours>(linker, counted)?;
        random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, random_of)
    }
}

fn random_of(state: &mut CallState) -> &mut WasiRandomCtx {
    state.count_host_call();
    state.local::<RandomOfCall>().0.random()
}

struct Ours;

impl HasData for Ours {
    type Data<'a> = Bytes<'a>;
}

/// `wasmtime-wasi`'s own, with the call to which a refusal is counted.
struct Bytes<'a>(&'a mut CallState);

fn counted(state: &mut CallState) -> Bytes<'_> {
    Bytes(state)
}

impl Bytes<'_> {
    fn of(&mut self, length: u64) -> &mut WasiRandomCtx {
        if length > MAX_RANDOM_BYTES {
            self.0.host_call_refused(RANDOM);
        }
        random_of(self.0)
    }
}

impl random::random::Host for Bytes<'_> {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.of(length).get_random_bytes(length)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        random_of(self.0).get_random_u64()
    }
}

impl random::insecure::Host for Bytes<'_> {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.of(length).get_insecure_random_bytes(length)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        random_of(self.0).get_insecure_random_u64()
    }
}
