//! From a function and its options to a model, or to errors that say what to write instead.

use proc_macro2::Span;
use syn::{FnArg, ItemFn, LitStr, ReturnType, Signature, Type, spanned::Spanned};

use crate::{
    errors::{Errors, list, nearest},
    model::{Kind, Model, Order, TAPS, Tap},
    parse::Options,
};

pub(crate) fn check(function: &ItemFn, options: Options, errors: &mut Errors) -> Option<Model> {
    let signature = &function.sig;
    let tap = find(signature, options.name.as_ref(), errors)?;
    let lazy = options.lazy.is_some();
    if let Some(span) = options.lazy.filter(|_| !tap.has_item()) {
        errors.push(span, format!("`{}` gets no item and has no lazy form; write `#[tap]`", tap.name));
    } else {
        qualifiers(signature, errors);
        parameters(tap, lazy, signature, errors);
        answer(tap, lazy, signature, errors);
    }
    if let (Some(_), Some(last)) = (options.first, options.last) {
        errors.push(last, "`first` and `last` exclude each other; keep one");
    }
    if let Some((span, _)) = options.fields.as_ref().filter(|_| !tap.has_item()) {
        errors.push(*span, format!("`{}` gets no item; leave `fields` out", tap.name));
    }
    let order = Order {
        weight: options.weight.unwrap_or(0),
        before: plugins(options.before, errors),
        after: plugins(options.after, errors),
        first: options.first.is_some(),
        last: options.last.is_some(),
    };
    let fields = options.fields.map(|(span, fields)| field_names(span, &fields, errors));
    let answer_span = match &signature.output {
        ReturnType::Default => signature.ident.span(),
        ReturnType::Type(_, answer) => answer.span(),
    };
    errors.is_empty().then(|| Model { tap, lazy, order, fields, function: signature.ident.clone(), answer_span })
}

fn find(signature: &Signature, name: Option<&LitStr>, errors: &mut Errors) -> Option<&'static Tap> {
    let (wanted, span) = match name {
        Some(name) => (name.value(), name.span()),
        None => (signature.ident.to_string(), signature.ident.span()),
    };
    if let Some(tap) = TAPS.iter().find(|tap| tap.name == wanted) {
        return Some(tap);
    }
    let known = || TAPS.iter().map(|tap| tap.name);
    let help = match (nearest(&wanted, known()), name) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, Some(_)) => format!("there are {}", list(known())),
        (None, None) => {
            format!("there are {}; for a function of another name write `#[tap(name = \"item_view\")]`", list(known()))
        }
    };
    errors.push(span, format!("`{wanted}` is not a tap; {help}"));
    None
}

fn qualifiers(signature: &Signature, errors: &mut Errors) {
    if let Some(keyword) = &signature.asyncness {
        errors.push_spanned(
            keyword,
            "a tap is not `async`; leave `async` out: functions of the host wait by themselves, and the plugin with them",
        );
    }
    if !signature.generics.params.is_empty() {
        errors.push_spanned(
            &signature.generics,
            "a tap has no generic parameters: the host calls it with the types of the contract; leave them out",
        );
    }
    if let Some(clause) = &signature.generics.where_clause {
        errors.push_spanned(clause, "a tap has no `where` clause: there is nothing generic in it; leave it out");
    }
    if !matches!(signature.safety, syn::Safety::Default) {
        errors.push_spanned(&signature.safety, "a tap is a safe function; leave `unsafe` or `safe` out");
    }
    if let Some(abi) = &signature.abi {
        errors.push_spanned(abi, "a tap is a plain function, the attribute exports it; leave `extern` out");
    }
    if let Some(variadic) = &signature.variadic {
        errors.push_spanned(variadic, "a tap takes a fixed number of arguments; leave `...` out");
    }
}

fn parameters(tap: &Tap, lazy: bool, signature: &Signature, errors: &mut Errors) {
    let wanted = tap.signature(&signature.ident.to_string(), lazy);
    if let Some(receiver) = signature.receiver() {
        errors.push_spanned(receiver, format!("a tap is a free function and not a method; write `{wanted}`"));
        return;
    }
    if signature.inputs.len() != tap.parameters.len() {
        let count = match tap.parameters.len() {
            1 => "one parameter".to_owned(),
            count => format!("{count} parameters"),
        };
        let message = format!("`{}` takes {count}; write `{wanted}`", tap.name);
        match signature.inputs.get(tap.parameters.len()) {
            Some(surplus) => errors.push_spanned(surplus, message),
            None => errors.push(signature.ident.span(), message),
        }
        return;
    }
    for (argument, (name, kind)) in signature.inputs.iter().zip(tap.parameters) {
        let FnArg::Typed(argument) = argument else { continue };
        if is_written_as(&argument.ty, *kind, lazy) {
            continue;
        }
        let help = if kind.is_item() && is_written_as(&argument.ty, *kind, !lazy) && lazy {
            format!("`#[tap(lazy)]` gets a handle; write `{wanted}`, or `#[tap]` for the whole item")
        } else if kind.is_item() && is_written_as(&argument.ty, *kind, !lazy) {
            format!("a handle comes with `#[tap(lazy)]`; write that, or `{wanted}`")
        } else {
            format!("`{name}` of `{}` is `{}`; write `{wanted}`", tap.name, kind.written(lazy))
        };
        errors.push_spanned(&argument.ty, help);
    }
}

/// Whether the type is written as expected. The compiler finds out whether it is the type of the SDK.
fn is_written_as(written: &Type, kind: Kind, lazy: bool) -> bool {
    let (wanted, by) = match kind {
        Kind::Item | Kind::ItemMut if lazy => ("ItemHandle", None),
        Kind::Item => ("Item", Some(false)),
        Kind::ItemMut => ("Item", Some(true)),
        Kind::Request => ("AccessRequest", Some(false)),
        Kind::Run => ("CronRun", Some(false)),
    };
    match (written, by) {
        (Type::Path(path), None) => path.path.segments.last().is_some_and(|segment| segment.ident == wanted),
        (Type::Reference(reference), Some(mutable)) => {
            reference.mutability.is_some() == mutable
                && matches!(&*reference.elem, Type::Path(path)
                    if path.path.segments.last().is_some_and(|segment| segment.ident == wanted))
        }
        _ => false,
    }
}

/// Only what is missing is found here: whether a type that is there fits is a matter of traits, because of aliases.
fn answer(tap: &Tap, lazy: bool, signature: &Signature, errors: &mut Errors) {
    if let (Some(answer), ReturnType::Default) = (tap.answer.written(), &signature.output) {
        let wanted = tap.signature(&signature.ident.to_string(), lazy);
        errors.push(
            signature.ident.span(),
            format!("`{}` answers with `{answer}`; write `{wanted}`, or `-> Result<{answer}, E>`", tap.name),
        );
    }
}

fn plugins(names: Option<Vec<LitStr>>, errors: &mut Errors) -> Vec<String> {
    checked(&names.unwrap_or_default(), '-', "a plugin's name is made of lower-case letters, digits and `-`", errors)
}

fn field_names(span: Span, names: &[LitStr], errors: &mut Errors) -> Vec<String> {
    if names.is_empty() {
        errors.push(span, "`fields` names no field; leave it out for all of them, or name those that the tap needs");
    }
    checked(names, '_', "a field's name is made of lower-case letters, digits and `_`", errors)
}

fn checked(names: &[LitStr], separator: char, rule: &str, errors: &mut Errors) -> Vec<String> {
    let mut seen = Vec::new();
    for literal in names {
        let name = literal.value();
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == separator;
        if name.is_empty() || !name.chars().all(legal) {
            errors.push(literal.span(), format!("`{name}` cannot be a name here: {rule}"));
        } else if seen.contains(&name) {
            errors.push(literal.span(), format!("`{name}` is named twice; keep one"));
        } else {
            seen.push(name);
        }
    }
    seen
}
