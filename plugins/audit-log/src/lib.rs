//! Notify taps: logs what was inserted, updated and deleted.
//!
//! It runs after the other plugins and writes names only, never contents: a log is read by more people than an item.

use tapline_sdk::{Item, log, tap};

#[tap(weight = 100)]
fn item_insert(item: &Item) {
    log::info!("inserted {} ({} fields)", item.id(), item.fields().len());
}

#[tap(weight = 100)]
fn item_update(item: &Item, original: &Item) {
    let fields = changed_fields(item, original);
    let count = fields.len();
    let title = (item.title() != original.title()).then(|| "title".to_owned());
    let names: Vec<_> = title.into_iter().chain(fields).collect();
    if names.is_empty() {
        log::info!("updated {}: nothing that it holds", item.id());
    } else {
        log::info!("updated {}: {} ({count} of {} fields)", item.id(), names.join(", "), item.fields().len());
    }
}

#[tap(weight = 100)]
fn item_delete(item: &Item) {
    log::info!("deleted {} ({} fields)", item.id(), item.fields().len());
}

/// The names of the fields that differ: `+` stands before one that is new, `-` before one that is gone.
fn changed_fields(item: &Item, original: &Item) -> Vec<String> {
    let now = item.fields().filter_map(|field| match original.field(&field.name) {
        None => Some(format!("+{}", field.name)),
        Some(value) if *value != field.value => Some(field.name.clone()),
        Some(_) => None,
    });
    let gone = original.fields().filter(|field| item.field(&field.name).is_none());
    now.chain(gone.map(|field| format!("-{}", field.name))).collect()
}

#[cfg(test)]
mod tests {
    use tapline_sdk_testing::{capture_log, sample};

    use super::*;

    fn update(change: impl FnOnce(&mut Item)) -> String {
        let original = sample::article();
        let mut item = original.clone();
        change(&mut item);
        let mut lines = capture_log(|| item_update(&item, &original));
        assert_eq!(lines.len(), 1);
        lines.remove(0).message
    }

    #[test]
    fn an_update_names_what_changed() {
        let line = update(|item| {
            item.set_title("New");
            item.set("body", "new");
        });
        assert_eq!(line, "updated wasm-in-practice: title, body (1 of 14 fields)");
    }

    #[test]
    fn fields_come_and_go() {
        let line = update(|item| {
            item.set("draft", true);
            item.remove("views");
        });
        assert_eq!(line, "updated wasm-in-practice: +draft, -views (2 of 14 fields)");
    }

    #[test]
    fn an_update_without_changes_says_so() {
        assert_eq!(update(|_| {}), "updated wasm-in-practice: nothing that it holds");
    }

    #[test]
    fn the_ends_of_an_item_are_logged_too() {
        let article = sample::article();
        let lines = capture_log(|| {
            item_insert(&article);
            item_delete(&article);
        });
        let messages: Vec<_> = lines.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(messages, ["inserted wasm-in-practice (14 fields)", "deleted wasm-in-practice (14 fields)"]);
    }
}
