//! Gate 1, typed and full: the whole item crosses as a record.

use tapline_bench_guests::teaser;
use tapline_sdk::{Item, tap};

#[tap]
fn item_presave(item: &mut Item) {
    teaser::full(item);
}
