//! Log lines. The host adds the names of the plugin and the tap.
//!
//! Each level is a function for text that is there already, and a macro that formats, but only when the host would keep
//! the line:
//!
//! ```
//! use tapline_sdk::log;
//!
//! log::info("done");
//! log::warn!("{} items without a title", 3);
//! ```
//!
//! A call may write 100 lines of 4096 bytes each; the host cuts longer ones, and counts and drops what is more. Natively
//! nothing is written, unless a test captures it with `tapline-sdk-testing`.

use std::fmt;

/// How much a line matters, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every step.
    Trace,
    /// For the author of the plugin.
    Debug,
    /// For the operator, when things go as they should.
    Info,
    /// Something is odd, and the plugin went on.
    Warn,
    /// Something failed.
    Error,
}

/// Writes one line.
pub fn write(level: Level, message: impl AsRef<str>) {
    place::write(level, message.as_ref());
}

/// Whether the host would keep a line of this level. Spares the work of building one that nobody reads.
#[must_use]
pub fn enabled(level: Level) -> bool {
    place::enabled(level)
}

#[doc(hidden)]
pub fn format(level: Level, message: fmt::Arguments<'_>) {
    if enabled(level) {
        match message.as_str() {
            Some(text) => write(level, text),
            None => write(level, message.to_string()),
        }
    }
}

macro_rules! levels {
    ($dollar:tt $($name:ident $hidden:ident $level:ident $what:literal;)*) => {
        $(
            #[doc = concat!("Writes one line of the level ", $what, ".")]
            pub fn $name(message: impl AsRef<str>) {
                write(Level::$level, message);
            }

            #[doc = concat!("Formats and writes one line of the level ", $what, ", if the host would keep it.")]
            #[doc(hidden)]
            #[macro_export]
            macro_rules! $hidden {
                ($dollar($message:tt)+) => {
                    $crate::log::format($crate::log::Level::$level, ::core::format_args!($dollar($message)+))
                };
            }
            #[doc(inline)]
            pub use $hidden as $name;
        )*
    };
}

levels! { $
    trace __log_trace Trace "trace";
    debug __log_debug Debug "debug";
    info __log_info Info "info";
    warn __log_warn Warn "warn";
    error __log_error Error "error";
}

#[cfg(target_arch = "wasm32")]
mod place {
    pub(super) use crate::bindings::log::{enabled, write};
}

#[cfg(not(target_arch = "wasm32"))]
mod place {
    pub(super) use crate::double::log::{enabled, write};
}
