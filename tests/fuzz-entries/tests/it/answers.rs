//! Answers of guests: what is right reaches the page or the item as it was meant, and nothing else does.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{prelude::*, sample::Index};
use tapline_content::{Field, FormattedText, Reference, Value, clean};
use tapline_fuzz_entries::{Answer, Changes, Head, Node, Render, answer, assert_clean, encode_changes, encode_render};
use tapline_host_core::{CallError, Fault};

fn is_bad_answer<T>(outcome: &Result<T, CallError>) -> bool {
    matches!(outcome, Err(CallError { fault: Fault::BadAnswer { .. }, .. }))
}

/// A tree before it is made flat.
#[derive(Clone, Debug)]
enum Tree {
    Text(String),
    Element(&'static str, Vec<Tree>),
}

/// Elements that may stand inside each other without a parser moving anything.
const TAGS: [&str; 4] = ["div", "section", "span", "ul"];

fn tree() -> impl Strategy<Value = Tree> {
    let text = "[ -~\u{e4}\u{20ac}\u{1f600}]{0,12}".prop_map(Tree::Text);
    text.prop_recursive(6, 24, 4, |inner| {
        (prop::sample::select(&TAGS[..]), prop::collection::vec(inner, 0..4))
            .prop_map(|(tag, children)| Tree::Element(tag, children))
    })
}

impl Tree {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Element(_, children) => children.iter().map(Self::text).collect(),
        }
    }

    /// Puts the tree into `nodes`, a child before its parent, and returns its index.
    fn flatten(&self, nodes: &mut Vec<Node>) -> u32 {
        let node = match self {
            Self::Text(text) => Node::Text(text.clone()),
            Self::Element(tag, children) => Node::Element {
                tag: (*tag).to_owned(),
                attributes: vec![("class".to_owned(), "\"<&>'".to_owned())],
                children: children.iter().map(|child| child.flatten(nodes)).collect(),
            },
        };
        nodes.push(node);
        u32::try_from(nodes.len() - 1).unwrap()
    }
}

fn render(trees: &[Tree]) -> Render {
    let mut nodes = Vec::new();
    let roots = trees.iter().map(|tree| tree.flatten(&mut nodes)).collect();
    Render { nodes, roots, ..Render::default() }
}

/// What a reader of the page sees.
fn visible(markup: &str) -> String {
    let outside: String = markup
        .split('<')
        .enumerate()
        .map(|(index, part)| match index {
            0 => part,
            _ => part.split_once('>').map_or("", |(_, text)| text),
        })
        .collect();
    let text = outside.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&nbsp;", "\u{a0}");
    text.replace("&amp;", "&")
}

/// Pieces of markup, right and wrong.
const MARKUP: [&str; 44] = [
    "<p>",
    "</p>",
    "<b>",
    "</b>",
    "<i>",
    "</i>",
    "<a href='javascript:x'>",
    "<a href=\"https://example.org\">",
    "</a>",
    "<script>",
    "</script>",
    "<style>",
    "</style>",
    "<svg>",
    "</svg>",
    "<math>",
    "</math>",
    "<mtext>",
    "</mtext>",
    "<table>",
    "</table>",
    "<tr>",
    "<td>",
    "</td>",
    "</tr>",
    "<ul>",
    "<li>",
    "</li>",
    "</ul>",
    "<img src=x onerror=y>",
    "<br>",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<template>",
    "</template>",
    "<noscript>",
    "</noscript>",
    "<h1>",
    "</h1>",
    "&lt;",
    "\"'`=",
    "text",
];

fn markup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&MARKUP[..]), 0..16).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = Value> {
    let text = || "\\PC{0,8}".prop_map(|text| Arc::<str>::from(text.as_str()));
    let reference = || (text(), text(), text()).prop_map(|(kind, id, label)| Reference { kind, id, label });
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Integer),
        (-1e300..1e300_f64).prop_map(Value::Float),
        text().prop_map(Value::Text),
        (text(), text()).prop_map(|(format, text)| Value::Formatted(FormattedText { format, text })),
        reference().prop_map(Value::Reference),
        prop::collection::vec(reference(), 0..3).prop_map(|many| Value::References(many.into())),
        prop_oneof![Just("{\"a\":[1]}"), Just("[")].prop_map(|json| Value::Json(json.into())),
    ]
}

fn changes() -> impl Strategy<Value = Changes> {
    let name = || prop_oneof![9 => "body|n|[a-z_]{1,4}", 1 => "[A-Z\u{e4}-]{0,2}"];
    let field = (name(), value()).prop_map(|(name, value)| Field { name: name.as_str().into(), value });
    let title = prop::option::of("\\PC{0,8}");
    (title, prop::collection::vec(field, 0..5), prop::collection::vec(name(), 0..3))
        .prop_map(|(title, set, removed)| Changes { title, set, removed })
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

proptest! {
    #![proptest_config(crate::cases(2000))]

    #[test]
    fn any_memory_is_lifted_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        drop(answer(&bytes));
    }

    #[test]
    fn a_tree_shows_its_text_in_its_order(trees in prop::collection::vec(tree(), 0..4)) {
        let body = answer(&encode_render(&render(&trees))).view.unwrap().body();
        prop_assert_eq!(visible(&body), trees.iter().map(Tree::text).collect::<String>());
    }

    #[test]
    fn a_tree_with_a_wrong_index_is_refused(
        trees in prop::collection::vec(tree(), 1..4),
        (place, wrong) in (any::<Index>(), any::<u32>()),
    ) {
        let mut render = render(&trees);
        let place = place.index(render.roots.len());
        // Too large, or one that another root or node has.
        let count = u32::try_from(render.nodes.len()).unwrap();
        let other = if wrong % 2 == 0 { wrong.max(count) } else { wrong % count };
        render.roots.insert(place, other);
        let missing = other >= count;
        let view = answer(&encode_render(&render)).view;
        prop_assert!(is_bad_answer(&view), "{:?} {:?} {}", render, view, missing);
    }

    /// Overwritten words: pointers, lengths, cases and indexes that are nearly right.
    #[test]
    fn damaged_memory_is_lifted_or_refused(
        trees in prop::collection::vec(tree(), 1..4),
        changes in changes(),
        damage in prop::collection::vec((any::<Index>(), prop_oneof![any::<u32>(), 0..64_u32, 1000..2000_u32]), 1..4),
    ) {
        for mut bytes in [encode_render(&render(&trees)), encode_changes(&changes)] {
            for (place, word) in &damage {
                let at = place.index(bytes.len() / 4) * 4;
                bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
            drop(answer(&bytes));
        }
    }

    #[test]
    fn any_markup_is_cleaned_or_refused(pieces in prop::collection::vec(markup(), 1..4), head in "\\PC{0,20}") {
        let nodes: Vec<Node> = pieces.into_iter().map(Node::Markup).collect();
        let roots = (0..u32::try_from(nodes.len()).unwrap()).collect();
        let head = vec![
            Head::Meta("description".to_owned(), head.clone()),
            Head::Property("og:title".to_owned(), head.clone()),
            Head::JsonLd(serde_json::to_string(&head).unwrap()),
        ];
        drop(answer(&encode_render(&Render { head, nodes, roots })));
    }

    /// The markup of items has no check before it: whatever it is, what comes out is clean.
    #[test]
    fn cleaning_leaves_clean_markup(markup in prop_oneof![markup(), "[<>/a-z\"'= &;!-]{0,60}"]) {
        let once = clean(&markup);
        assert_clean(&once);
        // Not that it changes nothing: a heading within a heading is repaired each time that it is read.
        assert_clean(&clean(&once));
    }

    #[test]
    fn changes_reach_the_item_or_nothing_does(changes in changes()) {
        let Answer { presave, .. } = answer(&encode_changes(&changes));
        let title = changes.title.as_ref();
        let good = title.is_none_or(|title| !title.trim().is_empty())
            && changes.set.iter().all(|field| is_name(&field.name) && field.value != Value::Json("[".into()));
        if !good {
            prop_assert!(is_bad_answer(&presave), "{:?} {:?}", changes, presave);
            return Ok(());
        }
        let html = FormattedText { format: "html".into(), text: "<p>x</p>".into() };
        let mut expected = BTreeMap::from([("body", Value::Formatted(html)), ("n", Value::Integer(1))]);
        expected.retain(|name, _| !changes.removed.iter().any(|removed| removed == name));
        expected.extend(changes.set.iter().map(|field| (&*field.name, field.value.clone())));
        let item = presave.unwrap();
        let fields: BTreeMap<_, _> = item.fields().iter().map(|field| (&*field.name, field.value.clone())).collect();
        prop_assert_eq!(fields, expected);
        prop_assert_eq!(&*item.header().title, title.map_or("A", String::as_str));
    }
}
