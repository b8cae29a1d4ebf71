//! Gate 1, lazy: a handle crosses, and what the tap asks for.

use tapline_bench_guests::teaser;
use tapline_sdk::{ChangeError, ItemHandle, tap};

#[tap(lazy)]
fn item_presave(item: ItemHandle) -> Result<(), ChangeError> {
    teaser::lazy(&item)
}
