//! Turns the core module that cargo builds for wasm32-wasip1 into a sealed component.
//!
//! Cargo's module speaks the preview 1 of WASI, because the standard library does. Here these imports are answered
//! inside the component, by a small *adapter* that has no authority to give away: standard output becomes log lines,
//! the environment is empty, files and clocks are refused. What is left as imports of the [`Component`] is exactly what
//! the plugin's own code uses, so a host can read from it what the plugin asks for.
//!
//! What the plugin never runs is left out, the standard library's panic hook above all: the SDK reports panics itself.
//! A module linked with `--emit-relocs` becomes smallest, because it says what refers to what.
//!
//! A plugin that is to have files, the network or a clock is converted with [`Adapter::Wasi`] instead: the standard
//! adapter turns the same calls into imports of WASI 0.2, which a host serves to those who are granted them.
//!
//! A module that was built for no host at all, and whose functions somebody wants to call, is a [`CoreModule`].
//!
//! This crate does not compile, run or check a plugin, and it does not decide what a plugin may do: the host does.
//!
//! ```
//! # use wit_component::{StringEncoding, embed_component_metadata};
//! # let mut resolve = wit_parser::Resolve::default();
//! # let wit = "package a:b; interface tick { tick: func() -> u32; } world w { export tick; }";
//! # let package = resolve.push_str("a.wit", wit)?;
//! # let world = resolve.select_world(&[package], Some("w"))?;
//! # let mut core_module = wat::parse_str(
//! #     r#"(module (func (export "a:b/tick#tick") (result i32) i32.const 7) (memory (export "memory") 1))"#,
//! # )?;
//! # embed_component_metadata(&mut core_module, &resolve, world, StringEncoding::UTF8)?;
//! // `core_module` is what `cargo build --target wasm32-wasip1` made of a plugin.
//! let component = tapline_componentize::componentize(&core_module)?;
//! assert_eq!(component.exports, ["a:b/tick"]);
//! assert!(component.imports.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod convert;
mod core_module;
mod error;
mod sealed;
mod sections;
mod trim;

pub use convert::{Adapter, Component, Options, componentize, componentize_with};
pub use core_module::{CoreFunction, CoreModule, Number};
pub use error::Error;
