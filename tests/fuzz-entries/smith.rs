// Random core modules, valid, with the exports of a plugin that implements `cron`. The build script of this crate and the
// fuzz target `run` share it.

use arbitrary::Unstructured;
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, Instruction, MemorySection, MemoryType, Module,
    TypeSection, ValType,
};
use wasm_smith::Config;

/// A module whose code is what `bytes` make of it. `None`: there are too few of them.
pub(crate) fn module(bytes: &[u8]) -> Option<Vec<u8>> {
    let config = Config {
        exports: Some(exports()),
        max_imports: 0,
        // Beside the one that is exported.
        max_memories: 0,
        // Within the limits of the host that runs it, so that most of them are run.
        max_memory32_bytes: 4 << 20,
        max_table_elements: 1000,
        // What the engine of a host has switched off.
        exceptions_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        // Of these, references to the host's objects.
        reference_types_enabled: false,
        threads_enabled: false,
        ..Config::default()
    };
    wasm_smith::Module::new(config, &mut Unstructured::new(bytes)).ok().map(|module| module.to_bytes())
}

/// A module with the exports of `tapline:content/cron`: its memory, and the function by its flat signature.
fn exports() -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I64, ValType::I32, ValType::I64], [ValType::I32]);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("tapline:content/cron@0.1.0#cron", ExportKind::Func, 0);
    let mut body = Function::new([]);
    body.instruction(&Instruction::I32Const(0)).instruction(&Instruction::End);
    let mut code = CodeSection::new();
    code.function(&body);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&exports).section(&code);
    module.finish()
}
