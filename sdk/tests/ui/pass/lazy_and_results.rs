//! Lazy taps under other names, with results of several kinds of errors.
#![deny(warnings)]

use std::{error::Error, fmt, io};

use tapline_sdk::{Access, AccessRequest, ChangeError, CronRun, Item, ItemHandle, RenderElement, tap};

type Answer<T> = Result<T, Box<dyn Error>>;

struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

#[tap(lazy, name = "item_view")]
fn show(item: ItemHandle) -> Answer<RenderElement> {
    Ok(item.text("body").ok_or("no body")?.into())
}

#[tap(lazy)]
pub fn item_presave(item: ItemHandle) -> Result<(), ChangeError> {
    item.set("body", "new")
}

#[tap(lazy)]
fn item_insert(item: ItemHandle) -> io::Result<()> {
    drop(item);
    Ok(())
}

mod notify {
    use tapline_sdk::tap;

    #[tap(lazy)]
    pub(crate) fn item_update(item: tapline_sdk::ItemHandle, original: tapline_sdk::ItemHandle) {
        assert_eq!(item.id(), original.id());
    }
}

#[tap(lazy)]
fn item_delete(_: ItemHandle) {}

#[tap(lazy)]
fn item_access(_: ItemHandle, _: &AccessRequest) -> Result<Access, Refused> {
    Err(Refused)
}

#[tap]
fn cron(_: &CronRun) -> Result<(), String> {
    Ok(())
}

fn main() {
    let handle = ItemHandle::from(Item::builder("a").build());
    assert!(show(handle.clone()).is_err());
    assert!(item_presave(handle.clone()).is_ok());
    assert_eq!(show(handle.clone()).unwrap().to_text(), "new");
    notify::item_update(handle.clone(), handle);
}
