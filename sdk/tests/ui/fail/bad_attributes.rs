//! Attributes that are unknown, contradict each other or do not fit.
use tapline_sdk::{CronRun, Item, tap};

#[tap(wieght = 10)]
fn item_insert(_: &Item) {}

#[tap(first, last)]
fn item_delete(_: &Item) {}

#[tap(lazy)]
fn cron(_: &CronRun) {}

#[tap(fields = ["Body", ""], weight = 1, weight = 2)]
fn item_presave(_: &mut Item) {}

#[tap(weight 10)]
fn item_update(_: &Item, _: &Item) {}

fn main() {}
