//! Builds the guests of the benches into `target/guests`: the examples of `benches/guests`, which are no samples.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::build_plugins::{self, Module, RUSTFLAGS, TARGET};
use crate::workspace::{self, Workspace};

const PACKAGE: &str = "tapline-bench-guests";

/// These stay core modules: the benches call them without the component model, to show what it costs or saves.
const CORE: [&str; 2] = ["phase-zero", "text-kernel"];

/// These are built a second time, as `…-scalar`, without vector instructions.
const TWICE: [&str; 2] = ["text-kernel", "text-plugin"];
const VECTOR: &str = "+simd128,";

/// Builds all of them. They are few and small, and a bench with an old guest would measure something else.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let directory = workspace.root.join("target/guests");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let tool = build_plugins::componentizer(workspace)?;
    let scalar = RUSTFLAGS.replacen(VECTOR, "", 1);
    ensure!(scalar != RUSTFLAGS, "plugins are built without {VECTOR} and there is nothing to compare");
    let twice: Vec<&str> = TWICE.iter().flat_map(|name| ["--example", name]).collect();
    for (selection, rustflags, suffix) in [(&["--examples"][..], RUSTFLAGS, ""), (&twice, &scalar, "-scalar")] {
        let mut command = workspace.cargo();
        command.args(["build", "-p", PACKAGE, "--target", TARGET, "--profile", "plugin"]).args(selection);
        for file in workspace::build(build_plugins::with_flags(&mut command, rustflags))?
            .into_iter()
            .flat_map(|artifact| artifact.files)
            .filter(|file| file.extension().is_some_and(|extension| extension == "wasm"))
        {
            finish(&tool, &file, suffix, &directory)?;
        }
    }
    Ok(())
}

fn finish(tool: &Path, file: &Path, suffix: &str, directory: &Path) -> Result<()> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().replace('_', "-");
    let guest = format!("{name}{suffix}");
    if CORE.contains(&name.as_str()) {
        let target = directory.join(format!("{guest}.wasm"));
        fs::copy(file, &target).with_context(|| format!("cannot write {}", target.display()))?;
        return Ok(());
    }
    let module = Module { plugin: guest, file: file.to_owned(), outside: false, wasi: false };
    build_plugins::convert(tool, &module, false, directory).map(drop)
}
