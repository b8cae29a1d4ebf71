//! The tap attribute: it checks a plugin author's function and exports it under its tap's contract.
//!
//! Authors depend on `tapline-sdk`, which has the attribute as `tapline_sdk::tap`; the types that its documentation
//! speaks of are there too. This crate generates no bindings: it names those of the SDK.

mod check;
mod emit;
mod errors;
mod model;
mod parse;

/// Exports a function as a handler of a tap.
///
/// The function stays as it is written and can be called in a native test. It is named like its tap, or says
/// `name = "…"`. Where it returns nothing, a view or a vote, it may as well return a `Result` of that with any error that
/// implements `Display`.
///
/// | tap | full | `#[tap(lazy)]` |
/// |---|---|---|
/// | `item_view` | `(item: &Item) -> RenderElement` | `(item: ItemHandle) -> RenderElement` |
/// | `item_presave` | `(item: &mut Item)` | `(item: ItemHandle)` |
/// | `item_insert` | `(item: &Item)` | `(item: ItemHandle)` |
/// | `item_update` | `(item: &Item, original: &Item)` | `(item: ItemHandle, original: ItemHandle)` |
/// | `item_delete` | `(item: &Item)` | `(item: ItemHandle)` |
/// | `item_access` | `(item: &Item, request: &AccessRequest) -> Access` | `(item: ItemHandle, request: &AccessRequest) -> Access` |
/// | `cron` | `(run: &CronRun)` | |
///
/// A full tap gets the item with everything that it declared; a lazy one gets a handle, and each question to it is a call
/// to the host. Which is faster was measured (`docs/gates/report.md`): from 2.4 to 50 KB lazy is faster for taps that read up to 12
/// of 14 fields and write at most one; above that take the whole item, or declare `fields`. At 100 KB lazy is faster however
/// many a tap reads.
///
/// # Attributes
///
/// - `lazy`: see above.
/// - `weight = -10`: its place among the plugins of this tap, lowest first. Defaults to 0.
/// - `before = "seo"`, `after = ["seo", "related"]`: plugins that come later or earlier, whatever their weights.
/// - `first`, `last`: ahead of or behind all plugins that do not say so.
/// - `fields = ["title_image", "body"]`: the fields that the tap gets; the host sends no others and refuses changes to them.
///   What every item has, such as its title, is always there. Defaults to all.
/// - `name = "item_view"`: the tap, where the function is called differently.
#[proc_macro_attribute]
pub fn tap(attribute: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    emit::expand(attribute.into(), item.into()).into()
}

#[cfg(test)]
mod tests;
