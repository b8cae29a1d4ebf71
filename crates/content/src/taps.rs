//! The standard taps. To add one: an interface and a world in `wit/content/taps.wit`, an entry in the SDK's tables,
//! and a type here that goes into [`register`].

use std::sync::Arc;

use tapline_host_core::{
    Alter, Ballot, Call, CallError, Collect, HostBuilder, Interface, Notify, OnFailure, Signature, Tap, Vote,
};
use wasmtime::component::{ComponentType, Lift, Lower, Resource};

use crate::{
    handle::{ContentTypes, HostItem},
    item::{Changes, Field, Header, Item, MAX_FIELDS},
    render::{Contribution, RawRender},
};

/// Offers the types of the contract and adds all taps of this module.
#[must_use]
pub fn register(builder: HostBuilder) -> HostBuilder {
    builder
        .capability(ContentTypes)
        .tap::<ItemView>()
        .tap::<ItemPresave>()
        .tap::<ItemInsert>()
        .tap::<ItemUpdate>()
        .tap::<ItemDelete>()
        .tap::<ItemAccess>()
        .tap::<Cron>()
}

/// An item as it crosses: the host's own data, borrowed, and of the fields those that the plugin declared.
#[derive(ComponentType, Lower)]
#[component(record)]
struct ItemArgument<'a> {
    header: &'a Header,
    fields: Vec<&'a Field>,
}

impl<'a> ItemArgument<'a> {
    fn new(item: &'a Item, declared: Option<&[String]>) -> Self {
        let fields = item.fields().iter();
        let fields = match declared {
            None => fields.collect(),
            Some(declared) => fields.filter(|field| declares(declared, &field.name)).collect(),
        };
        Self { header: item.header(), fields }
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct TapError {
    message: String,
}

/// The answer of every tap: what it promises, or an error in the author's words.
type Answer<T> = (Result<T, TapError>,);

fn answer<T>(call: &Call, (answer,): Answer<T>) -> Result<T, CallError> {
    answer.map_err(|error| call.returned(&error.message))
}

const FULL: usize = 0;

macro_rules! interfaces {
    ($full:literal, $lazy:literal, $function:literal) => {
        &[
            Interface { name: $full, function: $function, mode: "full" },
            Interface { name: $lazy, function: $function, mode: "lazy" },
        ]
    };
}

/// Lends an item to the guest for one call.
fn lend(call: &mut Call, item: &Arc<Item>, writable: bool) -> Result<Resource<HostItem>, CallError> {
    let lent = HostItem::new(item, call.fields(), writable);
    // The table is empty when a call starts, and has room for more handles than a tap has parameters.
    call.state().table().push(lent).map_err(|error| call.bad_answer(format!("no handle is free: {error}")))
}

/// Takes back what was lent: an instance that serves another call must not hold what belongs to this one.
fn take_back(call: &mut Call, lent: Resource<HostItem>) -> Result<HostItem, CallError> {
    call.state().table().delete(lent).map_err(|error| call.bad_answer(format!("the handle is gone: {error}")))
}

fn borrowed(handle: &Resource<HostItem>) -> Resource<HostItem> {
    Resource::new_borrow(handle.rep())
}

/// `item_view`: what plugins add to the page of an item.
pub struct ItemView;

impl Tap for ItemView {
    const NAME: &'static str = "item_view";
    const INTERFACES: &'static [Interface] =
        interfaces!("tapline:content/item-view@0.1.0", "tapline:content/item-view-lazy@0.1.0", "item-view");
    type Policy = Collect;
    type Input = Arc<Item>;
    type Answer = Contribution;

    fn check(interface: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        match interface {
            FULL => signature.is::<(ItemArgument<'_>,), Answer<RawRender>>(),
            _ => signature.is::<(Resource<HostItem>,), Answer<RawRender>>(),
        }
    }

    async fn call(call: &mut Call, item: &Arc<Item>) -> Result<Contribution, CallError> {
        let returned = if call.interface() == FULL {
            let argument = ItemArgument::new(item, call.fields());
            call.invoke::<_, Answer<RawRender>>((argument,)).await?
        } else {
            let handle = lend(call, item, false)?;
            let returned = call.invoke::<_, Answer<RawRender>>((borrowed(&handle),)).await?;
            take_back(call, handle)?;
            returned
        };
        answer(call, returned)?.check().map_err(|error| call.bad_answer(error.to_string()))
    }
}

/// `item_presave`: changes to an item before it is stored. A plugin that fails stops the save.
pub struct ItemPresave;

impl Tap for ItemPresave {
    const NAME: &'static str = "item_presave";
    const INTERFACES: &'static [Interface] =
        interfaces!("tapline:content/item-presave@0.1.0", "tapline:content/item-presave-lazy@0.1.0", "item-presave");
    const ON_FAILURE: Option<OnFailure> = Some(OnFailure::Fail);
    type Policy = Alter;
    type Input = Arc<Item>;
    type Answer = Arc<Item>;

    fn check(interface: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        match interface {
            FULL => signature.is::<(ItemArgument<'_>,), Answer<Changes>>(),
            _ => signature.is::<(Resource<HostItem>,), Answer<()>>(),
        }
    }

    async fn call(call: &mut Call, item: &Arc<Item>) -> Result<Arc<Item>, CallError> {
        let changes = if call.interface() == FULL {
            let argument = ItemArgument::new(item, call.fields());
            let returned = call.invoke::<_, Answer<Changes>>((argument,)).await?;
            let changes = answer(call, returned)?;
            // Before anything looks through them: their number is the guest's choice.
            let count = changes.set.len() + changes.removed.len();
            if count > MAX_FIELDS {
                return Err(call.bad_answer(format!("it changed {count} fields, an item has at most {MAX_FIELDS}")));
            }
            check_declared(call, &changes)?;
            changes
        } else {
            let handle = lend(call, item, true)?;
            let returned = call.invoke::<_, Answer<()>>((borrowed(&handle),)).await?;
            let lent = take_back(call, handle)?;
            answer(call, returned)?;
            lent.into_changes()
        };
        if changes.is_empty() {
            return Ok(Arc::clone(item));
        }
        match item.with_changes(changes) {
            Ok(item) => Ok(Arc::new(item)),
            Err(error) => Err(call.bad_answer(error.to_string())),
        }
    }
}

/// Whether a name is among the declared ones, which are sorted.
pub(crate) fn declares(declared: &[String], name: &str) -> bool {
    declared.binary_search_by(|known| known.as_str().cmp(name)).is_ok()
}

/// A plugin that declared its fields may change no others: it has not even seen them.
fn check_declared(call: &Call, changes: &Changes) -> Result<(), CallError> {
    let Some(declared) = call.fields() else { return Ok(()) };
    let mut names = changes.set.iter().map(|field| &field.name).chain(&changes.removed);
    match names.find(|name| !declares(declared, name)) {
        Some(name) => {
            Err(call.bad_answer(format!("it changed the field `{name}`, which is not among its declared fields")))
        }
        None => Ok(()),
    }
}

macro_rules! notify_tap {
    ($(#[$doc:meta])* $tap:ident, $name:literal, $full:literal, $lazy:literal, $function:literal) => {
        $(#[$doc])*
        pub struct $tap;

        impl Tap for $tap {
            const NAME: &'static str = $name;
            const INTERFACES: &'static [Interface] = interfaces!($full, $lazy, $function);
            type Policy = Notify;
            type Input = Arc<Item>;
            type Answer = ();

            fn check(interface: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
                match interface {
                    FULL => signature.is::<(ItemArgument<'_>,), Answer<()>>(),
                    _ => signature.is::<(Resource<HostItem>,), Answer<()>>(),
                }
            }

            async fn call(call: &mut Call, item: &Arc<Item>) -> Result<(), CallError> {
                let returned = if call.interface() == FULL {
                    let argument = ItemArgument::new(item, call.fields());
                    call.invoke::<_, Answer<()>>((argument,)).await?
                } else {
                    let handle = lend(call, item, false)?;
                    let returned = call.invoke::<_, Answer<()>>((borrowed(&handle),)).await?;
                    take_back(call, handle)?;
                    returned
                };
                answer(call, returned)
            }
        }
    };
}

notify_tap!(
    /// `item_insert`: an item was stored for the first time.
    ItemInsert,
    "item_insert",
    "tapline:content/item-insert@0.1.0",
    "tapline:content/item-insert-lazy@0.1.0",
    "item-insert"
);

notify_tap!(
    /// `item_delete`: an item is gone. Plugins get it as it was.
    ItemDelete,
    "item_delete",
    "tapline:content/item-delete@0.1.0",
    "tapline:content/item-delete-lazy@0.1.0",
    "item-delete"
);

/// What `item_update` gets.
pub struct Updated {
    /// The item as it is now.
    pub item: Arc<Item>,
    /// The item as it was.
    pub original: Arc<Item>,
}

/// `item_update`: a stored item has changed.
pub struct ItemUpdate;

impl Tap for ItemUpdate {
    const NAME: &'static str = "item_update";
    const INTERFACES: &'static [Interface] =
        interfaces!("tapline:content/item-update@0.1.0", "tapline:content/item-update-lazy@0.1.0", "item-update");
    type Policy = Notify;
    type Input = Updated;
    type Answer = ();

    fn check(interface: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        match interface {
            FULL => signature.is::<(ItemArgument<'_>, ItemArgument<'_>), Answer<()>>(),
            _ => signature.is::<(Resource<HostItem>, Resource<HostItem>), Answer<()>>(),
        }
    }

    async fn call(call: &mut Call, updated: &Updated) -> Result<(), CallError> {
        let returned = if call.interface() == FULL {
            let now = ItemArgument::new(&updated.item, call.fields());
            let before = ItemArgument::new(&updated.original, call.fields());
            call.invoke::<_, Answer<()>>((now, before)).await?
        } else {
            let now = lend(call, &updated.item, false)?;
            let before = lend(call, &updated.original, false)?;
            let returned = call.invoke::<_, Answer<()>>((borrowed(&now), borrowed(&before))).await?;
            take_back(call, now)?;
            take_back(call, before)?;
            returned
        };
        answer(call, returned)
    }
}

/// What somebody wants to do with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub enum Operation {
    /// See it.
    #[component(name = "view")]
    View,
    /// Change it.
    #[component(name = "update")]
    Update,
    /// Delete it.
    #[component(name = "delete")]
    Delete,
}

/// A question to `item_access`.
#[derive(Clone, Debug, ComponentType, Lower)]
#[component(record)]
pub struct AccessRequest {
    /// What is asked for.
    pub operation: Operation,
    /// Who asks. None: an anonymous reader.
    pub account: Option<Arc<str>>,
    /// When, in seconds since 1970-01-01 UTC.
    pub now: i64,
}

/// What `item_access` gets.
pub struct AccessQuestion {
    /// The item.
    pub item: Arc<Item>,
    /// Who wants to do what with it.
    pub request: AccessRequest,
}

#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "lifting makes the values, which the compiler does not see")]
enum Access {
    #[component(name = "allow")]
    Allow,
    #[component(name = "neutral")]
    Neutral,
    #[component(name = "deny")]
    Deny,
}

/// `item_access`: whether somebody may do something with an item. One deny is enough, and a plugin that fails denies.
pub struct ItemAccess;

impl Tap for ItemAccess {
    const NAME: &'static str = "item_access";
    const INTERFACES: &'static [Interface] =
        interfaces!("tapline:content/item-access@0.1.0", "tapline:content/item-access-lazy@0.1.0", "item-access");
    type Policy = Vote;
    type Input = AccessQuestion;
    type Answer = Ballot;

    fn check(interface: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        match interface {
            FULL => signature.is::<(ItemArgument<'_>, &AccessRequest), Answer<Access>>(),
            _ => signature.is::<(Resource<HostItem>, &AccessRequest), Answer<Access>>(),
        }
    }

    async fn call(call: &mut Call, question: &AccessQuestion) -> Result<Ballot, CallError> {
        let returned = if call.interface() == FULL {
            let argument = ItemArgument::new(&question.item, call.fields());
            call.invoke::<_, Answer<Access>>((argument, &question.request)).await?
        } else {
            let handle = lend(call, &question.item, false)?;
            let returned = call.invoke::<_, Answer<Access>>((borrowed(&handle), &question.request)).await?;
            take_back(call, handle)?;
            returned
        };
        Ok(match answer(call, returned)? {
            Access::Allow => Ballot::Allow,
            Access::Neutral => Ballot::Neutral,
            Access::Deny => Ballot::Deny,
        })
    }
}

/// A run of `cron`.
#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(record)]
pub struct CronRun {
    /// When it started, in seconds since 1970-01-01 UTC.
    pub now: i64,
    /// When the one before started. None: this is the first.
    pub previous: Option<i64>,
}

/// `cron`: work that is due from time to time.
pub struct Cron;

impl Tap for Cron {
    const NAME: &'static str = "cron";
    const INTERFACES: &'static [Interface] =
        &[Interface { name: "tapline:content/cron@0.1.0", function: "cron", mode: "full" }];
    type Policy = Notify;
    type Input = CronRun;
    type Answer = ();

    fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        signature.is::<(CronRun,), Answer<()>>()
    }

    async fn call(call: &mut Call, run: &CronRun) -> Result<(), CallError> {
        let returned = call.invoke::<_, Answer<()>>((*run,)).await?;
        answer(call, returned)
    }
}
