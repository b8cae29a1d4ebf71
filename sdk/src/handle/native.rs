//! The handle in a native test: a shared item.

use std::{cell::RefCell, rc::Rc};

use crate::{ChangeError, Header, Item, ItemHandle, Value};

#[derive(Clone, Debug)]
pub(super) struct Place(Rc<RefCell<Item>>);

/// A handle for a test.
impl From<Item> for ItemHandle {
    fn from(item: Item) -> Self {
        Self(Place(Rc::new(RefCell::new(item))))
    }
}

impl ItemHandle {
    /// The item as it is now, with the changes that were made through this handle and its clones. Only in native builds.
    ///
    /// ```
    /// use tapline_sdk::{ChangeError, Item, ItemHandle, tap};
    ///
    /// #[tap(lazy)]
    /// fn item_presave(item: ItemHandle) -> Result<(), ChangeError> {
    ///     item.set_title(item.title().trim())
    /// }
    ///
    /// let handle = ItemHandle::from(Item::builder("readme").title(" Read me ").build());
    /// item_presave(handle.clone())?;
    /// assert_eq!(handle.snapshot().title(), "Read me");
    /// # Ok::<(), ChangeError>(())
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> Item {
        self.0.0.borrow().clone()
    }
}

impl Place {
    pub(super) fn header(&self) -> Header {
        self.0.borrow().header().clone()
    }

    pub(super) fn title(&self) -> String {
        self.0.borrow().title().to_owned()
    }

    pub(super) fn field(&self, name: &str) -> Option<Value> {
        self.0.borrow().field(name).cloned()
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.borrow().text(name).map(str::to_owned)
    }

    pub(super) fn field_names(&self) -> Vec<String> {
        self.0.borrow().fields().map(|field| field.name.clone()).collect()
    }

    pub(super) fn set_title(&self, title: &str) -> Result<(), ChangeError> {
        self.0.borrow_mut().set_title(title);
        Ok(())
    }

    pub(super) fn set(&self, name: &str, value: Value) -> Result<(), ChangeError> {
        self.0.borrow_mut().set(name, value);
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), ChangeError> {
        self.0.borrow_mut().remove(name);
        Ok(())
    }
}
