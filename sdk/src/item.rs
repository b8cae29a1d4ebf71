//! A whole item in the plugin's own memory.

use crate::{Reference, Value};

/// What every item has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The identifier, unique in the site. Part of the item's address.
    pub id: String,
    /// Grows by one with each save. 0 before the first.
    pub revision: u64,
    /// The type of the item, for example `document`.
    pub kind: String,
    /// The title, as plain text.
    pub title: String,
    /// Who wrote it. May be empty.
    pub author: String,
    /// Whether readers may see it, if no tap denies them.
    pub published: bool,
    /// Whether it is shown on the front page.
    pub promoted: bool,
    /// Whether it stays at the top of lists.
    pub sticky: bool,
    /// When it was made, in seconds since 1970-01-01 UTC.
    pub created: i64,
    /// When it was last saved, in seconds since 1970-01-01 UTC.
    pub changed: i64,
}

/// A named value of an item.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The name: lower-case letters, digits and underscores.
    pub name: String,
    /// What it holds.
    pub value: Value,
}

/// A whole item, or the part of it that the tap declared with `fields = [...]`.
///
/// In `item_presave` it can be changed, and only what was changed crosses back to the host. Two items are equal when
/// their headers and fields are, however they came to be so.
#[derive(Clone, Debug)]
pub struct Item {
    header: Header,
    fields: Vec<Field>,
    changes: Changes,
}

/// What the plugin has touched. The values stay in the item until they cross.
#[derive(Clone, Debug, Default)]
struct Changes {
    title: bool,
    fields: Vec<String>,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.header == other.header && self.fields == other.fields
    }
}

impl Item {
    /// An item for a test, starting from its identifier: published, of the kind `document`, everything else empty.
    pub fn builder(id: impl Into<String>) -> ItemBuilder {
        let header = Header { id: id.into(), kind: "document".to_owned(), published: true, ..Header::default() };
        ItemBuilder { header, fields: Vec::new() }
    }

    /// What every item has, in one piece.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The identifier, unique in the site. Part of the item's address.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.header.id
    }

    /// Grows by one with each save. 0 before the first.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.header.revision
    }

    /// The type of the item, for example `document`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.header.kind
    }

    /// The title, as plain text.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.header.title
    }

    /// Who wrote it. May be empty.
    #[must_use]
    pub fn author(&self) -> &str {
        &self.header.author
    }

    /// Whether readers may see it, if no tap denies them.
    #[must_use]
    pub fn is_published(&self) -> bool {
        self.header.published
    }

    /// Whether it is shown on the front page.
    #[must_use]
    pub fn is_promoted(&self) -> bool {
        self.header.promoted
    }

    /// Whether it stays at the top of lists.
    #[must_use]
    pub fn is_sticky(&self) -> bool {
        self.header.sticky
    }

    /// When it was made, in seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn created(&self) -> i64 {
        self.header.created
    }

    /// When it was last saved, in seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn changed(&self) -> i64 {
        self.header.changed
    }

    /// All fields, sorted by name.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = &Field> {
        self.fields.iter()
    }

    /// What the field holds. None when there is no such field, or the tap did not declare it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|field| field.name == name).map(|field| &field.value)
    }

    /// The text of a field that holds text or formatted text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.field(name)?.as_text()
    }

    /// The number of a field that holds a whole one.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.field(name)?.as_integer()
    }

    /// The number of a field that holds any.
    #[must_use]
    pub fn float(&self, name: &str) -> Option<f64> {
        self.field(name)?.as_float()
    }

    /// What a field says that holds yes or no.
    #[must_use]
    pub fn boolean(&self, name: &str) -> Option<bool> {
        self.field(name)?.as_boolean()
    }

    /// The references of a field that holds one or several. Empty for every other.
    #[must_use]
    pub fn references(&self, name: &str) -> &[Reference] {
        self.field(name).map_or(&[], Value::as_references)
    }

    /// Replaces the title. A title equal to the present one is no change.
    pub fn set_title(&mut self, title: impl Into<String>) {
        let title = title.into();
        if self.header.title != title {
            self.header.title = title;
            self.changes.title = true;
        }
    }

    /// Adds or replaces a field. A value equal to the present one is no change.
    ///
    /// The host refuses a name that is not made of lower-case letters, digits and underscores, and one that the tap did
    /// not declare.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        match self.fields.iter_mut().find(|field| field.name == name) {
            Some(field) if field.value == value => return,
            Some(field) => field.value = value,
            None => {
                let place = self.fields.partition_point(|field| field.name < name);
                self.fields.insert(place, Field { name: name.clone(), value });
            }
        }
        self.changes.touch(name);
    }

    /// Takes a field away and gives what it held. Removing one that is not there is no change.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let place = self.fields.iter().position(|field| field.name == name)?;
        let field = self.fields.remove(place);
        self.changes.touch(field.name);
        Some(field.value)
    }
}

impl Changes {
    fn touch(&mut self, name: String) {
        if !self.fields.contains(&name) {
            self.fields.push(name);
        }
    }
}

/// Makes an [`Item`], see [`Item::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ItemBuilder {
    header: Header,
    fields: Vec<Field>,
}

impl ItemBuilder {
    /// Sets the revision. Defaults to 0.
    pub fn revision(mut self, revision: u64) -> Self {
        self.header.revision = revision;
        self
    }

    /// Sets the type of the item. Defaults to `document`.
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.header.kind = kind.into();
        self
    }

    /// Sets the title. Defaults to empty.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.header.title = title.into();
        self
    }

    /// Sets who wrote it. Defaults to empty.
    pub fn author(mut self, author: impl Into<String>) -> Self {
        self.header.author = author.into();
        self
    }

    /// Sets whether readers may see it. Defaults to true.
    pub fn published(mut self, published: bool) -> Self {
        self.header.published = published;
        self
    }

    /// Sets whether it is shown on the front page. Defaults to false.
    pub fn promoted(mut self, promoted: bool) -> Self {
        self.header.promoted = promoted;
        self
    }

    /// Sets whether it stays at the top of lists. Defaults to false.
    pub fn sticky(mut self, sticky: bool) -> Self {
        self.header.sticky = sticky;
        self
    }

    /// Sets when it was made, in seconds since 1970-01-01 UTC. Defaults to 0.
    pub fn created(mut self, created: i64) -> Self {
        self.header.created = created;
        self
    }

    /// Sets when it was last saved, in seconds since 1970-01-01 UTC. Defaults to 0.
    pub fn changed(mut self, changed: i64) -> Self {
        self.header.changed = changed;
        self
    }

    /// Adds a field, or replaces one of the same name.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.fields.retain(|field| field.name != name);
        self.fields.push(Field { name, value });
        self
    }

    /// The item. Nothing of it counts as changed.
    #[must_use]
    pub fn build(mut self) -> Item {
        self.fields.sort_by(|left, right| left.name.cmp(&right.name));
        Item { header: self.header, fields: self.fields, changes: Changes::default() }
    }
}

/// An item as it crosses.
#[derive(Debug)]
pub struct ItemRecord {
    pub(crate) header: Header,
    pub(crate) fields: Vec<Field>,
}

impl From<ItemRecord> for Item {
    fn from(record: ItemRecord) -> Self {
        Self { header: record.header, fields: record.fields, changes: Changes::default() }
    }
}

/// Changes as they cross.
#[derive(Debug, PartialEq)]
pub struct ItemChanges {
    pub(crate) title: Option<String>,
    pub(crate) set: Vec<Field>,
    pub(crate) removed: Vec<String>,
}

impl From<Item> for ItemChanges {
    fn from(item: Item) -> Self {
        let Item { header, fields, changes } = item;
        let mut removed = changes.fields;
        let set = fields
            .into_iter()
            .filter(|field| match removed.iter().position(|name| *name == field.name) {
                Some(place) => {
                    removed.swap_remove(place);
                    true
                }
                None => false,
            })
            .collect();
        Self { title: changes.title.then_some(header.title), set, removed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> Item {
        Item::builder("readme").title("Read me").field("views", 3).field("body", "text").build()
    }

    #[test]
    fn fields_are_sorted_and_found() {
        let mut item = item();
        item.set("category", "docs");
        let names: Vec<_> = item.fields().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["body", "category", "views"]);
        assert_eq!(item.integer("views"), Some(3));
        assert_eq!(item.text("views"), None);
        assert_eq!(item.references("tags"), &[]);
    }

    #[test]
    fn an_untouched_item_has_no_changes() {
        let mut item = item();
        item.set("views", 3);
        item.set_title("Read me");
        item.remove("absent");
        assert_eq!(ItemChanges::from(item), ItemChanges { title: None, set: vec![], removed: vec![] });
    }

    #[test]
    fn only_changes_cross_and_the_last_one_wins() {
        let mut item = item();
        item.set_title("Readme");
        item.set("views", 4);
        item.set("views", 5);
        item.set("gone", true);
        item.remove("gone");
        item.remove("body");
        let changes = ItemChanges::from(item);
        assert_eq!(changes.title.as_deref(), Some("Readme"));
        assert_eq!(changes.set, [Field { name: "views".to_owned(), value: Value::Integer(5) }]);
        let mut removed = changes.removed;
        removed.sort();
        assert_eq!(removed, ["body", "gone"]);
    }

    #[test]
    fn a_field_that_was_removed_and_set_again_is_set() {
        let mut item = item();
        item.remove("body");
        item.set("body", "new");
        let changes = ItemChanges::from(item);
        assert_eq!(changes.set, [Field { name: "body".to_owned(), value: Value::from("new") }]);
        assert!(changes.removed.is_empty());
    }
}
