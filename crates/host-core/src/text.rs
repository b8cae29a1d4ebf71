//! Small helpers for text that a guest wrote.

use std::{borrow::Cow, fmt::Write};

/// The longest start of `text` that has at most `max` bytes and ends between characters.
#[must_use]
pub fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// `text` with escapes, as in a Rust string, for everything that could start a line, move a cursor or turn the
/// direction of writing: such a text could pass for a line of somebody else. A tab stays.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(is_unsafe) else {
        return Cow::Borrowed(text);
    };
    let (clean, rest) = text.split_at(first);
    let mut safe = String::with_capacity(text.len() + 16);
    safe.push_str(clean);
    for character in rest.chars() {
        if is_unsafe(character) {
            // Writing to a string does not fail.
            let _ = write!(safe, "{}", character.escape_default());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

fn is_unsafe(character: char) -> bool {
    match character {
        '\t' => false,
        // Line and paragraph separator; marks, embeddings, overrides and isolates of direction.
        '\u{2028}'
        | '\u{2029}'
        | '\u{061c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => true,
        _ => character.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_between_characters() {
        assert_eq!(cut("abc", 5), "abc");
        assert_eq!(cut("aéb", 2), "a");
        assert_eq!(cut("aéb", 3), "aé");
    }

    #[test]
    fn harmless_text_is_not_copied() {
        for text in ["", "plain", "tab\there", "größe 日本語 🎉", r"C:\new"] {
            assert!(matches!(escape(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn what_could_forge_is_escaped() {
        assert_eq!(escape("one\ntwo\r"), r"one\ntwo\r");
        assert_eq!(escape("\u{1b}[2J"), r"\u{1b}[2J");
        assert_eq!(escape("é\0\u{7f}\u{9b}é"), r"é\u{0}\u{7f}\u{9b}é");
        assert_eq!(escape("a\u{2028}b\u{202e}c\u{2066}d"), r"a\u{2028}b\u{202e}c\u{2066}d");
    }
}
