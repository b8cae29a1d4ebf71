//! Saves and deletions, with the taps around them.

use std::{collections::BTreeSet, sync::Arc};

use sqlx::{Connection as _, Sqlite, Transaction};
use tapline_content::{Cron, CronRun, Item, ItemDelete, ItemInsert, ItemPresave, ItemUpdate, Updated, Value};
use tapline_host_core::{CallError, Host};

use crate::{error::StoreError, store::Store, time};

/// The key in `state` under which the start of the last run of `cron` is kept.
const CRON_STARTED: &str = "cron_started";

/// What a save did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The item is new.
    Inserted,
    /// The item was there and has changed.
    Updated,
    /// The item was there, and the plugins made of the new one what is stored already. Nothing was written.
    Unchanged,
}

/// What a save came to.
#[derive(Debug)]
pub struct Saved {
    /// What was done.
    pub outcome: Outcome,
    /// The item as it is stored now.
    pub item: Arc<Item>,
    /// The plugins that failed when they were told. The item is stored all the same.
    pub failures: Vec<CallError>,
}

/// What a deletion came to.
#[derive(Debug)]
pub struct Deleted {
    /// The item as it was.
    pub item: Arc<Item>,
    /// The plugins that failed when they were told. The item is gone all the same.
    pub failures: Vec<CallError>,
}

impl Store {
    /// Saves an item: runs `item_presave`, stores what the plugins made of it, and runs `item_insert` or `item_update`.
    ///
    /// The revision and the times are the store's: it counts the one and sets `changed`. `created` is kept as given;
    /// 0 stands for the time that is stored, or for now. A save that changes nothing writes nothing and tells nobody.
    ///
    /// Nobody is asked for permission: `item_access` is for requests, and the caller answers for those.
    ///
    /// # Errors
    ///
    /// A plugin refused or failed in `item_presave`, somebody else saved the item at the same time, or the database
    /// fails. What is stored is then as it was.
    pub async fn save(&self, host: &Host, mut item: Item) -> Result<Saved, StoreError> {
        let original = self.load(&item.header().id).await?;
        let now = time::now();
        let before = original.as_ref().map(|original| original.header());
        let revision = before.map_or(0, |header| header.revision);
        let created = match item.header().created {
            0 => before.map_or(now, |header| header.created),
            given => given,
        };
        item.stamp(revision, created, now);
        let id = Arc::clone(&item.header().id);
        let refused = |source| StoreError::Refused { id: id.to_string(), source };
        let change = host.dispatch(ItemPresave, Arc::new(item)).await.map_err(refused)?;
        let mut failures = change.failures;
        if let Some(original) = original.as_ref().filter(|original| same_content(original, &change.state)) {
            return Ok(Saved { outcome: Outcome::Unchanged, item: Arc::clone(original), failures });
        }
        let mut item = Arc::unwrap_or_clone(change.state);
        item.stamp(revision + 1, created, now);
        check_numbers(&item)?;
        self.write(&item, revision).await?;
        let item = Arc::new(item);
        let (outcome, told) = match original {
            None => (Outcome::Inserted, host.dispatch(ItemInsert, &item).await),
            Some(original) => {
                let updated = Updated { item: Arc::clone(&item), original };
                (Outcome::Updated, host.dispatch(ItemUpdate, &updated).await)
            }
        };
        failures.extend(failed(told));
        Ok(Saved { outcome, item, failures })
    }

    /// Deletes an item and runs `item_delete`. `None`: there was none of this identifier.
    ///
    /// # Errors
    ///
    /// The database fails. The item is then still there.
    pub async fn delete(&self, host: &Host, id: &str) -> Result<Option<Deleted>, StoreError> {
        let Some(item) = self.load(id).await? else { return Ok(None) };
        let statement = sqlx::query("DELETE FROM items WHERE id = ?").bind(id);
        let done = statement.execute(&mut *self.connection().await?).await?;
        if done.rows_affected() == 0 {
            return Ok(None);
        }
        let failures = failed(host.dispatch(ItemDelete, &item).await);
        Ok(Some(Deleted { item, failures }))
    }

    /// Runs `cron`. `now` is in seconds since 1970-01-01 UTC. Returns the plugins that failed.
    ///
    /// The start is kept before the plugins run, so that a run that dies in the middle still counts as one.
    ///
    /// # Errors
    ///
    /// The database fails. No plugin has run then.
    pub async fn cron(&self, host: &Host, now: i64) -> Result<Vec<CallError>, StoreError> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let previous: Option<String> = sqlx::query_scalar("SELECT value FROM state WHERE key = ?")
            .bind(CRON_STARTED)
            .fetch_optional(&mut *transaction)
            .await?;
        sqlx::query("INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)")
            .bind(CRON_STARTED)
            .bind(now.to_string())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        drop(connection);
        let run = CronRun { now, previous: previous.and_then(|value| value.parse().ok()) };
        Ok(failed(host.dispatch(Cron, &run).await))
    }

    /// Stores `item` in the place of its revision `before`; 0 stands for none.
    async fn write(&self, item: &Item, before: u64) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        if !write_row(&mut transaction, item, before).await? {
            return Err(StoreError::Conflict { id: item.header().id.to_string() });
        }
        let id = &*item.header().id;
        sqlx::query("DELETE FROM item_tags WHERE item_id = ?").bind(id).execute(&mut *transaction).await?;
        for tag in tags(item) {
            sqlx::query("INSERT INTO item_tags (item_id, tag) VALUES (?, ?)")
                .bind(id)
                .bind(tag)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }
}

/// `false`: the row is not, or not any more, what the caller has read.
async fn write_row(transaction: &mut Transaction<'_, Sqlite>, item: &Item, before: u64) -> Result<bool, StoreError> {
    let header = item.header();
    let fields = serde_json::to_string(item.fields())
        .map_err(|error| StoreError::Damaged { id: header.id.to_string(), message: error.to_string() })?;
    let statement = match before {
        0 => {
            "INSERT INTO items (revision, kind, title, author, published, promoted, sticky, created, changed, fields, id)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        }
        _ => {
            "UPDATE items SET revision = ?, kind = ?, title = ?, author = ?, published = ?, promoted = ?, sticky = ?,
             created = ?, changed = ?, fields = ? WHERE id = ? AND revision = ?"
        }
    };
    let mut query = sqlx::query(statement)
        .bind(header.revision.cast_signed())
        .bind(&*header.kind)
        .bind(&*header.title)
        .bind(&*header.author)
        .bind(header.published)
        .bind(header.promoted)
        .bind(header.sticky)
        .bind(header.created)
        .bind(header.changed)
        .bind(fields)
        .bind(&*header.id);
    if before != 0 {
        query = query.bind(before.cast_signed());
    }
    Ok(query.execute(&mut **transaction).await?.rows_affected() == 1)
}

fn same_content(a: &Item, b: &Item) -> bool {
    let mut header = b.header().clone();
    header.revision = a.header().revision;
    header.changed = a.header().changed;
    *a.header() == header && a.fields() == b.fields()
}

/// JSON has no word for these numbers: an item with one could be written and never read again.
fn check_numbers(item: &Item) -> Result<(), StoreError> {
    for field in item.fields() {
        if let Value::Float(value) = field.value
            && !value.is_finite()
        {
            return Err(StoreError::NotStorable {
                id: item.header().id.to_string(),
                field: field.name.to_string(),
                value,
            });
        }
    }
    Ok(())
}

fn tags(item: &Item) -> BTreeSet<&str> {
    let references = match item.field("tags") {
        Some(Value::References(many)) => &many[..],
        Some(Value::Reference(one)) => std::slice::from_ref(one),
        _ => &[],
    };
    references.iter().filter(|reference| &*reference.kind == "tag").map(|reference| &*reference.id).collect()
}

fn failed(told: Result<Vec<CallError>, CallError>) -> Vec<CallError> {
    told.unwrap_or_else(|error| vec![error])
}
