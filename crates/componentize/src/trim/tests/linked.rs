//! Modules as a linker writes them with `--emit-relocs`.

use std::borrow::Cow;

use wasm_encoder::{
    CodeSection, ConstExpr, CustomSection, DataSection, DataSymbolDefinition, ElementSection, Elements, ExportKind,
    ExportSection, FunctionSection, LinkingSection, MemorySection, MemoryType, Module, RefType, SymbolTable,
    TableSection, TableType, TypeSection, ValType,
};
use wasmparser::{Parser, Payload};

use super::super::trim;
use super::{functions, instantiate, memory};

const TABLE_INDEX_I32: u8 = 2;
const MEMORY_ADDR_SLEB: u8 = 4;
const TLS: u32 = 0x100;

/// What the linker says about the module of `build`, to be changed by a test.
struct Words {
    /// Kind, place in the section, symbol and addend, which only addresses of memory have.
    code: Vec<(u8, u8, u8, Option<u8>)>,
    data: Vec<(u8, u8, u8, Option<u8>)>,
    data_flags: u32,
    second_name: &'static str,
}

/// The words that are right. Symbols: 0 and 1 are functions, 2 and 3 are data.
fn right() -> Words {
    Words {
        code: vec![(MEMORY_ADDR_SLEB, 4, 2, Some(0)), (MEMORY_ADDR_SLEB, 29, 3, Some(0))],
        data: vec![(TABLE_INDEX_I32, 7, 0, None), (TABLE_INDEX_I32, 11, 1, None)],
        data_flags: 0,
        second_name: "second",
    }
}

/// `run` calls what the word at 1024 names, function 1. Function 3 is dead, and only it has the address of the word at
/// 1028, which names function 2, and of the text behind it.
fn build(words: Option<&Words>) -> Vec<u8> {
    let mut module = Module::new();
    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    module.section(&types);
    let mut functions = FunctionSection::new();
    (0..4).for_each(|_| _ = functions.function(0));
    module.section(&functions);
    let mut tables = TableSection::new();
    let (minimum, maximum) = (3, Some(3));
    tables.table(TableType { element_type: RefType::FUNCREF, minimum, maximum, table64: false, shared: false });
    module.section(&tables);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    module.section(&memories);
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0).export("run", ExportKind::Func, 0);
    module.section(&exports);
    let mut elements = ElementSection::new();
    elements.active(None, &ConstExpr::i32_const(1), Elements::Functions(Cow::Borrowed(&[1, 2])));
    module.section(&elements);
    let mut code = CodeSection::new();
    // Addresses take five bytes each, as a linker leaves them: 1024 and 1028.
    code.raw(&[0, 0x41, 0x80, 0x88, 0x80, 0x80, 0, 0x28, 2, 0, 0x11, 0, 0, 0x0b]);
    code.raw(&[0, 0x41, 11, 0x0b]);
    code.raw(&[0, 0x41, 22, 0x0b]);
    code.raw(&[0, 0x41, 0x84, 0x88, 0x80, 0x80, 0, 0x28, 2, 0, 0x0b]);
    module.section(&code);
    let mut data = DataSection::new();
    data.active(0, &ConstExpr::i32_const(1024), *b"\x01\0\0\0\x02\0\0\0text of the second");
    module.section(&data);
    if let Some(words) = words {
        let mut symbols = SymbolTable::new();
        symbols.function(0, 1, Some("one")).function(0, 2, Some("two"));
        symbols.data(words.data_flags, "first", Some(DataSymbolDefinition { index: 0, offset: 0, size: 4 }));
        let second = DataSymbolDefinition { index: 0, offset: 4, size: 22 };
        symbols.data(words.data_flags, words.second_name, Some(second));
        module.section(LinkingSection::new().symbol_table(&symbols));
        for (name, section, entries) in [("reloc.CODE", 6, &words.code), ("reloc.DATA", 7, &words.data)] {
            let mut bytes = vec![section, u8::try_from(entries.len()).unwrap()];
            for (kind, place, symbol, addend) in entries {
                bytes.extend([*kind, *place, *symbol]);
                bytes.extend(addend);
            }
            module.section(&CustomSection { name: name.into(), data: bytes.into() });
        }
    }
    module.finish()
}

/// What is left: functions, entries of the table, the text.
fn left(module: &[u8]) -> (usize, u32, bool) {
    let entries = Parser::new(0).parse_all(module).filter_map(|payload| match payload.unwrap() {
        Payload::ElementSection(section) => Some(section),
        _ => None,
    });
    let entries = entries.flatten().map(|element| match element.unwrap().items {
        wasmparser::ElementItems::Functions(functions) => functions.count(),
        wasmparser::ElementItems::Expressions(_, expressions) => expressions.count(),
    });
    (functions(module), entries.sum(), memory(module).windows(4).any(|bytes| bytes == b"text"))
}

fn answer(module: &[u8]) -> i32 {
    let (mut store, instance) = instantiate(module);
    let run = instance.get_typed_func::<(), i32>(&mut store, "run").unwrap();
    run.call(&mut store, ()).unwrap()
}

/// The dead function is all that goes.
#[track_caller]
fn everything_reachable_stays(words: Option<&Words>) {
    let module = trim(&build(words)).unwrap();
    assert_eq!(left(&module), (3, 2, true));
    assert_eq!(answer(&module), 11);
}

#[test]
fn what_only_dead_code_and_dead_data_refer_to_goes() {
    let before = build(Some(&right()));
    assert_eq!(left(&before), (4, 2, true));
    let module = trim(&before).unwrap();
    assert_eq!(left(&module), (2, 1, false));
    assert_eq!(answer(&module), 11);
    assert!(!String::from_utf8_lossy(&module).contains("reloc"));
}

#[test]
fn without_relocations_nothing_is_known() {
    everything_reachable_stays(None);
    everything_reachable_stays(Some(&Words { code: Vec::new(), data: Vec::new(), ..right() }));
}

#[test]
fn what_live_code_refers_to_stays() {
    // The first function refers to both words.
    let mut module = build(Some(&Words { code: vec![(MEMORY_ADDR_SLEB, 4, 3, Some(0x7c))], ..right() }));
    // 1028 - 4: the distance leads out of the symbol, which counts all the same.
    assert_eq!(left(&trim(&module).unwrap()), (2, 1, true));
    module = build(Some(&right()));
    assert!(!left(&trim(&module).unwrap()).2);
}

#[test]
fn one_word_that_does_not_agree_and_all_is_kept() {
    let wrong_addend = vec![(MEMORY_ADDR_SLEB, 4, 2, Some(1)), (MEMORY_ADDR_SLEB, 29, 3, Some(0))];
    let wrong_place = vec![(MEMORY_ADDR_SLEB, 5, 2, Some(0))];
    let outside = vec![(MEMORY_ADDR_SLEB, 127, 2, Some(0))];
    let no_symbol = vec![(MEMORY_ADDR_SLEB, 4, 9, Some(0))];
    // 11: an address relative to a base, as position-independent code has it.
    let other_kind = vec![(11, 4, 2, Some(0))];
    for code in [wrong_addend, wrong_place, outside, no_symbol, other_kind] {
        everything_reachable_stays(Some(&Words { code, ..right() }));
    }
    let wrong_function = vec![(TABLE_INDEX_I32, 7, 1, None), (TABLE_INDEX_I32, 11, 1, None)];
    everything_reachable_stays(Some(&Words { data: wrong_function, ..right() }));
}

#[test]
fn symbols_with_rules_of_their_own_keep_all() {
    everything_reachable_stays(Some(&Words { data_flags: TLS, ..right() }));
    everything_reachable_stays(Some(&Words { second_name: "__start_list", ..right() }));
    everything_reachable_stays(Some(&Words { second_name: "__stop_list", ..right() }));
}

#[test]
fn broken_words_are_an_error_and_no_panic() {
    let good = build(Some(&right()));
    let from = good.windows(7).position(|bytes| bytes == b"linking").unwrap();
    for place in from + 7..good.len() {
        let mut module = good.clone();
        module[place] ^= 0x55;
        // Whatever comes of it, it is a valid module or an error.
        _ = trim(&module).map(|module| wasmparser::validate(&module).unwrap());
    }
}
