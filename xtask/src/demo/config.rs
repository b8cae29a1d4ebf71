//! The directory of the demo and the configuration in it.

use std::fs;

use anyhow::{Context as _, Result};

use crate::build_plugins::Plugin;
use crate::workspace::Workspace;

/// The configuration, relative to the root. So are the paths in it.
pub(super) const FILE: &str = "target/demo/tapline.toml";

/// What the sample plugins need of the host beyond their sandbox. Plugins from outside get nothing.
const GRANTS: [(&str, &str); 1] = [("related", "database = \"read\"")];

/// Makes `target/demo` anew: an earlier demo leaves nothing behind.
pub(super) fn prepare(workspace: &Workspace, plugins: &[Plugin], address: &str) -> Result<()> {
    let directory = workspace.root.join("target/demo");
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("cannot empty {}", directory.display()))?;
    }
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let file = workspace.root.join(FILE);
    fs::write(&file, render(plugins, address)).with_context(|| format!("cannot write {}", file.display()))
}

fn render(plugins: &[Plugin], address: &str) -> String {
    let mut text = format!(
        "# Written by `cargo xtask demo`. Paths are relative to the directory in which the program runs.\n\
         [server]\nlisten = \"{address}\"\n\n\
         [database]\nurl = \"sqlite:target/demo/tapline.db\"\n\n\
         [cache]\ndirectory = \"target/demo/cache\"\n"
    );
    for plugin in plugins {
        text.push_str(&format!("\n[plugins.{}]\npath = \"{}\"\n", plugin.name, plugin.path()));
        let grants = GRANTS.iter().filter(|(name, _)| !plugin.outside && *name == plugin.name);
        for (_, grants) in grants {
            text.push_str(&format!("grants = {{ {grants} }}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(name: &str, outside: bool) -> Plugin {
        Plugin { name: name.to_owned(), outside, core_bytes: 0, component_bytes: 0, interfaces: Vec::new() }
    }

    #[test]
    fn only_sample_plugins_get_grants() {
        let related = "[plugins.related]\npath = \"target/plugins/related.wasm\"\ngrants = { database = \"read\" }\n";
        let text = render(&[plugin("seo", false), plugin("related", false)], "127.0.0.1:1");
        assert!(text.contains("listen = \"127.0.0.1:1\"\n"), "{text}");
        assert!(text.contains("[plugins.seo]\npath = \"target/plugins/seo.wasm\"\n\n"), "{text}");
        assert!(text.ends_with(related), "{text}");
        assert!(!render(&[plugin("related", true)], "127.0.0.1:1").contains("grants"));
    }
}
