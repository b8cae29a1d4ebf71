//! Plugins that are read before there is a host for them.

use std::{num::NonZero, thread};

use tapline_cache::Wasm;

use crate::{error::LoadError, manifest::Manifest, plugin::PluginSpec, read, stages::Stages};

/// Plugins whose files have been read, hashed and looked at: what a program can do on one core while it builds its
/// [`Host`](crate::Host) on another. [`Host::load_read_lazily`](crate::Host::load_read_lazily) takes them in.
pub struct ReadPlugins(pub(crate) Vec<(PluginSpec, Result<ReadPlugin, LoadError>)>);

/// What is known of a plugin without a host.
pub(crate) struct ReadPlugin {
    pub(crate) wasm: Wasm,
    pub(crate) manifest: Manifest,
    pub(crate) stages: Stages,
}

impl ReadPlugin {
    pub(crate) fn read(spec: &PluginSpec, max_component_bytes: u64) -> Result<Self, LoadError> {
        let mut stages = Stages::begin();
        let wasm = read::read_now(&spec.name, &spec.source, max_component_bytes)?;
        stages.end("read");
        let manifest = Manifest::read(&spec.name, wasm.bytes())?;
        stages.end("look at");
        Ok(Self { wasm, manifest, stages })
    }
}

impl ReadPlugins {
    /// Reads them, on as many threads as there are processors, and no more: a plugin takes a fraction of a millisecond, and a thread
    /// that is made for it takes as long. A file with more than `max_component_bytes`, which is
    /// [the host's limit](crate::Compilation::max_component_bytes), is not read. Blocks; what is wrong with a plugin is told when it
    /// is loaded.
    #[must_use]
    pub fn read(specs: Vec<PluginSpec>, max_component_bytes: u64) -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let share = specs.len().div_ceil(threads).max(1);
        let mut read: Vec<Option<Result<ReadPlugin, LoadError>>> = specs.iter().map(|_| None).collect();
        let work = |specs: &[PluginSpec], read: &mut [Option<_>]| {
            for (spec, place) in specs.iter().zip(read) {
                *place = Some(ReadPlugin::read(spec, max_component_bytes));
            }
        };
        thread::scope(|scope| {
            let mut shares = specs.chunks(share).zip(read.chunks_mut(share));
            // This thread has the first share.
            let own = shares.next();
            for (specs, places) in shares {
                let work = &work;
                // Where the system has no thread for it, this one does its share in the end.
                let _ = thread::Builder::new().spawn_scoped(scope, move || work(specs, places));
            }
            if let Some((specs, places)) = own {
                work(specs, places);
            }
        });
        let done = |(spec, read): (PluginSpec, Option<_>)| {
            let read = read.unwrap_or_else(|| ReadPlugin::read(&spec, max_component_bytes));
            (spec, read)
        };
        Self(specs.into_iter().zip(read).map(done).collect())
    }
}
