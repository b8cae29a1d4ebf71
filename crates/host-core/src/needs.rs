//! What one instance of a component takes: how often its parts are instantiated, counted without compiling anything.
//!
//! A component may define a part once and instantiate it many times, and nested components multiply. A file of a few hundred
//! bytes can ask for a billion instances in this way, and the compiler would follow each of them.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef, DataKind,
    ElementItems, ElementKind, Encoding, Instance, Payload,
};

/// What is needed to make one instance. A number that does not fit stays at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Core modules that are instantiated.
    pub(crate) instances: u64,
    /// Nested components that are instantiated.
    pub(crate) components: u64,
    /// What the engine keeps for the instances beside their memories and tables: a few bytes for each of their functions,
    /// imports and globals.
    pub(crate) state_bytes: u64,
    /// Segments of data and elements that are copied when an instance is made, and what is in them.
    pub(crate) segments: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_elements: u64,
    pub(crate) memories: u64,
    pub(crate) memory_pages: u64,
    pub(crate) tables: u64,
    pub(crate) table_elements: u64,
}

impl Needs {
    fn add(&mut self, other: Self) {
        let pairs = [
            (&mut self.instances, other.instances),
            (&mut self.components, other.components),
            (&mut self.state_bytes, other.state_bytes),
            (&mut self.segments, other.segments),
            (&mut self.segment_bytes, other.segment_bytes),
            (&mut self.segment_elements, other.segment_elements),
            (&mut self.memories, other.memories),
            (&mut self.memory_pages, other.memory_pages),
            (&mut self.tables, other.tables),
            (&mut self.table_elements, other.table_elements),
        ];
        for (sum, more) in pairs {
            *sum = sum.saturating_add(more);
        }
    }
}

/// Follows the payloads of a parser. What is not valid counts for nothing: the validator will refuse it.
#[derive(Default)]
pub(crate) struct Counter {
    /// The component or module that is being read, behind those around it.
    open: Vec<Scope>,
    /// What the outermost one needs, when it has been read.
    pub(crate) total: Needs,
    /// What makes counting impossible, and where it stands.
    pub(crate) refused: Option<(&'static str, usize)>,
}

#[derive(Default)]
struct Scope {
    is_module: bool,
    needs: Needs,
    /// What an instance of each needs, by its index.
    modules: Vec<Needs>,
    components: Vec<Needs>,
}

impl Counter {
    pub(crate) fn take(&mut self, payload: &Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.open.push(Scope { is_module: *encoding == Encoding::Module, ..Scope::default() });
            }
            Payload::End(_) => {
                let Some(done) = self.open.pop() else { return Ok(()) };
                match self.open.last_mut() {
                    None => self.total = done.needs,
                    Some(around) if done.is_module => around.modules.push(done.needs),
                    Some(around) => around.components.push(done.needs),
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases.clone() {
                    self.alias(&alias?, aliases.range().start);
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone() {
                    if matches!(import?.ty, ComponentTypeRef::Module(_) | ComponentTypeRef::Component(_)) {
                        self.refuse(imports.range().start);
                    }
                }
            }
            _ => {
                if let Some(scope) = self.open.last_mut() {
                    scope.take(payload)?;
                }
            }
        }
        Ok(())
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>, offset: usize) {
        match *alias {
            ComponentAlias::Outer { kind, count, index } => {
                let outer = (self.open.len().checked_sub(1)).and_then(|last| last.checked_sub(count as usize));
                let outer = outer.and_then(|position| self.open.get(position));
                let needs = match kind {
                    ComponentOuterAliasKind::CoreModule => outer.map(|scope| at(&scope.modules, index)),
                    ComponentOuterAliasKind::Component => outer.map(|scope| at(&scope.components, index)),
                    ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => None,
                };
                let (Some(needs), Some(scope)) = (needs, self.open.last_mut()) else { return };
                match kind {
                    ComponentOuterAliasKind::CoreModule => scope.modules.push(needs),
                    _ => scope.components.push(needs),
                }
            }
            ComponentAlias::InstanceExport {
                kind: ComponentExternalKind::Module | ComponentExternalKind::Component,
                ..
            } => self.refuse(offset),
            _ => {}
        }
    }

    /// A part that comes from elsewhere could be anything. No tool that makes plugins does this.
    fn refuse(&mut self, offset: usize) {
        self.refused.get_or_insert(("it hands on a module or a component as a value", offset));
    }
}

impl Scope {
    fn keeps(&mut self, count: u64, bytes: u64) {
        self.needs.add(Needs { state_bytes: count.saturating_mul(bytes), ..Needs::default() });
    }

    fn take(&mut self, payload: &Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    self.needs.add(Needs { memories: 1, memory_pages: memory?.initial, ..Needs::default() });
                }
            }
            Payload::TableSection(tables) => {
                for table in tables.clone() {
                    self.needs.add(Needs { tables: 1, table_elements: table?.ty.initial, ..Needs::default() });
                }
            }
            // Each is at least so large in the engine's own record of an instance: see `VMOffsets` in wasmtime-environ.
            Payload::GlobalSection(globals) => self.keeps(u64::from(globals.count()), 16),
            Payload::FunctionSection(functions) => self.keeps(u64::from(functions.count()), 32),
            Payload::ImportSection(imports) => self.keeps(u64::from(imports.count()), 32),
            Payload::DataSection(segments) => {
                for segment in segments.clone() {
                    let segment = segment?;
                    if let DataKind::Active { .. } = segment.kind {
                        let segment_bytes = segment.data.len() as u64;
                        self.needs.add(Needs { segments: 1, segment_bytes, ..Needs::default() });
                    }
                }
            }
            Payload::ElementSection(segments) => {
                for segment in segments.clone() {
                    let segment = segment?;
                    if let ElementKind::Active { .. } = segment.kind {
                        let segment_elements = u64::from(match segment.items {
                            ElementItems::Functions(items) => items.count(),
                            ElementItems::Expressions(_, items) => items.count(),
                        });
                        self.needs.add(Needs { segments: 1, segment_elements, ..Needs::default() });
                    }
                }
            }
            Payload::InstanceSection(instances) => {
                for instance in instances.clone() {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        self.needs.add(Needs { instances: 1, ..Needs::default() });
                        self.needs.add(at(&self.modules, module_index));
                    }
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances.clone() {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                        self.needs.add(Needs { components: 1, ..Needs::default() });
                        self.needs.add(at(&self.components, component_index));
                    }
                }
            }
            // An export is a new name, and a new index, for what it exports.
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    match export.kind {
                        ComponentExternalKind::Module => self.modules.push(at(&self.modules, export.index)),
                        ComponentExternalKind::Component => self.components.push(at(&self.components, export.index)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn at(all: &[Needs], index: u32) -> Needs {
    all.get(index as usize).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use wasmparser::Parser;

    use super::*;

    fn count(text: &str) -> Counter {
        let bytes = wat::parse_str(text).unwrap();
        let mut counter = Counter::default();
        for payload in Parser::new(0).parse_all(&bytes) {
            counter.take(&payload.unwrap()).unwrap();
        }
        counter
    }

    #[test]
    fn what_is_instantiated_counts_and_what_is_only_defined_does_not() {
        let needs = count(
            "(component
               (core module $m (memory 3) (table 5 funcref))
               (core module $unused (memory 100))
               (core instance (instantiate $m))
               (core instance (instantiate $m)))",
        );
        let expected =
            Needs { instances: 2, memories: 2, memory_pages: 6, tables: 2, table_elements: 10, ..Needs::default() };
        assert_eq!(needs.total, expected);
    }

    #[test]
    fn what_an_instance_copies_and_keeps_counts_each_time_that_it_is_made() {
        let needs = count(
            "(component
               (core module $m
                 (memory 1) (table 5 funcref) (global i32 (i32.const 0)) (func $f)
                 (data (i32.const 0) \"1234\") (data (i32.const 0) \"\") (data \"only when the guest asks\")
                 (elem (i32.const 0) $f $f $f) (elem (i32.const 0) funcref (ref.func $f)) (elem func $f))
               (core module $n (import \"a\" \"b\" (func)))
               (core instance (instantiate $m))
               (core instance (instantiate $m)))",
        );
        let Needs { state_bytes, segments, segment_bytes, segment_elements, .. } = needs.total;
        assert_eq!((state_bytes, segments, segment_bytes, segment_elements), (2 * (16 + 32), 2 * 4, 2 * 4, 2 * 4));
    }

    #[test]
    fn nested_components_multiply() {
        let needs = count(
            "(component
               (core module $m (memory 1))
               (component $inner
                 (core instance (instantiate $m))
                 (core instance (instantiate $m)))
               (component $middle
                 (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)))
               (export $again \"middle\" (component $middle))
               (instance (instantiate $middle))
               (instance (instantiate $again)))",
        );
        assert_eq!((needs.total.instances, needs.total.components, needs.total.memory_pages), (12, 8, 12));
    }

    #[test]
    fn a_bomb_ends_at_the_largest_number() {
        let mut text = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
        for level in 1..40 {
            let inner = level - 1;
            let instances = format!("(instance (instantiate $c{inner}))").repeat(10);
            text = format!("{text} (component $c{level} {instances})");
        }
        let needs = count(&format!("(component {text} (instance (instantiate $c39)))"));
        assert_eq!(needs.total.instances, u64::MAX);
    }

    #[test]
    fn parts_from_elsewhere_are_refused() {
        for part in ["core module", "component"] {
            let text = format!("(component (component (import \"it\" ({part}))))");
            assert!(count(&text).refused.is_some(), "{text}");
        }
        let alias = "(component
            (component $c (component $inner) (export \"inner\" (component $inner)))
            (instance $i (instantiate $c))
            (alias export $i \"inner\" (component $d)))";
        assert!(count(alias).refused.is_some());
        assert!(count("(component (import \"f\" (func)))").refused.is_none());
    }
}
