//! Lazy tap: estimates the reading time from the body alone.
//!
//! Only the text of the body crosses to the plugin; the rest of the item stays with the host.

use tapline_sdk::{ItemHandle, RenderElement, tap};

/// How many words an adult reads in a minute. Measured at 238 for English non-fiction (Brysbaert 2019), rounded down
/// because documentation is read with care.
const WORDS_PER_MINUTE: usize = 200;

#[tap(lazy, fields = ["body"])]
fn item_view(item: ItemHandle) -> RenderElement {
    let Some(body) = item.text("body") else { return RenderElement::empty() };
    let words = body.split_ascii_whitespace().filter(|word| is_word(word)).count();
    if words == 0 {
        return RenderElement::empty();
    }
    let minutes = words.div_ceil(WORDS_PER_MINUTE);
    RenderElement::element("p").class("reading-time").text(minutes.to_string() + " min read")
}

/// Markup that stands alone, such as a list's dash or a table's bar, is not read as a word.
fn is_word(word: &str) -> bool {
    word.chars().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use tapline_sdk::{FormattedText, Item};

    use super::*;

    #[track_caller]
    fn check(body: &str, expected: &str) {
        let item = Item::builder("readme").field("body", FormattedText::markdown(body)).build();
        assert_eq!(item_view(item.into()).to_text(), expected);
    }

    #[test]
    fn minutes_are_rounded_up() {
        check("one", "1 min read");
        check(&"word ".repeat(200), "1 min read");
        check(&"word ".repeat(201), "2 min read");
    }

    #[test]
    fn markup_is_not_a_word() {
        check("- | ---", "");
        check(&format!("# Title\n\n{}", "- point\n".repeat(199)), "1 min read");
    }

    #[test]
    fn an_item_without_a_body_gets_nothing() {
        assert_eq!(item_view(Item::builder("readme").build().into()), RenderElement::empty());
    }

    #[test]
    fn the_sample_takes_two_minutes() {
        let view = item_view(tapline_sdk_testing::sample::article().into());
        assert_eq!(view.to_html(), r#"<p class="reading-time">2 min read</p>"#);
    }
}
