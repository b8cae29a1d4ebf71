//! Values of the component model, to and from WAVE.

use std::fmt::Write;

use tapline_host_core::{cut, escape};
use wasm_wave::ast::{Node, NodeType};
use wasmtime::component::{Type, Val};

use crate::{call::CallText, signature::type_name};

/// Longest piece of an argument that an error repeats, in bytes.
const MAX_SHOWN: usize = 60;

/// Why an argument is refused: a sentence without the function.
pub(crate) type Refusal = String;

/// The arguments of a call, by the types of its function.
pub(crate) fn arguments(call: &CallText, types: &[Type]) -> Result<Vec<Val>, Refusal> {
    let source = call.arguments.source();
    let nodes: Vec<&Node> = match call.arguments.params_node() {
        Some(params) => params.as_tuple().map_err(|error| error.to_string())?.collect(),
        None => Vec::new(),
    };
    count(nodes.len(), types.len())?;
    let mut values = Vec::new();
    for (index, (node, ty)) in nodes.iter().zip(types).enumerate() {
        values.push(value(node, source, ty).map_err(|message| format!("argument {}: {message}", index + 1))?);
    }
    Ok(values)
}

/// Whether values have the types of a function.
pub(crate) fn check(values: &[Val], types: &[Type]) -> Result<(), Refusal> {
    count(values.len(), types.len())?;
    match values.iter().zip(types).position(|(value, ty)| !fits(value, ty)) {
        Some(index) => Err(format!(
            "argument {}: `{}` is no {}",
            index + 1,
            shown(&to_text(&values[index])),
            type_name(&types[index])
        )),
        None => Ok(()),
    }
}

fn count(given: usize, wanted: usize) -> Result<(), Refusal> {
    let plural = if given == 1 { "argument is" } else { "arguments are" };
    if given == wanted { Ok(()) } else { Err(format!("{given} {plural} given, and it takes {wanted}")) }
}

fn value(node: &Node, source: &str, ty: &Type) -> Result<Val, Refusal> {
    let wrong = || format!("`{}` is no {}", shown(source.get(node.span()).unwrap_or_default()), type_name(ty));
    let number_is = |_| wrong();
    Ok(match ty {
        Type::Bool => Val::Bool(node.as_bool().map_err(number_is)?),
        Type::S8 => Val::S8(node.as_number(source).map_err(number_is)?),
        Type::U8 => Val::U8(node.as_number(source).map_err(number_is)?),
        Type::S16 => Val::S16(node.as_number(source).map_err(number_is)?),
        Type::U16 => Val::U16(node.as_number(source).map_err(number_is)?),
        Type::S32 => Val::S32(node.as_number(source).map_err(number_is)?),
        Type::U32 => Val::U32(node.as_number(source).map_err(number_is)?),
        Type::S64 => Val::S64(node.as_number(source).map_err(number_is)?),
        Type::U64 => Val::U64(node.as_number(source).map_err(number_is)?),
        Type::Float32 => Val::Float32(node.as_number(source).map_err(number_is)?),
        Type::Float64 => Val::Float64(node.as_number(source).map_err(number_is)?),
        Type::Char => Val::Char(node.as_char(source).map_err(number_is)?),
        Type::String => Val::String(node.as_str(source).map_err(number_is)?.into_owned()),
        Type::List(list) => Val::List(values(node, source, &list.ty()).ok_or_else(wrong)??),
        Type::FixedLengthList(list) => {
            let values = values(node, source, &list.ty()).ok_or_else(wrong)??;
            if values.len() != list.len() as usize {
                return Err(wrong());
            }
            Val::FixedLengthList(values)
        }
        Type::Record(record) => {
            let given: Vec<(&str, &Node)> = node.as_record(source).map_err(|_| wrong())?.collect();
            for (index, (name, _)) in given.iter().enumerate() {
                if record.fields().all(|field| field.name != *name) {
                    return Err(format!("there is no field `{}` in {}", shown(name), type_name(ty)));
                }
                if given[..index].iter().any(|(other, _)| other == name) {
                    return Err(format!("the field `{}` is given twice", shown(name)));
                }
            }
            let mut fields = Vec::new();
            for field in record.fields() {
                let node = given.iter().find(|(name, _)| *name == field.name);
                let value = match (node, &field.ty) {
                    (Some((_, node)), ty) => value(node, source, ty)?,
                    // As WAVE has it.
                    (None, Type::Option(_)) => Val::Option(None),
                    (None, _) => return Err(format!("the field `{}` is missing", field.name)),
                };
                fields.push((field.name.to_owned(), value));
            }
            Val::Record(fields)
        }
        Type::Tuple(tuple) => {
            let nodes: Vec<&Node> = node.as_tuple().map_err(|_| wrong())?.collect();
            if nodes.len() != tuple.types().len() {
                return Err(wrong());
            }
            let values = nodes.iter().zip(tuple.types()).map(|(node, ty)| value(node, source, &ty));
            Val::Tuple(values.collect::<Result<_, _>>()?)
        }
        Type::Variant(variant) => {
            let (label, payload) = node.as_variant(source).map_err(|_| wrong())?;
            let case = variant.cases().find(|case| case.name == label).ok_or_else(wrong)?;
            let payload = match (payload, &case.ty) {
                (None, None) => None,
                (Some(node), Some(ty)) => Some(Box::new(value(node, source, ty)?)),
                _ => return Err(wrong()),
            };
            Val::Variant(label.to_owned(), payload)
        }
        Type::Enum(names) => {
            let label = node.as_enum(source).map_err(|_| wrong())?;
            let name = names.names().find(|name| *name == label).ok_or_else(wrong)?;
            Val::Enum(name.to_owned())
        }
        Type::Option(option) => match node.ty() {
            NodeType::OptionSome | NodeType::OptionNone => {
                let within = node.as_option().map_err(|_| wrong())?;
                Val::Option(within.map(|node| value(node, source, &option.ty()).map(Box::new)).transpose()?)
            }
            // As WAVE has it: where there is no doubt, the value stands for itself.
            _ if !matches!(option.ty(), Type::Option(_) | Type::Result(_)) => {
                Val::Option(Some(Box::new(value(node, source, &option.ty())?)))
            }
            _ => return Err(wrong()),
        },
        Type::Result(result) => {
            let part = |node: Option<&Node>, ty: Option<Type>| match (node, ty) {
                (None, None) => Ok(None),
                (Some(node), Some(ty)) => Ok(Some(Box::new(value(node, source, &ty)?))),
                _ => Err(wrong()),
            };
            match node.ty() {
                NodeType::ResultOk | NodeType::ResultErr => match node.as_result().map_err(|_| wrong())? {
                    Ok(node) => Val::Result(Ok(part(node, result.ok())?)),
                    Err(node) => Val::Result(Err(part(node, result.err())?)),
                },
                _ => match result.ok() {
                    Some(ty) if !matches!(ty, Type::Option(_) | Type::Result(_)) => {
                        Val::Result(Ok(Some(Box::new(value(node, source, &ty)?))))
                    }
                    _ => return Err(wrong()),
                },
            }
        }
        Type::Flags(names) => {
            let mut flags = Vec::new();
            for flag in node.as_flags(source).map_err(|_| wrong())? {
                if names.names().all(|name| name != flag) {
                    return Err(format!("there is no flag `{}` in {}", shown(flag), type_name(ty)));
                }
                flags.push(flag.to_owned());
            }
            Val::Flags(flags)
        }
        // A function that takes one of these is refused before its arguments are read.
        Type::Map(_) | Type::Own(_) | Type::Borrow(_) | Type::Future(_) | Type::Stream(_) | Type::ErrorContext => {
            return Err(wrong());
        }
    })
}

/// None: it is no list.
fn values(node: &Node, source: &str, ty: &Type) -> Option<Result<Vec<Val>, Refusal>> {
    Some(node.as_list().ok()?.map(|node| value(node, source, ty)).collect())
}

fn fits(value: &Val, ty: &Type) -> bool {
    let part = |value: &Option<Box<Val>>, ty: Option<Type>| match (value, ty) {
        (None, None) => true,
        (Some(value), Some(ty)) => fits(value, &ty),
        _ => false,
    };
    match (value, ty) {
        (Val::Bool(_), Type::Bool)
        | (Val::S8(_), Type::S8)
        | (Val::U8(_), Type::U8)
        | (Val::S16(_), Type::S16)
        | (Val::U16(_), Type::U16)
        | (Val::S32(_), Type::S32)
        | (Val::U32(_), Type::U32)
        | (Val::S64(_), Type::S64)
        | (Val::U64(_), Type::U64)
        | (Val::Float32(_), Type::Float32)
        | (Val::Float64(_), Type::Float64)
        | (Val::Char(_), Type::Char)
        | (Val::String(_), Type::String) => true,
        (Val::List(values), Type::List(list)) => values.iter().all(|value| fits(value, &list.ty())),
        (Val::FixedLengthList(values), Type::FixedLengthList(list)) => {
            values.len() == list.len() as usize && values.iter().all(|value| fits(value, &list.ty()))
        }
        (Val::Record(values), Type::Record(record)) => {
            values.len() == record.fields().len()
                && values
                    .iter()
                    .zip(record.fields())
                    .all(|((name, value), field)| name == field.name && fits(value, &field.ty))
        }
        (Val::Tuple(values), Type::Tuple(tuple)) => {
            values.len() == tuple.types().len() && values.iter().zip(tuple.types()).all(|(value, ty)| fits(value, &ty))
        }
        (Val::Variant(label, value), Type::Variant(variant)) => {
            variant.cases().find(|case| case.name == label).is_some_and(|case| part(value, case.ty))
        }
        (Val::Enum(label), Type::Enum(names)) => names.names().any(|name| name == label),
        (Val::Option(None), Type::Option(_)) => true,
        (Val::Option(Some(value)), Type::Option(option)) => fits(value, &option.ty()),
        (Val::Result(Ok(value)), Type::Result(result)) => part(value, result.ok()),
        (Val::Result(Err(value)), Type::Result(result)) => part(value, result.err()),
        (Val::Flags(flags), Type::Flags(names)) => flags.iter().all(|flag| names.names().any(|name| name == flag)),
        _ => false,
    }
}

fn shown(text: &str) -> String {
    let short = cut(text, MAX_SHOWN);
    format!("{}{}", escape(short), if short.len() < text.len() { "…" } else { "" })
}

/// A value in WAVE. What a terminal obeys is escaped. A resource, which has no form as text, becomes `resource`.
#[must_use]
pub fn to_text(value: &Val) -> String {
    let mut text = String::new();
    write(&mut text, value);
    text
}

fn write(text: &mut String, value: &Val) {
    // Writing into a string does not fail.
    let _ = match value {
        Val::Bool(value) => write!(text, "{value}"),
        Val::S8(value) => write!(text, "{value}"),
        Val::U8(value) => write!(text, "{value}"),
        Val::S16(value) => write!(text, "{value}"),
        Val::U16(value) => write!(text, "{value}"),
        Val::S32(value) => write!(text, "{value}"),
        Val::U32(value) => write!(text, "{value}"),
        Val::S64(value) => write!(text, "{value}"),
        Val::U64(value) => write!(text, "{value}"),
        Val::Float32(value) if value.is_nan() => text.write_str("nan"),
        Val::Float32(value) => write!(text, "{value}"),
        Val::Float64(value) if value.is_nan() => text.write_str("nan"),
        Val::Float64(value) => write!(text, "{value}"),
        Val::Char(value) => {
            quoted(text, '\'', value.encode_utf8(&mut [0; 4]));
            Ok(())
        }
        Val::String(value) => {
            quoted(text, '"', value);
            Ok(())
        }
        Val::List(values) | Val::FixedLengthList(values) => {
            joined(text, '[', values, ']', write);
            Ok(())
        }
        Val::Tuple(values) => {
            joined(text, '(', values, ')', write);
            Ok(())
        }
        Val::Record(fields) if fields.is_empty() => text.write_str("{:}"),
        Val::Record(fields) => {
            joined(text, '{', fields, '}', |text, (name, value)| {
                text.push_str(name);
                text.push_str(": ");
                write(text, value);
            });
            Ok(())
        }
        Val::Flags(flags) => {
            joined(text, '{', flags, '}', |text, flag| text.push_str(flag));
            Ok(())
        }
        Val::Variant(name, value) => {
            label(text, name);
            payload(text, value.as_deref());
            Ok(())
        }
        Val::Enum(name) => {
            label(text, name);
            Ok(())
        }
        Val::Option(value) => {
            text.push_str(if value.is_some() { "some" } else { "none" });
            payload(text, value.as_deref());
            Ok(())
        }
        Val::Result(value) => {
            text.push_str(if value.is_ok() { "ok" } else { "err" });
            let (Ok(value) | Err(value)) = value;
            payload(text, value.as_deref());
            Ok(())
        }
        Val::Map(pairs) => {
            joined(text, '[', pairs, ']', |text, (key, value)| {
                text.push('(');
                write(text, key);
                text.push_str(", ");
                write(text, value);
                text.push(')');
            });
            Ok(())
        }
        Val::Resource(_) => text.write_str("resource"),
        Val::Future(_) => text.write_str("future"),
        Val::Stream(_) => text.write_str("stream"),
        Val::ErrorContext(_) => text.write_str("error-context"),
    };
}

fn joined<T>(text: &mut String, open: char, items: &[T], close: char, mut item: impl FnMut(&mut String, &T)) {
    text.push(open);
    for (index, next) in items.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { ", " });
        item(text, next);
    }
    text.push(close);
}

fn payload(text: &mut String, value: Option<&Val>) {
    if let Some(value) = value {
        text.push('(');
        write(text, value);
        text.push(')');
    }
}

/// A word that means something else to WAVE has a sign before it.
fn label(text: &mut String, name: &str) {
    if matches!(name, "true" | "false" | "some" | "none" | "ok" | "err" | "inf" | "nan") {
        text.push('%');
    }
    text.push_str(name);
}

fn quoted(text: &mut String, quote: char, value: &str) {
    text.push(quote);
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str(r"\\"),
            '\n' => text.push_str(r"\n"),
            '\r' => text.push_str(r"\r"),
            '\t' => text.push_str(r"\t"),
            _ if letter == quote => {
                text.push('\\');
                text.push(quote);
            }
            _ => text.push_str(&escape(letter.encode_utf8(&mut [0; 4]))),
        }
    }
    text.push(quote);
}
