//! What can be reached from outside the module.

use std::convert::Infallible;

use wasm_encoder::reencode::Reencode;

use super::links::Target;
use super::module::Module;
use super::{Result, rewrite};

/// What stays.
pub(super) struct Live {
    pub(super) functions: Vec<bool>,
    /// Functions whose entry in the table stays.
    pub(super) addressed: Vec<bool>,
    /// Groups of types.
    pub(super) type_groups: Vec<bool>,
    /// Pieces of data, where the module has links.
    pub(super) objects: Vec<bool>,
}

/// Takes a part of a module apart and notes what it refers to. It asks the encoder, and so covers every instruction.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) functions: Vec<u32>,
    pub(super) types: Vec<u32>,
}

impl Reencode for Seen {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32> {
        self.functions.push(function);
        Ok(function)
    }

    fn type_index(&mut self, ty: u32) -> Result<u32> {
        self.types.push(ty);
        Ok(ty)
    }
}

/// Something reached whose own references are still to be looked at.
enum Work {
    Function(u32),
    Object(usize),
}

struct Search<'a> {
    module: &'a Module<'a>,
    live: Live,
    types: Vec<u32>,
    work: Vec<Work>,
}

impl Live {
    pub(super) fn find(module: &Module<'_>) -> Result<Self> {
        let functions = module.function_types.len();
        let objects = module.links.as_ref().map_or(0, |links| links.objects.len());
        let live = Live {
            functions: vec![false; functions],
            addressed: vec![module.links.is_none(); functions],
            type_groups: vec![false; module.type_groups.len()],
            objects: vec![false; objects],
        };
        let mut search = Search { module, live, types: module.roots.types.clone(), work: Vec::new() };
        search.roots();
        while let Some(work) = search.work.pop() {
            search.look_at(&work)?;
        }
        search.find_types()?;
        Ok(search.live)
    }
}

impl Search<'_> {
    fn roots(&mut self) {
        for function in &self.module.roots.functions {
            self.reach_function(*function);
        }
        if self.module.links.is_none() {
            for function in self.module.slots.iter().flatten() {
                self.reach_function(*function);
            }
        }
    }

    fn reach_function(&mut self, function: u32) {
        if let Some(live) = self.live.functions.get_mut(function as usize)
            && !std::mem::replace(live, true)
        {
            self.work.push(Work::Function(function));
        }
    }

    fn reach(&mut self, target: Target) {
        match target {
            Target::Function(function) => {
                if let Some(addressed) = self.live.addressed.get_mut(function as usize) {
                    *addressed = true;
                }
                self.reach_function(function);
            }
            Target::Object(object) => {
                if let Some(live) = self.live.objects.get_mut(object)
                    && !std::mem::replace(live, true)
                {
                    self.work.push(Work::Object(object));
                }
            }
        }
    }

    fn look_at(&mut self, work: &Work) -> Result<()> {
        let mut places = Vec::new();
        match work {
            Work::Object(object) => places.extend(self.module.links.iter().map(|links| links.objects[*object].clone())),
            Work::Function(function) => {
                self.types.extend(self.module.function_types.get(*function as usize));
                let defined = function.checked_sub(self.module.imported_functions);
                if let Some(body) = defined.and_then(|defined| self.module.bodies.get(defined as usize)) {
                    let mut seen = Seen::default();
                    rewrite::body(&mut seen, self.module, *function, body, |place| places.push(place))?;
                    self.types.extend(seen.types);
                    for called in seen.functions {
                        self.reach_function(called);
                    }
                }
            }
        }
        if let Some(links) = &self.module.links {
            for place in places {
                for target in links.within(&place) {
                    self.reach(target);
                }
            }
        }
        Ok(())
    }

    /// A group is kept whole, with all that its types speak of.
    fn find_types(&mut self) -> Result<()> {
        let groups = &self.module.type_groups;
        let group_of: Vec<usize> =
            groups.iter().enumerate().flat_map(|(number, group)| vec![number; group.len()]).collect();
        while let Some(ty) = self.types.pop() {
            let Some(group) = group_of.get(ty as usize) else { continue };
            if !std::mem::replace(&mut self.live.type_groups[*group], true) {
                let mut seen = Seen::default();
                for ty in &groups[*group] {
                    seen.sub_type(ty.clone())?;
                }
                self.types.extend(seen.types);
            }
        }
        Ok(())
    }
}
