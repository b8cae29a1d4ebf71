//! The handle in a plugin: a number that the host understands.

use std::mem::ManuallyDrop;

use crate::{ChangeError, Header, ItemHandle, Value, bindings::types};

#[derive(Clone, Debug)]
pub(super) struct Place(u32);

/// The binding lends its handle for the call; the author's type has no lifetime, so it keeps the number alone.
impl From<&types::ItemHandle> for ItemHandle {
    fn from(handle: &types::ItemHandle) -> Self {
        Self(Place(handle.handle()))
    }
}

impl Place {
    #[expect(
        unsafe_code,
        reason = "the binding marks the making of a handle unsafe, because dropping one gives it back"
    )]
    fn handle(&self) -> ManuallyDrop<types::ItemHandle> {
        // SAFETY: nothing in guest memory depends on the number, the host checks it at every use. The glue of the tap
        // owns the handle and gives it back; `ManuallyDrop` keeps this copy from doing so too.
        ManuallyDrop::new(unsafe { types::ItemHandle::from_handle(self.0) })
    }

    pub(super) fn header(&self) -> Header {
        self.handle().header()
    }

    pub(super) fn title(&self) -> String {
        self.handle().title()
    }

    pub(super) fn field(&self, name: &str) -> Option<Value> {
        self.handle().field(name)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.handle().text(name)
    }

    pub(super) fn field_names(&self) -> Vec<String> {
        self.handle().field_names()
    }

    pub(super) fn set_title(&self, title: &str) -> Result<(), ChangeError> {
        self.handle().set_title(title)
    }

    pub(super) fn set(&self, name: &str, value: Value) -> Result<(), ChangeError> {
        self.handle().set_field(name, &value)
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), ChangeError> {
        self.handle().remove_field(name)
    }
}
