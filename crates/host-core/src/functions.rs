//! Which functions a component imports, and which of them an operator allows.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentType, ComponentTypeRef,
    InstanceTypeDeclaration, Payload, TypeBounds,
};

use crate::{
    error::LoadError,
    manifest::Manifest,
    plugin::PluginSpec,
    text::{cut, escape},
};

/// Longest pattern, in bytes: longer than any name of WASI, short enough to be compared at once.
const MAX_PATTERN: usize = 200;

/// Most functions that a component may import: a hundred times what WASI has. Imports share their types, so that a small
/// file could name them by the billion.
const MAX_FUNCTIONS: usize = 10_000;

/// Most interfaces that a component may import. Of each that is offered it is asked whether a function of it is among those above.
const MAX_IMPORTS: usize = 1000;

/// A pattern over the names of functions that plugins import, such as `tapline:host/database#query`,
/// `wasi:sockets/*` or `wasi:filesystem/types#[method]descriptor.open-at`.
///
/// `*` stands for any text, also none. A pattern without a version (`@0.2.0`) fits every version, and one that names an
/// interface without a function fits all functions of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionPattern(String);

impl FunctionPattern {
    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it fits the full name of a function, as in [`Manifest::imported_functions`].
    #[must_use]
    pub fn fits(&self, function: &str) -> bool {
        let (interface, _) = function.split_once('#').unwrap_or((function, ""));
        let bare = |name: &str| without_version(name);
        fits(&self.0, function)
            || fits(&self.0, &bare(function))
            || !self.0.contains('#') && (fits(&self.0, interface) || fits(&self.0, &bare(interface)))
    }
}

impl FunctionPattern {
    /// Whether it fits when nobody looks at versions.
    fn fits_any_version(&self, function: &str) -> bool {
        Self(without_version(&self.0)).fits(&without_version(function))
    }
}

impl fmt::Display for FunctionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no [`FunctionPattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is no pattern of functions like `tapline:host/database#query` or `wasi:sockets/*`: {reason}")]
pub struct PatternError {
    /// The text, at most its first 200 bytes.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl FromStr for FunctionPattern {
    type Err = PatternError;

    fn from_str(pattern: &str) -> Result<Self, PatternError> {
        let refuse = |reason| Err(PatternError { pattern: cut(pattern, MAX_PATTERN).to_owned(), reason });
        let known = |letter: char| letter.is_ascii_alphanumeric() || "-:/@.#[]*+".contains(letter);
        if pattern.is_empty() {
            refuse("it is empty")
        } else if pattern.len() > MAX_PATTERN {
            refuse("it has more than 200 bytes")
        } else if !pattern.chars().all(known) {
            refuse("no name of a function has such characters")
        } else if !pattern.starts_with('*') && !pattern.contains(':') {
            // It would fit nothing, and an operator would believe that something is denied.
            refuse("it begins with no package")
        } else {
            Ok(Self(pattern.to_owned()))
        }
    }
}

impl TryFrom<String> for FunctionPattern {
    type Error = PatternError;

    fn try_from(pattern: String) -> Result<Self, PatternError> {
        pattern.parse()
    }
}

impl From<FunctionPattern> for String {
    fn from(pattern: FunctionPattern) -> Self {
        pattern.0
    }
}

/// `a:b/c@1.0.0#f` as `a:b/c#f`.
fn without_version(name: &str) -> String {
    let Some((interface, rest)) = name.split_once('@') else { return name.to_owned() };
    match rest.split_once('#') {
        Some((_, function)) => format!("{interface}#{function}"),
        None => interface.to_owned(),
    }
}

/// Whether `name` is `pattern`, in which `*` stands for any text. Linear in each star: no pattern makes it slow.
fn fits(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some(found) = rest.find(piece) else { return false };
        rest = &rest[found + piece.len()..];
    }
    rest.ends_with(last)
}

/// Refuses what the operator's patterns refuse. Denied wins over allowed.
pub(crate) fn check(spec: &PluginSpec, manifest: &Manifest) -> Result<(), LoadError> {
    for function in &manifest.imported_functions {
        // An import of one version is served with a later one that fits it: who denies one denies those as well.
        let denied =
            spec.deny_functions.iter().find(|pattern| pattern.fits(function) || pattern.fits_any_version(function));
        let allowed = spec.allow_functions.as_ref().is_none_or(|all| all.iter().any(|pattern| pattern.fits(function)));
        if denied.is_some() || !allowed {
            return Err(LoadError::Disallowed {
                plugin: spec.name.clone(),
                // The name is the guest's: of any length, and with anything in it.
                function: escape(cut(function, MAX_PATTERN)).into_owned(),
                denied_by: denied.cloned(),
            });
        }
    }
    Ok(())
}

/// Follows the payloads of a parser and keeps the functions of all imported instances.
#[derive(Default)]
pub(crate) struct Reader {
    depth: usize,
    /// By the index of the outermost component's types: the functions of each that is an instance.
    types: Vec<Option<Arc<[String]>>>,
    imports: usize,
    /// By their full names.
    pub(crate) functions: Vec<String>,
    /// An import whose functions cannot be told, which must not be taken for one without functions.
    pub(crate) unknown: Option<(&'static str, usize)>,
}

impl Reader {
    pub(crate) fn take(&mut self, payload: &Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::Version { .. } => self.depth += 1,
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            _ if self.depth != 1 => {}
            Payload::ComponentTypeSection(types) => {
                for ty in types.clone() {
                    let functions = match ty? {
                        ComponentType::Instance(declarations) => functions_of(&declarations).map(Arc::from),
                        _ => None,
                    };
                    self.types.push(functions);
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases.clone() {
                    if let ComponentAlias::InstanceExport { kind: ComponentExternalKind::Type, .. }
                    | ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, .. } = alias?
                    {
                        self.types.push(None);
                    }
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone() {
                    let import = import?;
                    self.imports += 1;
                    if self.imports > MAX_IMPORTS {
                        self.unknown = Some(("more imports than any host offers", imports.range().start));
                    }
                    self.import(import.name.name, import.ty, imports.range().start);
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Type {
                        self.types.push(self.at(export.index));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, name: &str, ty: ComponentTypeRef, offset: usize) {
        match ty {
            ComponentTypeRef::Instance(index) => match self.at(index) {
                Some(functions) if self.functions.len() + functions.len() > MAX_FUNCTIONS => {
                    self.unknown = Some(("more imported functions than any host offers", offset));
                }
                Some(functions) => {
                    self.functions.extend(functions.iter().map(|function| format!("{name}#{function}")));
                }
                None => self.unknown = Some(("an import whose functions cannot be told", offset)),
            },
            ComponentTypeRef::Func(_) => self.functions.push(name.to_owned()),
            ComponentTypeRef::Type(bounds) => {
                let functions = if let TypeBounds::Eq(index) = bounds { self.at(index) } else { None };
                self.types.push(functions);
            }
            _ => {}
        }
    }

    fn at(&self, index: u32) -> Option<Arc<[String]>> {
        self.types.get(index as usize).cloned().flatten()
    }
}

/// The functions of an instance. None: it holds further instances, of which nobody knows what they hold.
fn functions_of(declarations: &[InstanceTypeDeclaration<'_>]) -> Option<Vec<String>> {
    let mut functions = Vec::new();
    for declaration in declarations {
        if let InstanceTypeDeclaration::Export { name, ty } = declaration {
            match ty {
                ComponentTypeRef::Func(_) => functions.push(name.name.to_owned()),
                ComponentTypeRef::Type(_) => {}
                _ => return None,
            }
        }
    }
    Some(functions)
}

#[cfg(test)]
mod tests {
    use tapline_tap_dispatch::PluginName;

    use super::*;

    #[track_caller]
    fn fit(pattern: &str, fitting: &[&str], others: &[&str]) {
        let pattern: FunctionPattern = pattern.parse().unwrap();
        for function in fitting {
            assert!(pattern.fits(function), "{pattern} {function}");
        }
        for function in others {
            assert!(!pattern.fits(function), "{pattern} {function}");
        }
    }

    #[test]
    fn patterns() {
        let query = "tapline:host/database@0.1.0#query";
        let connect = "wasi:sockets/tcp@0.2.12#[method]tcp-socket.start-connect";
        let open = "wasi:filesystem/types@0.2.6#[method]descriptor.open-at";
        fit("tapline:host/database#query", &[query], &[connect, "tapline:host/database@0.1.0#query-all"]);
        fit("tapline:host/database@0.1.0#query", &[query], &["tapline:host/database@0.2.0#query"]);
        fit("tapline:host/database", &[query], &["tapline:host/database-admin@0.1.0#query"]);
        fit("tapline:host/database@0.1.0", &[query], &["tapline:host/database@0.2.0#query"]);
        fit("wasi:sockets/*", &[connect], &[open, "wasi:sockets-fake/tcp@0.2.12#f"]);
        fit("wasi:filesystem/types#[method]descriptor.open-at", &[open], &[connect]);
        fit("wasi:*#*open-at", &[open], &[connect, query]);
        fit("*", &[query, connect, open], &[]);
        fit("*open*at", &[open], &[query]);
        fit("wasi:*types*types", &[], &[open]);
    }

    /// An operator who copies the name of one version from a log denies what the host serves for it.
    #[test]
    fn who_denies_one_version_denies_those_that_are_served_for_it() {
        let import = |version: &str| {
            let text = format!(r#"(component (import "wasi:sockets/tcp@{version}" (instance (export "f" (func)))))"#);
            Manifest::read(&PluginName::new("p").unwrap(), &wat::parse_str(text).unwrap()).unwrap()
        };
        let spec = PluginSpec::bytes(PluginName::new("p").unwrap(), Vec::new());
        let pattern = || vec!["wasi:sockets/tcp@0.2.12".parse().unwrap()];
        for version in ["0.2.0", "0.2.12"] {
            let denied = check(&PluginSpec { deny_functions: pattern(), ..spec.clone() }, &import(version));
            assert!(matches!(denied, Err(LoadError::Disallowed { denied_by: Some(_), .. })), "{version}: {denied:?}");
        }
        // Who allows one version allows no other.
        let allowed = check(&PluginSpec { allow_functions: Some(pattern()), ..spec }, &import("0.2.0"));
        assert!(matches!(allowed, Err(LoadError::Disallowed { denied_by: None, .. })), "{allowed:?}");
    }

    #[test]
    fn what_is_no_pattern() {
        for (pattern, reason) in [
            ("", "it is empty"),
            ("path_open", "no name of a function has such characters"),
            ("wasi:sockets/* ", "no name of a function has such characters"),
            ("query", "it begins with no package"),
            (&"*".repeat(201), "it has more than 200 bytes"),
        ] {
            assert_eq!(pattern.parse::<FunctionPattern>().unwrap_err().reason, reason, "{pattern}");
        }
    }

    /// The functions of a component's imports as the engine sees them.
    fn by_the_engine(bytes: &[u8]) -> Vec<String> {
        use wasmtime::component::{Component, types::ComponentItem};
        let engine = wasmtime::Engine::new(&wasmtime::Config::new()).unwrap();
        let component = Component::new(&engine, bytes).unwrap();
        let mut functions = Vec::new();
        for (interface, item) in component.component_type().imports(&engine) {
            match item.ty {
                ComponentItem::ComponentInstance(instance) => {
                    for (name, item) in instance.exports(&engine) {
                        if matches!(item.ty, ComponentItem::ComponentFunc(_)) {
                            functions.push(format!("{interface}#{name}"));
                        }
                    }
                }
                ComponentItem::ComponentFunc(_) => functions.push(interface.to_owned()),
                _ => {}
            }
        }
        functions
    }

    fn by_us(bytes: &[u8]) -> Result<Vec<String>, LoadError> {
        Manifest::read(&PluginName::new("p").unwrap(), bytes).map(|manifest| manifest.imported_functions)
    }

    #[test]
    fn the_engine_sees_the_same_functions() {
        for text in [
            "(component)",
            r#"(component
                 (type $ignored (func))
                 (import "a:b/types@1.0.0" (instance $types (export "t" (type (sub resource)))))
                 (alias export $types "t" (type $t))
                 (import "a:b/c@1.0.0" (instance
                   (alias outer 1 $t (type $t))
                   (export "t" (type $named (eq $t)))
                   (export "f" (func (param "t" (borrow $named))))
                   (export "g" (func))))
                 (type $shared (instance (export "h" (func))))
                 (import "a:b/d" (instance (type $shared)))
                 (import "plain" (func)))"#,
        ] {
            let bytes = wat::parse_str(text).unwrap();
            assert_eq!(by_us(&bytes).unwrap(), by_the_engine(&bytes), "{text}");
        }
    }

    #[test]
    fn imports_that_share_a_type_do_not_multiply_without_end() {
        let functions: String = (0..1000).map(|number| format!(r#"(export "f{number}" (func))"#)).collect();
        let imports: String =
            (0..11).map(|number| format!(r#"(import "a:b/c{number}" (instance (type $t)))"#)).collect();
        let bytes = wat::parse_str(format!("(component (type $t (instance {functions})) {imports})")).unwrap();
        let refused = by_us(&bytes).unwrap_err();
        assert!(refused.to_string().ends_with("more imported functions than any host offers"), "{refused}");
    }

    #[test]
    fn a_component_does_not_import_without_end() {
        let imports: String = (0..1001).map(|number| format!(r#"(import "a:b/c@0.2.{number}" (instance))"#)).collect();
        let refused = by_us(&wat::parse_str(format!("(component {imports})")).unwrap()).unwrap_err();
        assert!(refused.to_string().ends_with("more imports than any host offers"), "{refused}");
    }

    #[test]
    fn an_instance_within_an_instance_is_refused() {
        let hidden = r#"(component (import "a:b/c" (instance
            (export "inner" (instance (export "f" (func)))))))"#;
        let refused = by_us(&wat::parse_str(hidden).unwrap()).unwrap_err();
        assert!(matches!(refused, LoadError::Invalid { .. }), "{refused}");
    }
}
