//! A core module that knows nothing of components, as a component that exports its functions.

use std::borrow::Cow;

use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{ExternalKind, FuncType, Parser, Payload, ValType, Validator, WasmFeatures};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::{Adapter, Error, sealed};

/// Most functions that a module may export. The module of a compiled C or Rust program exports a few; one that names the same
/// function over and over is somebody's attempt to keep a host busy.
const MAX_EXPORTS: usize = 10_000;

/// What a module may use: WebAssembly 2.0, and what has become common since. No threads, no 64-bit memory, no exceptions and no
/// garbage collection, because no host of ours runs them.
const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::MULTI_MEMORY);

/// What a function of a module takes or returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// 32 bits, which the component shows as `s32`.
    I32,
    /// 64 bits, which the component shows as `s64`.
    I64,
    /// A float of 32 bits.
    F32,
    /// A float of 64 bits.
    F64,
}

/// An exported function whose signature has numbers only, and at most one result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoreFunction {
    /// Its name in the module: any text.
    pub name: String,
    /// What it takes.
    pub params: Vec<Number>,
    /// What it returns.
    pub result: Option<Number>,
    /// Its name in the component, where names have a form.
    pub export: String,
}

/// A core module that was built without a contract: not for a host, but to have its functions called.
///
/// [`into_component`](Self::into_component) puts a component around it, so that whoever runs components runs it as well,
/// with the same checks and limits. WASI preview 1 is answered as in a plugin, by an [`Adapter`]; other imports are refused.
#[derive(Clone, Debug)]
pub struct CoreModule<'a> {
    bytes: &'a [u8],
    functions: Vec<(u32, CoreFunction)>,
    left_out: Vec<(String, &'static str)>,
    wasi: Vec<String>,
    kept: Vec<(&'static str, ExportKind, u32)>,
}

/// So many values a component hands over one by one. What has more takes them out of a memory, which a core function does not.
const MAX_PARAMETERS: usize = 16;

impl<'a> CoreModule<'a> {
    /// Reads and validates a module. Runs nothing of it.
    ///
    /// # Errors
    ///
    /// The bytes are no core module, or not a valid one; it imports what is not WASI preview 1; no function can be called.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        if !bytes.starts_with(b"\0asm") {
            return Err(Error::NotWasm);
        }
        if Parser::is_component(bytes) {
            return Err(Error::AlreadyComponent);
        }
        let malformed = Error::malformed;
        let types = Validator::new_with_features(FEATURES).validate_all(bytes).map_err(malformed)?;
        let adapter = sealed::adapter()?;
        let known = sealed::functions(&adapter)?;
        let mut module = Self { bytes, functions: vec![], left_out: vec![], wasi: vec![], kept: vec![] };
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(malformed)? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import.map_err(malformed)?;
                        let name = import.name.to_owned();
                        if import.module != sealed::PREVIEW1 {
                            return Err(Error::UnknownImport { module: import.module.to_owned(), name });
                        }
                        if !known.contains(import.name) {
                            return Err(Error::UnknownWasi { name });
                        }
                        module.wasi.push(name);
                    }
                }
                Payload::ExportSection(section) => {
                    if section.count() as usize > MAX_EXPORTS {
                        return Err(Error::TooManyExports { exports: section.count(), max: MAX_EXPORTS });
                    }
                    for export in section {
                        let export = export.map_err(malformed)?;
                        match export.kind {
                            ExternalKind::Memory if export.name == "memory" => {
                                module.kept.push(("memory", ExportKind::Memory, export.index));
                            }
                            ExternalKind::Func => {
                                let ty = types.as_ref();
                                let ty = ty[ty.core_function_at(export.index)].unwrap_func();
                                module.function(export.name, export.index, ty);
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        if module.functions.is_empty() {
            return Err(Error::NoFunction { left_out: module.left_out });
        }
        Ok(module)
    }

    fn function(&mut self, name: &str, index: u32, ty: &FuncType) {
        // These two have a meaning for the component, where they have the right signature.
        if name == "_initialize" && ty.params().is_empty() && ty.results().is_empty() {
            return self.kept.push(("_initialize", ExportKind::Func, index));
        }
        if name == "cabi_realloc" && ty.params() == [ValType::I32; 4] && ty.results() == [ValType::I32] {
            return self.kept.push(("cabi_realloc", ExportKind::Func, index));
        }
        let numbers = |types: &[ValType]| types.iter().map(|ty| Number::of(*ty)).collect::<Option<Vec<_>>>();
        let reason = match (numbers(ty.params()), numbers(ty.results())) {
            (Some(params), _) if params.len() > MAX_PARAMETERS => "it takes more than 16 values",
            (Some(params), Some(results)) if results.len() <= 1 => {
                // Not `f32`, which is a word of WIT.
                let export = format!("function{}", self.functions.len());
                let result = results.first().copied();
                return self.functions.push((index, CoreFunction { name: name.to_owned(), params, result, export }));
            }
            (Some(_), Some(_)) => "it returns more than one value",
            _ => "it takes or returns a vector or a reference",
        };
        self.left_out.push((name.to_owned(), reason));
    }

    /// The functions that the component will export, in the order of the module.
    pub fn functions(&self) -> impl ExactSizeIterator<Item = &CoreFunction> {
        self.functions.iter().map(|(_, function)| function)
    }

    /// The functions that it will not export, with the reason.
    #[must_use]
    pub fn left_out(&self) -> &[(String, &'static str)] {
        &self.left_out
    }

    /// The functions of WASI preview 1 that the module imports.
    #[must_use]
    pub fn wasi_functions(&self) -> &[String] {
        &self.wasi
    }

    /// The component. It imports what the adapter needs for the WASI functions of the module, and exports its functions
    /// under the names that [`CoreFunction::export`] says. A function `_initialize` runs when it is instantiated.
    ///
    /// # Errors
    ///
    /// The module uses WASI and exports no memory, through which WASI gives its answers.
    pub fn into_component(self, adapter: Adapter) -> Result<Vec<u8>, Error> {
        let encode = Error::encode;
        let adapter = match adapter {
            Adapter::Sealed => Cow::Owned(sealed::adapter()?),
            Adapter::Wasi => Cow::Borrowed(WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER),
        };
        let mut module = self.renamed()?;
        let mut resolve = Resolve::default();
        let package = resolve.push_source("module.wit", &self.world()).map_err(encode)?;
        let world = resolve.select_world(&[package], Some("module")).map_err(encode)?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(encode)?;
        ComponentEncoder::default()
            .validate(true)
            .module(&module)
            .and_then(|encoder| encoder.adapter(sealed::PREVIEW1, &adapter))
            .and_then(|mut encoder| encoder.encode())
            .map_err(encode)
    }

    /// The same code with the exports that the component needs, and without custom sections but the names: one could say
    /// that it describes the component.
    fn renamed(&self) -> Result<Vec<u8>, Error> {
        let mut module = Module::new();
        for payload in Parser::new(0).parse_all(self.bytes) {
            let payload = payload.map_err(Error::malformed)?;
            match &payload {
                Payload::ExportSection(_) => {
                    let mut exports = ExportSection::new();
                    for (name, kind, index) in &self.kept {
                        exports.export(name, *kind, *index);
                    }
                    for (index, function) in &self.functions {
                        exports.export(&function.export, ExportKind::Func, *index);
                    }
                    module.section(&exports);
                }
                Payload::CustomSection(section) if section.name() != "name" => {}
                _ => {
                    if let Some((id, range)) = payload.as_section() {
                        module.section(&RawSection { id, data: &self.bytes[range] });
                    }
                }
            }
        }
        Ok(module.finish())
    }

    fn world(&self) -> String {
        let mut wit = "package tapline:module; world module {\n".to_owned();
        for (_, CoreFunction { params, result, export, .. }) in &self.functions {
            let params: Vec<String> =
                params.iter().enumerate().map(|(index, number)| format!("p{index}: {}", number.wit())).collect();
            let result = result.map_or_else(String::new, |number| format!(" -> {}", number.wit()));
            wit.push_str(&format!("export {export}: func({}){result};\n", params.join(", ")));
        }
        wit + "}\n"
    }
}

impl Number {
    fn of(ty: ValType) -> Option<Self> {
        Some(match ty {
            ValType::I32 => Self::I32,
            ValType::I64 => Self::I64,
            ValType::F32 => Self::F32,
            ValType::F64 => Self::F64,
            ValType::V128 | ValType::Ref(_) => return None,
        })
    }

    fn wit(self) -> &'static str {
        match self {
            Self::I32 => "s32",
            Self::I64 => "s64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }
}
