//! What refers to what, as a linker called with `--emit-relocs` says it.
//!
//! Two custom sections tell it: `linking` has a symbol for each function and each piece of data, and `reloc.CODE` and
//! `reloc.DATA` have an entry for each place that holds an index or an address, with the symbol that it speaks of. The
//! format is that of <https://github.com/WebAssembly/tool-conventions/blob/main/Linking.md>.
//!
//! An address may be that of a symbol plus a distance. What counts is the symbol: a compiler may use the distance as it
//! likes, within that one object.

use std::ops::Range;

use wasmparser::{KnownCustom, Linking, Parser, RelocationEntry, RelocationType, SymbolFlags, SymbolInfo};

use super::Result;
use super::module::Module;

/// A place that something else depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A function whose address is taken, by its index.
    Function(u32),
    /// A piece of data, by its number in [`Links::objects`].
    Object(usize),
}

#[derive(Default)]
pub(super) struct Links {
    /// Where in the file the pieces of data lie, in their order; none overlaps another.
    pub(super) objects: Vec<Range<usize>>,
    /// The places in the file that refer to something, in their order.
    places: Vec<(usize, Target)>,
}

impl Links {
    /// What the module says, or none if it says nothing, or something that this code does not understand fully.
    pub(super) fn read(binary: &[u8], module: &Module<'_>) -> Result<Option<Self>> {
        // A relocation names its section by number, among all.
        let mut sections = Vec::new();
        let (mut symbols, mut relocations) = (Vec::new(), Vec::new());
        for payload in Parser::new(0).parse_all(binary) {
            let payload = payload?;
            sections.extend(payload.as_section().map(|(id, range)| (id, range.start)));
            let wasmparser::Payload::CustomSection(section) = payload else { continue };
            match section.as_known() {
                KnownCustom::Linking(linking) => {
                    for subsection in linking.subsections() {
                        if let Linking::SymbolTable(table) = subsection? {
                            for symbol in table {
                                symbols.push(symbol?);
                            }
                        }
                    }
                }
                KnownCustom::Reloc(section) => {
                    for entry in section.entries() {
                        relocations.push((section.section_index(), entry?));
                    }
                }
                _ => {}
            }
        }
        if relocations.is_empty() || symbols.iter().any(has_other_rules) {
            return Ok(None);
        }
        let mut links = Links { objects: objects(&symbols, module), places: Vec::new() };
        for (section, entry) in &relocations {
            let Some((id, start)) = sections.get(*section as usize) else { return Ok(None) };
            // The index of a type is no symbol, and a custom section holds debug information.
            if *id == CUSTOM || entry.ty == RelocationType::TypeIndexLeb {
                continue;
            }
            let place = start.saturating_add(entry.offset as usize);
            let Some(symbol) = symbols.get(entry.index as usize) else { return Ok(None) };
            if !agrees(binary, place, entry, symbol, module) {
                return Ok(None);
            }
            if let Some(target) = links.target(entry.ty, symbol, module) {
                links.places.push((place, target));
            }
        }
        links.places.sort_by_key(|(place, _)| *place);
        Ok(Some(links))
    }

    /// What the bytes in a range of the file refer to.
    pub(super) fn within(&self, range: &Range<usize>) -> impl Iterator<Item = Target> {
        let first = self.places.partition_point(|(place, _)| *place < range.start);
        let end = range.end;
        self.places.iter().skip(first).take_while(move |(place, _)| *place < end).map(|(_, target)| *target)
    }

    fn target(&self, ty: RelocationType, symbol: &SymbolInfo<'_>, module: &Module<'_>) -> Option<Target> {
        match symbol {
            // A call does not need the table; `live` sees it as an instruction.
            SymbolInfo::Func { index, .. } => {
                (ty != RelocationType::FunctionIndexLeb).then_some(Target::Function(*index))
            }
            SymbolInfo::Data { .. } => {
                let place = place_of(symbol, module)?.start;
                let after = self.objects.partition_point(|object| object.start <= place);
                let object = after.checked_sub(1)?;
                self.objects[object].contains(&place).then_some(Target::Object(object))
            }
            _ => None,
        }
    }
}

/// The number of custom sections.
const CUSTOM: u8 = 0;

/// Thread-local data is reached through a base that no relocation shows. The symbols at both ends of a section
/// stand for all that is in it.
fn has_other_rules(symbol: &SymbolInfo<'_>) -> bool {
    match symbol {
        SymbolInfo::Data { flags, name, .. } => {
            flags.contains(SymbolFlags::TLS) || name.starts_with("__start_") || name.starts_with("__stop_")
        }
        _ => false,
    }
}

/// Where the data of a symbol lies in the file. None for those without any, such as `__heap_base`.
fn place_of(symbol: &SymbolInfo<'_>, module: &Module<'_>) -> Option<Range<usize>> {
    let SymbolInfo::Data { flags, symbol: Some(data), .. } = symbol else { return None };
    if flags.contains(SymbolFlags::ABSOLUTE) {
        return None;
    }
    let segment = module.segments.get(data.index as usize)?;
    let start = segment.place.start.checked_add(data.offset as usize)?;
    let end = start.checked_add(data.size as usize)?;
    (end <= segment.place.end).then_some(start..end)
}

/// The pieces of data. Symbols that share bytes, as strings with one ending do, make one piece.
fn objects(symbols: &[SymbolInfo<'_>], module: &Module<'_>) -> Vec<Range<usize>> {
    let mut places: Vec<_> = symbols.iter().filter_map(|symbol| place_of(symbol, module)).collect();
    places.retain(|place| !place.is_empty());
    places.sort_by_key(|place| place.start);
    let mut objects: Vec<Range<usize>> = Vec::new();
    for place in places {
        match objects.last_mut() {
            Some(last) if place.start < last.end => last.end = last.end.max(place.end),
            _ => objects.push(place),
        }
    }
    objects
}

/// Whether the number at the place of a relocation is the one that its symbol has.
fn agrees(binary: &[u8], place: usize, entry: &RelocationEntry, symbol: &SymbolInfo<'_>, module: &Module<'_>) -> bool {
    use RelocationType as Ty;
    let number = match entry.ty {
        Ty::FunctionIndexLeb
        | Ty::MemoryAddrLeb
        | Ty::MemoryAddrSleb
        | Ty::TableIndexSleb
        | Ty::GlobalIndexLeb
        | Ty::TableNumberLeb => leb128(binary, place),
        Ty::MemoryAddrI32 | Ty::TableIndexI32 => word(binary, place),
        // Those of position-independent code, of 64-bit memories and of debug information.
        _ => None,
    };
    let Some(number) = number else { return false };
    match (entry.ty, symbol) {
        (Ty::FunctionIndexLeb, SymbolInfo::Func { index, .. }) => number == *index,
        (Ty::TableIndexSleb | Ty::TableIndexI32, SymbolInfo::Func { index, .. }) => {
            module.slots.get(number as usize) == Some(&Some(*index))
        }
        (Ty::MemoryAddrLeb | Ty::MemoryAddrSleb | Ty::MemoryAddrI32, SymbolInfo::Data { flags, symbol, .. }) => {
            // A weak symbol that nobody has defined has the address 0.
            let Some(data) = symbol else { return number == 0 };
            let base = if flags.contains(SymbolFlags::ABSOLUTE) {
                Some(0)
            } else {
                module.segments.get(data.index as usize).map(|segment| segment.address)
            };
            base.is_some_and(|base| {
                let expected = i64::from(base) + i64::from(data.offset) + entry.addend;
                // Addresses wrap at 4 GiB, where a compiler has put a distance below zero into them.
                i64::from(number) == expected & i64::from(u32::MAX)
            })
        }
        (Ty::GlobalIndexLeb, SymbolInfo::Global { index, .. })
        | (Ty::TableNumberLeb, SymbolInfo::Table { index, .. }) => number == *index,
        // A global that holds the address of the symbol: which one, the module does not say.
        (Ty::GlobalIndexLeb, SymbolInfo::Data { .. } | SymbolInfo::Func { .. }) => true,
        _ => false,
    }
}

/// A number of 32 bits in the five bytes that a linker leaves for it, with or without sign.
fn leb128(binary: &[u8], place: usize) -> Option<u32> {
    let bytes = binary.get(place..place.checked_add(5)?)?;
    let wide =
        bytes.iter().enumerate().fold(0_u64, |number, (index, byte)| number | u64::from(byte & 0x7f) << (7 * index));
    // The fifth byte has three bits more than a number of 32 bits; they repeat the sign.
    Some(u32::try_from(wide & u64::from(u32::MAX)).unwrap_or_default())
}

fn word(binary: &[u8], place: usize) -> Option<u32> {
    binary.get(place..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}
