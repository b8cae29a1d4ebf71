//! The break-even map, lazy.

use tapline_bench_guests::plan;
use tapline_sdk::{ItemHandle, tap};

#[tap(lazy)]
fn item_presave(item: ItemHandle) -> Result<(), String> {
    plan::lazy(&item)
}
