//! A return type that is missing, and some that do not fit.
use tapline_sdk::{Access, AccessRequest, Item, RenderElement, tap};

struct Silent;

#[tap]
fn item_view(item: &Item) {
    drop(item);
}

#[tap]
fn item_access(_: &Item, _: &AccessRequest) -> bool {
    true
}

#[tap]
fn item_insert(_: &Item) -> Result<Access, String> {
    Ok(Access::Allow)
}

#[tap]
fn item_delete(_: &Item) -> Result<(), Silent> {
    Err(Silent)
}

mod other {
    use super::*;

    #[tap]
    fn item_view(item: &Item) -> String {
        RenderElement::from(item.title()).to_html()
    }
}

fn main() {}
