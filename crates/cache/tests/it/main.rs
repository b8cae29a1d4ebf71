//! The cache through its public interface: memory, disk, damage, foreign hands, and many who ask at once.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as it should be")]

mod directory;
mod disk;
mod hostile;
mod memory;
mod processes;
mod together;
mod worker;

use std::path::{Path, PathBuf};

use tapline_cache::{ArtifactCache, CacheConfig, Loaded};
use tempfile::TempDir;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, Store};

fn engine() -> Engine {
    Engine::new(&Config::new()).unwrap()
}

/// A component whose export `run` returns this number.
fn component(answer: u32) -> Vec<u8> {
    let text = format!(
        r#"(component
            (core module $m (func (export "run") (result i32) i32.const {answer}))
            (core instance $i (instantiate $m))
            (func (export "run") (result u32) (canon lift (core func $i "run"))))"#
    );
    wat::parse_str(text).unwrap()
}

/// A component of some megabytes, so that its file takes several writes, whose export `run` returns 7.
fn large_component() -> Vec<u8> {
    let data = "x".repeat(4 << 20);
    let text = format!(
        r#"(component
            (core module $m (memory 100) (data (i32.const 0) "{data}") (func (export "run") (result i32) i32.const 7))
            (core instance $i (instantiate $m))
            (func (export "run") (result u32) (canon lift (core func $i "run"))))"#
    );
    wat::parse_str(text).unwrap()
}

/// Shows that the code works, which a damaged or misplaced mapping would not.
fn run(engine: &Engine, loaded: &Loaded) -> u32 {
    let mut store = Store::new(engine, ());
    let instance = Linker::new(engine).instantiate(&mut store, &loaded.component).unwrap();
    let run = instance.get_typed_func::<(), (u32,)>(&mut store, "run").unwrap();
    run.call(&mut store, ()).unwrap().0
}

/// A cache directory that does not exist yet, in one that is removed in the end.
fn place() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("tapline/compiled");
    (parent, directory)
}

fn on_disk(engine: &Engine, directory: &Path) -> ArtifactCache {
    let config = CacheConfig { directory: Some(directory.to_owned()), ..CacheConfig::default() };
    ArtifactCache::new(engine, config)
}

fn in_memory(engine: &Engine, max_entries: usize) -> ArtifactCache {
    ArtifactCache::new(engine, CacheConfig { max_entries, ..CacheConfig::default() })
}

/// The names of the files in a directory, sorted.
fn files(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = names.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
