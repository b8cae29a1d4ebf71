//! Every full tap, side by side, and each still an ordinary function.
#![deny(warnings, missing_docs, unsafe_code)]

use tapline_sdk::{Access, AccessRequest, CronRun, Item, Operation, RenderElement, tap};

#[tap]
fn item_view(item: &Item) -> RenderElement {
    item.title().into()
}

#[tap(weight = -10, before = ["seo", "related"], after = "house-style", fields = ["body"])]
fn item_presave(item: &mut Item) {
    item.set("body", "new");
}

#[tap(first)]
fn item_insert(_: &Item) {}

#[tap(last)]
fn item_update(item: &Item, original: &Item) {
    assert_ne!(item.title(), original.title());
}

#[tap]
fn item_delete(_item: &Item) {}

#[tap]
fn item_access(_: &Item, request: &AccessRequest) -> Access {
    if request.operation == Operation::View { Access::Allow } else { Access::Deny }
}

#[tap]
fn cron(run: &CronRun) {
    assert!(run.previous.is_none());
}

fn main() {
    let mut item = Item::builder("a").title("A").build();
    assert_eq!(item_view(&item).to_html(), "A");
    item_presave(&mut item);
    assert_eq!(item.text("body"), Some("new"));
    item_insert(&item);
    item_update(&item, &Item::builder("a").build());
    item_delete(&item);
    let request = AccessRequest { operation: Operation::View, account: None, now: 0 };
    assert_eq!(item_access(&item, &request), Access::Allow);
    cron(&CronRun { now: 0, previous: None });
}
