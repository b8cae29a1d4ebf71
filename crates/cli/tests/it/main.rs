//! The program as people run it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where something is not as it should be"
)]

mod cache;
mod config;
mod directory;
mod errors;
mod logging;
mod panel;
mod plugins;
mod run;
mod site;
mod start;
mod surroundings;
mod trace;
mod watch;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use expect_test::Expect;
use tempfile::TempDir;

const PLUGINS: [&str; 6] = ["seo", "reading-time", "related", "house-style", "embargo", "audit-log"];

/// A directory in which the program runs.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tapline"));
        command.current_dir(self.path()).args(arguments);
        // Whoever runs the tests may have a configuration of his own.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TAPLINE_")) {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Compares the status, what was printed and what was complained about. Log lines are left out.
    #[track_caller]
    fn check(&self, arguments: &[&str], expected: Expect) {
        let output = self.run(arguments);
        let stderr = text(&output.stderr);
        let complaints: Vec<&str> = stderr.lines().filter(|line| !line.starts_with("20")).collect();
        let stdout = text(&output.stdout);
        let shown = format!("{stdout}{}\n[{}]\n", complaints.join("\n"), output.status.code().unwrap());
        let shown = shown.replace(&self.path().display().to_string(), "DIR");
        expected.assert_eq(&shown.replace(&root().display().to_string(), "ROOT"));
    }

    /// A configuration with these plugins, and more of it.
    fn configure(&self, plugins: &[&str], more: &str) {
        let mut text = "[server]\nlisten = \"127.0.0.1:0\"\n\n[host]\npool_size = 10\n\n".to_owned();
        for plugin in plugins {
            text += &format!("[plugins.{plugin}]\npath = \"{}\"\n", component(plugin).display());
            if *plugin == "related" {
                text += "grants = { database = \"read\" }\n";
            }
        }
        self.write("tapline.toml", text + more);
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn component(plugin: &str) -> PathBuf {
    let path = root().join("target/plugins").join(plugin).with_extension("wasm");
    assert!(path.exists(), "{} is missing: run `cargo xtask build-plugins`", path.display());
    path
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
