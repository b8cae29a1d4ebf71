//! Lazy access: the handle that a plugin holds, and the item behind it.

use std::{collections::BTreeSet, sync::Arc};

use tapline_host_core::{CallState, Capability};
use wasmtime::{
    StoreContextMut,
    component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType, WasmStr},
};

use crate::{
    item::{Changes, Field, Header, Item, Value, check_field, check_field_name, check_title},
    taps::declares,
};

/// The WIT name of the interface.
pub const INTERFACE: &str = "tapline:content/types@0.1.0";

/// What one call may put into its changes, in bytes of names and values: what an answer may hold, see
/// `HostConfig::max_answer_bytes`. Each single change is bounded by the engine, their sum is bounded here.
const MAX_CHANGE_BYTES: usize = 4 << 20;
/// How many fields one call may change.
const MAX_CHANGES: usize = crate::item::MAX_FIELDS;

/// The item behind a handle: shared with the host, and what the plugin changed on it.
pub(crate) struct HostItem {
    item: Arc<Item>,
    declared: Option<Vec<String>>,
    writable: bool,
    changes: Changes,
    change_bytes: usize,
}

/// Why a change was refused.
#[derive(ComponentType, Lower, Lift, Debug, PartialEq, Eq)]
#[component(variant)]
pub(crate) enum ChangeError {
    #[component(name = "read-only")]
    ReadOnly,
    #[component(name = "not-declared")]
    NotDeclared,
    #[component(name = "invalid")]
    Invalid(String),
}

impl HostItem {
    pub(crate) fn new(item: &Arc<Item>, declared: Option<&[String]>, writable: bool) -> Self {
        Self {
            item: Arc::clone(item),
            declared: declared.map(<[String]>::to_vec),
            writable,
            changes: Changes::default(),
            change_bytes: 0,
        }
    }

    pub(crate) fn into_changes(self) -> Changes {
        self.changes
    }

    fn declares(&self, name: &str) -> bool {
        self.declared.as_ref().is_none_or(|declared| declares(declared, name))
    }

    fn title(&self) -> &Arc<str> {
        self.changes.title.as_ref().unwrap_or(&self.item.header().title)
    }

    fn header(&self) -> Header {
        Header { title: Arc::clone(self.title()), ..self.item.header().clone() }
    }

    fn field(&self, name: &str) -> Option<&Value> {
        if !self.declares(name) || self.changes.removed.iter().any(|removed| **removed == *name) {
            return None;
        }
        let changed = self.changes.set.iter().find(|field| *field.name == *name);
        changed.map(|field| &field.value).or_else(|| self.item.field(name))
    }

    fn field_names(&self) -> Vec<Arc<str>> {
        let removed: BTreeSet<&Arc<str>> = self.changes.removed.iter().collect();
        let stored = self.item.fields().iter().map(|field| &field.name).filter(|name| !removed.contains(name));
        let added = self.changes.set.iter().map(|field| &field.name);
        let names: BTreeSet<_> = stored.chain(added).filter(|name| self.declares(name)).collect();
        names.into_iter().cloned().collect()
    }

    fn may_change(&mut self, name: &str, bytes: usize) -> Result<(), ChangeError> {
        if !self.writable {
            return Err(ChangeError::ReadOnly);
        }
        if !self.declares(name) {
            return Err(ChangeError::NotDeclared);
        }
        let bytes = name.len().saturating_add(bytes);
        if self.change_bytes.saturating_add(bytes) > MAX_CHANGE_BYTES {
            return Err(ChangeError::Invalid(format!("the changes of one call hold at most {MAX_CHANGE_BYTES} bytes")));
        }
        if self.changes.set.len() + self.changes.removed.len() >= MAX_CHANGES {
            return Err(ChangeError::Invalid(format!("one call changes at most {MAX_CHANGES} fields")));
        }
        self.change_bytes += bytes;
        Ok(())
    }

    fn set_title(&mut self, title: Arc<str>) -> Result<(), ChangeError> {
        // The title is part of the header, which every plugin gets: it need not be declared.
        if !self.writable {
            return Err(ChangeError::ReadOnly);
        }
        check_title(&title).map_err(|error| ChangeError::Invalid(error.to_string()))?;
        self.changes.title = Some(title);
        Ok(())
    }

    fn set_field(&mut self, field: Field) -> Result<(), ChangeError> {
        check_field(&field).map_err(|error| ChangeError::Invalid(error.to_string()))?;
        self.may_change(&field.name, field.value.size())?;
        self.changes.removed.retain(|removed| *removed != field.name);
        self.changes.set.retain(|other| other.name != field.name);
        self.changes.set.push(field);
        Ok(())
    }

    fn remove_field(&mut self, name: &str) -> Result<(), ChangeError> {
        check_field_name(name).map_err(|error| ChangeError::Invalid(error.to_string()))?;
        self.may_change(name, 0)?;
        self.changes.set.retain(|field| *field.name != *name);
        if !self.changes.removed.iter().any(|removed| **removed == *name) {
            self.changes.removed.push(name.into());
        }
        Ok(())
    }
}

/// The types of the contract, with the handle's functions. They carry no authority: a handle reaches one item, which
/// the host lent for one call.
pub struct ContentTypes;

type Store<'a> = StoreContextMut<'a, CallState>;
type Handle = Resource<HostItem>;

/// What refused changes are counted under: there is no grant for handles.
const REFUSED_BY: &str = "item-handle";

impl Capability for ContentTypes {
    fn grant_name(&self) -> Option<&'static str> {
        None
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &[INTERFACE]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        let mut types = linker.instance(INTERFACE)?;
        // A guest only ever borrows a handle: the host made the value, and takes it back when the call ends.
        types.resource("item-handle", ResourceType::host::<HostItem>(), |_, _| Ok(()))?;
        types.func_wrap("[method]item-handle.header", |store: Store<'_>, (handle,): (Handle,)| {
            Ok((lent(&store, &handle)?.header(),))
        })?;
        types.func_wrap("[method]item-handle.title", |store: Store<'_>, (handle,): (Handle,)| {
            Ok((Arc::clone(lent(&store, &handle)?.title()),))
        })?;
        types.func_wrap("[method]item-handle.field", |store: Store<'_>, (handle, name): (Handle, WasmStr)| {
            with_name(&store, &handle, &name, |item, name| (item.field(name).cloned(),))
        })?;
        types.func_wrap("[method]item-handle.text", |store: Store<'_>, (handle, name): (Handle, WasmStr)| {
            with_name(&store, &handle, &name, |item, name| (item.field(name).and_then(|value| value.text().cloned()),))
        })?;
        types.func_wrap("[method]item-handle.field-names", |store: Store<'_>, (handle,): (Handle,)| {
            Ok((lent(&store, &handle)?.field_names(),))
        })?;
        types.func_wrap(
            "[method]item-handle.set-title",
            |mut store: Store<'_>, (handle, title): (Handle, Arc<str>)| {
                change(&mut store, &handle, |item| item.set_title(title))
            },
        )?;
        types.func_wrap(
            "[method]item-handle.set-field",
            |mut store: Store<'_>, (handle, name, value): (Handle, Arc<str>, Value)| {
                change(&mut store, &handle, |item| item.set_field(Field { name, value }))
            },
        )?;
        types.func_wrap(
            "[method]item-handle.remove-field",
            |mut store: Store<'_>, (handle, name): (Handle, Arc<str>)| {
                change(&mut store, &handle, |item| item.remove_field(&name))
            },
        )
    }
}

/// What is behind a handle, for a host function that reads it.
fn lent<'a>(store: &'a Store<'_>, handle: &Handle) -> wasmtime::Result<&'a HostItem> {
    let state = store.data();
    state.count_host_call();
    Ok(state.resource(handle)?)
}

/// Changes what is behind a handle, and counts a change that is refused.
fn change(
    store: &mut Store<'_>,
    handle: &Handle,
    change: impl FnOnce(&mut HostItem) -> Result<(), ChangeError>,
) -> wasmtime::Result<(Result<(), ChangeError>,)> {
    let state = store.data_mut();
    state.count_host_call();
    let changed = change(state.table().get_mut(handle)?);
    if changed.is_err() {
        state.host_call_refused(REFUSED_BY);
    }
    Ok((changed,))
}

/// Reads with a name that stays in the guest's memory.
fn with_name<R>(
    store: &Store<'_>,
    handle: &Handle,
    name: &WasmStr,
    read: impl FnOnce(&HostItem, &str) -> R,
) -> wasmtime::Result<R> {
    let name = name.to_str(store)?;
    Ok(read(lent(store, handle)?, &name))
}
