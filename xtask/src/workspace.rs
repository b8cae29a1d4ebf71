//! This repository as cargo sees it, and the ways to call cargo.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::Said;

/// The packages of this repository.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// One package. Paths are relative to the root, with `/` between their parts.
#[derive(Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) directory: String,
    /// The file that a reader opens first: `src/lib.rs`, or `src/main.rs` where there is no library.
    pub(crate) entry: String,
    /// The directories of our own packages that it needs. Those for tests alone are left out.
    pub(crate) needs: Vec<String>,
    /// What `adapter` says in its `[package.metadata.tapline]`.
    pub(crate) adapter: Option<String>,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self> {
        // `cargo run` says where the package is. What the compiler saw may be another checkout with the same target
        // directory.
        let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&package).parent().context("xtask lies in the repository")?.to_owned();
        let metadata = metadata(&root.join("Cargo.toml"))?;
        let target = PathBuf::from(text(&metadata["target_directory"]));
        let packages = list(&metadata["packages"]).iter().map(|package| Package::read(&root, package)).collect();
        Ok(Self { root, target, packages })
    }

    /// A program of `benches` in release mode. With the features that the whole workspace selects: the engine is then built
    /// once for all of these programs.
    pub(crate) fn bench(&self, name: &str) -> Result<PathBuf> {
        program(build(self.cargo().args(["build", "--release", "--workspace", "--bin", name]))?, name)
    }

    /// `cargo`, in the root of this repository.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(cargo());
        command.current_dir(&self.root);
        command
    }
}

impl Package {
    fn read(root: &Path, package: &Value) -> Self {
        let relative = |path: &str| -> String {
            let path = Path::new(path);
            let path = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
            path.replace('\\', "/")
        };
        let manifest = relative(&text(&package["manifest_path"]));
        let targets = list(&package["targets"]);
        let of_kind = |wanted: &[&str]| {
            targets.iter().find(|target| list(&target["kind"]).iter().any(|kind| wanted.contains(&text(kind).as_str())))
        };
        let entry = of_kind(&["lib", "rlib", "cdylib", "proc-macro"]).or_else(|| of_kind(&["bin"]));
        let needs = list(&package["dependencies"])
            .iter()
            .filter(|dependency| dependency["kind"] != "dev")
            .filter_map(|dependency| dependency["path"].as_str())
            .map(relative)
            .collect();
        Self {
            name: text(&package["name"]),
            description: text(&package["description"]),
            directory: manifest.trim_end_matches("Cargo.toml").trim_end_matches('/').to_owned(),
            entry: entry.map(|target| relative(&text(&target["src_path"]))).unwrap_or_default(),
            needs,
            adapter: adapter(package),
        }
    }
}

/// What `adapter` says in the `[package.metadata.tapline]` of a package.
pub(crate) fn adapter(package: &Value) -> Option<String> {
    package["metadata"]["tapline"]["adapter"].as_str().map(str::to_owned)
}

/// What `cargo metadata` says about the package at `manifest` and the workspace around it.
pub(crate) fn metadata(manifest: &Path) -> Result<Value> {
    let output = Command::new(cargo())
        .args(["metadata", "--format-version", "1", "--no-deps", "--manifest-path"])
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo does not start")?;
    if !output.status.success() {
        bail!("`cargo metadata` failed for {}", manifest.display());
    }
    serde_json::from_slice(&output.stdout).context("`cargo metadata` answered no JSON")
}

/// A file that a build has made, or found made already.
pub(crate) struct Artifact {
    pub(crate) manifest: PathBuf,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) executable: Option<PathBuf>,
}

/// Runs a `cargo build` and gives what it made. Cargo shows its own progress and the compiler's words on stderr.
pub(crate) fn build(command: &mut Command) -> Result<Vec<Artifact>> {
    let output = command
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("cargo does not start")?;
    if !output.status.success() {
        bail!("`{}` failed", spell(command));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(artifacts
        .filter(|message| message["reason"] == "compiler-artifact")
        .map(|message| Artifact {
            manifest: PathBuf::from(text(&message["manifest_path"])),
            files: list(&message["filenames"]).iter().map(|file| PathBuf::from(text(file))).collect(),
            executable: message["executable"].as_str().map(PathBuf::from),
        })
        .collect())
}

/// The program of that name among what a build made.
pub(crate) fn program(artifacts: Vec<Artifact>, name: &str) -> Result<PathBuf> {
    let mut programs = artifacts.into_iter().filter_map(|artifact| artifact.executable);
    programs
        .find(|file| file.file_stem().is_some_and(|stem| stem == name))
        .with_context(|| format!("cargo made no program `{name}`"))
}

/// Runs a program that says by itself what is wrong: its exit code becomes ours.
pub(crate) fn pass_on(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("`{}` does not start", spell(command)))?;
    match status.code() {
        Some(0) => Ok(()),
        code => Err(Said(code.and_then(|code| code.try_into().ok()).unwrap_or(1)).into()),
    }
}

/// Runs a command that talks to the terminal itself.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("`{}` does not start", spell(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", spell(command));
    }
    Ok(())
}

/// Builds the `tapline` program and says where it lies.
pub(crate) fn tapline(workspace: &Workspace) -> Result<PathBuf> {
    let artifacts = build(workspace.cargo().args(["build", "-p", "tapline-cli"]))?;
    artifacts.into_iter().find_map(|artifact| artifact.executable).context("cargo made no tapline program")
}

/// A command as somebody would type it.
pub(crate) fn spell(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let words = command.get_args().map(|word| {
        let word = word.to_string_lossy();
        if word.contains([' ', '"']) { format!("'{word}'") } else { word.into_owned() }
    });
    std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ")
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The text of a JSON value, empty if it is none.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The elements of a JSON value, none if it is no array.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
