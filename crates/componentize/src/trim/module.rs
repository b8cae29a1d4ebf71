//! A core module, as far as trimming needs to know it.

use std::collections::HashMap;
use std::ops::Range;

use wasm_encoder::reencode::Reencode as _;
use wasmparser::{
    BinaryReaderError, ConstExpr, DataKind, Element, ElementItems, ElementKind, FunctionBody, KnownCustom, Name,
    Operator, OperatorsReader, Parser, Payload, SubType, TypeRef,
};

use super::links::Links;
use super::live::Seen;
use super::{Result, names};

pub(super) struct Module<'a> {
    /// Functions that are imported come first in the index space.
    pub(super) imported_functions: u32,
    /// The type of each function.
    pub(super) function_types: Vec<u32>,
    pub(super) bodies: Vec<FunctionBody<'a>>,
    /// The types of each recursion group. All of Rust's groups have one.
    pub(super) type_groups: Vec<Vec<SubType>>,
    /// What the sections other than code, data and the table refer to.
    pub(super) roots: Seen,
    /// The functions in the table, in their order, with gaps where there are any.
    pub(super) slots: Vec<Option<u32>>,
    pub(super) segments: Vec<Segment>,
    /// What refers to what, where the linker has said so and nothing stands against believing it.
    pub(super) links: Option<Links>,
    /// Whether the data may be written in other pieces: all of it goes to known places of an own memory, in order.
    pub(super) divisible_data: bool,
    /// What the name of each function says; empty where nothing is to be cut.
    known: Vec<Known>,
}

/// What the name of a function says about it.
#[derive(Clone, Copy)]
struct Known {
    on_the_way_to_a_trap: bool,
    prints: bool,
    raw_stderr: bool,
    leads_to_abort: bool,
}

/// An active data segment.
pub(super) struct Segment {
    pub(super) address: u32,
    /// Where the bytes lie in the file.
    pub(super) place: Range<usize>,
}

/// The interface of the function by which a plugin reports its panics.
const DIAGNOSTICS: (&str, &str) = ("tapline:host/diagnostics@0.1.0", "panicked");

impl<'a> Module<'a> {
    pub(super) fn parse(binary: &'a [u8]) -> Result<Self> {
        let mut module = Module {
            imported_functions: 0,
            function_types: Vec::new(),
            bodies: Vec::new(),
            type_groups: Vec::new(),
            roots: Seen::default(),
            slots: Vec::new(),
            segments: Vec::new(),
            links: None,
            divisible_data: true,
            known: Vec::new(),
        };
        let mut reports_panics = false;
        let mut function_names = HashMap::new();
        // Anything else than a list of functions at a known place of the one table.
        let mut plain_table = true;
        for payload in Parser::new(0).parse_all(binary) {
            match payload? {
                Payload::TypeSection(section) => {
                    for group in section {
                        module.type_groups.push(group?.into_types().collect());
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        match import.ty {
                            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                                module.imported_functions += 1;
                                module.function_types.push(ty);
                                reports_panics |= (import.module, import.name) == DIAGNOSTICS;
                            }
                            // What is there before our data and functions come, we do not know.
                            TypeRef::Memory(_) => module.divisible_data = false,
                            TypeRef::Table(_) => plain_table = false,
                            _ => {}
                        }
                        if !matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
                            module.roots.entity_type(import.ty)?;
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        module.function_types.push(ty?);
                    }
                }
                Payload::TableSection(section) => {
                    plain_table &= section.count() == 1;
                    module.roots.parse_table_section(&mut wasm_encoder::TableSection::new(), section)?;
                }
                Payload::GlobalSection(section) => {
                    module.roots.parse_global_section(&mut wasm_encoder::GlobalSection::new(), section)?;
                }
                Payload::TagSection(section) => {
                    module.roots.parse_tag_section(&mut wasm_encoder::TagSection::new(), section)?;
                }
                Payload::ExportSection(section) => {
                    for export in section.clone() {
                        // Whoever has the table can call any of its entries.
                        plain_table &= export?.kind != wasmparser::ExternalKind::Table;
                    }
                    module.roots.parse_export_section(&mut wasm_encoder::ExportSection::new(), section)?;
                }
                Payload::StartSection { func, .. } => module.roots.functions.push(func),
                Payload::ElementSection(section) => {
                    for element in section {
                        plain_table &= module.element(element?)?;
                    }
                }
                Payload::DataSection(section) => {
                    for data in section {
                        let data = data?;
                        let place = data.range.end - data.data.len()..data.range.end;
                        module.data(&data.kind, place)?;
                    }
                }
                Payload::CodeSectionEntry(body) => module.bodies.push(body),
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(section) = section.as_known() {
                        function_names = read_names(section)?;
                    }
                }
                _ => {}
            }
        }
        let entries_by_name_alone = module.entries_by_name_alone()?;
        if plain_table && module.divisible_data && entries_by_name_alone {
            module.links = Links::read(binary, &module)?;
        }
        module.divisible_data &= entries_by_name_alone;
        if reports_panics {
            module.apply_names(&function_names);
        }
        Ok(module)
    }

    /// Whether a call is cut. `behind` reads what follows it.
    pub(super) fn is_cut(&self, caller: u32, callee: u32, behind: OperatorsReader<'_>) -> Result<bool> {
        let (Some(caller), Some(callee)) = (self.known.get(caller as usize), self.known.get(callee as usize)) else {
            return Ok(false);
        };
        Ok((caller.on_the_way_to_a_trap && callee.prints) || (callee.raw_stderr && self.only_aborts(behind)?))
    }

    /// Whether the instructions lead straight to a trap, and call nothing on the way but what aborts.
    fn only_aborts(&self, mut operators: OperatorsReader<'_>) -> Result<bool> {
        loop {
            match operators.read()? {
                Operator::Unreachable => return Ok(true),
                Operator::Call { function_index } => {
                    if !self.known.get(function_index as usize).is_some_and(|known| known.leads_to_abort) {
                        return Ok(false);
                    }
                }
                Operator::LocalGet { .. }
                | Operator::LocalSet { .. }
                | Operator::I32Const { .. }
                | Operator::I32Add
                | Operator::I32Load { .. }
                | Operator::I32Load8U { .. }
                | Operator::I64Load { .. }
                | Operator::I32Store { .. }
                | Operator::I32Store8 { .. }
                | Operator::I64Store { .. } => {}
                _ => return Ok(false),
            }
        }
    }

    fn apply_names(&mut self, names: &HashMap<u32, &str>) {
        let known = (0_u32..).take(self.function_types.len()).map(|function| {
            // Without the hash at the end, in both of Rust's forms; a name of another language stays as it is.
            let name = names.get(&function).map(|name| format!("{:#}", rustc_demangle::demangle(name)));
            let name = name.unwrap_or_default();
            Known {
                on_the_way_to_a_trap: names::is_on_the_way_to_a_trap(&name),
                prints: names::prints(&name),
                raw_stderr: names::is_raw_stderr(&name),
                leads_to_abort: names::leads_to_abort(&name),
            }
        });
        self.known = known.collect();
    }

    /// Takes one element segment in; false if it is not functions at a known place of the table.
    fn element(&mut self, element: Element<'_>) -> Result<bool> {
        let Some((start, functions)) = table_entries(&element)? else {
            self.roots.parse_element(&mut wasm_encoder::ElementSection::new(), element)?;
            return Ok(false);
        };
        let plain = start >= self.slots.len();
        self.slots.resize(self.slots.len().max(start), None);
        self.slots.extend(functions.into_iter().map(Some));
        Ok(plain)
    }

    fn data(&mut self, kind: &DataKind<'_>, place: Range<usize>) -> Result<()> {
        let address = match kind {
            DataKind::Active { memory_index: 0, offset_expr } => constant(offset_expr)?,
            _ => None,
        };
        let end = self.segments.last().map_or(0, |last| u64::from(last.address) + last.place.len() as u64);
        match address {
            Some(address) if u64::from(address) >= end => self.segments.push(Segment { address, place }),
            _ => self.divisible_data = false,
        }
        Ok(())
    }

    /// Whether functions and pieces of data are used only in the ways that `links` covers: no instruction takes a
    /// reference to a function, speaks of a segment by its number or of the table by anything but a call.
    fn entries_by_name_alone(&self) -> Result<bool> {
        for body in &self.bodies {
            for operator in body.get_operators_reader()? {
                use Operator as Op;
                if matches!(
                    operator?,
                    Op::RefFunc { .. }
                        | Op::MemoryInit { .. }
                        | Op::DataDrop { .. }
                        | Op::ElemDrop { .. }
                        | Op::TableInit { .. }
                        | Op::TableCopy { .. }
                        | Op::TableGet { .. }
                        | Op::TableSet { .. }
                        | Op::TableGrow { .. }
                        | Op::TableFill { .. }
                ) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// The first place and the functions of a segment that fills the first table at a place known now.
pub(super) fn table_entries(
    element: &Element<'_>,
) -> std::result::Result<Option<(usize, Vec<u32>)>, BinaryReaderError> {
    let (ElementKind::Active { table_index: None | Some(0), offset_expr }, ElementItems::Functions(functions)) =
        (&element.kind, &element.items)
    else {
        return Ok(None);
    };
    let Some(start) = constant(offset_expr)? else { return Ok(None) };
    let functions = functions.clone().into_iter().collect::<std::result::Result<_, _>>()?;
    Ok(Some((start as usize, functions)))
}

fn constant(expression: &ConstExpr<'_>) -> std::result::Result<Option<u32>, BinaryReaderError> {
    let mut operators = expression.get_operators_reader();
    let first = operators.read()?;
    Ok(match (first, operators.is_end_then_eof()) {
        (Operator::I32Const { value }, true) => Some(value.cast_unsigned()),
        _ => None,
    })
}

fn read_names(
    section: wasmparser::NameSectionReader<'_>,
) -> std::result::Result<HashMap<u32, &str>, BinaryReaderError> {
    let mut names = HashMap::new();
    for subsection in section {
        if let Name::Function(map) = subsection? {
            for naming in map {
                let naming = naming?;
                names.insert(naming.index, naming.name);
            }
        }
    }
    Ok(names)
}
