//! Database capability: lists items that share a tag.
//!
//! The query runs on the host; the plugin waits for it within the deadline of its tap. Without the grant
//! `database = "read"` the host does not load this plugin.
//!
//! SQL does not ask `item_access`: what other plugins would deny to a reader is in the database all the same. So an item
//! that carries an embargo is never listed, not even after its day.

use tapline_sdk::{
    Item, RenderElement,
    database::{self, Row, RowError},
    tap,
};

/// Those that share the most tags first, newer ones before older, at most five.
const QUERY: &str = r#"
    SELECT items.id, items.title
    FROM item_tags AS mine
    JOIN item_tags AS theirs ON theirs.tag = mine.tag AND theirs.item_id <> mine.item_id
    JOIN items ON items.id = theirs.item_id
    WHERE mine.item_id = ? AND items.published = 1 AND instr(items.fields, '"embargo_until"') = 0
    GROUP BY items.id
    ORDER BY COUNT(*) DESC, items.created DESC, items.id
    LIMIT 5"#;

#[tap(fields = ["tags"])]
fn item_view(item: &Item) -> Result<RenderElement, Box<dyn std::error::Error>> {
    if item.references("tags").is_empty() {
        return Ok(RenderElement::empty());
    }
    let rows = database::query(QUERY, &[item.id().into()])?;
    if rows.is_empty() {
        return Ok(RenderElement::empty());
    }
    let links = rows.iter().map(link).collect::<Result<Vec<_>, _>>()?;
    let list = RenderElement::element("ul").children(links);
    Ok(RenderElement::element("nav").class("related").child(RenderElement::element("h2").text("Related")).child(list))
}

fn link(row: Row<'_>) -> Result<RenderElement, RowError> {
    let (id, title): (&str, &str) = (row.get("id")?, row.get("title")?);
    let link = RenderElement::element("a").attr("href", "/item/".to_owned() + &encode(id)).text(title);
    Ok(RenderElement::element("li").child(link))
}

/// An identifier as one segment of a path.
fn encode(id: &str) -> String {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let mut segment = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            segment.extend(['%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use tapline_sdk::Reference;
    use tapline_sdk_testing::Database;

    use super::*;

    fn site() -> Database {
        let mut site = Database::sqlite().unwrap();
        site.execute(
            r#"CREATE TABLE items (id TEXT PRIMARY KEY, kind TEXT, title TEXT, published INTEGER, created INTEGER, fields TEXT);
             CREATE TABLE item_tags (item_id TEXT, tag TEXT);
             INSERT INTO items VALUES ('me', 'document', 'Me', 1, 0, '[]'), ('two', 'document', 'Shares two', 1, 1, '[]'),
                 ('old', 'document', 'Shares one', 1, 2, '[]'), ('new one', 'document', 'Newer', 1, 3, '[]'),
                 ('draft', 'document', 'Hidden', 0, 4, '[]'), ('other', 'document', 'Shares none', 1, 5, '[]'),
                 ('secret', 'document', 'Not yet', 1, 6, '[{"name":"embargo_until","value":{"text":"2038-01-19"}}]');
             INSERT INTO item_tags VALUES ('me', 'wasm'), ('me', 'rust'), ('two', 'wasm'), ('two', 'rust'),
                 ('old', 'rust'), ('new one', 'wasm'), ('draft', 'wasm'), ('other', 'cooking'),
                 ('secret', 'wasm')"#,
        )
        .unwrap();
        site
    }

    fn view(site: &Database, id: &str) -> String {
        let tags = vec![Reference::new("tag", "wasm", "Wasm")];
        let item = Item::builder(id).field("tags", tags).build();
        site.during(|| item_view(&item)).unwrap().to_html()
    }

    #[test]
    fn the_closest_come_first_and_what_is_hidden_never() {
        assert_eq!(
            view(&site(), "me"),
            "<nav class=\"related\"><h2>Related</h2><ul>\
             <li><a href=\"/item/two\">Shares two</a></li>\
             <li><a href=\"/item/new%20one\">Newer</a></li>\
             <li><a href=\"/item/old\">Shares one</a></li></ul></nav>"
        );
    }

    #[test]
    fn five_are_enough() {
        let mut site = site();
        for n in 0..9 {
            site.execute(&format!("INSERT INTO items VALUES ('n{n}', 'document', 'N', 1, {n}, '[]')")).unwrap();
            site.execute(&format!("INSERT INTO item_tags VALUES ('n{n}', 'wasm')")).unwrap();
        }
        assert_eq!(view(&site, "me").matches("<li>").count(), 5);
    }

    #[test]
    fn nothing_shared_means_nothing_shown() {
        assert_eq!(view(&site(), "other"), "");
    }

    #[test]
    fn an_item_without_tags_asks_no_question() {
        assert_eq!(item_view(&Item::builder("me").build()).unwrap(), RenderElement::empty());
    }

    #[test]
    fn a_failed_query_is_an_error_of_the_tap() {
        let site = Database::sqlite().unwrap();
        let item = Item::builder("me").field("tags", Reference::new("tag", "wasm", "")).build();
        let error = site.during(|| item_view(&item)).unwrap_err();
        assert!(error.to_string().contains("no such table"), "{error}");
    }
}
