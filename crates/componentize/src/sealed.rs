//! The adapter that answers WASI calls without giving any authority.

use std::collections::HashSet;

use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::Error;

/// The module name under which the standard library imports its functions, and which the adapter stands in for.
pub(crate) const PREVIEW1: &str = "wasi_snapshot_preview1";

const ADAPTER: &str = include_str!("sealed.wat");
const HOST_WIT: &str = include_str!("../../../wit/host/host.wit");
const WORLD_WIT: &str = "package tapline:sealed; world sealed { import tapline:host/diagnostics@0.1.0; }";

/// The adapter as a core module that carries the description of its one import.
pub(crate) fn adapter() -> Result<Vec<u8>, Error> {
    let mut module = wat::parse_str(ADAPTER).map_err(|error| Error::Adapter { source: error.into() })?;
    describe(&mut module).map_err(|error| Error::Adapter { source: error.into_boxed_dyn_error() })?;
    Ok(module)
}

fn describe(module: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut resolve = Resolve::default();
    resolve.push_source("host.wit", HOST_WIT)?;
    let package = resolve.push_source("sealed.wit", WORLD_WIT)?;
    let world = resolve.select_world(&[package], Some("sealed"))?;
    embed_component_metadata(module, &resolve, world, StringEncoding::UTF8)
}

/// The names of the functions that the adapter has.
pub(crate) fn functions(adapter: &[u8]) -> Result<HashSet<&str>, Error> {
    let mut names = HashSet::new();
    for payload in wasmparser::Parser::new(0).parse_all(adapter) {
        if let wasmparser::Payload::ExportSection(section) = payload.map_err(Error::malformed)? {
            for export in section {
                names.insert(export.map_err(Error::malformed)?.name);
            }
        }
    }
    Ok(names)
}
