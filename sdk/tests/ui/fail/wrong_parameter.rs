//! Parameters that do not fit, first in what is written and then in what it means.
use tapline_sdk::{Item, ItemHandle, RenderElement, tap};

#[tap]
fn item_view(item: Item) -> RenderElement {
    item.title().into()
}

#[tap]
fn item_insert(item: ItemHandle) {
    drop(item);
}

#[tap]
fn item_presave(item: &Item) {
    drop(item);
}

mod own {
    pub struct Item;

    #[tapline_sdk::tap]
    fn item_delete(_: &Item) {}
}

fn main() {}
