//! The typography of plain prose.

/// Cleans a text that has no markup.
pub(crate) fn clean(text: &str) -> String {
    let mut cleaner = Cleaner::new(text.len());
    cleaner.push(text);
    cleaner.out
}

/// What is clean so far. Knows what stands before the next character, also across what is copied unchanged.
pub(crate) struct Cleaner {
    pub(crate) out: String,
    before: char,
}

impl Cleaner {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { out: String::with_capacity(capacity), before: '\n' }
    }

    /// Adds what must stay as it is.
    pub(crate) fn verbatim(&mut self, text: &str) {
        self.out.push_str(text);
        if let Some(last) = text.chars().next_back() {
            self.before = last;
        }
    }

    /// Adds prose.
    pub(crate) fn push(&mut self, mut text: &str) {
        while let Some(first) = text.chars().next() {
            let run = text.len() - text.trim_start_matches(first).len();
            let (head, rest) = text.split_at(if matches!(first, '.' | '-' | ' ') { run } else { first.len_utf8() });
            let after = rest.chars().next().unwrap_or('\n');
            match (first, run) {
                ('"', _) if self.opens() => self.out.push('“'),
                ('"', _) => self.out.push('”'),
                // The apostrophe of '90s looks like the end of a quotation.
                ('\'', _) if self.opens() && after.is_alphabetic() => self.out.push('‘'),
                ('\'', _) => self.out.push('’'),
                ('.', 3) => self.out.push('…'),
                ('-', 2) if self.is_dash(after) => self.out.push('–'),
                // Spaces that begin a line are an indentation, those that end one may be a line break.
                (' ', 2..) if self.before != '\n' && after != '\n' => self.out.push(' '),
                _ => self.out.push_str(head),
            }
            // Marks of emphasis stand between a quotation mark and its word without a meaning for either.
            if !matches!(first, '*' | '_') {
                self.before = first;
            }
            text = rest;
        }
    }

    fn opens(&self) -> bool {
        self.before.is_whitespace() || matches!(self.before, '(' | '[' | '{' | '-' | '–' | '—' | '/' | '"' | '“' | '‘')
    }

    /// Between words or between spaces; `--check` is an option and `<!-- -->` a comment.
    fn is_dash(&self, after: char) -> bool {
        self.before == ' ' && after == ' ' || self.before.is_alphanumeric() && after.is_alphanumeric()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(clean(text), expected);
    }

    #[test]
    fn quotes() {
        check("\"a\" 'b' (\"c\")", "“a” ‘b’ (“c”)");
        check("don't '90s", "don’t ’90s");
        check("\"'a' b\"", "“‘a’ b”");
        check("**\"a\"**", "**“a”**");
    }

    #[test]
    fn dots_and_dashes() {
        check("a... .... ..", "a… .... ..");
        check("a -- b 1--2", "a – b 1–2");
        check("--- --check x-- <!-- -->", "--- --check x-- <!-- -->");
    }

    #[test]
    fn spaces() {
        check("a  b   c", "a b c");
        check("  a  \n  b", "  a  \n  b");
    }

    #[test]
    fn other_scripts_survive() {
        check("„Größe“ 日本  語", "„Größe“ 日本 語");
    }
}
