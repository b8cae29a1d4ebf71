//! What an operator grants, and what one call may use of it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use serde::Deserialize;
use tapline_host_core::GrantValue;

use crate::error::GrantError;

/// The largest file that a plugin can make, in bytes: 10 MiB, as the requirements have it.
pub const DEFAULT_MAX_FILE_SIZE: u64 = 10 << 20;
/// Files and directories that one call may have open at the same time, besides those that are granted.
pub const DEFAULT_MAX_OPEN_FILES: u32 = 10;
/// Streams that a file may have at the same time: a standard library has one to read and one to write, and each can
/// hold 64 KiB of the host's memory.
pub const MAX_FILE_STREAMS: u32 = 4;
/// Operations on files that run on a thread, or are queued for one, at the same time for all plugins together; one plugin
/// has three quarters of them. An eighth of the 512 threads that Tokio has for what blocks: pages, loads and others need
/// them too.
pub const MAX_FILE_OPERATIONS: usize = 64;
/// Entries of a directory that can be listed. The host holds a listing in memory, at most
/// [`DEFAULT_MAX_OPEN_FILES`] of them for each call: this keeps them at a few megabytes.
pub const MAX_DIRECTORY_ENTRIES: usize = 10_000;
/// Sockets that one call may make.
pub const MAX_CONNECTIONS: u32 = 10;
/// Names that one call may look up.
pub const MAX_LOOKUPS: u32 = 10;
/// Names that are looked up as the system does it at the same time, for all plugins together; one plugin has three
/// quarters of them. Each takes a thread for as long as the system waits for an answer, and files need such threads as
/// well.
pub const MAX_LOOKUPS_AT_ONCE: usize = 16;
/// Random bytes that one host call gives: enough for any key, too few to be a burden.
pub const MAX_RANDOM_BYTES: u64 = 64 << 10;

/// Most that `max_open_files` can be: a call has no more handles.
const MOST_OPEN_FILES: u32 = 1000;

/// The value of the grant `files`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with `directories`")]
pub(crate) struct FilesConfig {
    pub(crate) directories: Vec<Directory>,
    max_file_size: Option<u64>,
    max_open_files: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with `path`, `at` and `access`")]
pub(crate) struct Directory {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// Where the plugin sees it.
    pub(crate) at: String,
    pub(crate) access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Access {
    Read,
    /// Includes reading.
    Write,
}

impl FilesConfig {
    pub(crate) fn read(value: &GrantValue) -> Result<Self, GrantError> {
        let config = Self::deserialize(value)?;
        if config.directories.is_empty() {
            return Err(GrantError::Empty { key: "directories" });
        }
        for (index, directory) in config.directories.iter().enumerate() {
            let at = &directory.at;
            let named = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
            if at != "/" && !at.strip_prefix('/').is_some_and(|rest| rest.split('/').all(named)) {
                return Err(GrantError::At { at: at.clone() });
            }
            if config.directories[..index].iter().any(|other| other.at == *at) {
                return Err(GrantError::SamePlace { at: at.clone() });
            }
        }
        match (config.max_file_size, config.max_open_files) {
            (Some(0), _) => Err(GrantError::OutOfRange { key: "max_file_size", value: 0, expected: "at least 1 byte" }),
            (_, Some(files)) if !(1..=MOST_OPEN_FILES).contains(&files) => {
                Err(GrantError::OutOfRange { key: "max_open_files", value: files.into(), expected: "1 to 1000" })
            }
            (Some(_), _) if config.directories.iter().all(|directory| directory.access == Access::Read) => {
                Err(GrantError::NothingToWrite)
            }
            _ => Ok(config),
        }
    }

    pub(crate) fn max_file_size(&self) -> u64 {
        self.max_file_size.unwrap_or(DEFAULT_MAX_FILE_SIZE)
    }

    pub(crate) fn max_open_files(&self) -> u32 {
        self.max_open_files.unwrap_or(DEFAULT_MAX_OPEN_FILES)
    }
}

/// The value of the grant `network`: whom a plugin may connect to.
#[derive(Debug, Default)]
pub(crate) struct AllowList {
    names: Vec<(String, u16)>,
    addresses: Vec<(IpAddr, u16)>,
}

impl AllowList {
    pub(crate) fn read(value: &GrantValue) -> Result<Self, GrantError> {
        let entries = Vec::<String>::deserialize(value)?;
        if entries.is_empty() {
            return Err(GrantError::Empty { key: "network" });
        }
        let mut list = Self::default();
        for entry in &entries {
            list.add(entry)?;
        }
        Ok(list)
    }

    fn add(&mut self, entry: &str) -> Result<(), GrantError> {
        let (host, port) = entry.rsplit_once(':').ok_or_else(|| GrantError::address(entry, "it has no port"))?;
        let port: u16 = port.parse().map_err(|error| GrantError::bad_port(entry, &error))?;
        if port == 0 {
            return Err(GrantError::address(entry, "there is no port 0"));
        }
        if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address: Ipv6Addr = address.parse().map_err(|error| GrantError::bad_address(entry, &error))?;
            self.addresses.push((IpAddr::from(address).to_canonical(), port));
        } else if let Ok(address) = host.parse::<Ipv4Addr>() {
            self.addresses.push((address.into(), port));
        } else {
            let host = normal(host);
            let part = |part: &str| {
                !part.is_empty() && part.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter))
            };
            // A last part of digits is an address that is not well-formed, which some resolvers take all the same.
            let digits = host.rsplit('.').next().is_none_or(|last| last.chars().all(|letter| letter.is_ascii_digit()));
            if host.len() > 253 || digits || !host.split('.').all(part) {
                return Err(GrantError::address(entry, "the host is neither a name nor an address"));
            }
            if host == "localhost" {
                let own = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
                self.addresses.extend(own.map(|address| (address, port)));
            }
            self.names.push((host, port));
        }
        Ok(())
    }

    /// The ports that are granted for a name. None: it must not even be looked up.
    pub(crate) fn ports(&self, name: &str) -> Vec<u16> {
        let name = normal(name);
        self.names.iter().filter(|(known, _)| *known == name).map(|(_, port)| *port).collect()
    }

    /// Whether this very address is granted.
    pub(crate) fn lists(&self, address: SocketAddr) -> bool {
        self.addresses.contains(&(address.ip().to_canonical(), address.port()))
    }
}

/// Names do not differ by case, nor by the dot at their end.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether an address belongs to the world and not to the host, its machine or its network. What a name resolves to is
/// decided by whoever runs that name: it must not lead inside.
pub(crate) fn is_outside(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let shared = first == 100 && (64..128).contains(&second);
            let benchmark = first == 198 && (18..20).contains(&second);
            !(address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_broadcast()
                || address.is_multicast()
                || address.is_documentation()
                || shared
                || benchmark
                || first == 0
                || first >= 240)
        }
        IpAddr::V6(address) => {
            // Global unicast alone, without the ranges that carry an address of version 4 or are for examples.
            let [first, second, ..] = address.segments();
            let carries = first == 0x2002 || (first == 0x2001 && (second == 0 || second == 0x0db8));
            (first & 0xe000) == 0x2000 && !carries
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn files(value: GrantValue) -> String {
        FilesConfig::read(&value).map_or_else(|error| error.to_string(), |_| "granted".to_owned())
    }

    #[test]
    fn the_grant_of_files() {
        let data = json!({ "path": "data", "at": "/data", "access": "read" });
        let other = json!({ "path": "out", "at": "/out", "access": "write" });
        let at = |at: &str| json!({ "directories": [{ "path": "data", "at": at, "access": "read" }] });
        for (value, expected) in [
            (json!({ "directories": [data] }), "granted"),
            (json!({ "directories": [data, other], "max_file_size": 1, "max_open_files": 1000 }), "granted"),
            (at("/"), "granted"),
            (at("/a/b"), "granted"),
            (json!({ "directories": [] }), "`directories` is empty"),
            (
                json!({ "directories": [data], "max_file_sise": 1 }),
                "unknown field `max_file_sise`, expected one of `directories`, `max_file_size`, `max_open_files`",
            ),
            (json!({ "directories": [{ "path": "a", "at": "/a" }] }), "missing field `access`"),
            (
                json!({ "directories": [{ "path": "a", "at": "/a", "access": "all" }] }),
                "unknown variant `all`, expected `read` or `write`",
            ),
            (json!(true), "invalid type: boolean `true`, expected a table with `directories`"),
            (
                json!({ "directories": ["a"] }),
                "invalid type: string \"a\", expected a table with `path`, `at` and `access`",
            ),
            (
                json!({ "directories": [data], "max_file_size": 5 }),
                "`max_file_size` has no effect: no directory has `access = \"write\"`",
            ),
            (
                json!({ "directories": [other], "max_file_size": 0 }),
                "`max_file_size` is 0, it has to be at least 1 byte",
            ),
            (json!({ "directories": [other], "max_open_files": 0 }), "`max_open_files` is 0, it has to be 1 to 1000"),
            (
                json!({ "directories": [other], "max_open_files": 1001 }),
                "`max_open_files` is 1001, it has to be 1 to 1000",
            ),
            (json!({ "directories": [data, data] }), "`at` is `/data` for two directories"),
            (at("data"), "`at` is `data`, it has to be an absolute path without `.`, `..` or a slash at its end"),
            (at("/data/"), "`at` is `/data/`, it has to be an absolute path without `.`, `..` or a slash at its end"),
            (
                at("/data/../x"),
                "`at` is `/data/../x`, it has to be an absolute path without `.`, `..` or a slash at its end",
            ),
        ] {
            assert_eq!(files(value.clone()), expected, "{value}");
        }
    }

    #[test]
    fn the_grant_of_the_network() {
        let list = AllowList::read(&json!(["DB.example.org:5432", "10.0.0.5:80", "[::1]:9", "localhost:7"])).unwrap();
        assert_eq!(list.ports("db.EXAMPLE.org."), [5432]);
        assert!(list.ports("example.org").is_empty());
        for (address, listed) in [
            ("10.0.0.5:80", true),
            ("10.0.0.5:81", false),
            ("10.0.0.6:80", false),
            ("[::ffff:10.0.0.5]:80", true),
            ("[::1]:9", true),
            ("127.0.0.1:9", false),
            ("127.0.0.1:7", true),
            ("[::1]:7", true),
        ] {
            assert_eq!(list.lists(address.parse().unwrap()), listed, "{address}");
        }
        for (entry, reason) in [
            ("db.example.org", "it has no port"),
            ("db.example.org:", "its port cannot be read: cannot parse integer from empty string"),
            ("db.example.org:0", "there is no port 0"),
            ("*.example.org:80", "the host is neither a name nor an address"),
            ("127.1:80", "the host is neither a name nor an address"),
            ("::1:80", "the host is neither a name nor an address"),
            (":80", "the host is neither a name nor an address"),
            ("[::g]:80", "invalid IPv6 address syntax"),
        ] {
            let error = AllowList::read(&json!([entry])).unwrap_err().to_string();
            assert!(error.ends_with(&format!(": {reason}")), "{entry}: {error}");
        }
        assert_eq!(AllowList::read(&json!([])).unwrap_err().to_string(), "`network` is empty");
    }

    #[test]
    fn inside_and_outside() {
        for (address, outside) in [
            ("93.184.215.14", true),
            ("2606:2800:220:1::1", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("192.168.0.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::1", false),
            ("::", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:93.184.215.14", true),
            ("fe80::1", false),
            ("fc00::1", false),
            ("ff02::1", false),
            ("2002:7f00:1::", false),
            ("64:ff9b::7f00:1", false),
        ] {
            assert_eq!(is_outside(address.parse().unwrap()), outside, "{address}");
        }
    }
}
