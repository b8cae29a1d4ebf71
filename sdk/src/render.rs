//! What a plugin adds to a page.

mod html;

/// A piece of a page, and entries for its head.
///
/// Made from the outside in: [`element`](Self::element), then its attributes and its content. Text and attributes are
/// not escaped here, the host does that; the host also drops every tag, attribute and link scheme that is not on its
/// allow-list, and refuses more than 10 000 nodes, 256 levels or 1 MiB of text.
///
/// ```
/// use tapline_sdk::RenderElement;
///
/// let list = RenderElement::element("ul")
///     .class("related")
///     .children(["a", "b"].map(|name| RenderElement::element("li").text(name)));
/// assert_eq!(list.to_html(), r#"<ul class="related"><li>a</li><li>b</li></ul>"#);
/// ```
// The tree is flat from the start, each parent ahead of its children: it crosses without a copy, and neither its
// conversion nor its drop recurses.
#[derive(Clone, Debug, Default)]
pub struct RenderElement {
    head: Vec<HeadEntry>,
    nodes: Vec<Node>,
    roots: Vec<u32>,
    /// Whether the first node is an element that takes what is added. Otherwise it goes beside the roots.
    open: bool,
}

/// One node of the tree, as it crosses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// An element with children.
    Element(Element),
    /// Text, not escaped.
    Text(String),
    /// HTML that the plugin wrote.
    Markup(String),
}

/// An element, as it crosses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    pub(crate) tag: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) children: Vec<u32>,
}

/// An entry for the head of the page, as it crosses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadEntry {
    /// `<meta name="…" content="…">`
    Meta((String, String)),
    /// `<meta property="…" content="…">`
    Property((String, String)),
    /// A JSON-LD document.
    JsonLd(String),
}

/// A whole answer, as it crosses.
#[derive(Debug)]
pub struct RenderRecord {
    /// What goes into the head of the page.
    pub head: Vec<HeadEntry>,
    /// All nodes, each parent ahead of its children.
    pub nodes: Vec<Node>,
    /// Indexes of the nodes that have no parent.
    pub roots: Vec<u32>,
}

impl From<RenderElement> for RenderRecord {
    fn from(element: RenderElement) -> Self {
        Self { head: element.head, nodes: element.nodes, roots: element.roots }
    }
}

/// Equal when they put the same into the page.
impl PartialEq for RenderElement {
    fn eq(&self, other: &Self) -> bool {
        self.head == other.head && self.nodes == other.nodes && self.roots == other.roots
    }
}

impl RenderElement {
    fn node(node: Node, open: bool) -> Self {
        Self { head: Vec::new(), nodes: vec![node], roots: vec![0], open }
    }

    /// An element, for example `p`.
    #[must_use]
    pub fn element(tag: impl Into<String>) -> Self {
        Self::node(Node::Element(Element { tag: tag.into(), attributes: Vec::new(), children: Vec::new() }), true)
    }

    /// Markup that is HTML already. The host parses it and keeps what is allowed.
    #[must_use]
    pub fn markup(html: impl Into<String>) -> Self {
        Self::node(Node::Markup(html.into()), false)
    }

    /// Several pieces side by side; add them with [`child`](Self::child).
    #[must_use]
    pub fn fragment() -> Self {
        Self::default()
    }

    /// Nothing at all. The start of an answer that only goes into the head.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Adds a class to the element. Does nothing to what is not an element, and panics there in a debug build.
    #[must_use]
    pub fn class(mut self, class: &str) -> Self {
        if let Some(element) = self.open_element() {
            match element.attributes.iter_mut().find(|(name, _)| name == "class") {
                Some((_, classes)) => {
                    classes.push(' ');
                    classes.push_str(class);
                }
                None => element.attributes.push(("class".to_owned(), class.to_owned())),
            }
        }
        self
    }

    /// Adds an attribute to the element. Does nothing to what is not an element, and panics there in a debug build.
    #[must_use]
    pub fn attr(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let Some(element) = self.open_element() {
            element.attributes.push((name.into(), value.into()));
        }
        self
    }

    /// Adds text.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.child(Self::node(Node::Text(text.into()), false))
    }

    /// Adds a piece, and what it has for the head.
    #[must_use]
    pub fn child(mut self, child: impl Into<Self>) -> Self {
        let mut child = child.into();
        // More than four billion nodes do not fit into the memory of a plugin.
        let offset = self.nodes.len() as u32;
        for node in &mut child.nodes {
            if let Node::Element(element) = node {
                element.children.iter_mut().for_each(|index| *index += offset);
            }
        }
        let roots = child.roots.iter().map(|index| index + offset);
        match self.nodes.first_mut() {
            Some(Node::Element(element)) if self.open => element.children.extend(roots),
            _ => self.roots.extend(roots),
        }
        self.nodes.append(&mut child.nodes);
        self.head.append(&mut child.head);
        self
    }

    /// Adds several pieces.
    #[must_use]
    pub fn children<C: Into<Self>>(self, children: impl IntoIterator<Item = C>) -> Self {
        children.into_iter().fold(self, Self::child)
    }

    /// Adds `<meta name="…" content="…">` to the head of the page.
    #[must_use]
    pub fn meta(mut self, name: impl Into<String>, content: impl Into<String>) -> Self {
        self.head.push(HeadEntry::Meta((name.into(), content.into())));
        self
    }

    /// Adds `<meta property="…" content="…">` to the head of the page.
    #[must_use]
    pub fn property(mut self, property: impl Into<String>, content: impl Into<String>) -> Self {
        self.head.push(HeadEntry::Property((property.into(), content.into())));
        self
    }

    /// Adds a JSON-LD document to the head of the page, as JSON: a text, or anything that displays itself so, such as
    /// `serde_json::Value`. The host parses it and refuses what is not JSON.
    #[must_use]
    pub fn json_ld(mut self, json: impl ToString) -> Self {
        self.head.push(HeadEntry::JsonLd(json.to_string()));
        self
    }

    fn open_element(&mut self) -> Option<&mut Element> {
        let element = match self.nodes.first_mut() {
            Some(Node::Element(element)) if self.open => Some(element),
            _ => None,
        };
        debug_assert!(element.is_some(), "only an element has attributes: start with `RenderElement::element`");
        element
    }
}

impl From<&str> for RenderElement {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for RenderElement {
    fn from(text: String) -> Self {
        Self::node(Node::Text(text), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_children_keep_their_places() {
        let inner = RenderElement::element("b").text("x").child(RenderElement::element("i").text("y"));
        let tree = RenderElement::element("p").text("a").child(inner).text("z");
        assert_eq!(tree.to_html(), "<p>a<b>x<i>y</i></b>z</p>");
        assert_eq!(tree.to_text(), "axyz");
    }

    #[test]
    fn a_fragment_hands_on_its_roots_and_its_head() {
        let fragment = RenderElement::fragment().child("a").child(RenderElement::element("br")).meta("robots", "none");
        let tree = RenderElement::element("p").child(fragment);
        assert_eq!(tree.to_html(), "<meta name=\"robots\" content=\"none\">\n<p>a<br></p>");
    }

    #[test]
    fn text_goes_beside_what_is_not_an_element() {
        let pair = RenderElement::from("a").text("b");
        assert_eq!(pair, RenderElement::fragment().text("a").text("b"));
    }

    #[test]
    fn an_element_equals_a_fragment_of_it() {
        let element = RenderElement::element("p").text("a");
        assert_eq!(RenderElement::fragment().child(element.clone()), element);
        assert_ne!(RenderElement::element("p"), element);
    }

    #[test]
    #[should_panic(expected = "only an element has attributes")]
    fn a_class_on_text_is_a_mistake() {
        let _ = RenderElement::from("a").class("b");
    }

    #[test]
    fn depth_costs_no_stack() {
        let mut tree = RenderElement::from("x");
        for _ in 0..5_000 {
            tree = RenderElement::element("i").child(tree);
        }
        assert_eq!(tree.to_text(), "x");
        assert_eq!(tree.to_html().len(), 5_000 * "<i></i>".len() + 1);
        let record = RenderRecord::from(tree);
        assert_eq!((record.nodes.len(), record.roots), (5_001, vec![0]));
    }
}
