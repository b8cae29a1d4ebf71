//! The phase 0 way, as an arm of our own: what a host does that hands JSON through linear memory.
//!
//! A bare core module; the pooling allocator with its default settings, so that nothing stays resident; the linker looks
//! every import up again for each call; the item is written into memory that the guest made room in, and read back.

use std::{sync::Arc, time::Instant};

use tapline_content::Item;
use wasmtime::{Config, Engine, Extern, InstanceAllocationStrategy, Linker, Module, PoolingAllocationConfig, Store};
use wasmtime::{Result, error::Context as _};

use crate::measure::nanoseconds;

/// How long the stages of one call took, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Stages {
    /// The item to JSON.
    pub encode: f64,
    /// The store and the instance, imports looked up.
    pub instantiate: f64,
    /// Room in the guest, and the JSON into it.
    pub copy_in: f64,
    /// The guest.
    pub call: f64,
    /// The answer out of its memory, and parsed.
    pub decode: f64,
    /// Dropping all of it.
    pub teardown: f64,
}

impl Stages {
    /// All of them but the instance: the tap's own time.
    #[must_use]
    pub fn own(&self) -> f64 {
        self.encode + self.copy_in + self.call + self.decode
    }

    /// All of them.
    #[must_use]
    pub fn whole(&self) -> f64 {
        self.own() + self.instantiate + self.teardown
    }
}

/// An engine with one core module.
pub struct PhaseZero {
    module: Module,
    linker: Linker<()>,
}

impl PhaseZero {
    /// Compiles the module.
    ///
    /// # Errors
    ///
    /// What wasmtime says.
    pub fn new(module: &[u8]) -> Result<Self> {
        let mut config = Config::new();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(PoolingAllocationConfig::new()));
        let engine = Engine::new(&config)?;
        let module = Module::new(&engine, module)?;
        let mut linker = Linker::new(&engine);
        // What the standard library of the guest imports and does not call.
        linker.define_unknown_imports_as_traps(&module)?;
        Ok(Self { module, linker })
    }

    /// One call on a fresh instance.
    ///
    /// # Errors
    ///
    /// What wasmtime says, or the answer is no item.
    pub fn call(&self, item: &Arc<Item>) -> Result<(Item, Stages)> {
        let start = Instant::now();
        let json = serde_json::to_string(&**item)?;
        let encode = nanoseconds(start);

        let start = Instant::now();
        let mut store = Store::new(self.module.engine(), ());
        let instance = self.linker.instantiate(&mut store, &self.module)?;
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut store, "_initialize") {
            initialize.call(&mut store, ())?;
        }
        let memory = instance.get_export(&mut store, "memory").and_then(Extern::into_memory).context("no memory")?;
        let instantiate = nanoseconds(start);

        let start = Instant::now();
        let room = instance.get_typed_func::<u32, u32>(&mut store, "room")?;
        let place = room.call(&mut store, u32::try_from(json.len())?)?;
        memory.write(&mut store, place as usize, json.as_bytes())?;
        let copy_in = nanoseconds(start);

        let start = Instant::now();
        let answer = instance.get_typed_func::<(), u64>(&mut store, "item_presave")?.call(&mut store, ())?;
        let call = nanoseconds(start);

        let start = Instant::now();
        let (place, length) = ((answer >> 32) as usize, (answer & 0xFFFF_FFFF) as usize);
        let bytes = memory.data(&store).get(place..place + length).context("the answer lies outside of the memory")?;
        let item: Item = serde_json::from_str(std::str::from_utf8(bytes)?)?;
        let decode = nanoseconds(start);

        let start = Instant::now();
        drop(store);
        Ok((item, Stages { encode, instantiate, copy_in, call, decode, teardown: nanoseconds(start) }))
    }
}
