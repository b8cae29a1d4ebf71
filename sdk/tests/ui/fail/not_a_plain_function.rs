//! Functions that no host can call.
use tapline_sdk::{CronRun, Item, RenderElement, tap};

#[tap]
async fn item_view(item: &Item) -> RenderElement {
    item.title().into()
}

#[tap]
fn item_insert<T: Default>(_: &Item) {}

#[tap]
unsafe extern "C" fn cron(_: &CronRun) {}

struct Plugin;

impl Plugin {
    #[tap]
    fn item_delete(&self, _: &Item) {}
}

#[tap]
const NAME: &str = "a";

fn main() {}
