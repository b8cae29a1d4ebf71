//! The tap of gate 1 as an Extism plugin.
//!
//! The work is the same source as in the guests of the gates. It does not come as a dependency: the SDK would come along, and
//! with it an allocator that is made for instances which serve one call, where Extism keeps its instances.

#![expect(missing_docs, reason = "the macro of Extism drops the words of its function")]

#[path = "../../../guests/src/json.rs"]
pub mod json;
#[path = "../../../guests/src/render.rs"]
pub mod render;

use extism_pdk::{FnResult, plugin_fn};

/// Parses the item, does the work, and returns the whole item.
///
/// # Errors
///
/// The text is no item.
#[plugin_fn]
pub fn item_presave(item: String) -> FnResult<String> {
    Ok(render::json(&item).map_err(extism_pdk::Error::msg)?)
}
