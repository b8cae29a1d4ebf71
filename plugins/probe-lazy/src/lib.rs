//! Test, lazy: the same through handles.

#[path = "../../probe/src/act.rs"]
mod act;

use act::{act, render, show};
use tapline_sdk::{Access, AccessRequest, ItemHandle, Operation, RenderElement, log, tap};

fn command(item: &ItemHandle) -> String {
    item.text("do").unwrap_or_default()
}

fn describe(item: &ItemHandle) -> String {
    let names = item.field_names();
    let fields: Vec<_> =
        names.iter().filter_map(|name| Some(format!("{name}: {}", show(&item.field(name)?)))).collect();
    format!("{:?} | {}", item.header(), fields.join(" | "))
}

#[tap(lazy)]
fn item_view(item: ItemHandle) -> Result<RenderElement, String> {
    let command = command(&item);
    if let Some(answer) = render(&command) {
        return Ok(answer);
    }
    if command == "write" {
        return Err(format!("{:?}", item.set("probed", 1)));
    }
    act(&command)?;
    Ok(RenderElement::element("pre").text(describe(&item)))
}

#[tap(lazy)]
fn item_presave(item: ItemHandle) -> Result<(), String> {
    let command = command(&item);
    if command == "write much" {
        let body = "x".repeat(1 << 20);
        for number in 0..10 {
            item.set(&format!("field_{number}"), body.as_str()).map_err(|error| error.to_string())?;
        }
    }
    item.set_title(&item.title().to_uppercase()).map_err(|error| error.to_string())?;
    item.set("probed", item.field_names().len() as i64).map_err(|error| error.to_string())?;
    item.remove("gone").map_err(|error| error.to_string())?;
    act(&command)
}

#[tap(lazy, fields = ["do", "views"])]
fn item_insert(item: ItemHandle) -> Result<(), String> {
    if command(&item) == "fields" {
        return Err(item.field_names().join(", "));
    }
    log::info!("insert {}", item.id());
    act(&command(&item))
}

#[tap(lazy)]
fn item_update(item: ItemHandle, original: ItemHandle) -> Result<(), String> {
    log::info!("update {} from {} to {}", item.id(), original.title(), item.title());
    act(&command(&item))
}

#[tap(lazy)]
fn item_delete(item: ItemHandle) -> Result<(), String> {
    log::info!("delete {}", item.id());
    act(&command(&item))
}

#[tap(lazy)]
fn item_access(item: ItemHandle, request: &AccessRequest) -> Result<Access, String> {
    act(&command(&item))?;
    Ok(match (request.operation, request.account.as_deref()) {
        (Operation::View, _) => Access::Allow,
        (Operation::Update, Some("editor")) => Access::Allow,
        (Operation::Update, _) => Access::Neutral,
        (Operation::Delete, _) => Access::Deny,
    })
}

#[cfg(test)]
mod tests {
    use tapline_sdk::Item;

    use super::*;

    #[test]
    fn presave_changes_title_and_fields() {
        let handle = ItemHandle::from(Item::builder("a").title("Title").field("gone", 1).build());
        item_presave(handle.clone()).unwrap();
        let item = handle.snapshot();
        assert_eq!((item.title(), item.integer("probed")), ("TITLE", Some(1)));
        assert!(item.field("gone").is_none());
    }
}
