//! From the tokens of the attribute to its options.

use proc_macro2::{Span, TokenStream};
use syn::{Expr, ExprLit, Lit, LitStr, Meta, Token, parse::Parser, punctuated::Punctuated, spanned::Spanned};

use crate::errors::{Errors, list, nearest};

/// The options as they are written, each with its place.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) lazy: Option<Span>,
    pub(crate) first: Option<Span>,
    pub(crate) last: Option<Span>,
    pub(crate) weight: Option<i32>,
    pub(crate) before: Option<Vec<LitStr>>,
    pub(crate) after: Option<Vec<LitStr>>,
    pub(crate) fields: Option<(Span, Vec<LitStr>)>,
    pub(crate) name: Option<LitStr>,
}

const KEYS: [&str; 8] = ["lazy", "weight", "before", "after", "first", "last", "fields", "name"];

pub(crate) fn options(attribute: TokenStream, errors: &mut Errors) -> Options {
    let mut options = Options::default();
    let metas = match Punctuated::<Meta, Token![,]>::parse_terminated.parse2(attribute) {
        Ok(metas) => metas,
        Err(error) => {
            errors.push(
                error.span(),
                format!("{error}; write for example `#[tap(lazy, weight = 10, after = \"seo\", fields = [\"body\"])]`"),
            );
            return options;
        }
    };
    let mut seen = Vec::new();
    for meta in metas {
        let key = meta.path().get_ident().map(ToString::to_string).unwrap_or_default();
        let span = meta.path().span();
        if seen.contains(&key) {
            errors.push(span, format!("`{key}` is given twice; keep one"));
            continue;
        }
        match key.as_str() {
            "lazy" => options.lazy = flag(&key, &meta, errors),
            "first" => options.first = flag(&key, &meta, errors),
            "last" => options.last = flag(&key, &meta, errors),
            "weight" => {
                options.weight = value(&meta).and_then(integer).or_else(|| {
                    expected(
                        &meta,
                        "`weight` is a whole number of 32 bits: write `weight = 10` or `weight = -10`",
                        errors,
                    )
                })
            }
            "before" => options.before = names(&key, &meta, "seo", errors),
            "after" => options.after = names(&key, &meta, "seo", errors),
            "fields" => options.fields = names(&key, &meta, "body", errors).map(|fields| (span, fields)),
            "name" => {
                options.name = value(&meta)
                    .and_then(text)
                    .or_else(|| expected(&meta, "`name` is the name of a tap: write `name = \"item_view\"`", errors))
            }
            _ => {
                let help = match nearest(&key, KEYS) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there are {}", list(KEYS)),
                };
                errors.push(span, format!("`{key}` is not an attribute of `#[tap]`; {help}"));
            }
        }
        seen.push(key);
    }
    options
}

fn flag(key: &str, meta: &Meta, errors: &mut Errors) -> Option<Span> {
    match meta {
        Meta::Path(path) => Some(path.span()),
        _ => expected(meta, &format!("`{key}` takes no value: write `{key}` alone"), errors),
    }
}

fn names(key: &str, meta: &Meta, example: &str, errors: &mut Errors) -> Option<Vec<LitStr>> {
    let names = value(meta).and_then(|value| match value {
        Expr::Array(array) => array.elems.iter().map(text).collect(),
        other => text(other).map(|text| vec![text]),
    });
    names.or_else(|| {
        let help = format!("`{key}` takes names: write `{key} = \"{example}\"` or `{key} = [\"{example}\", …]`");
        expected(meta, &help, errors)
    })
}

fn expected<T>(meta: &Meta, help: &str, errors: &mut Errors) -> Option<T> {
    errors.push_spanned(meta, help);
    None
}

fn value(meta: &Meta) -> Option<&Expr> {
    match meta {
        Meta::NameValue(pair) => Some(&pair.value),
        _ => None,
    }
}

fn text(value: &Expr) -> Option<LitStr> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.clone()),
        _ => None,
    }
}

fn integer(value: &Expr) -> Option<i32> {
    // `-2147483648` is a minus sign and a literal that does not fit on its own.
    let (digits, negative) = match value {
        Expr::Lit(ExprLit { lit: Lit::Int(digits), .. }) => (digits, false),
        Expr::Unary(unary) if matches!(unary.op, syn::UnOp::Neg(_)) => match &*unary.expr {
            Expr::Lit(ExprLit { lit: Lit::Int(digits), .. }) => (digits, true),
            _ => return None,
        },
        _ => return None,
    };
    let number: i64 = digits.base10_parse().ok()?;
    i32::try_from(if negative { -number } else { number }).ok()
}
