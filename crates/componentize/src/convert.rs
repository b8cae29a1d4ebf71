//! The conversion itself: check, trim, link, hoist, strip.

use std::borrow::Cow;
use std::collections::HashSet;

use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
use wasmparser::{ComponentExternalKind, ComponentTypeRef, Parser, Payload};
use wit_component::ComponentEncoder;

use crate::{Error, sealed, sections, trim};

/// A plugin that a host can load.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Component {
    /// The component, validated.
    pub bytes: Vec<u8>,
    /// What `#[tap]` wrote about the taps: lines of JSON, also readable as the custom section `tapline:taps` of
    /// [`bytes`](Self::bytes). Empty when the module was built without the attribute.
    pub taps_metadata: Vec<u8>,
    /// The interfaces that the plugin asks its host for, in the order of the component. An interface of which only the
    /// types are used is among them; it gives nothing to call.
    pub imports: Vec<String>,
    /// The interfaces that the plugin implements, in the order of the component: its taps.
    pub exports: Vec<String>,
}

/// What answers the WASI calls of a module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Adapter {
    /// Nothing outside: output becomes log lines, the rest is empty or refused. The component imports no WASI.
    #[default]
    Sealed,
    /// The host, through the standard adapter: the component imports those interfaces of WASI 0.2 that the module uses,
    /// and a host loads it only with the grants for them.
    Wasi,
}

/// How to convert.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Whether names of functions stay in, and debug information if [`keep_everything`](Self::keep_everything) is set
    /// too. Traps then show a readable stack; the component grows. Defaults to false.
    pub keep_names: bool,
    /// Whether code and data that the plugin never runs stay in, and debug information with them. Defaults to false.
    pub keep_everything: bool,
    /// What answers WASI calls. Defaults to [`Adapter::Sealed`].
    pub adapter: Adapter,
}

impl Options {
    /// Sets [`keep_names`](Self::keep_names).
    #[must_use]
    pub fn keep_names(mut self, keep: bool) -> Self {
        self.keep_names = keep;
        self
    }

    /// Sets [`keep_everything`](Self::keep_everything).
    #[must_use]
    pub fn keep_everything(mut self, keep: bool) -> Self {
        self.keep_everything = keep;
        self
    }

    /// Sets [`adapter`](Self::adapter).
    #[must_use]
    pub fn adapter(mut self, adapter: Adapter) -> Self {
        self.adapter = adapter;
        self
    }
}

/// Makes a component of a core module, with the default [`Options`].
///
/// # Errors
///
/// See [`Error`]. The bytes may come from anybody: nothing in them is run, and bad ones are refused.
pub fn componentize(core_module: &[u8]) -> Result<Component, Error> {
    componentize_with(core_module, Options::default())
}

/// Makes a component of a core module.
///
/// # Errors
///
/// As for [`componentize`].
pub fn componentize_with(core_module: &[u8], options: Options) -> Result<Component, Error> {
    check_is_module(core_module)?;
    let adapter = match options.adapter {
        Adapter::Sealed => Cow::Owned(sealed::adapter()?),
        Adapter::Wasi => Cow::Borrowed(WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER),
    };
    check_interfaces(core_module, &adapter)?;
    let taps_metadata = sections::taps(core_module).map_err(Error::malformed)?;

    let trimmed = if options.keep_everything { Cow::Borrowed(core_module) } else { trim::trim(core_module)?.into() };

    let linked = ComponentEncoder::default()
        .validate(true)
        .module(&trimmed)
        .and_then(|encoder| encoder.adapter(sealed::PREVIEW1, &adapter))
        .and_then(|mut encoder| encoder.encode())
        .map_err(Error::encode)?;

    let mut bytes = sections::strip(&linked, options.keep_names).map_err(Error::malformed)?;
    if !taps_metadata.is_empty() {
        sections::append(&mut bytes, sections::TAPS, &taps_metadata);
    }
    let (imports, exports) = interfaces(&bytes).map_err(Error::malformed)?;
    Ok(Component { bytes, taps_metadata, imports, exports })
}

fn check_is_module(bytes: &[u8]) -> Result<(), Error> {
    if !bytes.starts_with(b"\0asm") {
        return Err(Error::NotWasm);
    }
    if Parser::is_component(bytes) {
        return Err(Error::AlreadyComponent);
    }
    wasmparser::validate(bytes).map_err(Error::malformed)?;
    Ok(())
}

/// Finds what the encoder would also refuse, so that the message speaks of the plugin and not of the encoder.
fn check_interfaces(core_module: &[u8], adapter: &[u8]) -> Result<(), Error> {
    let (_, contract) = wit_component::metadata::decode(core_module).map_err(Error::encode)?;
    let world = &contract.resolve.worlds[contract.world];
    if world.exports.is_empty() {
        return Err(Error::NoTap);
    }
    let known: HashSet<String> = world.imports.keys().map(|key| contract.resolve.name_world_key(key)).collect();
    let wasi = sealed::functions(adapter)?;

    for payload in Parser::new(0).parse_all(core_module) {
        let Payload::ImportSection(section) = payload.map_err(Error::malformed)? else {
            continue;
        };
        for import in section.into_imports() {
            let import = import.map_err(Error::malformed)?;
            let (module, name) = (import.module, import.name);
            if module == sealed::PREVIEW1 {
                if !wasi.contains(name) {
                    return Err(Error::UnknownWasi { name: name.to_owned() });
                }
            } else if !is_declared(module, &known) {
                return Err(Error::UnknownImport { module: module.to_owned(), name: name.to_owned() });
            }
        }
    }
    Ok(())
}

/// `$root` and names that begin with `[` are wit-bindgen's own, for functions and resources of the contract.
fn is_declared(module: &str, known: &HashSet<String>) -> bool {
    module == "$root" || module.starts_with('[') || known.contains(module)
}

fn interfaces(component: &[u8]) -> Result<(Vec<String>, Vec<String>), wasmparser::BinaryReaderError> {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import?;
                    if matches!(import.ty, ComponentTypeRef::Instance(_)) {
                        imports.push(import.name.name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Instance {
                        exports.push(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}
