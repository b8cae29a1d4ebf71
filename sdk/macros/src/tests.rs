//! The attribute from outside: what it says to misuse, and what it writes.

use expect_test::{Expect, expect};
use proc_macro2::TokenStream;

use crate::{emit, parse};

fn expand(attribute: &str, item: &str) -> String {
    let tokens = |source: &str| source.parse::<TokenStream>().unwrap();
    let file = syn::parse2(emit::expand(tokens(attribute), tokens(item))).unwrap();
    prettyplease::unparse(&file)
}

/// The messages of all errors, a line for each.
#[track_caller]
fn check_errors(attribute: &str, item: &str, expected: &Expect) {
    let file = syn::parse_file(&expand(attribute, item)).unwrap();
    let messages: String = file
        .items
        .iter()
        .filter_map(|item| match item {
            syn::Item::Macro(call) => Some(call.mac.parse_body::<syn::LitStr>().unwrap().value() + "\n"),
            _ => None,
        })
        .collect();
    expected.assert_eq(&messages);
}

const VIEW: &str = "fn item_view(item: &Item) -> RenderElement { todo() }";

#[test]
fn a_tap_must_be_known() {
    check_errors(
        "",
        "fn item_veiw(item: &Item) -> RenderElement {}",
        &expect![[r#"
        `item_veiw` is not a tap; did you mean `item_view`?
    "#]],
    );
    check_errors(
        "",
        "fn show(item: &Item) -> RenderElement {}",
        &expect![[r#"
        `show` is not a tap; there are `item_view`, `item_presave`, `item_insert`, `item_update`, `item_delete`, `item_access` and `cron`; for a function of another name write `#[tap(name = "item_view")]`
    "#]],
    );
    check_errors(
        "name = \"item_acess\"",
        VIEW,
        &expect![[r#"
        `item_acess` is not a tap; did you mean `item_access`?
    "#]],
    );
}

#[test]
fn parameters_must_be_those_of_the_tap() {
    check_errors(
        "",
        "fn item_view(item: Item) -> RenderElement {}",
        &expect![[r#"
        `item` of `item_view` is `&Item`; write `fn item_view(item: &Item) -> RenderElement`
    "#]],
    );
    check_errors(
        "",
        "fn item_presave(item: &Item) {}",
        &expect![[r#"
        `item` of `item_presave` is `&mut Item`; write `fn item_presave(item: &mut Item)`
    "#]],
    );
    check_errors(
        "",
        "fn item_update(item: &Item) {}",
        &expect![[r#"
        `item_update` takes 2 parameters; write `fn item_update(item: &Item, original: &Item)`
    "#]],
    );
    check_errors(
        "",
        "fn item_view(item: ItemHandle) -> RenderElement {}",
        &expect![[r#"
        a handle comes with `#[tap(lazy)]`; write that, or `fn item_view(item: &Item) -> RenderElement`
    "#]],
    );
    check_errors(
        "lazy",
        VIEW,
        &expect![[r#"
        `#[tap(lazy)]` gets a handle; write `fn item_view(item: ItemHandle) -> RenderElement`, or `#[tap]` for the whole item
    "#]],
    );
    check_errors(
        "",
        "fn item_view(&self, item: &Item) -> RenderElement {}",
        &expect![[r#"
        a tap is a free function and not a method; write `fn item_view(item: &Item) -> RenderElement`
    "#]],
    );
}

#[test]
fn an_answer_must_be_there() {
    check_errors(
        "lazy",
        "fn item_access(item: ItemHandle, request: &AccessRequest) {}",
        &expect![[r#"
        `item_access` answers with `Access`; write `fn item_access(item: ItemHandle, request: &AccessRequest) -> Access`, or `-> Result<Access, E>`
    "#]],
    );
}

#[test]
fn a_tap_is_a_plain_function() {
    let item = "async unsafe extern \"C\" fn item_view<T>(item: &Item) -> RenderElement where T: Copy {}";
    check_errors(
        "",
        item,
        &expect![[r#"
        a tap is not `async`; leave `async` out: functions of the host wait by themselves, and the plugin with them
        a tap has no generic parameters: the host calls it with the types of the contract; leave them out
        a tap has no `where` clause: there is nothing generic in it; leave it out
        a tap is a safe function; leave `unsafe` or `safe` out
        a tap is a plain function, the attribute exports it; leave `extern` out
    "#]],
    );
    check_errors(
        "",
        "struct ItemView;",
        &expect![[r#"
        `#[tap]` stands on a function: expected `fn`
    "#]],
    );
}

#[test]
fn attributes_must_be_known_and_fit() {
    check_errors(
        "wieght = 1, colour = 2",
        VIEW,
        &expect![[r#"
        `wieght` is not an attribute of `#[tap]`; did you mean `weight`?
        `colour` is not an attribute of `#[tap]`; there are `lazy`, `weight`, `before`, `after`, `first`, `last`, `fields` and `name`
    "#]],
    );
    check_errors(
        "first, last, weight = 1, weight = 2",
        VIEW,
        &expect![[r#"
        `weight` is given twice; keep one
        `first` and `last` exclude each other; keep one
    "#]],
    );
    check_errors(
        "weight = \"a\", lazy = true, before = 1, fields = [1], name = item_view",
        VIEW,
        &expect![[r#"
        `weight` is a whole number of 32 bits: write `weight = 10` or `weight = -10`
        `lazy` takes no value: write `lazy` alone
        `before` takes names: write `before = "seo"` or `before = ["seo", …]`
        `fields` takes names: write `fields = "body"` or `fields = ["body", …]`
        `name` is the name of a tap: write `name = "item_view"`
    "#]],
    );
    check_errors(
        "weight = 2147483648",
        VIEW,
        &expect![[r#"
        `weight` is a whole number of 32 bits: write `weight = 10` or `weight = -10`
    "#]],
    );
    check_errors(
        "fields = [\"Body\", \"a\", \"a\", \"\"], after = [\"seo_x\"]",
        VIEW,
        &expect![[r#"
        `seo_x` cannot be a name here: a plugin's name is made of lower-case letters, digits and `-`
        `Body` cannot be a name here: a field's name is made of lower-case letters, digits and `_`
        `a` is named twice; keep one
        `` cannot be a name here: a field's name is made of lower-case letters, digits and `_`
    "#]],
    );
    check_errors(
        "fields = []",
        VIEW,
        &expect![[r#"
        `fields` names no field; leave it out for all of them, or name those that the tap needs
    "#]],
    );
    check_errors(
        "weight 10",
        VIEW,
        &expect![[r#"
        expected `,`; write for example `#[tap(lazy, weight = 10, after = "seo", fields = ["body"])]`
    "#]],
    );
}

#[test]
fn cron_has_no_item() {
    check_errors(
        "lazy, fields = \"body\"",
        "fn cron(run: &CronRun) {}",
        &expect![[r#"
        `cron` gets no item and has no lazy form; write `#[tap]`
        `cron` gets no item; leave `fields` out
    "#]],
    );
}

#[test]
fn weights_reach_to_the_ends_of_their_type() {
    let weight = |source: &str| parse::options(source.parse().unwrap(), &mut crate::errors::Errors::default()).weight;
    assert_eq!(weight("weight = -2147483648"), Some(i32::MIN));
    assert_eq!(weight("weight = 2147483647"), Some(i32::MAX));
    assert_eq!(weight("weight = -2147483649"), None);
}

#[test]
fn a_record_is_a_line_of_json() {
    let attribute =
        r#"lazy, weight = -3, before = "seo", after = ["a", "b-2"], first, fields = ["body"], name = "item_view""#;
    let expansion = expand(attribute, "fn r#try(item: ItemHandle) -> RenderElement {}");
    let file = syn::parse_file(&expansion).unwrap();
    // Inside the constant: the strings of the one `concat!`, with the two names of the package filled in.
    let mut strings = Strings::default();
    syn::visit::Visit::visit_file(&mut strings, &file);
    let record: serde_json::Value = serde_json::from_str(&strings.0).unwrap();
    expect![[r#"
        {
          "after": [
            "a",
            "b-2"
          ],
          "before": [
            "seo"
          ],
          "fields": [
            "body"
          ],
          "first": true,
          "function": "try",
          "last": false,
          "mode": "lazy",
          "plugin": "CARGO_PKG_NAME",
          "schema": 1,
          "sdk": "0.1.0",
          "tap": "item_view",
          "version": "CARGO_PKG_VERSION",
          "weight": -3
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&record).unwrap());
}

#[derive(Default)]
struct Strings(String);

impl<'a> syn::visit::Visit<'a> for Strings {
    fn visit_macro(&mut self, call: &'a syn::Macro) {
        if call.path.segments.last().is_some_and(|segment| segment.ident == "concat") {
            self.collect(call.tokens.clone());
        }
    }
}

impl Strings {
    fn collect(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Literal(literal) => {
                    self.0.push_str(&syn::parse_str::<syn::LitStr>(&literal.to_string()).unwrap().value());
                }
                proc_macro2::TokenTree::Group(group) => self.collect(group.stream()),
                _ => {}
            }
        }
    }
}

#[test]
fn a_full_view_expands() {
    expect![[r#"
        pub fn item_view(item: &Item) -> RenderElement {
            body(item)
        }
        #[doc(hidden)]
        mod __the_tap_item_view_is_defined_twice_in_this_module {}
        const _: () = {
            #[allow(dead_code)]
            fn __tapline_call(
                item: &::tapline_sdk::Item,
            ) -> ::core::result::Result<
                ::tapline_sdk::RenderElement,
                ::tapline_sdk::__rt::TapError,
            > {
                ::tapline_sdk::__rt::answer::<::tapline_sdk::RenderElement, _>(item_view(item))
            }
            #[cfg(target_arch = "wasm32")]
            struct __TaplineGuest;
            #[cfg(target_arch = "wasm32")]
            impl ::tapline_sdk::__rt::item_view::Guest for __TaplineGuest {
                fn item_view(
                    item: ::tapline_sdk::__rt::contract::Item,
                ) -> ::core::result::Result<
                    ::tapline_sdk::__rt::contract::RenderElement,
                    ::tapline_sdk::__rt::TapError,
                > {
                    ::tapline_sdk::__rt::start();
                    ::core::result::Result::Ok(
                        __tapline_call(&::core::convert::From::from(item))?.into(),
                    )
                }
            }
            #[cfg(target_arch = "wasm32")]
            ::tapline_sdk::__rt::item_view::export!(
                __TaplineGuest with_types_in::tapline_sdk::__rt::item_view
            );
            #[cfg(target_arch = "wasm32")]
            const __TAPLINE_RECORD: &str = ::core::concat!(
                "{\"schema\":1,\"tap\":\"item_view\",\"mode\":\"full\",\"weight\":10,\"before\":[],\"after\":[\"seo\"],\"first\":false,\"last\":false,\"fields\":null,\"plugin\":\"",
                ::core::env!("CARGO_PKG_NAME"), "\",\"version\":\"",
                ::core::env!("CARGO_PKG_VERSION"),
                "\",\"sdk\":\"0.1.0\",\"function\":\"item_view\"}\n"
            );
            #[cfg(target_arch = "wasm32")]
            #[unsafe(link_section = "tapline:taps")]
            static __TAPLINE_RECORD_BYTES: [u8; __TAPLINE_RECORD.len()] = ::tapline_sdk::__rt::bytes(
                __TAPLINE_RECORD,
            );
        };
    "#]].assert_eq(&expand("weight = 10, after = \"seo\"", "pub fn item_view(item: &Item) -> RenderElement { body(item) }"));
}

#[test]
fn a_lazy_vote_expands() {
    let item = "fn may(item: ItemHandle, request: &AccessRequest) -> anyhow::Result<Access> { body(item) }";
    expect![[r#"
        fn may(item: ItemHandle, request: &AccessRequest) -> anyhow::Result<Access> {
            body(item)
        }
        #[doc(hidden)]
        mod __the_tap_item_access_is_defined_twice_in_this_module {}
        const _: () = {
            #[allow(dead_code)]
            fn __tapline_call(
                item: ::tapline_sdk::ItemHandle,
                request: &::tapline_sdk::AccessRequest,
            ) -> ::core::result::Result<::tapline_sdk::Access, ::tapline_sdk::__rt::TapError> {
                ::tapline_sdk::__rt::answer::<::tapline_sdk::Access, _>(may(item, request))
            }
            #[cfg(target_arch = "wasm32")]
            struct __TaplineGuest;
            #[cfg(target_arch = "wasm32")]
            impl ::tapline_sdk::__rt::item_access_lazy::Guest for __TaplineGuest {
                fn item_access(
                    item: &::tapline_sdk::__rt::contract::ItemHandle,
                    request: ::tapline_sdk::AccessRequest,
                ) -> ::core::result::Result<
                    ::tapline_sdk::Access,
                    ::tapline_sdk::__rt::TapError,
                > {
                    ::tapline_sdk::__rt::start();
                    __tapline_call(::core::convert::From::from(item), &request)
                }
            }
            #[cfg(target_arch = "wasm32")]
            ::tapline_sdk::__rt::item_access_lazy::export!(
                __TaplineGuest with_types_in::tapline_sdk::__rt::item_access_lazy
            );
            #[cfg(target_arch = "wasm32")]
            const __TAPLINE_RECORD: &str = ::core::concat!(
                "{\"schema\":1,\"tap\":\"item_access\",\"mode\":\"lazy\",\"weight\":0,\"before\":[],\"after\":[],\"first\":false,\"last\":false,\"fields\":null,\"plugin\":\"",
                ::core::env!("CARGO_PKG_NAME"), "\",\"version\":\"",
                ::core::env!("CARGO_PKG_VERSION"), "\",\"sdk\":\"0.1.0\",\"function\":\"may\"}\n"
            );
            #[cfg(target_arch = "wasm32")]
            #[unsafe(link_section = "tapline:taps")]
            static __TAPLINE_RECORD_BYTES: [u8; __TAPLINE_RECORD.len()] = ::tapline_sdk::__rt::bytes(
                __TAPLINE_RECORD,
            );
        };
    "#]].assert_eq(&expand("lazy, name = \"item_access\"", item));
}

#[test]
fn a_full_presave_expands() {
    expect![[r#"
        fn item_presave(item: &mut Item) {}
        #[doc(hidden)]
        mod __the_tap_item_presave_is_defined_twice_in_this_module {}
        const _: () = {
            #[allow(dead_code)]
            fn __tapline_call(
                item: &mut ::tapline_sdk::Item,
            ) -> ::core::result::Result<(), ::tapline_sdk::__rt::TapError> {
                ::tapline_sdk::__rt::answer::<(), _>(item_presave(item))
            }
            #[cfg(target_arch = "wasm32")]
            struct __TaplineGuest;
            #[cfg(target_arch = "wasm32")]
            impl ::tapline_sdk::__rt::item_presave::Guest for __TaplineGuest {
                fn item_presave(
                    item: ::tapline_sdk::__rt::contract::Item,
                ) -> ::core::result::Result<
                    ::tapline_sdk::__rt::contract::ItemChanges,
                    ::tapline_sdk::__rt::TapError,
                > {
                    ::tapline_sdk::__rt::start();
                    let mut item = ::tapline_sdk::Item::from(item);
                    __tapline_call(&mut item)?;
                    ::core::result::Result::Ok(item.into())
                }
            }
            #[cfg(target_arch = "wasm32")]
            ::tapline_sdk::__rt::item_presave::export!(
                __TaplineGuest with_types_in::tapline_sdk::__rt::item_presave
            );
            #[cfg(target_arch = "wasm32")]
            const __TAPLINE_RECORD: &str = ::core::concat!(
                "{\"schema\":1,\"tap\":\"item_presave\",\"mode\":\"full\",\"weight\":0,\"before\":[],\"after\":[],\"first\":false,\"last\":false,\"fields\":null,\"plugin\":\"",
                ::core::env!("CARGO_PKG_NAME"), "\",\"version\":\"",
                ::core::env!("CARGO_PKG_VERSION"),
                "\",\"sdk\":\"0.1.0\",\"function\":\"item_presave\"}\n"
            );
            #[cfg(target_arch = "wasm32")]
            #[unsafe(link_section = "tapline:taps")]
            static __TAPLINE_RECORD_BYTES: [u8; __TAPLINE_RECORD.len()] = ::tapline_sdk::__rt::bytes(
                __TAPLINE_RECORD,
            );
        };
    "#]].assert_eq(&expand("", "fn item_presave(item: &mut Item) {}"));
}
