//! What a plugin's file says about itself, read without compiling or running anything.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use tapline_tap_dispatch::{Placement, PluginName};
use wasmparser::{Encoding, Parser, Payload};

use crate::{
    error::LoadError,
    functions, needs,
    readable::readable,
    text::{cut, escape},
};

/// The custom section into which `#[tap]` writes one line of JSON for each tap.
pub const TAPS_SECTION: &str = "tapline:taps";

/// What a component asks for, offers and needs. A component is a plugin even without tap records: it then has the
/// default order.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Manifest {
    /// The instances that it imports, by their full WIT names: the capabilities that it asks for.
    pub imports: Vec<String>,
    /// The functions of those instances, as `tapline:host/database@0.1.0#query`: what it can call at all.
    pub imported_functions: Vec<String>,
    /// The instances that it exports, by their full WIT names, sorted.
    pub exports: Vec<String>,
    /// The records that `#[tap]` wrote, sorted by tap.
    pub taps: Vec<TapRecord>,
    /// The size of the component, in bytes.
    pub size: usize,
    /// Functions with a body, over all core modules.
    pub functions: u64,
    /// The bytes of the largest body of a function.
    pub largest_function: u64,
    /// Core modules that one instance instantiates; one that is instantiated twice counts twice, here and below.
    pub instances: u64,
    /// Nested components that one instance instantiates.
    pub components: u64,
    /// Memories of one instance.
    pub memories: u64,
    /// The pages of 64 KiB that its memories start with.
    pub memory_pages: u64,
    /// Tables of one instance.
    pub tables: u64,
    /// The elements that its tables start with.
    pub table_elements: u64,
    /// The bytes that the engine keeps for one instance beside its memories and tables, at least.
    pub state_bytes: u64,
    /// Segments of data and elements that are copied when an instance is made.
    pub segments: u64,
    /// The bytes in those of data.
    pub segment_bytes: u64,
    /// The elements in those of elements.
    pub segment_elements: u64,
}

/// One line of the section `tapline:taps`: what the author wrote in `#[tap(...)]`, and with which SDK.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TapRecord {
    /// The version of this record. This host reads 1.
    pub schema: u32,
    /// The tap, for example `item_view`.
    pub tap: String,
    /// `full` or `lazy`.
    pub mode: String,
    /// Where the author wants the handler.
    #[serde(flatten)]
    pub placement: TapPlacement,
    /// The fields that the handler declared. None: all.
    #[serde(default)]
    pub fields: Option<Vec<String>>,
    /// The package that the plugin was built from.
    #[serde(default)]
    pub plugin: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// The version of the SDK.
    #[serde(default)]
    pub sdk: String,
    /// The author's function.
    #[serde(default)]
    pub function: String,
}

/// The author's wishes for the order of one tap, as they stand in a [`TapRecord`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TapPlacement {
    /// Lower goes first.
    pub weight: i32,
    /// Plugins that come later.
    pub before: Vec<String>,
    /// Plugins that come earlier.
    pub after: Vec<String>,
    /// Ahead of all that do not say so.
    pub first: bool,
    /// Behind all that do not say so.
    pub last: bool,
}

impl From<&TapPlacement> for Placement {
    fn from(wish: &TapPlacement) -> Self {
        Self {
            weight: wish.weight,
            before: wish.before.clone(),
            after: wish.after.clone(),
            first: wish.first,
            last: wish.last,
        }
    }
}

/// The newest [`TapRecord::schema`] that this host reads.
const SCHEMA: u32 = 1;

/// Most records: each tap has one for each of its modes.
const MAX_RECORDS: usize = 1000;
/// The longest record, in bytes: one with as many names as there may be, each as long as it may be and some of it escaped. What
/// is longer is not even parsed, which takes many times its size.
const MAX_RECORD: usize = 512 << 10;

/// Most names in one record, and the longest: each call looks through the fields.
const MAX_NAMES: usize = 1000;
const MAX_NAME: usize = 200;

impl Manifest {
    /// Reads the manifest of a component. Reads the structure only: it validates no code and runs nothing.
    ///
    /// # Errors
    ///
    /// The bytes are not WebAssembly, a core module, or cut off or damaged; or the tap records cannot be read.
    pub fn read(plugin: &PluginName, bytes: &[u8]) -> Result<Self, LoadError> {
        if !bytes.starts_with(b"\0asm") {
            return Err(LoadError::NotWasm { plugin: plugin.clone(), found: bytes.iter().take(8).copied().collect() });
        }
        let mut reader = Reader { manifest: Self { size: bytes.len(), ..Self::default() }, ..Reader::default() };
        let invalid =
            |offset, message: &str| LoadError::Invalid { plugin: plugin.clone(), offset, message: readable(&message) };
        for payload in Parser::new(0).parse_all(bytes) {
            payload
                .and_then(|payload| reader.take(payload))
                .map_err(|error| invalid(error.offset(), error.message()))?;
            if reader.core_module_at_top {
                return Err(LoadError::CoreModule { plugin: plugin.clone() });
            }
        }
        if let Some((message, offset)) = reader.needs.refused.or(reader.functions.unknown) {
            return Err(invalid(offset, message));
        }
        let needs = reader.needs.total;
        reader.manifest = Self {
            instances: needs.instances,
            components: needs.components,
            memories: needs.memories,
            memory_pages: needs.memory_pages,
            tables: needs.tables,
            table_elements: needs.table_elements,
            state_bytes: needs.state_bytes,
            segments: needs.segments,
            segment_bytes: needs.segment_bytes,
            segment_elements: needs.segment_elements,
            ..reader.manifest
        };
        // The build tool lifts the records to the component; a component made otherwise has them in its module.
        let text = if reader.outer_records.is_empty() { reader.inner_records } else { reader.outer_records };
        reader.manifest.taps = read_records(plugin, &text)?;
        reader.manifest.exports.sort();
        reader.manifest.imported_functions = reader.functions.functions;
        Ok(reader.manifest)
    }

    /// Whether the plugin can call anything through an interface that it imports. One that it imports for its types alone
    /// gives it nothing, and needs no grant.
    #[must_use]
    pub fn calls(&self, interface: &str) -> bool {
        self.imported_functions.iter().any(|function| function.split('#').next() == Some(interface))
    }

    /// The record for `tap` in `mode` (`full` or `lazy`), when the plugin has one.
    #[must_use]
    pub fn record(&self, tap: &str, mode: &str) -> Option<&TapRecord> {
        self.taps.iter().find(|record| record.tap == tap && record.mode == mode)
    }
}

fn read_records(plugin: &PluginName, text: &[u8]) -> Result<Vec<TapRecord>, LoadError> {
    let refuse = |line: usize, message: String| LoadError::Metadata { plugin: plugin.clone(), line, message };
    let mut records = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        if line.len() > MAX_RECORD {
            return Err(refuse(index + 1, format!("it has more than {MAX_RECORD} bytes")));
        }
        let record: TapRecord = serde_json::from_slice(line).map_err(|error| refuse(index + 1, error.to_string()))?;
        if records.len() == MAX_RECORDS {
            return Err(refuse(index + 1, format!("there are more than {MAX_RECORDS} records")));
        }
        if record.schema != SCHEMA {
            return Err(refuse(index + 1, format!("it has schema {}, this host reads schema {SCHEMA}", record.schema)));
        }
        let names =
            || record.placement.before.iter().chain(&record.placement.after).chain(record.fields.iter().flatten());
        if names().count() > MAX_NAMES || names().any(|name| name.len() > MAX_NAME) {
            return Err(refuse(
                index + 1,
                format!("it names more than {MAX_NAMES} fields or plugins, or one with more than {MAX_NAME} bytes"),
            ));
        }
        let own = [&record.tap, &record.mode, &record.plugin, &record.version, &record.sdk, &record.function];
        if let Some(text) = own.into_iter().find(|text| text.len() > MAX_NAME) {
            return Err(refuse(index + 1, format!("`{}…` has more than {MAX_NAME} bytes", cut(text, 20))));
        }
        // Whoever looks at a plugin before it is trusted looks at these, on a terminal.
        if let Some(text) = names().chain(own).find(|text| matches!(escape(text), Cow::Owned(_))) {
            return Err(refuse(index + 1, format!("`{}` has a character that cannot be printed", escape(text))));
        }
        records.push(record);
    }
    // The linker decides in which order they come, as it does for exports, and decides anew with each build.
    records.sort_by(|a, b| (&a.tap, &a.mode).cmp(&(&b.tap, &b.mode)));
    Ok(records)
}

/// A name as it can be printed. One that is too long or has anything unprintable in it is no name of ours: what is put in
/// its place is none either, and is refused as such.
fn shown(name: &str) -> String {
    if name.len() > MAX_NAME { format!("{}…", escape(cut(name, MAX_NAME))) } else { escape(name).into_owned() }
}

#[derive(Default)]
struct Reader {
    manifest: Manifest,
    needs: needs::Counter,
    functions: functions::Reader,
    depth: usize,
    core_module_at_top: bool,
    outer_records: Vec<u8>,
    inner_records: Vec<u8>,
}

impl Reader {
    fn take(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        self.needs.take(&payload)?;
        self.functions.take(&payload)?;
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } if self.depth == 0 => self.core_module_at_top = true,
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => self.depth += 1,
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if self.depth == 0 => {
                for import in imports {
                    self.manifest.imports.push(shown(import?.name.name));
                }
            }
            Payload::ComponentExportSection(exports) if self.depth == 0 => {
                for export in exports {
                    self.manifest.exports.push(shown(export?.name.name));
                }
            }
            Payload::CodeSectionStart { count, .. } => self.manifest.functions += u64::from(count),
            Payload::CodeSectionEntry(body) => {
                self.manifest.largest_function = self.manifest.largest_function.max(body.range().len() as u64);
            }
            Payload::CustomSection(section) if section.name() == TAPS_SECTION => {
                let records = if self.depth == 0 { &mut self.outer_records } else { &mut self.inner_records };
                records.extend_from_slice(section.data());
            }
            _ => {}
        }
        Ok(())
    }
}
