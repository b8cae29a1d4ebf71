//! Plugins and modules that were right once, changed by `wasm-mutate`.

use std::ops::Range;

use wasm_encoder::{ComponentSectionId, Encode};
use wasm_mutate::WasmMutate;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

/// Work after which a mutation is given up, in the units of `wasm-mutate`: a large module takes about 100 ms.
const EFFORT: u64 = 1000;

/// Where the core modules at the top of a component are. Empty for what is none.
pub fn modules(component: &[u8]) -> Vec<Range<usize>> {
    let mut modules = Vec::new();
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::ModuleSection { unchecked_range, .. }) => {
                // The length is the file's word; one that lies is found when the module is read.
                if depth == 0 && unchecked_range.end <= component.len() {
                    modules.push(unchecked_range);
                }
                depth += 1;
            }
            Ok(Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth -= 1,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    modules
}

/// The component with another core module in the place of the one at `range`, which is one of [`modules`].
pub fn replace_module(component: &[u8], range: Range<usize>, module: &[u8]) -> Vec<u8> {
    // In front of a module stand the identifier of its section and its length, of one to five bytes.
    let padded = (1..=5).find(|bytes| {
        component[range.start - bytes - 1] == CORE_MODULE && leb(component, range.start - bytes) == range.len()
    });
    let start = range.start - padded.expect("a module has a length in front of it") - 1;
    let mut changed = component[..start].to_vec();
    changed.push(CORE_MODULE);
    module.encode(&mut changed);
    changed.extend_from_slice(&component[range.end..]);
    changed
}

/// The identifier of a section that is a core module.
const CORE_MODULE: u8 = ComponentSectionId::CoreModule as u8;

fn leb(bytes: &[u8], at: usize) -> usize {
    let mut value = 0;
    for (index, byte) in bytes[at..].iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// Changes the largest core module of a component, the way that `seed` says. `None`: there is none, or nothing that can be
/// changed was found.
///
/// `preserve`: the component still does what it did.
pub fn mutate(component: &[u8], seed: u64, preserve: bool) -> Option<Vec<u8>> {
    let range = modules(component).into_iter().max_by_key(Range::len)?;
    let module = mutate_module(&component[range.clone()], seed, preserve)?;
    Some(replace_module(component, range, &module))
}

/// The same of a core module by itself.
pub fn mutate_module(module: &[u8], seed: u64, preserve: bool) -> Option<Vec<u8>> {
    // `wasm-mutate` takes indices for what they say, and panics at those of a module that is not valid.
    Validator::new_with_features(WasmFeatures::all()).validate_all(module).ok()?;
    let mut mutate = WasmMutate::default();
    mutate.seed(seed).preserve_semantics(preserve).fuel(EFFORT);
    mutate.run(module).ok()?.find_map(Result::ok)
}
