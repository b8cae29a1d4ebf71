//! The contract's functions. Its types are those of this crate: the bindings build them in place, and nothing is converted.

use std::{
    panic::{self, PanicHookInfo},
    sync::atomic::{AtomicBool, Ordering},
};

pub(crate) use contract::tapline::content::types;
pub(crate) use host::tapline::host::{database, log};

use host::tapline::host::diagnostics;

/// The interface `types`, once for all taps.
mod contract {
    wit_bindgen::generate!({
        path: "../wit/content",
        world: "types-only",
        pub_export_macro: true,
        generate_unused_types: true,
        with: {
            "tapline:content/types@0.1.0/formatted-text": crate::FormattedText,
            "tapline:content/types@0.1.0/reference": crate::Reference,
            "tapline:content/types@0.1.0/value": crate::Value,
            "tapline:content/types@0.1.0/field": crate::Field,
            "tapline:content/types@0.1.0/header": crate::Header,
            "tapline:content/types@0.1.0/item": crate::item::ItemRecord,
            "tapline:content/types@0.1.0/change-error": crate::ChangeError,
            "tapline:content/types@0.1.0/item-changes": crate::item::ItemChanges,
            "tapline:content/types@0.1.0/tap-error": crate::answer::TapError,
            "tapline:content/types@0.1.0/element": crate::render::Element,
            "tapline:content/types@0.1.0/node": crate::render::Node,
            "tapline:content/types@0.1.0/head-entry": crate::render::HeadEntry,
            "tapline:content/types@0.1.0/render-element": crate::render::RenderRecord,
            "tapline:content/types@0.1.0/operation": crate::Operation,
            "tapline:content/types@0.1.0/access-request": crate::AccessRequest,
            "tapline:content/types@0.1.0/access": crate::Access,
            "tapline:content/types@0.1.0/cron-run": crate::CronRun,
        },
    });
}

/// The host's interfaces. A plugin imports those that it calls.
mod host {
    wit_bindgen::generate!({
        path: "../wit/host",
        world: "imports",
        pub_export_macro: true,
        with: {
            "tapline:host/log@0.1.0/level": crate::log::Level,
            "tapline:host/database@0.1.0/value": crate::database::Value,
            "tapline:host/database@0.1.0/rows": crate::database::Rows,
            "tapline:host/database@0.1.0/query-error": crate::database::QueryError,
        },
    });
}

/// One module for each tap, with the trait `Guest` and the macro `export` of its world.
pub(crate) mod taps {
    macro_rules! taps {
        ($($tap:ident $world:tt;)*) => {
            $(#[doc(hidden)]
            pub mod $tap {
                wit_bindgen::generate!({
                    path: "../wit/content",
                    world: $world,
                    with: { "tapline:content/types@0.1.0": crate::__rt::contract },
                    pub_export_macro: true,
                });
                pub use exports::tapline::content::$tap::Guest;
            })*
        };
    }

    taps! {
        item_view "tap-item-view";
        item_view_lazy "tap-item-view-lazy";
        item_presave "tap-item-presave";
        item_presave_lazy "tap-item-presave-lazy";
        item_insert "tap-item-insert";
        item_insert_lazy "tap-item-insert-lazy";
        item_update "tap-item-update";
        item_update_lazy "tap-item-update-lazy";
        item_delete "tap-item-delete";
        item_delete_lazy "tap-item-delete-lazy";
        item_access "tap-item-access";
        item_access_lazy "tap-item-access-lazy";
        cron "tap-cron";
    }
}

/// Runs ahead of the author's function: from here on a panic reaches the host as message, file and line.
pub fn start() {
    static STARTED: AtomicBool = AtomicBool::new(false);
    if !STARTED.swap(true, Ordering::Relaxed) {
        panic::set_hook(Box::new(report));
    }
}

fn report(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("the panic carries a value that is not text");
    // The host keeps no more, so no more crosses. Indexing would bring the text of its own panic along, 7 KB of code.
    let message = message.get(..message.floor_char_boundary(4096)).unwrap_or_default();
    let (file, line, column) =
        panic.location().map_or(("", 0, 0), |place| (place.file(), place.line(), place.column()));
    diagnostics::panicked(message, file, line, column);
}
