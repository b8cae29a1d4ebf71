//! From the model to what stands beside the author's function.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{ItemFn, ext::IdentExt as _};

use crate::{
    check,
    errors::Errors,
    model::{Answer, Kind, Model},
    parse,
};

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = parse::options(attribute, &mut errors);
    let model = match syn::parse2::<ItemFn>(item.clone()) {
        Ok(function) => check::check(&function, options, &mut errors),
        Err(error) => {
            let error = syn::Error::new(error.span(), format!("`#[tap]` stands on a function: {error}"));
            errors.push_syn(error);
            None
        }
    };
    let beside = match model {
        Some(model) if errors.is_empty() => export(&model),
        _ => errors.into_compile_errors(),
    };
    quote!(#item #beside)
}

/// The author's function is called in one place, which natively checks its types and in a plugin does the work.
fn export(model: &Model) -> TokenStream {
    let rt = quote!(::tapline_sdk::__rt);
    let Model { tap, lazy, function, .. } = model;

    let guard = format_ident!("__the_tap_{}_is_defined_twice_in_this_module", tap.name, span = function.span());
    let names: Vec<Ident> = tap.parameters.iter().map(|(name, _)| format_ident!("{name}")).collect();
    let types = tap.parameters.iter().map(|(_, kind)| author_type(*kind, *lazy));
    let answer = match tap.answer {
        Answer::Nothing => quote!(()),
        Answer::RenderElement => quote!(::tapline_sdk::RenderElement),
        Answer::Access => quote!(::tapline_sdk::Access),
    };
    // The span puts an error about the return type under the return type.
    let checked = quote_spanned!(model.answer_span=> #rt::answer::<#answer, _>);
    let call = quote!(#checked(#function(#(#names),*)));

    let guest = guest(model, &names);
    let metadata = metadata(model);
    quote! {
        #[doc(hidden)]
        mod #guard {}

        const _: () = {
            #[allow(dead_code)]
            fn __tapline_call(#(#names: #types),*) -> ::core::result::Result<#answer, #rt::TapError> {
                #call
            }
            #guest
            #metadata
        };
    }
}

fn author_type(kind: Kind, lazy: bool) -> TokenStream {
    match kind {
        Kind::Item | Kind::ItemMut if lazy => quote!(::tapline_sdk::ItemHandle),
        Kind::Item => quote!(&::tapline_sdk::Item),
        Kind::ItemMut => quote!(&mut ::tapline_sdk::Item),
        Kind::Request => quote!(&::tapline_sdk::AccessRequest),
        Kind::Run => quote!(&::tapline_sdk::CronRun),
    }
}

/// The export: from what crosses to the author's types, and back.
fn guest(model: &Model, names: &[Ident]) -> TokenStream {
    let rt = quote!(::tapline_sdk::__rt);
    let Model { tap, lazy, .. } = model;
    let method = format_ident!("{}", tap.name);
    let module = if *lazy { format_ident!("{}_lazy", tap.name) } else { method.clone() };
    let changes = !lazy && tap.parameters.iter().any(|(_, kind)| *kind == Kind::ItemMut);

    let crossing = tap.parameters.iter().map(|(_, kind)| match kind {
        Kind::Item | Kind::ItemMut if *lazy => quote!(&#rt::contract::ItemHandle),
        Kind::Item | Kind::ItemMut => quote!(#rt::contract::Item),
        Kind::Request => quote!(::tapline_sdk::AccessRequest),
        Kind::Run => quote!(::tapline_sdk::CronRun),
    });
    let arguments = tap.parameters.iter().zip(names).map(|((_, kind), name)| match kind {
        Kind::Item | Kind::ItemMut if *lazy => quote!(::core::convert::From::from(#name)),
        Kind::Item => quote!(&::core::convert::From::from(#name)),
        Kind::ItemMut => quote!(&mut #name),
        Kind::Request | Kind::Run => quote!(&#name),
    });
    let call = quote!(__tapline_call(#(#arguments),*));
    let (answer, body) = match tap.answer {
        Answer::Nothing if changes => (
            quote!(#rt::contract::ItemChanges),
            quote! {
                let mut item = ::tapline_sdk::Item::from(item);
                #call?;
                ::core::result::Result::Ok(item.into())
            },
        ),
        Answer::Nothing => (quote!(()), call),
        Answer::RenderElement => {
            (quote!(#rt::contract::RenderElement), quote!(::core::result::Result::Ok(#call?.into())))
        }
        Answer::Access => (quote!(::tapline_sdk::Access), call),
    };
    quote! {
        #[cfg(target_arch = "wasm32")]
        struct __TaplineGuest;
        #[cfg(target_arch = "wasm32")]
        impl #rt::#module::Guest for __TaplineGuest {
            fn #method(#(#names: #crossing),*) -> ::core::result::Result<#answer, #rt::TapError> {
                #rt::start();
                #body
            }
        }
        #[cfg(target_arch = "wasm32")]
        #rt::#module::export!(__TaplineGuest with_types_in #rt::#module);
    }
}

/// One line of JSON in a custom section, which the linker joins with those of the other taps. The host reads it without
/// compiling anything.
fn metadata(model: &Model) -> TokenStream {
    let Model { tap, lazy, order, fields, function, .. } = model;
    let mode = if *lazy { "lazy" } else { "full" };
    let fields = fields.as_deref().map_or_else(|| "null".to_owned(), array);
    let head = format!(
        r#"{{"schema":1,"tap":"{}","mode":"{mode}","weight":{},"before":{},"after":{},"first":{},"last":{},"fields":{fields},"plugin":""#,
        tap.name,
        order.weight,
        array(&order.before),
        array(&order.after),
        order.first,
        order.last,
    );
    // The version of this crate is that of the SDK: both take it from the workspace.
    let sdk = env!("CARGO_PKG_VERSION");
    let function = function.unraw();
    let tail = format!("\",\"sdk\":\"{sdk}\",\"function\":\"{function}\"}}\n");
    quote! {
        #[cfg(target_arch = "wasm32")]
        const __TAPLINE_RECORD: &str = ::core::concat!(
            #head, ::core::env!("CARGO_PKG_NAME"), "\",\"version\":\"", ::core::env!("CARGO_PKG_VERSION"), #tail
        );
        #[cfg(target_arch = "wasm32")]
        #[unsafe(link_section = "tapline:taps")]
        static __TAPLINE_RECORD_BYTES: [u8; __TAPLINE_RECORD.len()] = ::tapline_sdk::__rt::bytes(__TAPLINE_RECORD);
    }
}

/// The names are checked: none has a character that JSON would have to escape.
fn array(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    format!("[{}]", quoted.join(","))
}
