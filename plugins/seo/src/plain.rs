//! Prose without its markup.

/// The text without headings, code blocks, tags, link addresses and marks of emphasis, in one line. Good enough for a
/// description: it knows Markdown and HTML by sight and parses neither.
pub(crate) fn text(source: &str) -> String {
    let mut plain = String::new();
    let mut in_code = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("```") || line.starts_with("~~~") {
            in_code = !in_code;
        } else if !in_code && !line.starts_with('#') {
            push(&mut plain, line);
            plain.push(' ');
        }
    }
    let words: Vec<_> = plain.split_whitespace().collect();
    words.join(" ")
}

fn push(plain: &mut String, line: &str) {
    let mut rest = line;
    while let Some(place) = rest.find(['<', '[', ']', '*', '`', '|', '!']) {
        plain.push_str(&rest[..place]);
        rest = &rest[place..];
        let skipped = match rest.as_bytes() {
            [b'<', b'a'..=b'z' | b'A'..=b'Z' | b'/', ..] => rest.find('>').map_or(rest.len(), |end| end + 1),
            [b']', b'(', ..] => rest.find(')').map_or(rest.len(), |end| end + 1),
            [b'!', b'[', ..] => 2,
            [mark @ (b'!' | b'<'), ..] => {
                plain.push(char::from(*mark));
                1
            }
            _ => 1,
        };
        rest = &rest[skipped..];
    }
    plain.push_str(rest);
}

/// At most `limit` characters, cut between words.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(limit) else { return text.to_owned() };
    // One character is for the ellipsis.
    let fits = text[..end].char_indices().next_back().map_or(0, |(last, _)| last);
    let cut = text[..fits].rfind(' ').unwrap_or(fits);
    text[..cut].trim_end_matches([',', ';', ':', '.']).to_owned() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_left_out() {
        assert_eq!(
            text("# Head\n\nA [link](http://a) and *some* `code`.\n\n```\nx\n```\nEnd!"),
            "A link and some code. End!"
        );
        assert_eq!(text("<p class=\"a\">one</p>\n<b>two</b>"), "one two");
        assert_eq!(text("![alt](a.png) 2 < 3"), "alt 2 < 3");
        assert_eq!(text("a [broken](link"), "a broken");
    }

    #[test]
    fn a_cut_is_between_words_and_within_the_limit() {
        assert_eq!(shorten("one two three", 13), "one two three");
        assert_eq!(shorten("one two, three", 12), "one two…");
        assert_eq!(shorten("äöüäöü", 4), "äöü…");
        assert!(shorten(&"wörd ".repeat(100), 160).chars().count() <= 160);
    }
}
