//! The plugin directory: every `NAME.wasm` in it is the plugin `NAME`, with what `[plugins.NAME]` gives it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use tapline_host_core::PluginName;

use super::{error::ConfigError, file::Parsed};

/// The most entries that a plugin directory may have, of any kind: `serve --watch` looks at all of them four times a second.
const MAX_ENTRIES: usize = 1000;

/// The files of a directory that claim to be plugins, in the order of their names. What is hidden or ends otherwise is
/// nobody's: the backup of an editor, a copy that is not done.
///
/// # Errors
///
/// The directory cannot be read, or has more than 1000 entries.
pub(crate) fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for (index, entry) in fs::read_dir(directory)?.enumerate() {
        if index == MAX_ENTRIES {
            return Err(io::Error::other(format!("it has more than {MAX_ENTRIES} entries")));
        }
        let entry = entry?;
        let name = entry.file_name();
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        // Directories are nobody's, whatever they are called.
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_hidden && !is_directory && Path::new(&name).extension().is_some_and(|extension| extension == "wasm") {
            files.push(directory.join(name));
        }
    }
    files.sort();
    Ok(files)
}

/// Adds the plugins of the plugin directory to those of the file. Returns what is wrong with single ones, which are left
/// out: files that are no plugins, and tables without `path` that have no file. A plugin with a `path` stays what it is.
pub(super) fn add(parsed: &mut Parsed) -> Result<Vec<ConfigError>, ConfigError> {
    let Some(directory) = &parsed.file.host.plugin_directory else { return Ok(Vec::new()) };
    let unreadable = |source| ConfigError::PluginDirectory { path: directory.clone(), source };
    let real = fs::canonicalize(directory).map_err(unreadable)?;
    let plugins = &mut parsed.file.plugins;
    let mut refused = Vec::new();
    let mut found = BTreeMap::new();
    for path in files(directory).map_err(unreadable)? {
        match PluginName::new(&path.file_stem().unwrap_or_default().to_string_lossy()) {
            Ok(name) => drop(found.insert(name, path)),
            Err(source) => refused.push(ConfigError::PluginFileName { path, source }),
        }
    }
    for (name, path) in &found {
        match plugins.get(name).and_then(|table| table.path.clone()) {
            Some(own) if is_same(&own, path) => {}
            Some(own) => refused.push(ConfigError::PluginTwice { plugin: name.clone(), own, path: path.clone() }),
            None => match check(path, &real) {
                Ok(()) => {
                    plugins.entry(name.clone()).or_default();
                }
                Err(message) => {
                    plugins.remove(name);
                    refused.push(ConfigError::PluginFile { path: path.clone(), message });
                }
            },
        }
    }
    plugins.retain(|name, table| {
        let has_file = table.path.is_some() || !table.is_enabled() || found.contains_key(name);
        if !has_file {
            let key = format!("plugins.{name}");
            refused.push(ConfigError::Value {
                path: parsed.path.clone(),
                line: parsed.lines.get(&key).copied().unwrap_or_default(),
                key,
                message: format!(
                    "it has no `path`, and there is no {}",
                    directory.join(format!("{name}.wasm")).display()
                ),
            });
        }
        has_file
    });
    Ok(refused)
}

/// Whether it is a file of this directory: a link may lead to another name in it, and nowhere else. What is no file, such
/// as a pipe, could keep whoever opens it waiting for ever.
fn check(path: &Path, directory: &Path) -> Result<(), String> {
    match fs::canonicalize(path) {
        Ok(target) if !target.starts_with(directory) => Err("it is a link that leads out of the directory".to_owned()),
        Ok(target) if !target.is_file() => Err("it is no file".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether two paths lead to one file.
fn is_same(one: &Path, other: &Path) -> bool {
    matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_claims_to_be_a_plugin() {
        let place = tempfile::tempdir().unwrap();
        for name in ["b.wasm", "a.wasm", "a.wasm.tmp", ".a.wasm", ".wasm", "a.wasm~", "notes.txt", "A b.wasm"] {
            fs::write(place.path().join(name), "").unwrap();
        }
        fs::create_dir(place.path().join("c.wasm")).unwrap();
        let expected = ["A b.wasm", "a.wasm", "b.wasm"].map(|name| place.path().join(name));
        assert_eq!(files(place.path()).unwrap(), expected);
        assert!(files(&place.path().join("none")).is_err());
    }

    #[test]
    fn a_directory_with_too_many_entries_is_refused() {
        let place = tempfile::tempdir().unwrap();
        for number in 0..MAX_ENTRIES {
            fs::write(place.path().join(number.to_string()), "").unwrap();
        }
        assert!(files(place.path()).unwrap().is_empty());
        fs::write(place.path().join("one more"), "").unwrap();
        assert_eq!(files(place.path()).unwrap_err().to_string(), "it has more than 1000 entries");
    }
}
