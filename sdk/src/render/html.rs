//! A render element as text, for the assertions of native tests.

use super::{Element, HeadEntry, Node, RenderElement};

/// Elements that HTML writes without an end tag.
const VOID: [&str; 5] = ["br", "hr", "img", "source", "wbr"];

enum Step<'a> {
    Open,
    Close(&'a str),
}

impl RenderElement {
    /// The piece as HTML, each entry for the head on a line ahead of it. For tests: the host writes its own HTML, and drops
    /// what it does not allow.
    #[must_use]
    pub fn to_html(&self) -> String {
        let mut html = String::new();
        for entry in &self.head {
            let (kind, name, content) = match entry {
                HeadEntry::Meta((name, content)) => ("name", name, content),
                HeadEntry::Property((name, content)) => ("property", name, content),
                HeadEntry::JsonLd(json) => {
                    html.extend(["<script type=\"application/ld+json\">", json, "</script>\n"]);
                    continue;
                }
            };
            html.extend(["<meta ", kind, "=\"", &escape(name), "\" content=\"", &escape(content), "\">\n"]);
        }
        self.walk(|step, node| match (step, node) {
            (Step::Open, Node::Text(text)) => html.push_str(&escape(text)),
            (Step::Open, Node::Markup(markup)) => html.push_str(markup),
            (Step::Open, Node::Element(element)) => open(&mut html, element),
            (Step::Close(tag), _) if !VOID.contains(tag) => html.extend(["</", tag, ">"]),
            (Step::Close(_), _) => {}
        });
        html
    }

    /// The text of the piece alone, without markup and without what goes into the head. For tests.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut all = String::new();
        self.walk(|step, node| {
            if let (Step::Open, Node::Text(text)) = (step, node) {
                all.push_str(text);
            }
        });
        all
    }

    /// Visits all nodes in the order of the page, with a stack of its own: a deep tree must not end a test in a crash.
    fn walk<'a>(&'a self, mut visit: impl FnMut(&Step<'a>, &'a Node)) {
        let mut steps: Vec<_> = self.roots.iter().rev().map(|index| (Step::Open, *index)).collect();
        while let Some((step, index)) = steps.pop() {
            let Some(node) = self.nodes.get(index as usize) else { continue };
            visit(&step, node);
            if let (Step::Open, Node::Element(element)) = (step, node) {
                steps.push((Step::Close(&element.tag), index));
                steps.extend(element.children.iter().rev().map(|child| (Step::Open, *child)));
            }
        }
    }
}

fn open(html: &mut String, element: &Element) {
    html.extend(["<", &element.tag]);
    for (name, value) in &element.attributes {
        html.extend([" ", name, "=\"", &escape(value), "\""]);
    }
    html.push('>');
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
