//! What may be on a page, told by reading the markup and not by the code that made it.

use tapline_content::clean;

/// Elements that run, load, send or restyle something, or that change how a parser reads what follows.
const FORBIDDEN: [&str; 30] = [
    "applet",
    "audio",
    "base",
    "body",
    "button",
    "embed",
    "form",
    "frame",
    "head",
    "html",
    "iframe",
    "input",
    "link",
    "math",
    "meta",
    "noembed",
    "noframes",
    "noscript",
    "object",
    "option",
    "plaintext",
    "script",
    "select",
    "style",
    "svg",
    "template",
    "textarea",
    "title",
    "video",
    "xmp",
];

/// Attributes whose value is an address.
const ADDRESSES: [&str; 5] = ["href", "src", "cite", "longdesc", "background"];

/// Checks markup that a page takes from a plugin or an item: nothing in it runs, nothing leads to a scheme that is not
/// allowed, and that is still so for what a parser makes of it.
///
/// A parser may repair clean markup once more: a link in a table in a link is one that HTML cannot write.
pub fn assert_clean(markup: &str) {
    assert_harmless(markup);
    assert_harmless(&clean(markup));
}

fn assert_harmless(markup: &str) {
    for tag in tags(markup) {
        assert!(!FORBIDDEN.contains(&tag.name), "<{}> in {markup:?}", tag.name);
        for (name, value) in tag.attributes {
            let bad =
                name.starts_with("on") || ["style", "id", "srcdoc", "action", "formaction", "name"].contains(&name);
            assert!(!bad, "{name} in {markup:?}");
            assert!(!ADDRESSES.contains(&name) || is_allowed(value), "{name}={value:?} in {markup:?}");
        }
    }
}

/// Checks what a page takes into its head: descriptions and data.
pub(crate) fn assert_head(head: &str) {
    let mut open = false;
    for tag in tags(head) {
        match (tag.name, tag.closing) {
            ("meta", false) if !open => {
                let names: Vec<_> = tag.attributes.iter().map(|(name, _)| *name).collect();
                assert!(matches!(names[..], ["name" | "property", "content"]), "{head:?}");
            }
            ("script", false) if !open => {
                assert_eq!(tag.attributes, [("type", "application/ld+json")], "{head:?}");
                open = true;
            }
            ("script", true) if open => open = false,
            _ => panic!("<{}> in {head:?}", tag.name),
        }
    }
    assert!(!open, "a script is not closed: {head:?}");
}

/// An address without a scheme, or with one that is allowed, as a browser reads it: without control characters.
fn is_allowed(address: &str) -> bool {
    let address: String = address.chars().filter(|one| !one.is_control() && !one.is_whitespace()).collect();
    match address.split_once([':', '/', '?', '#']) {
        Some((scheme, _)) if address[scheme.len()..].starts_with(':') => {
            ["http", "https", "mailto"].contains(&scheme.to_ascii_lowercase().as_str())
        }
        _ => true,
    }
}

struct Tag<'a> {
    name: &'a str,
    closing: bool,
    attributes: Vec<(&'a str, &'a str)>,
}

/// The tags of markup as a serializer writes it: every `<` begins one, and every value has double quotes.
fn tags(markup: &str) -> Vec<Tag<'_>> {
    let mut tags = Vec::new();
    let mut rest = markup;
    while let Some((_, after)) = rest.split_once('<') {
        let closing = after.starts_with('/');
        let after = after.strip_prefix('/').unwrap_or(after);
        let end = after.find(|one: char| !one.is_ascii_alphanumeric() && one != '-').expect("a tag ends");
        let (name, mut inside) = after.split_at(end);
        let mut attributes = Vec::new();
        while let Some(attribute) = inside.strip_prefix(' ') {
            let (name, value) = attribute.split_once("=\"").expect("an attribute has a value");
            let (value, after) = value.split_once('"').expect("a value ends");
            attributes.push((name, value));
            inside = after;
        }
        rest = inside.strip_prefix('>').unwrap_or_else(|| panic!("not a tag: {inside:?} in {markup:?}"));
        assert!(!name.is_empty(), "a tag without a name in {markup:?}");
        tags.push(Tag { name, closing, attributes });
    }
    tags
}
