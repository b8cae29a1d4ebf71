//! One tap, two handlers in one module.
use tapline_sdk::{Item, ItemHandle, RenderElement, tap};

#[tap]
fn item_view(item: &Item) -> RenderElement {
    item.title().into()
}

#[tap(lazy, name = "item_view")]
fn again(item: ItemHandle) -> RenderElement {
    item.title().into()
}

fn main() {}
