//! Answers of hostile plugins.

use expect_test::{Expect, expect};

use super::*;

fn element(tag: &str, attributes: &[(&str, &str)], children: &[u32]) -> RawNode {
    RawNode::Element(RawElement {
        tag: tag.to_owned(),
        attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        children: children.to_vec(),
    })
}

fn text(text: &str) -> RawNode {
    RawNode::Text(text.to_owned())
}

fn markup(text: &str) -> RawNode {
    RawNode::Markup(text.to_owned())
}

fn tree(nodes: Vec<RawNode>) -> RawRender {
    RawRender { head: Vec::new(), nodes, roots: vec![0] }
}

fn body(nodes: Vec<RawNode>) -> Result<String, RenderError> {
    tree(nodes).check().map(|contribution| contribution.body())
}

#[track_caller]
fn check(nodes: Vec<RawNode>, expected: &Expect) {
    match body(nodes) {
        Ok(body) => expected.assert_eq(&body),
        Err(error) => expected.assert_eq(&format!("refused: {error}")),
    }
}

#[test]
fn text_is_escaped_and_trees_keep_their_order() {
    check(
        vec![element("p", &[("class", "a\"b")], &[2, 1]), text("<b>&"), element("em", &[], &[3]), text("first")],
        &expect![[r#"<p class="a&quot;b"><em>first</em>&lt;b&gt;&amp;</p>"#]],
    );
}

#[test]
fn what_is_not_allowed_is_dropped() {
    let cases = [
        (element("script", &[], &[1]), expect![""]),
        (element("p", &[("onclick", "x()")], &[1]), expect!["<p>x</p>"]),
        (element("p", &[("style", "position:fixed")], &[1]), expect!["<p>x</p>"]),
        (element("p", &[("id", "main")], &[1]), expect!["<p>x</p>"]),
        (element("iframe", &[("src", "https://example.org")], &[1]), expect!["x"]),
        (element("a", &[("href", "javascript:alert(1)")], &[1]), expect![[r#"<a rel="noopener noreferrer">x</a>"#]]),
        (
            element("a", &[("href", "JaVaScRiPt&colon;alert(1)")], &[1]),
            expect![[r#"<a href="JaVaScRiPt&amp;colon;alert(1)" rel="noopener noreferrer">x</a>"#]],
        ),
        (element("a", &[("href", "data:text/html,x")], &[1]), expect![[r#"<a rel="noopener noreferrer">x</a>"#]]),
        (element("a", &[("href", "/item/a")], &[1]), expect![[r#"<a href="/item/a" rel="noopener noreferrer">x</a>"#]]),
        (
            element("a", &[("href", "https://example.org/?a=1&b=2")], &[1]),
            expect![[r#"<a href="https://example.org/?a=1&amp;b=2" rel="noopener noreferrer">x</a>"#]],
        ),
    ];
    for (node, expected) in cases {
        check(vec![node, text("x")], &expected);
    }
}

#[test]
fn markup_cannot_leave_its_place() {
    check(
        vec![element("section", &[], &[1]), markup("</section></body><script>x</script><b>y</b>")],
        &expect!["refused: the markup is not well-formed: `</section></body><script>x</script><b>y</b>`"],
    );
    check(vec![markup("<img src=x onerror=alert(1)>")], &expect![[r#"<img src="x">"#]]);
    check(vec![markup("<svg><style><img src=x onerror=alert(1)></style></svg>")], &expect![[r#"<img src="x">"#]]);
    check(vec![markup("1 < 2 and <b title='a > b'>3</b>")], &expect![[r#"1 &lt; 2 and <b title="a &gt; b">3</b>"#]]);
}

#[test]
fn markup_is_read_as_a_browser_reads_it_or_refused() {
    let refused = [
        "<b>",
        "</b>",
        "<b></i>",
        "<i><b></i></b>",
        "<div><!--</div>-->",
        "<!doctype html>",
        "<?php ?>",
        "<b \">x</b>",
        "<b a==\"><i>\">x</b>",
        "<b =\"x>\">y</b>",
        "<b a='x>y</b>",
        "<b a=\"x\"b>y</b>",
        "<b a=x\"y>z</b>",
        "<b",
        "<b a",
        "<b a=",
        "</b",
        "<b a=`x`>y</b>",
    ];
    for case in refused {
        assert!(matches!(body(vec![markup(case)]), Err(RenderError::Markup { .. })), "{case}");
    }
    for case in
        ["<b a=x c='d' e=\"f\" g>y</b>", "<br/>", "<BR><P>x</p >", "<custom-tag data-a=1>x</custom-tag>", "a<b", "<"]
    {
        let outcome = body(vec![markup(case)]);
        assert!(outcome.is_ok() || case == "a<b", "{case}: {outcome:?}");
    }
}

#[test]
fn names_are_names() {
    check(vec![element("p onload=x", &[], &[])], &expect!["refused: `p onload=x` is not the name of an element"]);
    check(vec![element("", &[], &[])], &expect!["refused: `` is not the name of an element"]);
    check(vec![element("p", &[("a b", "c")], &[])], &expect!["refused: `a b` is not the name of an attribute"]);
}

#[test]
fn indexes_are_checked() {
    check(vec![element("p", &[], &[7])], &expect!["refused: node 7 does not exist: there are 1"]);
    check(vec![element("p", &[], &[u32::MAX])], &expect!["refused: node 4294967295 does not exist: there are 1"]);
    check(vec![element("p", &[], &[0])], &expect!["refused: node 0 is used twice: a node has one parent or is a root"]);
    check(
        vec![element("p", &[], &[1]), element("p", &[], &[2]), element("p", &[], &[1])],
        &expect!["refused: node 1 is used twice: a node has one parent or is a root"],
    );
    // A cycle that no root reaches is not on the page, and so not walked.
    check(vec![text("x"), element("p", &[], &[2]), element("p", &[], &[1])], &expect!["x"]);
}

#[test]
fn sizes_are_bounded() {
    let many = |count: u32| {
        let mut nodes = vec![element("p", &[], &(1..count).collect::<Vec<_>>())];
        nodes.resize_with(count as usize, || text("x"));
        body(nodes)
    };
    assert!(many(10_000).is_ok());
    assert_eq!(many(100_000), Err(RenderError::TooManyNodes { count: 100_000 }));
    let deep = |levels: u32| {
        let mut nodes: Vec<_> = (1..levels).map(|child| element("div", &[], &[child])).collect();
        nodes.push(text("x"));
        body(nodes)
    };
    assert!(deep(257).is_ok(), "256 elements, and text");
    assert_eq!(deep(258), Err(RenderError::TooDeep));
    assert_eq!(deep(10_000), Err(RenderError::TooDeep));
    assert!(matches!(body(vec![text(&"x".repeat(MAX_TEXT + 1))]), Err(RenderError::TooMuchText { .. })));
}

#[test]
fn markup_cannot_make_the_parser_slow() {
    assert_eq!(body(vec![markup(&"<div>".repeat(300))]), Err(RenderError::TooDeep));
    assert_eq!(body(vec![markup(&"<br>".repeat(20_000))]), Err(RenderError::TooManyNodes { count: MAX_NODES + 1 }));
    let shared = vec![element("p", &[], &[1, 2]), markup(&"<br>".repeat(6_000)), markup(&"<br>".repeat(6_000))];
    assert!(matches!(body(shared), Err(RenderError::TooManyNodes { .. })), "the budget is for the whole answer");
    assert!(body(vec![markup(&"<p>a</p>".repeat(2_000))]).is_ok());

    // The parser compares each attribute of a tag with all before it.
    let names: Vec<String> = (0..100_000).map(|number| format!("a{number}")).collect();
    assert!(matches!(body(vec![markup(&format!("<b {}>x</b>", names.join(" ")))]), Err(RenderError::Markup { .. })));
    let attributes: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).take(65).collect();
    assert!(matches!(body(vec![element("b", &attributes, &[])]), Err(RenderError::LargeTag { .. })));
    let long = "x".repeat(5_000);
    assert!(matches!(body(vec![element("b", &[("class", &long)], &[])]), Err(RenderError::LargeTag { .. })));
    assert!(matches!(body(vec![markup(&format!("<b class='{long}'>x</b>"))]), Err(RenderError::LargeTag { .. })));

    // It opens formatting elements anew in each paragraph that closes the one they stand in.
    let inner = "<p>x</p>".repeat(100);
    let bold = |count: usize| format!("<p>{}{inner}{}</p>", "<b>".repeat(count), "</b>".repeat(count));
    assert!(body(vec![markup(&bold(8))]).is_ok());
    assert_eq!(body(vec![markup(&bold(9))]), Err(RenderError::TooDeep));
    let mut nodes: Vec<_> = (1..9).map(|child| element("b", &[], &[child])).collect();
    nodes.push(markup("<i>x</i>"));
    assert_eq!(body(nodes), Err(RenderError::TooDeep), "elements and markup count together");
}

/// Nobody checks an item before its page is made. Each of these would take gigabytes, or hours.
#[test]
fn an_items_markup_cannot_make_the_parser_slow() {
    let formatting: String = (0..5_000).map(|number| format!("<b id={number}>")).collect();
    let closed_where_it_does_not_count: String =
        (0..5_000).map(|number| format!("<b id={number}><table></b></table>")).collect();
    for slow in [
        format!("<p>{formatting}</p>{}", "<p>x".repeat(30_000)),
        format!("{closed_where_it_does_not_count}{}", "<p>x</p>".repeat(30_000)),
        "<div>".repeat(500_000),
        format!("<!-->{formatting}<!-- --><p>{}", "<p>x".repeat(30_000)),
        format!("<!--a--!>{formatting}<p>{}<!-- -->", "<p>x".repeat(30_000)),
        format!("<style><!--</style>{formatting}<p>{}--></style>", "<p>x".repeat(30_000)),
        format!("<a title=\"<!--\">{formatting}<p>{}-->\"></a>", "<p>x".repeat(30_000)),
    ] {
        let cleaned = clean(&slow);
        assert!(cleaned.starts_with("&lt;") && !cleaned.contains('<'), "{}", &cleaned[..100]);
        assert!(cleaned.len() < 10 * slow.len());
    }
    // A long document that closes what it opens is one, and a short one need not.
    let long = format!("<!-- a - comment --><ul>{}</ul><br>", "<li><a href=\"/x\"><em>x</em></a></li>".repeat(20_000));
    assert!(clean(&long).starts_with("<ul><li><a href=\"/x\""));
    assert_eq!(clean("<p>one<p>two<b>"), "<p>one</p><p>two<b></b></p>");
}

#[test]
fn every_formatting_element_counts_in_either_case() {
    let nested = |tag: &str| (0..9).fold("x".to_owned(), |inner, _| format!("<{tag}>{inner}</{tag}>"));
    for tag in ["a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"] {
        assert_eq!(body(vec![markup(&nested(tag))]), Err(RenderError::TooDeep), "{tag}");
        assert_eq!(body(vec![markup(&nested(&tag.to_uppercase()))]), Err(RenderError::TooDeep), "{tag}");
    }
    for tag in ["div", "p", "strongs", "c", "h2"] {
        assert!(body(vec![markup(&nested(tag))]).is_ok(), "{tag}");
    }
}

#[track_caller]
fn check_entry(entry: RawHead, expected: &Expect) {
    match (RawRender { head: vec![entry], nodes: Vec::new(), roots: Vec::new() }).check() {
        Ok(contribution) => expected.assert_eq(&contribution.head()),
        Err(error) => expected.assert_eq(&format!("refused: {error}")),
    }
}

#[test]
fn the_head_is_described_not_changed() {
    let meta = |name: &str, content: &str| RawHead::Meta((name.to_owned(), content.to_owned()));
    check_entry(
        meta("description", "a \"quoted\" <b>"),
        &expect![[r#"
            <meta name="description" content="a &quot;quoted&quot; &lt;b&gt;">
        "#]],
    );
    check_entry(
        RawHead::Property(("og:title".to_owned(), "x".to_owned())),
        &expect![[r#"
            <meta property="og:title" content="x">
        "#]],
    );
    for name in ["referrer", "viewport", "refresh", "og:\"><script>", ""] {
        assert!(matches!(
            (RawRender { head: vec![meta(name, "x")], nodes: Vec::new(), roots: Vec::new() }).check(),
            Err(RenderError::Meta { .. })
        ));
    }
}

#[test]
fn json_ld_cannot_end_its_script() {
    check_entry(
        RawHead::JsonLd(r#"{"name":"</script><script>alert(1)</script>"}"#.to_owned()),
        &expect![[r#"
            <script type="application/ld+json">{"name":"\u003c/script>\u003cscript>alert(1)\u003c/script>"}</script>
        "#]],
    );
    check_entry(
        RawHead::JsonLd("{".to_owned()),
        &expect!["refused: the JSON-LD document does not parse: EOF while parsing an object at line 1 column 1"],
    );
    let deep = "[".repeat(100_000);
    assert!(matches!(
        (RawRender { head: vec![RawHead::JsonLd(deep)], nodes: Vec::new(), roots: Vec::new() }).check(),
        Err(RenderError::JsonLd { .. })
    ));
}
