//! Checks what the compiler cannot check: the shape of the repository.

mod alerts;
mod edges;
mod files;
mod images;
mod limits;
mod names;
mod operations;
mod plugins;
mod purpose;
mod sources;

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace::Workspace;

pub(crate) const HELP: &str = "\
Checks the shape of the repository:
  - packages depend on each other only as the table in xtask/src/tidy/edges.rs allows, and ARCHITECTURE.md shows it
  - Cargo.toml, the first line of the code and the README give the same purpose of each package
  - no file of code has more than 1000 lines, and nothing is ignored or compiled into the repository
  - documents and dashboards that speak of a cold start say which stages that has
  - every plugin is built, and called by a test
  - each alert has a section in docs/operations.md, and a bad and a good day in rules.test.yml
  - docs/operations.md, docs/limits.md, the rules and the dashboards name no metric that there is not
  - docs/limits.md says of each limit what the code says
  - some document shows each picture of docs/images
  - stores and channels without bound are made only where xtask/src/tidy/sources.rs says so

Usage: cargo xtask tidy [--write]

  --write  writes the table into ARCHITECTURE.md instead of comparing it";

/// What to do with text that is made from a table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Check,
    Write,
}

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    file: String,
    wrong: String,
    fix: String,
}

impl Problem {
    fn new(file: impl Into<String>, wrong: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { file: file.into(), wrong: wrong.into(), fix: fix.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}; {}", self.file, self.wrong, self.fix)
    }
}

/// The files of the repository by their paths relative to its root, and their text.
struct Tree<'a> {
    root: &'a Path,
    paths: Vec<String>,
}

impl Tree<'_> {
    /// The text of a file; none if there is no such file, or if it is no text.
    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// Paths that end with `ending`, with the text of each.
    fn texts<'b>(&'b self, ending: &'b str) -> impl Iterator<Item = (&'b str, String)> {
        let paths = self.paths.iter().filter(move |path| path.ends_with(ending));
        paths.filter_map(|path| Some((path.as_str(), self.text(path)?)))
    }
}

pub(crate) fn main(mut arguments: lexopt::Parser) -> Result<()> {
    use lexopt::prelude::Long;
    let mut mode = Mode::Check;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("write") => mode = Mode::Write,
            other => return Err(other.unexpected().into()),
        }
    }
    check(&Workspace::load()?, mode)
}

pub(crate) fn check(workspace: &Workspace, mode: Mode) -> Result<()> {
    let tree = Tree { root: &workspace.root, paths: paths(&workspace.root)? };
    let mut problems = edges::check(&workspace.packages);
    problems.extend(edges::document(&tree, mode)?);
    problems.extend(purpose::check(&tree, &workspace.packages));
    problems.extend(files::check(&tree));
    problems.extend(plugins::check(&tree, &workspace.packages));
    problems.extend(operations::check(&tree));
    problems.extend(alerts::check(&tree));
    problems.extend(names::check(&tree));
    problems.extend(limits::check(&tree));
    problems.extend(images::check(&tree));
    problems.extend(sources::check(&tree));
    for problem in &problems {
        println!("{problem}");
    }
    match problems.len() {
        0 => {
            println!("tidy: {} files and {} packages are in order", tree.paths.len(), workspace.packages.len());
            Ok(())
        }
        1 => bail!("tidy found a problem"),
        count => bail!("tidy found {count} problems"),
    }
}

/// What git tracks, and what it would track after `git add`.
fn paths(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("tidy takes the list of files from git, and git does not start")?;
    if !output.status.success() {
        bail!("tidy takes the list of files from git: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let all = String::from_utf8(output.stdout).context("a path is not UTF-8")?;
    let mut paths: Vec<String> = all.split_terminator('\0').map(str::to_owned).collect();
    // A file that is deleted and not yet committed is still listed.
    paths.retain(|path| root.join(path).is_file());
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// Trees that tests make up.
#[cfg(test)]
mod made_up {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Tree;

    /// A directory that goes away with it.
    pub(super) struct Directory(PathBuf);

    impl Directory {
        pub(super) fn new(files: &[(&str, &str)]) -> Self {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let name = format!("tidy-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let root = std::env::temp_dir().join(name);
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            fs::create_dir_all(&root).unwrap();
            Self(root)
        }

        /// All its files, except those that git would not track.
        pub(super) fn tree(&self, paths: &[&str]) -> Tree<'_> {
            Tree { root: &self.0, paths: paths.iter().map(ToString::to_string).collect() }
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
