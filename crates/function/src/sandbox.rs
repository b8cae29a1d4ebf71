//! What a module may reach besides its own memory.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

use serde_json::json;
use tapline_componentize::Adapter;
use tapline_host_core::{FunctionPattern, GrantValue, PluginSpec};

use crate::error::Error;

/// The functions of WASI preview 1 with which a module uses files.
const OF_FILES: [&str; 2] = ["fd_*", "path_*"];
/// Those with which it reads its environment.
const OF_ENVIRONMENT: &str = "environ_*";

/// What the modules of a [`Runtime`](crate::Runtime) may reach. Plain data: start from `default()` and change what differs.
///
/// Core modules import functions of WASI preview 1, and the `syscalls` decide about those, when a module is loaded: one that
/// imports what is not allowed is refused. Denied wins over allowed. Components import interfaces, about which the `functions`
/// decide. Whatever is imported, it reaches directories and variables only as far as they are named here.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Whether core modules may import WASI at all. Defaults to yes.
    pub enable_wasi: bool,
    /// The functions that core modules may import. Defaults to `fd_read`, `fd_write` and `proc_exit`.
    pub allowed_syscalls: Vec<SyscallPattern>,
    /// The functions that they may not import, whatever is allowed. Defaults to `sock_*` and `path_open`.
    pub denied_syscalls: Vec<SyscallPattern>,
    /// The functions that components may import, as in [`PluginSpec::allow_functions`]. Defaults to all that they are served.
    pub allowed_functions: Option<Vec<FunctionPattern>>,
    /// The functions that components may not import. Defaults to none.
    pub denied_functions: Vec<FunctionPattern>,
    /// Whether the grant `network` is served. It takes the addresses; a core module has no network in any case, because
    /// preview 1 cannot open a connection. Defaults to no.
    pub network_access: bool,
    /// Whether directories are served. Defaults to yes; a module then still sees those alone that are named.
    pub filesystem_access: bool,
    /// The directories. They count only where `path_open` is allowed too, which it is not by default. Defaults to `/tmp`.
    pub allowed_directories: Vec<Directory>,
    /// The largest file that can be made, in bytes. Defaults to 10 MiB.
    pub max_file_size: u64,
    /// Files that one call may have open. Defaults to 10.
    pub max_open_files: u32,
    /// Environment variables. The host's own are never seen. Defaults to none.
    pub environment: BTreeMap<String, String>,
    /// Grants for other capabilities of the host, by their names, such as `clocks` or `random`. Defaults to none.
    pub grants: BTreeMap<String, GrantValue>,
}

/// A directory of the host, and where a module sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Where it lies.
    pub path: PathBuf,
    /// Where the module sees it, for example `/data`.
    pub at: String,
    /// What the module may do in it.
    pub access: Access,
}

/// What may be done in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read.
    Read,
    /// Read and write.
    Write,
}

impl Default for Sandbox {
    fn default() -> Self {
        let patterns = |names: &[&str]| {
            names.iter().map(|name| SyscallPattern { is_default: true, ..SyscallPattern::of(name) }).collect()
        };
        Self {
            enable_wasi: true,
            allowed_syscalls: patterns(&["fd_read", "fd_write", "proc_exit"]),
            denied_syscalls: patterns(&["sock_*", "path_open"]),
            allowed_functions: None,
            denied_functions: Vec::new(),
            network_access: false,
            filesystem_access: true,
            allowed_directories: vec![Directory { path: "/tmp".into(), at: "/tmp".to_owned(), access: Access::Write }],
            max_file_size: 10 << 20,
            max_open_files: 10,
            environment: BTreeMap::new(),
            grants: BTreeMap::new(),
        }
    }
}

impl Sandbox {
    /// Serves these directories and no others, and allows the functions for files.
    #[must_use]
    pub fn directories(mut self, directories: Vec<Directory>) -> Self {
        self.allowed_directories = directories;
        self.denied_syscalls.retain(|pattern| pattern.text != "path_open");
        self.allowed_syscalls.extend(OF_FILES.map(SyscallPattern::of));
        self
    }

    /// Sets these environment variables, and allows the functions that read them.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(variables);
        self.allowed_syscalls.push(SyscallPattern::of(OF_ENVIRONMENT));
        self
    }

    /// Refuses a core module that imports what it may not, and says what is to answer its WASI calls.
    pub(crate) fn admit(&self, module: &str, imports: &[String]) -> Result<Adapter, Error> {
        let refuse = |functions: Vec<String>, denied_by| {
            Err(Error::Disallowed { module: module.to_owned(), functions, denied_by })
        };
        if !self.enable_wasi && !imports.is_empty() {
            return Err(Error::WasiOff { module: module.to_owned(), functions: imports.to_vec() });
        }
        for import in imports {
            let denied = self.denied_syscalls.iter().filter(|pattern| pattern.fits(import));
            // What somebody has written comes before what is denied anyway.
            if let Some(pattern) = denied.min_by_key(|pattern| pattern.is_default) {
                return refuse(vec![import.clone()], Some(pattern.clone()));
            }
        }
        let allowed = |import: &&String| !self.allowed_syscalls.iter().any(|pattern| pattern.fits(import));
        let missing: Vec<String> = imports.iter().filter(allowed).cloned().collect();
        if !missing.is_empty() {
            return refuse(missing, None);
        }
        let is_sealed = !self.serves_files() && self.environment.is_empty() && self.grants.is_empty();
        Ok(if is_sealed { Adapter::Sealed } else { Adapter::Wasi })
    }

    /// Whether the directories count.
    fn serves_files(&self) -> bool {
        let fits = |patterns: &[SyscallPattern]| patterns.iter().any(|pattern| pattern.fits("path_open"));
        self.filesystem_access
            && !self.allowed_directories.is_empty()
            && fits(&self.allowed_syscalls)
            && !fits(&self.denied_syscalls)
    }

    /// Says to the host what it is to grant to a component with these imports.
    pub(crate) fn grant(&self, mut spec: PluginSpec, imports: &[String]) -> Result<PluginSpec, Error> {
        if self.grants.contains_key("network") && !self.network_access {
            return Err(Error::Setting {
                setting: "grants.network",
                message: "it has no effect while `network_access` is off".to_owned(),
            });
        }
        if self.grants.get("files").is_some_and(|given| *given != GrantValue::Bool(false)) {
            return Err(Error::Setting {
                setting: "grants.files",
                message: "it takes `false` alone: directories are given as directories (`--dir PATH`)".to_owned(),
            });
        }
        let wants = |interface: &str| imports.iter().any(|import| import.starts_with(interface));
        spec.grants.clone_from(&self.grants);
        if wants("wasi:filesystem/") {
            // Without directories the interfaces remain: standard libraries look for one whatever their program does.
            let files = if self.serves_files() { self.files() } else { false.into() };
            spec.grants.insert("files".to_owned(), files);
        }
        if wants("wasi:cli/environment") && !self.environment.is_empty() {
            spec.grants.insert("environment".to_owned(), json!(self.environment));
        }
        spec.allow_functions.clone_from(&self.allowed_functions);
        spec.deny_functions.clone_from(&self.denied_functions);
        Ok(spec)
    }

    fn files(&self) -> GrantValue {
        let directories: Vec<GrantValue> = self.allowed_directories.iter().map(Directory::grant).collect();
        let mut files = json!({ "directories": directories, "max_open_files": self.max_open_files });
        if self.allowed_directories.iter().any(|directory| directory.access == Access::Write) {
            files["max_file_size"] = self.max_file_size.into();
        }
        files
    }
}

impl Directory {
    fn grant(&self) -> GrantValue {
        let access = match self.access {
            Access::Read => "read",
            Access::Write => "write",
        };
        json!({ "path": self.path, "at": self.at, "access": access })
    }
}

/// A pattern over the functions of WASI preview 1, such as `fd_read` or `sock_*`: `*` stands for any text at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyscallPattern {
    text: String,
    is_default: bool,
}

impl SyscallPattern {
    fn of(text: &str) -> Self {
        Self { text: text.to_owned(), is_default: false }
    }

    /// Whether it comes from [`Sandbox::default`], and so nobody has written it.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.is_default
    }

    fn fits(&self, function: &str) -> bool {
        match self.text.strip_suffix('*') {
            Some(beginning) => function.starts_with(beginning),
            None => function == self.text,
        }
    }
}

impl fmt::Display for SyscallPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for SyscallPattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let name = text.strip_suffix('*').unwrap_or(text);
        let known = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
        if text.is_empty() || !name.chars().all(known) {
            return Err(Error::Setting {
                setting: "allowed and denied functions",
                message: format!(
                    "`{}` is no function such as `fd_read`, and no pattern such as `sock_*`",
                    text.escape_debug()
                ),
            });
        }
        Ok(Self::of(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(sandbox: &Sandbox, imports: &[&str]) -> String {
        let imports: Vec<String> = imports.iter().map(ToString::to_string).collect();
        sandbox.admit("m", &imports).map_or_else(|error| error.to_string(), |adapter| format!("{adapter:?}"))
    }

    #[test]
    fn denied_wins_over_allowed() {
        let mut sandbox = Sandbox::default();
        assert_eq!(admitted(&sandbox, &["fd_write", "proc_exit"]), "Sealed");
        assert_eq!(admitted(&sandbox, &["path_open"]), "`m`: disallowed import: path_open is denied by default");
        assert_eq!(
            admitted(&sandbox, &["fd_write", "environ_get", "environ_sizes_get"]),
            "`m`: disallowed import: environ_get, environ_sizes_get: not on the list of allowed functions"
        );
        sandbox.allowed_syscalls = vec!["*".parse().unwrap()];
        assert_eq!(admitted(&sandbox, &["environ_get"]), "Sealed");
        assert_eq!(admitted(&sandbox, &["sock_send"]), "`m`: disallowed import: sock_send is denied by default");
        sandbox.denied_syscalls.push("sock_*".parse().unwrap());
        assert_eq!(admitted(&sandbox, &["sock_send"]), "`m`: disallowed import: sock_send is denied by `sock_*`");
        sandbox.enable_wasi = false;
        assert_eq!(admitted(&sandbox, &["fd_write"]), "`m`: disallowed import: fd_write: WASI is off");
        assert_eq!(admitted(&sandbox, &[]), "Sealed");
    }

    #[test]
    fn directories_count_only_where_files_may_be_opened() {
        let files = |sandbox: &Sandbox| {
            let name = tapline_host_core::PluginName::new("m").unwrap();
            sandbox
                .grant(PluginSpec::bytes(name, Vec::new()), &["wasi:filesystem/types@0.2.12".to_owned()])
                .unwrap()
                .grants
                .remove("files")
        };
        let mut sandbox = Sandbox::default();
        assert_eq!(files(&sandbox), Some(false.into()), "/tmp is listed, and path_open is denied");
        sandbox = sandbox.directories(vec![Directory { path: "a".into(), at: "/a".into(), access: Access::Read }]);
        let granted = json!({
            "directories": [{ "path": "a", "at": "/a", "access": "read" }], "max_open_files": 10
        });
        assert_eq!(files(&sandbox), Some(granted));
        assert_eq!(admitted(&sandbox, &["path_open"]), "Wasi");
        sandbox.filesystem_access = false;
        assert_eq!(files(&sandbox), Some(false.into()));
    }

    #[test]
    fn patterns() {
        for text in ["", "fd-read", "a*b", "wasi:io", "FD"] {
            assert!(text.parse::<SyscallPattern>().is_err(), "{text}");
        }
    }
}
