//! Gate 3: awaits as many queries as its item says, and shows what the last one found.

use tapline_sdk::{Item, RenderElement, database, tap};

/// The same statement that the bench runs through plain `sqlx`.
const QUERY: &str = "SELECT title FROM items WHERE id = ?";

#[tap(fields = ["queries"])]
fn item_view(item: &Item) -> Result<RenderElement, Box<dyn std::error::Error>> {
    let mut title = String::new();
    for _ in 0..item.integer("queries").unwrap_or_default() {
        let rows = database::query(QUERY, &[item.id().into()])?;
        title = rows.first().ok_or("no such row")?.get::<&str>("title")?.to_owned();
    }
    Ok(RenderElement::element("p").text(title))
}
