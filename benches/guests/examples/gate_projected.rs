//! Gate 1, projected: the fields that the tap declared cross as a record.

use tapline_bench_guests::teaser;
use tapline_sdk::{Item, tap};

#[tap(fields = ["body", "tags", "teaser", "views"])]
fn item_presave(item: &mut Item) {
    teaser::full(item);
}
