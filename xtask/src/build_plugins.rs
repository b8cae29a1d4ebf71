//! Builds plugins for WebAssembly and makes components of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::workspace::{self, Artifact, Workspace};
use crate::{Usage, bench_guests, table};

pub(crate) const HELP: &str = "\
Builds every package in plugins/ for WebAssembly and writes components to target/plugins, and the guests of the benches
to target/guests.

Usage: cargo xtask build-plugins [--only NAME]... [--plugin DIR]... [--names] [--precompile FILE]

  --only NAME        build this plugin of plugins/ alone; may be repeated
  --plugin DIR       build the plugin in DIR as well, which may lie outside this repository; may be repeated
  --names            keep the names of functions, which profiles and backtraces then show; the components are larger
  --precompile FILE  then load all plugins of this configuration with `tapline plugins`, which compiles them into its
                     cache directory: a host with the same configuration has nothing left to compile";

pub(crate) const TARGET: &str = "wasm32-wasip1";

/// Every engine that Tapline supports has these features; they make guests smaller and faster. The relocations tell
/// `tapline-componentize` which parts of tables and data are used by code that it drops.
pub(crate) const RUSTFLAGS: &str =
    "-C target-feature=+simd128,+bulk-memory,+sign-ext,+nontrapping-fptoint -C link-arg=--emit-relocs";

/// What to build.
#[derive(Default)]
pub(crate) struct Request {
    /// Names of plugins in `plugins/`. Empty: all of them.
    pub(crate) only: Vec<String>,
    /// Directories of further plugins.
    pub(crate) outside: Vec<PathBuf>,
    /// Whether functions keep their names.
    pub(crate) names: bool,
}

/// A component in `target/plugins`.
pub(crate) struct Plugin {
    pub(crate) name: String,
    /// Whether it came from `--plugin`.
    pub(crate) outside: bool,
    pub(crate) core_bytes: u64,
    pub(crate) component_bytes: u64,
    /// The interfaces that it implements, as `tapline:content/item-view@0.1.0`.
    pub(crate) interfaces: Vec<String>,
}

impl Plugin {
    /// The taps that it implements, as `item-view`.
    pub(crate) fn taps(&self) -> impl Iterator<Item = &str> {
        self.interfaces.iter().map(|interface| tap_name(interface))
    }

    /// Where the component lies, relative to the root.
    pub(crate) fn path(&self) -> String {
        format!("target/plugins/{}.wasm", self.name)
    }
}

pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<()> {
    use lexopt::prelude::Long;
    let mut request = Request::default();
    let mut precompiled = None;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("only") => request.only.push(arguments.value()?.to_string_lossy().into_owned()),
            Long("plugin") => request.outside.push(arguments.value()?.into()),
            Long("names") => request.names = true,
            Long("precompile") => precompiled = Some(PathBuf::from(arguments.value()?)),
            other => return Err(other.unexpected().into()),
        }
    }
    let workspace = Workspace::load()?;
    build(&workspace, &request)?;
    match precompiled {
        Some(configuration) => precompile(&workspace, &configuration),
        None => Ok(()),
    }
}

/// Loads every plugin of a configuration, and so compiles those that its cache directory does not have.
fn precompile(workspace: &Workspace, configuration: &Path) -> Result<()> {
    let program = workspace::tapline(workspace)?;
    let tapline =
        |words: &[&str]| workspace::run(Command::new(&program).arg("--config").arg(configuration).args(words));
    tapline(&["plugins"])?;
    // It fails, and says what to do, where nothing that was compiled is kept.
    tapline(&["cache", "stats"])
}

/// Builds and prints the table of sizes.
pub(crate) fn build(workspace: &Workspace, request: &Request) -> Result<Vec<Plugin>> {
    require_target()?;
    // A mistyped directory is said before anything is built.
    let manifests = request.outside.iter().map(|directory| manifest_in(directory)).collect::<Result<Vec<_>>>()?;
    let mut modules = inside(workspace, &request.only)?;
    for manifest in &manifests {
        let module = outside(workspace, manifest)?;
        if modules.iter().any(|other| other.plugin == module.plugin) {
            bail!("two plugins are called `{}`: rename the package in {}", module.plugin, manifest.display());
        }
        modules.push(module);
    }
    let plugins = componentize(workspace, &modules, request.names)?;
    if request.only.is_empty() {
        bench_guests::build(workspace)?;
    }
    print!("{}", table::render(&rows(&plugins)));
    Ok(plugins)
}

/// A core module, as cargo has built it.
pub(crate) struct Module {
    pub(crate) plugin: String,
    pub(crate) file: PathBuf,
    pub(crate) outside: bool,
    /// Whether its WASI calls are left to the host.
    pub(crate) wasi: bool,
}

fn inside(workspace: &Workspace, only: &[String]) -> Result<Vec<Module>> {
    let packages: Vec<_> =
        workspace.packages.iter().filter(|package| package.directory.starts_with("plugins/")).collect();
    let names: Vec<String> = packages.iter().map(|package| plugin_name(&package.name)).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(name)) {
        let message = format!("no plugin in plugins/ is called `{unknown}`; there are {}", names.join(", "));
        return Err(Usage(message).into());
    }
    let packages: Vec<_> =
        packages.into_iter().filter(|package| only.is_empty() || only.contains(&plugin_name(&package.name))).collect();
    if packages.is_empty() {
        return Ok(Vec::new());
    }
    let progress = progress(packages.len())?;
    let build = |package: &workspace::Package| {
        let plugin = plugin_name(&package.name);
        progress.set_message(plugin.clone());
        let manifest = workspace.root.join(&package.directory).join("Cargo.toml");
        let mut command = for_wasm(workspace);
        let file = module_of(&workspace::build(command.args(["-p", &package.name]))?, &manifest)?;
        progress.inc(1);
        let wasi = wants_wasi(package.adapter.as_deref(), &package.name)?;
        Ok(Module { plugin, file, outside: false, wasi })
    };
    packages.into_iter().map(build).collect()
}

fn manifest_in(directory: &Path) -> Result<PathBuf> {
    let manifest = directory.join("Cargo.toml");
    manifest.canonicalize().with_context(|| format!("no plugin: {}", manifest.display()))
}

fn outside(workspace: &Workspace, manifest: &Path) -> Result<Module> {
    let metadata = workspace::metadata(manifest)?;
    let package = workspace::list(&metadata["packages"])
        .iter()
        .find(|package| Path::new(&workspace::text(&package["manifest_path"])) == manifest)
        .with_context(|| format!("{} describes no package", manifest.display()))?;
    let mut command = for_wasm(workspace);
    command.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(&workspace.target);
    // The profile is ours; a package outside this workspace does not see it.
    for setting in profile(&fs::read_to_string(workspace.root.join("Cargo.toml"))?) {
        command.args(["--config", &setting]);
    }
    let file = module_of(&workspace::build(&mut command)?, manifest)?;
    let name = workspace::text(&package["name"]);
    let wasi = wants_wasi(workspace::adapter(package).as_deref(), &name)?;
    Ok(Module { plugin: plugin_name(&name), file, outside: true, wasi })
}

/// `[package.metadata.tapline] adapter = "wasi"` leaves WASI calls to the host. Without it a plugin is sealed.
fn wants_wasi(adapter: Option<&str>, package: &str) -> Result<bool> {
    match adapter {
        None | Some("sealed") => Ok(false),
        Some("wasi") => Ok(true),
        Some(other) => bail!(
            "{package}: `adapter` in [package.metadata.tapline] is \"{other}\"; it takes \"sealed\", which is the default, or \"wasi\""
        ),
    }
}

/// One package at a time, and only as a module: cargo silently leaves the optimisation at link time out of a package that
/// is built as an `rlib` as well, and `cargo build` builds what the package names.
fn for_wasm(workspace: &Workspace) -> Command {
    let mut command = workspace.cargo();
    command.args(["rustc", "--lib", "--crate-type", "cdylib", "--target", TARGET, "--profile", "plugin"]);
    with_flags(&mut command, RUSTFLAGS);
    command
}

pub(crate) fn with_flags<'a>(command: &'a mut Command, rustflags: &str) -> &'a mut Command {
    command
        .env("CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS", rustflags)
        // Cargo would take these instead of the variable above.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
}

/// The settings of `[profile.plugin]` in a Cargo.toml, as arguments for `--config`.
fn profile(manifest: &str) -> Vec<String> {
    let section = manifest.lines().skip_while(|line| line.trim() != "[profile.plugin]").skip(1);
    let section = section.take_while(|line| !line.trim_start().starts_with('['));
    section
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| format!("profile.plugin.{}={}", key.trim(), value.trim()))
        .collect()
}

fn module_of(artifacts: &[Artifact], manifest: &Path) -> Result<PathBuf> {
    let files = artifacts.iter().filter(|artifact| artifact.manifest == manifest).flat_map(|artifact| &artifact.files);
    files
        .filter(|file| file.extension().is_some_and(|extension| extension == "wasm"))
        .cloned()
        .next_back()
        .with_context(|| format!("cargo made no module of {}", manifest.display()))
}

/// What operators call the plugin that a package makes.
pub(crate) fn plugin_name(package: &str) -> String {
    package.strip_prefix("tapline-plugin-").unwrap_or(package).replace('_', "-")
}

fn componentize(workspace: &Workspace, modules: &[Module], names: bool) -> Result<Vec<Plugin>> {
    let tool = componentizer(workspace)?;
    let directory = workspace.root.join("target/plugins");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;

    let progress = progress(modules.len())?;
    let mut plugins = Vec::new();
    for module in modules {
        progress.set_message(module.plugin.clone());
        plugins.push(convert(&tool, module, names, &directory)?);
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(plugins)
}

/// The program that makes components.
pub(crate) fn componentizer(workspace: &Workspace) -> Result<PathBuf> {
    let mut command = workspace.cargo();
    let artifacts = workspace::build(command.args(["build", "-p", "tapline-componentize"]))?;
    artifacts.into_iter().find_map(|artifact| artifact.executable).context("cargo made no tapline-componentize")
}

fn progress(steps: usize) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").context("a progress bar")?;
    Ok(ProgressBar::new(steps as u64).with_style(style))
}

/// `names`: whether its functions keep theirs.
pub(crate) fn convert(tool: &Path, module: &Module, names: bool, directory: &Path) -> Result<Plugin> {
    let component = directory.join(format!("{}.wasm", module.plugin));
    // Under another name first, so that a host that is starting never sees half a file.
    let unfinished = directory.join(format!("{}.unfinished", module.plugin));
    let output = conversion(tool, module, names, &unfinished)
        .output()
        .with_context(|| format!("{} does not start", tool.display()))?;
    if !output.status.success() {
        bail!(
            "plugin `{}` does not become a component\n{}",
            module.plugin,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    fs::rename(&unfinished, &component).with_context(|| format!("cannot write {}", component.display()))?;
    let report: Value = serde_json::from_slice(&output.stdout).context("tapline-componentize answered no JSON")?;
    let number = |key: &str| report[key].as_u64().with_context(|| format!("tapline-componentize said no {key}"));
    let exports = workspace::list(&report["exports"]);
    Ok(Plugin {
        name: module.plugin.clone(),
        outside: module.outside,
        core_bytes: number("core_bytes")?,
        component_bytes: number("component_bytes")?,
        interfaces: exports.iter().map(workspace::text).collect(),
    })
}

fn conversion(tool: &Path, module: &Module, names: bool, component: &Path) -> Command {
    let mut command = Command::new(tool);
    command.arg(&module.file).arg("-o").arg(component);
    command.args(module.wasi.then_some("--wasi")).args(names.then_some("--names"));
    command
}

/// `item-view` of `tapline:content/item-view@0.1.0`.
fn tap_name(interface: &str) -> &str {
    let name = interface.rsplit('/').next().unwrap_or(interface);
    name.split('@').next().unwrap_or(name)
}

fn rows(plugins: &[Plugin]) -> Vec<Vec<String>> {
    let heading = ["plugin", "core bytes", "component bytes", "taps"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for plugin in plugins {
        let sizes = [plugin.core_bytes.to_string(), plugin.component_bytes.to_string()];
        rows.push(
            [vec![plugin.name.clone()], sizes.to_vec(), vec![plugin.taps().collect::<Vec<_>>().join(", ")]].concat(),
        );
    }
    rows
}

fn require_target() -> Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .context("rustc does not start")?;
    let directory = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || !Path::new(&directory).is_dir() {
        bail!("the target {TARGET} is not installed; run: rustup target add {TARGET}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_plugins_and_taps() {
        assert_eq!(plugin_name("tapline-plugin-reading-time"), "reading-time");
        assert_eq!(plugin_name("word_count"), "word-count");
        assert_eq!(tap_name("tapline:content/item-view-lazy@0.1.0"), "item-view-lazy");
        assert_eq!(tap_name("mine:shop/price"), "price");
    }

    #[test]
    fn names_and_wasi_stay_where_they_are_asked_for() {
        for (wasi, names, expected) in
            [(false, false, "a.wasm -o b"), (true, false, "a.wasm -o b --wasi"), (false, true, "a.wasm -o b --names")]
        {
            let module = Module { plugin: "a".to_owned(), file: "a.wasm".into(), outside: false, wasi };
            let command = conversion(Path::new("tool"), &module, names, Path::new("b"));
            let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
            assert_eq!(words.join(" "), expected);
        }
    }

    #[test]
    fn a_plugin_is_sealed_unless_it_says_wasi() {
        for (adapter, expected) in
            [(None, Some(false)), (Some("sealed"), Some(false)), (Some("wasi"), Some(true)), (Some("WASI"), None)]
        {
            assert_eq!(wants_wasi(adapter, "p").ok(), expected, "{adapter:?}");
        }
    }

    #[test]
    fn the_profile_is_read_from_its_section_alone() {
        let manifest = "[profile.dev]\nopt-level = 0\n\n[profile.plugin]\n# why\ninherits = \"release\"\nopt-level = \"s\"\n\n[x]\ny = 1\n";
        assert_eq!(profile(manifest), ["profile.plugin.inherits=\"release\"", "profile.plugin.opt-level=\"s\""]);
    }

    #[test]
    fn our_own_manifest_has_the_profile() {
        let settings = profile(include_str!("../../Cargo.toml"));
        assert!(settings.contains(&"profile.plugin.panic=\"abort\"".to_owned()), "{settings:?}");
    }
}
