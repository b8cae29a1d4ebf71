//! Signatures as people read them.

use tapline_host_core::{Function, escape};
use wasmtime::component::{Type, types::ComponentFunc};

/// Where a signature is cut off. Types share their parts, so that a small file can have one that is endless when it is written
/// out.
const MAX_BYTES: usize = 1000;

/// `name(a: u32, b: string) -> list<u8>`. Parameters of a core module have no names.
pub(crate) fn signature(name: &str, ty: &ComponentFunc, with_names: bool) -> String {
    let mut text = Text(format!("{}(", escape(name)));
    for (index, (name, ty)) in ty.params().enumerate() {
        text.push(if index == 0 { "" } else { ", " });
        if with_names {
            text.push(&format!("{name}: "));
        }
        text.ty(&ty);
    }
    text.push(")");
    for ty in ty.results() {
        text.push(" -> ");
        text.ty(&ty);
    }
    text.0
}

/// A type as WIT writes it, with the parts of a record or variant within it.
pub(crate) fn type_name(ty: &Type) -> String {
    let mut text = Text(String::new());
    text.ty(ty);
    text.0
}

/// What a function takes or returns that has no form as text.
pub(crate) fn unsupported(function: &Function) -> Option<&'static str> {
    let params = function.ty().params().map(|(_, ty)| ty);
    params.chain(function.ty().results()).find_map(|ty| without_text(&ty, 0))
}

fn without_text(ty: &Type, depth: usize) -> Option<&'static str> {
    if depth > 100 {
        return Some("types that are nested too deeply");
    }
    let within = |ty: &Type| without_text(ty, depth + 1);
    match ty {
        Type::Own(_) | Type::Borrow(_) => Some("a resource"),
        Type::Future(_) | Type::Stream(_) | Type::ErrorContext => Some("what is asynchronous"),
        Type::Map(_) => Some("a map"),
        Type::List(list) => within(&list.ty()),
        Type::FixedLengthList(list) => within(&list.ty()),
        Type::Record(record) => record.fields().find_map(|field| within(&field.ty)),
        Type::Tuple(tuple) => tuple.types().find_map(|ty| within(&ty)),
        Type::Variant(variant) => variant.cases().find_map(|case| within(&case.ty?)),
        Type::Option(option) => within(&option.ty()),
        Type::Result(result) => result.ok().into_iter().chain(result.err()).find_map(|ty| within(&ty)),
        _ => None,
    }
}

/// A text that does not grow beyond its limit.
struct Text(String);

impl Text {
    fn is_full(&self) -> bool {
        self.0.len() >= MAX_BYTES
    }

    fn push(&mut self, text: &str) {
        if self.is_full() {
            if !self.0.ends_with('…') {
                self.0.push('…');
            }
        } else {
            self.0.push_str(text);
        }
    }

    fn list<T>(&mut self, items: impl Iterator<Item = T>, mut item: impl FnMut(&mut Self, T)) {
        for (index, next) in items.enumerate() {
            if self.is_full() {
                break;
            }
            self.push(if index == 0 { "" } else { ", " });
            item(self, next);
        }
    }

    fn of(&mut self, head: &str, ty: &Type, tail: &str) {
        self.push(head);
        self.ty(ty);
        self.push(tail);
    }

    fn ty(&mut self, ty: &Type) {
        if self.is_full() {
            return self.push("");
        }
        match ty {
            Type::Bool => self.push("bool"),
            Type::S8 => self.push("s8"),
            Type::U8 => self.push("u8"),
            Type::S16 => self.push("s16"),
            Type::U16 => self.push("u16"),
            Type::S32 => self.push("s32"),
            Type::U32 => self.push("u32"),
            Type::S64 => self.push("s64"),
            Type::U64 => self.push("u64"),
            Type::Float32 => self.push("f32"),
            Type::Float64 => self.push("f64"),
            Type::Char => self.push("char"),
            Type::String => self.push("string"),
            Type::List(list) => self.of("list<", &list.ty(), ">"),
            Type::FixedLengthList(list) => self.of("list<", &list.ty(), &format!(", {}>", list.len())),
            Type::Option(option) => self.of("option<", &option.ty(), ">"),
            Type::Record(record) => {
                self.push("record { ");
                self.list(record.fields(), |text, field| text.of(&format!("{}: ", field.name), &field.ty, ""));
                self.push(" }");
            }
            Type::Tuple(tuple) => {
                self.push("tuple<");
                self.list(tuple.types(), |text, ty| text.ty(&ty));
                self.push(">");
            }
            Type::Variant(variant) => {
                self.push("variant { ");
                self.list(variant.cases(), |text, case| match &case.ty {
                    Some(ty) => text.of(&format!("{}(", case.name), ty, ")"),
                    None => text.push(case.name),
                });
                self.push(" }");
            }
            Type::Enum(names) => {
                self.push("enum { ");
                self.list(names.names(), |text, name| text.push(name));
                self.push(" }");
            }
            Type::Flags(names) => {
                self.push("flags { ");
                self.list(names.names(), |text, name| text.push(name));
                self.push(" }");
            }
            Type::Result(result) => match (result.ok(), result.err()) {
                (None, None) => self.push("result"),
                (Some(ok), None) => self.of("result<", &ok, ">"),
                (ok, Some(err)) => {
                    self.push("result<");
                    match ok {
                        Some(ok) => self.ty(&ok),
                        None => self.push("_"),
                    }
                    self.of(", ", &err, ">");
                }
            },
            Type::Own(_) | Type::Borrow(_) => self.push("resource"),
            Type::Map(_) => self.push("map"),
            Type::Future(_) => self.push("future"),
            Type::Stream(_) => self.push("stream"),
            Type::ErrorContext => self.push("error-context"),
        }
    }
}
