//! Bench, full: a teaser from three fields of the whole item.
//!
//! The benches call it beside `teaser-lazy`, which does the same work through a handle.

use tapline_sdk::{Item, RenderElement, tap};

/// How much of the body a teaser shows, in characters.
const LENGTH: usize = 100;

#[tap]
fn item_view(item: &Item) -> RenderElement {
    let body = item.text("body").unwrap_or_default();
    let end = body.char_indices().nth(LENGTH).map_or(body.len(), |(end, _)| end);
    let tags = item.references("tags").len();
    let views = item.integer("views").unwrap_or_default();
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
        let html = item_view(&tapline_sdk_testing::sample::article()).to_html();
        assert!(html.starts_with("<article><h3>WebAssembly in practice</h3><p>"), "{html}");
        assert!(html.ends_with("</p><small>3 tags, 18432 views</small></article>"), "{html}");
    }
}
