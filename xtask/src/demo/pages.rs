//! What a page shows of the plugins.

use std::collections::BTreeSet;

/// The addresses of the items that a page links to, in its order, each once.
pub(crate) fn items(page: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let links = page.split("href=\"/item/").skip(1).filter_map(|rest| rest.split('"').next());
    // A link may lead into the page, or carry a query: the page is the same.
    let ids = links.filter_map(|link| link.split(['#', '?']).next()).filter(|id| !id.is_empty());
    ids.filter(|id| seen.insert((*id).to_owned())).map(|id| format!("/item/{id}")).collect()
}

/// The plugins that contributed to a page: to its body, or to its head.
pub(crate) fn contributors(page: &str) -> BTreeSet<String> {
    let after = |mark: &'static str, end: &'static str| {
        page.split(mark).skip(1).filter_map(move |rest| rest.split(end).next()).map(|name| name.trim().to_owned())
    };
    after("<section data-plugin=\"", "\"").chain(after("<!-- head: ", "-->")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_found_once_and_in_order() {
        let page = r##"<a href="/item/b">b</a> <a href="/item/a#x">a</a> <a href="/item/b?x=1">b</a> <a href="/items">no</a>"##;
        assert_eq!(items(page), ["/item/b", "/item/a"]);
        assert!(items("<p>nothing</p>").is_empty());
    }

    #[test]
    fn both_kinds_of_contributions_are_found() {
        let page =
            "<head><!-- head: seo --></head><section data-plugin=\"related\" class=\"x\"></section> reading-time";
        assert_eq!(contributors(page).into_iter().collect::<Vec<_>>(), ["related", "seo"]);
    }
}
