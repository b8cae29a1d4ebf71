//! Small helpers for text: what a guest wrote, and what went wrong.

use std::{
    borrow::Cow,
    error::Error,
    fmt::{self, Display, Write},
};

/// What an error says, and each of its causes. A cause that an error repeats word for word is left out.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for cause in std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source()) {
        let message = cause.to_string();
        if !messages.iter().any(|other| other.contains(&message)) {
            messages.push(message);
        }
    }
    messages
}

/// The longest start of `text` that has at most `max` bytes and ends between characters.
#[must_use]
pub fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// The first `max` bytes of what `value` would write, cut between characters. It is not asked for more: a name in a guest's
/// file may stand for a megabyte of text.
pub(crate) fn cut_display(value: &dyn Display, max: usize) -> String {
    struct Short {
        text: String,
        left: usize,
    }
    impl Write for Short {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let kept = cut(text, self.left);
            self.text.push_str(kept);
            // A character that does not fit is the end as well.
            self.left = if kept.len() < text.len() { 0 } else { self.left - kept.len() };
            if kept.len() < text.len() { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut short = Short { text: String::new(), left: max };
    // An error is the end of the room.
    let _ = write!(short, "{value:#}");
    short.text
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
    fn what_writes_without_end_is_stopped() {
        struct Endless(&'static str);
        impl Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str(self.0)?;
                }
            }
        }
        assert_eq!(cut_display(&Endless("ab"), 5), "ababa");
        assert_eq!(cut_display(&Endless("é"), 5), "éé");
        assert_eq!(cut_display(&"short", 5), "short");
        // Thirteen bytes that stand for a million.
        assert_eq!(cut_display(&rustc_demangle::demangle("_RMC0FGZZZ_Eu"), 20).len(), 20);
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
