//! Bench, lazy: the same teaser through a handle.
//!
//! The benches call it beside `teaser`, which gets the whole item.

use tapline_sdk::{ItemHandle, RenderElement, Value, tap};

/// How much of the body a teaser shows, in characters.
const LENGTH: usize = 100;

#[tap(lazy)]
fn item_view(item: ItemHandle) -> RenderElement {
    let body = item.text("body").unwrap_or_default();
    let end = body.char_indices().nth(LENGTH).map_or(body.len(), |(end, _)| end);
    let tags = item.field("tags").as_ref().map_or(0, |tags| tags.as_references().len());
    let views = match item.field("views") {
        Some(Value::Integer(views)) => views,
        _ => 0,
    };
    RenderElement::element("article")
        .child(RenderElement::element("h3").text(item.title()))
        .child(RenderElement::element("p").text(&body[..end]))
        .child(RenderElement::element("small").text(tags.to_string() + " tags, " + &views.to_string() + " views"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_title_and_the_start_of_the_body() {
        let html = item_view(tapline_sdk_testing::sample::article().into()).to_html();
        assert!(html.starts_with("<article><h3>WebAssembly in practice</h3><p>"), "{html}");
        assert!(html.ends_with("</p><small>3 tags, 18432 views</small></article>"), "{html}");
    }
}
