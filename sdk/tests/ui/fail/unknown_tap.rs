//! A tap that does not exist, and one that nearly does.
use tapline_sdk::{Item, RenderElement, tap};

#[tap]
fn item_veiw(item: &Item) -> RenderElement {
    item.title().into()
}

#[tap]
fn on_page(item: &Item) -> RenderElement {
    item.title().into()
}

fn main() {}
