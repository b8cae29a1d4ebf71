//! What a plugin adds to a page: checked, escaped and cleaned.
//!
//! An answer of `item_view` is markup from an untrusted source. The tree is checked first, so that nothing that
//! follows can be made to loop or to use much memory. When a page is made of it, text is escaped, and the whole is parsed
//! and everything that is not on the allow-list is dropped.

use std::{fmt::Write, sync::LazyLock};

use ammonia::Builder;
use wasmtime::component::{ComponentType, Lift};

/// Most nodes of one answer, tags inside markup included.
pub const MAX_NODES: usize = 10_000;
/// Deepest nesting of one answer, tags inside markup included.
pub const MAX_DEPTH: usize = 256;
/// Most formatting elements (`b`, `em`, `a` and the like) inside each other.
pub const MAX_FORMATTING: usize = 8;
/// Most tags of markup that the parser may have to repair: the worst of so many makes a quarter of a million elements.
pub const MAX_REPAIRED_TAGS: usize = 1000;
/// Most attributes of one element.
pub const MAX_ATTRIBUTES: usize = 64;
/// Most bytes of one tag with its attributes.
pub const MAX_TAG: usize = 4096;
/// Most text of one answer, in bytes.
pub const MAX_TEXT: usize = 1 << 20;
/// Most entries for the head of the page.
pub const MAX_HEAD: usize = 100;

/// A plugin's answer as it crosses: a flat list of nodes. Nothing in it is trusted.
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct RawRender {
    pub(crate) head: Vec<RawHead>,
    pub(crate) nodes: Vec<RawNode>,
    pub(crate) roots: Vec<u32>,
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct RawElement {
    pub(crate) tag: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) children: Vec<u32>,
}

#[derive(Debug, ComponentType, Lift)]
#[component(variant)]
pub(crate) enum RawNode {
    #[component(name = "element")]
    Element(RawElement),
    #[component(name = "text")]
    Text(String),
    #[component(name = "markup")]
    Markup(String),
}

#[derive(Debug, ComponentType, Lift)]
#[component(variant)]
pub(crate) enum RawHead {
    #[component(name = "meta")]
    Meta((String, String)),
    #[component(name = "property")]
    Property((String, String)),
    #[component(name = "json-ld")]
    JsonLd(String),
}

/// What a plugin adds to a page: checked, and made into markup when a page is written.
///
/// Cleaning parses the markup anew, which costs more than the call that made it. So it happens where a page is made, and
/// there is no other way to the markup.
#[derive(Debug)]
pub struct Contribution(RawRender);

impl Contribution {
    /// Elements for the head of a page, safe to write into it.
    #[must_use]
    pub fn head(&self) -> String {
        let mut head = String::new();
        for entry in &self.0.head {
            write_head(&mut head, entry);
        }
        head
    }

    /// Elements for the body of a page, safe to write into it.
    #[must_use]
    pub fn body(&self) -> String {
        let mut markup = String::new();
        for root in &self.0.roots {
            write_node(&mut markup, &self.0.nodes, *root);
        }
        // What the answer was checked for makes it cheap to parse.
        parse_and_keep(&markup)
    }

    /// How much text it has, in bytes: the markup takes time in proportion.
    #[must_use]
    pub fn size(&self) -> usize {
        size(&self.0)
    }

    /// Whether the plugin added nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.head.is_empty() && self.0.roots.is_empty()
    }
}

/// An answer breaks the contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// More nodes than a page needs.
    #[error("{count} nodes are refused: an answer has at most {MAX_NODES}")]
    TooManyNodes {
        /// How many.
        count: usize,
    },
    /// An index points at no node.
    #[error("node {index} does not exist: there are {nodes}")]
    OutOfRange {
        /// The index.
        index: u32,
        /// How many nodes there are.
        nodes: usize,
    },
    /// A node is used twice, or is its own ancestor.
    #[error("node {index} is used twice: a node has one parent or is a root")]
    UsedTwice {
        /// The index.
        index: u32,
    },
    /// Nested too deep.
    #[error("the tree is nested deeper than {MAX_DEPTH} levels, or than {MAX_FORMATTING} formatting elements")]
    TooDeep,
    /// Too much text.
    #[error("{bytes} bytes of text are refused: an answer has at most {MAX_TEXT}")]
    TooMuchText {
        /// How many.
        bytes: usize,
    },
    /// A tag is not a name.
    #[error("`{tag}` is not the name of an element")]
    Tag {
        /// The tag, cut.
        tag: String,
    },
    /// A tag with too many attributes, or too long ones.
    #[error("the tag `{tag}` is refused: it has at most {MAX_ATTRIBUTES} attributes and {MAX_TAG} bytes")]
    LargeTag {
        /// The tag, cut.
        tag: String,
    },
    /// Markup that is not well-formed.
    #[error("the markup is not well-formed: `{at}`")]
    Markup {
        /// Where, cut.
        at: String,
    },
    /// The name of an attribute is not a name.
    #[error("`{name}` is not the name of an attribute")]
    Attribute {
        /// The name, cut.
        name: String,
    },
    /// Too many entries for the head.
    #[error("{count} head entries are refused: an answer has at most {MAX_HEAD}")]
    TooManyHeadEntries {
        /// How many.
        count: usize,
    },
    /// A head entry that would change how the page behaves.
    #[error("the meta entry `{name}` is refused: a plugin may describe the page, not change how it behaves")]
    Meta {
        /// The name, cut.
        name: String,
    },
    /// A JSON-LD document does not parse.
    #[error("the JSON-LD document does not parse: {message}")]
    JsonLd {
        /// What the parser says.
        message: String,
    },
}

impl RawRender {
    /// Checks the answer: after this, no walk over it loops or uses much memory.
    pub(crate) fn check(self) -> Result<Contribution, RenderError> {
        check_tree(&self)?;
        for entry in &self.head {
            check_head(entry)?;
        }
        check_nodes(&self)?;
        Ok(Contribution(self))
    }
}

/// Every index in range, every node used at most once and the roots not at all: together with "reachable from a
/// root" that makes a forest, so no walk over it can loop.
fn check_tree(render: &RawRender) -> Result<(), RenderError> {
    if render.nodes.len() > MAX_NODES {
        return Err(RenderError::TooManyNodes { count: render.nodes.len() });
    }
    if render.head.len() > MAX_HEAD {
        return Err(RenderError::TooManyHeadEntries { count: render.head.len() });
    }
    let mut used = vec![false; render.nodes.len()];
    let children = render.nodes.iter().filter_map(|node| match node {
        RawNode::Element(element) => Some(&element.children),
        _ => None,
    });
    for index in render.roots.iter().chain(children.flatten()) {
        match used.get_mut(*index as usize) {
            None => return Err(RenderError::OutOfRange { index: *index, nodes: render.nodes.len() }),
            Some(used) if *used => return Err(RenderError::UsedTwice { index: *index }),
            Some(used) => *used = true,
        }
    }
    let bytes = size(render);
    if bytes > MAX_TEXT { Err(RenderError::TooMuchText { bytes }) } else { Ok(()) }
}

fn size(render: &RawRender) -> usize {
    render.nodes.iter().map(text_size).sum::<usize>() + render.head.iter().map(head_size).sum::<usize>()
}

fn text_size(node: &RawNode) -> usize {
    match node {
        RawNode::Text(text) | RawNode::Markup(text) => text.len(),
        RawNode::Element(element) => {
            element.tag.len() + element.attributes.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
        }
    }
}

fn head_size(entry: &RawHead) -> usize {
    match entry {
        RawHead::Meta((name, content)) | RawHead::Property((name, content)) => name.len() + content.len(),
        RawHead::JsonLd(text) => text.len(),
    }
}

/// What the tags of the answer have used up so far.
struct Budget {
    tags: usize,
    max: usize,
    /// Whether there may be comments.
    comments: bool,
}

/// Where in the tree a node is.
#[derive(Clone, Copy, Default)]
struct Place {
    depth: u16,
    formatting: u16,
}

impl Place {
    /// One level further in. The parser opens formatting elements anew in each block that follows one which it closed for
    /// itself: what eight of them can cost is bounded, what 250 can is not.
    fn inside(self, tag: &str) -> Result<Self, RenderError> {
        let formatting = self.formatting + u16::from(is_formatting(tag));
        let place = Self { depth: self.depth + 1, formatting };
        if usize::from(place.depth) > MAX_DEPTH || usize::from(place.formatting) > MAX_FORMATTING {
            Err(RenderError::TooDeep)
        } else {
            Ok(place)
        }
    }
}

/// Checks the nodes that a page would show. The stack is a list, not the thread's: the depth is the guest's choice.
fn check_nodes(render: &RawRender) -> Result<(), RenderError> {
    let mut budget = Budget { tags: 0, max: MAX_NODES, comments: false };
    // Each node is in it at most once.
    let mut steps = Vec::with_capacity(render.nodes.len());
    steps.extend(render.roots.iter().map(|root| (*root, Place::default())));
    while let Some((index, place)) = steps.pop() {
        match &render.nodes[index as usize] {
            RawNode::Text(_) => {}
            RawNode::Markup(markup) => check_markup(markup, place, &mut budget)?,
            RawNode::Element(element) => {
                let tag = element.tag.as_str();
                if !is_name(tag) {
                    return Err(RenderError::Tag { tag: shown(tag) });
                }
                if let Some((name, _)) = element.attributes.iter().find(|(name, _)| !is_name(name)) {
                    return Err(RenderError::Attribute { name: shown(name) });
                }
                let bytes: usize = element.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
                if element.attributes.len() > MAX_ATTRIBUTES || bytes > MAX_TAG {
                    return Err(RenderError::LargeTag { tag: shown(tag) });
                }
                let place = place.inside(tag)?;
                steps.extend(element.children.iter().map(|child| (*child, place)));
            }
        }
    }
    Ok(())
}

/// Checks markup for what makes it cheap to parse: each element that is opened is closed in its turn, so that the parser
/// has nothing to repair, and tags are of ordinary size. What reads tags here is stricter than HTML and never reads one
/// differently: no comments, no stray quotes.
fn check_markup(markup: &str, place: Place, budget: &mut Budget) -> Result<(), RenderError> {
    let malformed = |at: &str| RenderError::Markup { at: shown(at) };
    let mut open: Vec<(&str, Place)> = Vec::new();
    let mut rest = markup;
    while let Some(start) = rest.find('<') {
        let at = &rest[start..];
        rest = &at[1..];
        if !rest.starts_with(|next: char| next.is_ascii_alphabetic() || matches!(next, '/' | '!' | '?')) {
            continue;
        }
        if budget.comments && rest.starts_with("!--") {
            rest = after_comment(rest, &open).ok_or_else(|| malformed(at))?;
            continue;
        }
        budget.tags += 1;
        if budget.tags > budget.max {
            return Err(RenderError::TooManyNodes { count: budget.tags });
        }
        if let Some(after) = rest.strip_prefix('/') {
            let name = tag_name(after);
            let end = after[name.len()..].trim_start().strip_prefix('>').ok_or_else(|| malformed(at))?;
            match open.pop() {
                Some((opened, _)) if opened.eq_ignore_ascii_case(name) => rest = end,
                _ => return Err(malformed(at)),
            }
        } else {
            let name = tag_name(rest);
            rest = attributes(&rest[name.len()..]).ok_or_else(|| malformed(at))?;
            if at.len() - rest.len() > MAX_TAG {
                return Err(RenderError::LargeTag { tag: shown(name) });
            }
            if name.is_empty() {
                return Err(malformed(at));
            }
            if !is_void(name) {
                let outer = open.last().map_or(place, |(_, inner)| *inner);
                open.push((name, outer.inside(name)?));
            }
        }
    }
    match open.last() {
        Some((tag, _)) => Err(RenderError::Markup { at: format!("<{}> is not closed", shown(tag)) }),
        None => Ok(()),
    }
}

/// What follows a comment. None: parsers may see its end elsewhere, or no comment at all, because it stands in an element
/// whose content is not markup.
fn after_comment<'a>(rest: &'a str, open: &[(&str, Place)]) -> Option<&'a str> {
    const NO_MARKUP: [&str; 10] =
        ["iframe", "noembed", "noframes", "noscript", "plaintext", "script", "style", "textarea", "title", "xmp"];
    let (inside, after) = rest.strip_prefix("!--")?.split_once("-->")?;
    let plain = !inside.contains("--") && !inside.starts_with(['>', '-']) && !inside.ends_with('-');
    let in_markup = open.iter().all(|(tag, _)| NO_MARKUP.iter().all(|name| !name.eq_ignore_ascii_case(tag)));
    (plain && in_markup).then_some(after)
}

/// What follows the `>` of a tag. None: the tag is not of the plain form, or has too many attributes.
fn attributes(mut rest: &str) -> Option<&str> {
    for _ in 0..=MAX_ATTRIBUTES {
        let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        if let Some(end) = trimmed.strip_prefix('>').or_else(|| trimmed.strip_prefix("/>")) {
            return Some(end);
        }
        // An attribute stands apart from what is before it.
        if trimmed.len() == rest.len() {
            return None;
        }
        let fits = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | ':');
        let end = trimmed.find(|character| !fits(character)).filter(|end| *end > 0)?;
        rest = &trimmed[end..];
        if let Some(value) = rest.strip_prefix('=') {
            rest = match value.chars().next()? {
                quote @ ('"' | '\'') => value[1..].split_once(quote)?.1,
                _ => {
                    let stops = [' ', '\t', '\n', '\r', '>', '<', '"', '\'', '=', '`'];
                    &value[value.find(stops).filter(|end| *end > 0)?..]
                }
            };
        }
    }
    None
}

fn tag_name(text: &str) -> &str {
    let end = text.find(|character: char| !character.is_ascii_alphanumeric() && character != '-').unwrap_or(text.len());
    &text[..end]
}

/// The elements that a parser opens anew when it had to close them.
fn is_formatting(tag: &str) -> bool {
    const LONGEST: usize = 6;
    let mut lower = [0; LONGEST];
    let Some(lower) = lower.get_mut(..tag.len()) else { return false };
    lower.copy_from_slice(tag.as_bytes());
    lower.make_ascii_lowercase();
    // One comparison for most tags, as it is asked for each: the length decides first.
    match &*lower {
        [letter] => b"abisu".contains(letter),
        b"em" | b"tt" | b"big" | b"code" | b"font" | b"nobr" | b"small" | b"strike" | b"strong" => true,
        _ => false,
    }
}

/// Writes a node and all below it, which were checked.
fn write_node(out: &mut String, nodes: &[RawNode], root: u32) {
    enum Step<'a> {
        Open(u32),
        Close(&'a str),
    }
    let mut steps = vec![Step::Open(root)];
    while let Some(step) = steps.pop() {
        let node = match step {
            Step::Close(tag) => {
                let _ = write!(out, "</{tag}>");
                continue;
            }
            Step::Open(index) => &nodes[index as usize],
        };
        match node {
            RawNode::Text(text) => escape(out, text),
            RawNode::Markup(markup) => out.push_str(markup),
            RawNode::Element(element) => {
                let tag = element.tag.as_str();
                let _ = write!(out, "<{tag}");
                for (name, value) in &element.attributes {
                    let _ = write!(out, " {name}=\"");
                    escape(out, value);
                    out.push('"');
                }
                out.push('>');
                if !is_void(tag) {
                    steps.push(Step::Close(tag));
                }
                steps.extend(element.children.iter().rev().map(|child| Step::Open(*child)));
            }
        }
    }
}

/// Elements that have no content and no closing tag, and the few whose closing tag authors leave out.
fn is_void(tag: &str) -> bool {
    const VOID: [&str; 13] =
        ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"];
    VOID.iter().any(|void| void.eq_ignore_ascii_case(tag))
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn shown(text: &str) -> String {
    tapline_host_core::cut(text, 80).escape_debug().to_string()
}

fn escape(out: &mut String, text: &str) {
    let mut plain = 0;
    for (index, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            b'\'' => "&#39;",
            b'\0' => "\u{fffd}",
            _ => continue,
        };
        // All of these are single bytes in UTF-8, so both ends lie between characters.
        out.push_str(&text[plain..index]);
        out.push_str(escaped);
        plain = index + 1;
    }
    out.push_str(&text[plain..]);
}

fn check_head(entry: &RawHead) -> Result<(), RenderError> {
    // What describes a page. `referrer`, `viewport`, `theme-color` and the like change how a browser treats it.
    const NAMES: [&str; 7] = ["description", "keywords", "author", "robots", "abstract", "subject", "topic"];
    const PREFIXES: [&str; 6] = ["og:", "article:", "twitter:", "dc.", "dcterms.", "citation_"];
    match entry {
        RawHead::Meta((name, _)) | RawHead::Property((name, _)) => {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.' | b'_' | b'-');
            let lower = name.to_ascii_lowercase();
            let known = NAMES.contains(&lower.as_str()) || PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
            if known && name.bytes().all(fits) { Ok(()) } else { Err(RenderError::Meta { name: shown(name) }) }
        }
        // Parsed into values, not skimmed: what nests too deep for the writer is refused here.
        RawHead::JsonLd(text) => serde_json::from_str::<serde_json::Value>(text)
            .map(drop)
            .map_err(|error| RenderError::JsonLd { message: error.to_string() }),
    }
}

fn write_head(out: &mut String, entry: &RawHead) {
    let (kind, name, content) = match entry {
        RawHead::Meta((name, content)) => ("name", name, content),
        RawHead::Property((name, content)) => ("property", name, content),
        RawHead::JsonLd(text) => {
            let document: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
            // Inside a script element only `<` could end it or start a comment; JSON may write it as an escape.
            let text = document.to_string().replace('<', "\\u003c");
            let _ = writeln!(out, "<script type=\"application/ld+json\">{text}</script>");
            return;
        }
    };
    let _ = write!(out, "<meta {kind}=\"{name}\" content=\"");
    escape(out, content);
    out.push_str("\">\n");
}

/// Parses markup and keeps what is on the allow-list: the elements of flowing text, links and pictures with `http`,
/// `https`, `mailto` or relative addresses, no scripts, no styles, no identifiers.
///
/// The host uses it for the markup of items. A parser of HTML repairs what is not well-formed, and some markup of a hundred
/// kilobytes makes it add elements until memory is full. So more than [`MAX_REPAIRED_TAGS`] tags have to be well-formed: each
/// element closed in its turn, none deeper than [`MAX_DEPTH`], formatting elements none deeper than [`MAX_FORMATTING`].
/// Markup that is not is not parsed. What it then returns is its text, in which readers see the tags.
#[must_use]
pub fn clean(markup: &str) -> String {
    let tags = markup.matches('<').count();
    let mut budget = Budget { tags: 0, max: usize::MAX, comments: true };
    if tags <= MAX_REPAIRED_TAGS || check_markup(markup, Place::default(), &mut budget).is_ok() {
        return parse_and_keep(markup);
    }
    let mut text = String::with_capacity(markup.len() + 64);
    escape(&mut text, markup);
    text
}

fn parse_and_keep(markup: &str) -> String {
    static CLEANER: LazyLock<Builder<'static>> = LazyLock::new(|| {
        let mut builder = Builder::default();
        builder
            .add_tags(["section", "main", "header", "footer"])
            .add_generic_attributes(["class", "role", "aria-label", "aria-hidden", "datetime"])
            .url_schemes(["http", "https", "mailto"].into());
        builder
    });
    CLEANER.clean(markup).to_string()
}

#[cfg(test)]
mod tests;
