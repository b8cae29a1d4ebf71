//! A whole plugin around the text kernel: what vector instructions do for a tap.

use tapline_bench_guests::text;
use tapline_sdk::{ItemHandle, RenderElement, tap};

#[tap(lazy)]
fn item_view(item: ItemHandle) -> RenderElement {
    let body = item.text("body").unwrap_or_default();
    let count = text::count(&body);
    let line = count.tags.to_string() + " tags, " + &count.characters.to_string() + " characters, ";
    RenderElement::element("small").text(line + &count.lines.to_string() + " lines")
}
