//! Test, full: every tap, telling what it got, and doing to itself what the item says.

mod act;

use act::{act, render, show};
use tapline_sdk::{Access, AccessRequest, CronRun, Item, Operation, RenderElement, log, tap};

fn command(item: &Item) -> &str {
    item.text("do").unwrap_or_default()
}

fn describe(item: &Item) -> String {
    let fields: Vec<_> = item.fields().map(|field| format!("{}: {}", field.name, show(&field.value))).collect();
    format!("{:?} | {}", item.header(), fields.join(" | "))
}

#[tap]
fn item_view(item: &Item) -> Result<RenderElement, String> {
    if let Some(answer) = render(command(item)) {
        return Ok(answer);
    }
    act(command(item))?;
    Ok(RenderElement::element("pre").text(describe(item)))
}

#[tap]
fn item_presave(item: &mut Item) -> Result<(), String> {
    act(command(item))?;
    let (title, count) = (item.title().to_uppercase(), item.fields().len() as i64);
    item.set_title(title);
    item.set("probed", count);
    item.remove("gone");
    Ok(())
}

#[tap(fields = ["do", "views"])]
fn item_insert(item: &Item) -> Result<(), String> {
    if command(item) == "fields" {
        return Err(item.fields().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", "));
    }
    log::info!("insert {}", item.id());
    act(command(item))
}

#[tap]
fn item_update(item: &Item, original: &Item) -> Result<(), String> {
    log::info!("update {} from {} to {}", item.id(), original.title(), item.title());
    act(command(item))
}

#[tap]
fn item_delete(item: &Item) -> Result<(), String> {
    log::info!("delete {}", item.id());
    act(command(item))
}

#[tap]
fn item_access(item: &Item, request: &AccessRequest) -> Result<Access, String> {
    act(command(item))?;
    Ok(match (request.operation, request.account.as_deref()) {
        (Operation::View, _) => Access::Allow,
        (Operation::Update, Some("editor")) => Access::Allow,
        (Operation::Update, _) => Access::Neutral,
        (Operation::Delete, _) => Access::Deny,
    })
}

#[tap]
fn cron(run: &CronRun) {
    log::info!("cron at {}, before at {:?}", run.now, run.previous);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presave_changes_title_and_fields() {
        let mut item = Item::builder("a").title("Title").field("gone", 1).build();
        item_presave(&mut item).unwrap();
        assert_eq!((item.title(), item.integer("probed")), ("TITLE", Some(1)));
        assert!(item.field("gone").is_none());
    }

    #[test]
    fn an_error_is_returned() {
        let item = Item::builder("a").field("do", "error").build();
        assert_eq!(item_view(&item), Err("as asked".to_owned()));
    }
}
