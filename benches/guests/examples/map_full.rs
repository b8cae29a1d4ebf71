//! The break-even map, typed and full.

use tapline_bench_guests::plan;
use tapline_sdk::{Item, tap};

#[tap]
fn item_presave(item: &mut Item) -> Result<(), String> {
    plan::full(item)
}
