//! Markdown without its code: only prose is cleaned.

use crate::prose::Cleaner;

/// Cleans the prose of a Markdown text. Fenced and indented blocks, code spans, tags, addresses and reference definitions
/// are copied.
pub(crate) fn clean(text: &str) -> String {
    let mut cleaner = Cleaner::new(text.len());
    let mut fence: Option<&str> = None;
    // Code spans may reach over the lines of a paragraph, so prose is collected until something else begins.
    let (mut start, mut place) = (0, 0);
    for line in text.split_inclusive('\n') {
        let next = place + line.len();
        let (opening, is_copied) = (fence_of(line), fence.is_some() || is_copied(line));
        if is_copied || opening.is_some() || line.trim().is_empty() {
            inline(&mut cleaner, &text[start..place]);
            cleaner.verbatim(line);
            start = next;
        }
        fence = match (fence, opening) {
            (None, opening) => opening,
            (Some(open), Some(close)) if close.starts_with(open) && line.trim() == close => None,
            (open, _) => open,
        };
        place = next;
    }
    inline(&mut cleaner, &text[start..]);
    cleaner.out
}

/// The run of marks with which a line opens or closes a fenced block.
fn fence_of(line: &str) -> Option<&str> {
    let marks = line.trim_start_matches(' ');
    let first = marks.chars().next().filter(|mark| matches!(mark, '`' | '~'))?;
    let run = marks.len() - marks.trim_start_matches(first).len();
    let (marks, info) = marks.split_at(run);
    (run >= 3 && line.len() - line.trim_start_matches(' ').len() < 4 && !(first == '`' && info.contains('`')))
        .then_some(marks)
}

/// Indented code, and definitions such as `[a]: b "title"`. A paragraph of a nested list may look like code; then it keeps
/// its straight quotes, which does less harm than the reverse.
fn is_copied(line: &str) -> bool {
    line.starts_with("    ") || line.starts_with('\t') || line.starts_with('[') && line.contains("]:")
}

/// Cleans a paragraph around its code spans, tags, link addresses and escaped characters.
fn inline(cleaner: &mut Cleaner, mut text: &str) {
    while let Some(place) = text.find(['`', '<', ']', '\\']) {
        cleaner.push(&text[..place]);
        text = &text[place..];
        let length = match text.as_bytes() {
            [b'`', ..] => code_span(text),
            [b'<', b'a'..=b'z' | b'A'..=b'Z' | b'/' | b'!', ..] => text.find('>').map_or(1, |end| end + 1),
            [b']', b'(', ..] => text.find(')').map_or(1, |end| end + 1),
            [b'\\', ..] => 1 + text[1..].chars().next().map_or(0, char::len_utf8),
            _ => 1,
        };
        cleaner.verbatim(&text[..length]);
        text = &text[length..];
    }
    cleaner.push(text);
}

/// The length of the code span at the start of the text, or of its backquotes if nothing ends it.
fn code_span(text: &str) -> usize {
    let run = |text: &str| text.len() - text.trim_start_matches('`').len();
    let opening = run(text);
    let mut place = opening;
    while let Some(found) = text[place..].find('`') {
        let closing = run(&text[place + found..]);
        place += found + closing;
        if closing == opening {
            return place;
        }
    }
    opening
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(clean(text), expected);
    }

    #[track_caller]
    fn untouched(text: &str) {
        check(text, text);
    }

    #[test]
    fn prose_is_cleaned() {
        check("# It's\n\n- \"a\"...\n- b  c\n", "# It’s\n\n- “a”…\n- b c\n");
        check("| \"a\" |\n|---|\n", "| “a” |\n|---|\n");
    }

    #[test]
    fn code_stays() {
        untouched("```rust\nlet a = \"b\"; // ...\n```\n");
        untouched("~~~~\n\"a\"\n~~~\n\"b\"\n~~~~\n");
        untouched("    let a = \"b\";\n");
        untouched("`\"a\"  b` and ``\"`\" 'c'`` x\n");
        untouched("`a\n\"b\"` x");
        untouched("```\n\"never closed\"");
    }

    #[test]
    fn prose_around_code_is_cleaned() {
        check("\"a\" `\"b\"` \"c\"\n```\n\"d\"\n```\n\"e\"", "“a” `\"b\"` “c”\n```\n\"d\"\n```\n“e”");
        check("a ` \"b\"", "a ` “b”");
    }

    #[test]
    fn tags_addresses_and_escapes_stay() {
        untouched("<a title=\"b  c\">d</a> [e](f \"g...\") \\\"h\n\n[i]: j \"k\"\n");
        check("[\"a\"](b)", "[“a”](b)");
        check("2 < 3 \"a\"", "2 < 3 “a”");
    }
}
