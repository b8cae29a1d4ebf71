//! Writes the module again without what is not reached.

use std::convert::Infallible;
use std::ops::Range;

use wasm_encoder::reencode::{Reencode, utils};
use wasm_encoder::{
    CodeSection, ConstExpr, CustomSection, DataSection, ElementSection, Elements, Function, FunctionSection,
    ImportSection, Instruction, NameSection, TypeSection,
};
use wasmparser::{FunctionBody, KnownCustom, Name, Operator, TypeRef};

use super::live::Live;
use super::module::{Module, table_entries};
use super::{Result, module};

/// Writes the instructions of one function, and says of each where it stood.
///
/// A call that is cut is a trap, so that what follows it in the same block cannot run either and is left out.
pub(super) fn body<R: Reencode<Error = Infallible>>(
    encoder: &mut R,
    module: &Module<'_>,
    function: u32,
    body: &FunctionBody<'_>,
    mut stays: impl FnMut(Range<usize>),
) -> Result<Function> {
    let mut written = encoder.new_function_with_parsed_locals(body)?;
    let mut operators = body.get_operators_reader()?;
    // Behind a cut: how many blocks have begun since.
    let mut blocks_behind_cut = None;
    while !operators.eof() {
        let start = operators.original_position();
        let operator = operators.read()?;
        if let Some(blocks) = &mut blocks_behind_cut {
            match operator {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                    *blocks += 1_u32;
                    continue;
                }
                Operator::End | Operator::Else if *blocks == 0 => blocks_behind_cut = None,
                Operator::End => {
                    *blocks -= 1;
                    continue;
                }
                _ => continue,
            }
        }
        match operator {
            Operator::Call { function_index } if module.is_cut(function, function_index, operators.clone())? => {
                written.instruction(&Instruction::Unreachable);
                blocks_behind_cut = Some(0);
            }
            operator => {
                stays(start..operators.original_position());
                written.instruction(&encoder.instruction(operator)?);
            }
        }
    }
    Ok(written)
}

pub(super) fn rewrite(binary: &[u8], module: &Module<'_>, live: &Live) -> Result<Vec<u8>> {
    let types = module.type_groups.iter().zip(&live.type_groups).flat_map(|(group, live)| vec![*live; group.len()]);
    let pieces = module.divisible_data.then(|| pieces(binary, module, live));
    let mut writer = Writer {
        binary,
        module,
        live,
        functions: renumber(live.functions.iter().copied()),
        types: renumber(types),
        pieces,
    };
    let mut written = wasm_encoder::Module::new();
    writer.parse_core_module(&mut written, wasmparser::Parser::new(0), binary)?;
    Ok(written.finish())
}

/// The new number of each one that stays, at its old number.
fn renumber(stays: impl Iterator<Item = bool>) -> Vec<Option<u32>> {
    let mut next = 0;
    stays
        .map(|stays| {
            stays.then(|| {
                next += 1;
                next - 1
            })
        })
        .collect()
}

/// The beginning of a new data segment costs up to 9 bytes: its kind, its address, the end of that and a length.
const GAP: usize = 9;

/// The data that stays, as places in the file with their addresses. Memory begins as zeros: those are not written.
fn pieces(binary: &[u8], module: &Module<'_>, live: &Live) -> Vec<(u32, Range<usize>)> {
    let mut pieces = Vec::new();
    for segment in &module.segments {
        let written: Vec<Range<usize>> = match &module.links {
            None => vec![segment.place.clone()],
            Some(links) => {
                let reached = links.objects.iter().zip(&live.objects).filter(|(_, live)| **live);
                reached.map(|(object, _)| object.clone()).filter(|place| segment.place.contains(&place.start)).collect()
            }
        };
        let mut piece: Option<Range<usize>> = None;
        for place in written.into_iter().flatten().filter(|place| binary.get(*place).is_some_and(|byte| *byte != 0)) {
            match &mut piece {
                Some(piece) if place - piece.end < GAP => piece.end = place + 1,
                _ => pieces.extend(piece.replace(place..place + 1).map(|piece| (segment, piece))),
            }
        }
        pieces.extend(piece.map(|piece| (segment, piece)));
    }
    let address = |segment: &module::Segment, piece: &Range<usize>| {
        segment.address + u32::try_from(piece.start - segment.place.start).unwrap_or_default()
    };
    pieces.into_iter().map(|(segment, piece)| (address(segment, &piece), piece)).collect()
}

struct Writer<'a> {
    binary: &'a [u8],
    module: &'a Module<'a>,
    live: &'a Live,
    functions: Vec<Option<u32>>,
    types: Vec<Option<u32>>,
    /// How the data is divided anew; none where it stays as it is.
    pieces: Option<Vec<(u32, Range<usize>)>>,
}

impl Writer<'_> {
    fn is_live(&self, function: u32) -> bool {
        self.live.functions.get(function as usize).is_some_and(|live| *live)
    }
}

/// The new number, or one that no module has, so that a mistake of `live` does not pass the validator.
fn new_number(numbers: &[Option<u32>], old: u32) -> u32 {
    numbers.get(old as usize).copied().flatten().unwrap_or(u32::MAX)
}

impl Reencode for Writer<'_> {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32> {
        Ok(new_number(&self.functions, function))
    }

    fn type_index(&mut self, ty: u32) -> Result<u32> {
        Ok(new_number(&self.types, ty))
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<()> {
        for (group, live) in section.into_iter().zip(&self.live.type_groups) {
            let group = group?;
            if *live {
                // `ty` counts a group, so that it is called for those alone that are written.
                self.parse_recursive_type_group(types.ty(), group)?;
            }
        }
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<()> {
        let mut function = 0;
        for import in section.into_imports() {
            let import = import?;
            if matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
                function += 1;
                if !self.is_live(function - 1) {
                    continue;
                }
            }
            self.parse_import(imports, import)?;
        }
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<()> {
        for (function, ty) in (self.module.imported_functions..).zip(section) {
            if self.is_live(function) {
                functions.function(self.type_index(ty?)?);
            }
        }
        Ok(())
    }

    fn parse_code_section(&mut self, code: &mut CodeSection, section: wasmparser::CodeSectionReader<'_>) -> Result<()> {
        for (function, old) in (self.module.imported_functions..).zip(section) {
            if self.is_live(function) {
                let module = self.module;
                code.function(&body(self, module, function, &old?, |_| {})?);
            }
        }
        Ok(())
    }

    fn parse_element(&mut self, elements: &mut ElementSection, element: wasmparser::Element<'_>) -> Result<()> {
        let Some((start, functions)) = table_entries(&element)? else {
            return utils::parse_element(self, elements, element);
        };
        let stays = |function: &u32| self.live.addressed.get(*function as usize).is_some_and(|stays| *stays);
        let mut place = start;
        for run in functions.chunk_by(|one, other| stays(one) == stays(other)) {
            if run.iter().all(stays) {
                let at = ConstExpr::i32_const(u32::try_from(place).unwrap_or(u32::MAX).cast_signed());
                let run: Vec<u32> = run.iter().map(|function| new_number(&self.functions, *function)).collect();
                elements.active(None, &at, Elements::Functions(run.into()));
            }
            place += run.len();
        }
        Ok(())
    }

    fn data_count(&mut self, count: u32) -> Result<u32> {
        Ok(self.pieces.as_ref().map_or(count, |pieces| u32::try_from(pieces.len()).unwrap_or(u32::MAX)))
    }

    fn parse_data_section(&mut self, data: &mut DataSection, section: wasmparser::DataSectionReader<'_>) -> Result<()> {
        let Some(pieces) = &self.pieces else { return utils::parse_data_section(self, data, section) };
        for (address, place) in pieces {
            let bytes = self.binary[place.clone()].iter().copied();
            data.active(0, &ConstExpr::i32_const(address.cast_signed()), bytes);
        }
        Ok(())
    }

    fn parse_custom_section(
        &mut self,
        module: &mut wasm_encoder::Module,
        section: wasmparser::CustomSectionReader<'_>,
    ) -> Result<()> {
        if let KnownCustom::Name(names) = section.as_known() {
            module.section(&self.custom_name_section(names)?);
        } else if !speaks_of_places(section.name()) {
            module.section(&CustomSection { name: section.name().into(), data: section.data().into() });
        }
        Ok(())
    }

    fn parse_custom_name_subsection(&mut self, names: &mut NameSection, section: Name<'_>) -> Result<()> {
        match section {
            Name::Function(map) => {
                let mut kept = wasm_encoder::NameMap::new();
                for naming in map {
                    let naming = naming?;
                    if self.is_live(naming.index) {
                        kept.append(new_number(&self.functions, naming.index), naming.name);
                    }
                }
                names.functions(&kept);
                Ok(())
            }
            Name::Module { .. } | Name::Global(_) | Name::Memory(_) | Name::Table(_) => {
                utils::parse_custom_name_subsection(self, names, section)
            }
            // Names of locals and labels are debug information, those of types and segments would need new numbers.
            _ => Ok(()),
        }
    }
}

/// Debug information and what the linker said: both give places of the old module.
fn speaks_of_places(section: &str) -> bool {
    section == "linking" || section.starts_with("reloc.") || section.starts_with(".debug_")
}
