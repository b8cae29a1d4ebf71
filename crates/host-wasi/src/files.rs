//! Directories by grant.

mod host;
mod open;
mod stream;

use std::{
    io,
    sync::{Arc, LazyLock},
};

use tapline_host_core::{CallState, Capability, GrantValue, Granted, Reach};
use tokio::sync::Mutex;
use wasmtime::component::{HasData, Linker};
use wasmtime_wasi::{
    FsPerms, WasiCtx,
    filesystem::{WasiFilesystem, WasiFilesystemCtx, WasiFilesystemCtxView},
    p2::bindings::filesystem::{preopens, types},
};

use self::{host::View, open::OpenFiles};
use crate::{
    config::{Access, Directory, FilesConfig, MAX_FILE_OPERATIONS},
    error::GrantError,
    places::{Places, Share},
};

/// The name of the grant, and of what is counted.
const NAME: &str = "files";

/// One for the process: so are the threads, for all hosts that run on them.
static BLOCKING: LazyLock<Places> = LazyLock::new(|| Places::new(MAX_FILE_OPERATIONS));

/// Files in the directories that the operator names. Granted, for example, with
/// `files = { directories = [{ path = "data", at = "/data", access = "read" }] }`.
///
/// `files = false` gives the interfaces without any directory: for a program whose standard library imports them.
///
/// A directory is opened when the plugin is loaded, and paths are followed from there: `..`, absolute paths and symbolic
/// links lead no further than its own files, also when the link was there before. `access = "write"` includes reading.
/// Every operation of a file system runs on a thread for what blocks, and a call that runs out of time does not wait
/// for it. At most [`MAX_FILE_OPERATIONS`](crate::MAX_FILE_OPERATIONS) of them run or are queued at once in the process,
/// three quarters of that for one plugin; the next one waits, within the time of its call.
///
/// Our own limits, which `wasmtime-wasi` does not have:
///
/// - `max_file_size` bytes, 10 MiB if not said: no write, append or change of size makes a file larger. Files that were
///   larger before can be read.
/// - `max_open_files` for each call, 10 if not said: files, directories, listings, and files of which only a stream is
///   left. The granted directories do not count.
/// - [`MAX_FILE_STREAMS`](crate::MAX_FILE_STREAMS) streams of each open file.
/// - only regular files and directories are opened: a pipe or a device could block its thread for ever.
/// - directories with more than [`MAX_DIRECTORY_ENTRIES`](crate::MAX_DIRECTORY_ENTRIES) entries are not listed.
///
/// What this does not stop: a plugin that may write can make as many files as the file system holds. Two plugins that
/// append to the same file at the same moment can together exceed its size by one write, 64 KiB. Each stream can hold
/// 64 KiB of the host's memory, so an operator who allows more open files allows more of that.
///
/// What the plugin is refused is counted, for a limit, a path that leads outside or a directory that it may only read. A
/// path that its own standard library refuses never comes here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files;

impl Capability for Files {
    fn grant_name(&self) -> Option<&'static str> {
        Some(NAME)
    }

    fn grant_example(&self) -> &'static str {
        r#"{ directories = [{ path = "data", at = "/data", access = "read" }] }"#
    }

    fn reaches(&self, value: &GrantValue) -> Option<Reach> {
        (*value != GrantValue::Bool(false)).then_some(Reach::Files)
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["wasi:filesystem/types@0.2.12", "wasi:filesystem/preopens@0.2.12"]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        preopens::add_to_linker::<_, WasiFilesystem>(linker, |state| view(state).inner)?;
        types::add_to_linker::<_, Ours>(linker, view)
    }

    fn grant(&self, plugin: &str, value: &GrantValue) -> Result<Granted, String> {
        if *value == GrantValue::Bool(false) {
            return Ok(Arc::new(()));
        }
        let granted = FilesConfig::read(value).and_then(|config| FilesGrant::open(plugin, &config));
        granted.map(|grant| Arc::new(grant) as Granted).map_err(|error| error.to_string())
    }
}

/// The directories of one plugin.
struct FilesGrant {
    directories: WasiFilesystemCtx,
    max_file_size: u64,
    max_open_files: u32,
    appending: Arc<Mutex<()>>,
    threads: Share,
    there: WasiFilesystemCtx,
}

impl FilesGrant {
    fn open(plugin: &str, config: &FilesConfig) -> Result<Self, GrantError> {
        // Operations run on a thread of ours already, with its place in the plugin's share: see `View::there`.
        let on_its_thread = || {
            let mut builder = WasiCtx::builder();
            builder.allow_blocking_current_thread(true);
            builder
        };
        let mut builder = on_its_thread();
        for Directory { path, at, access } in &config.directories {
            let permissions = match access {
                Access::Read => FsPerms::ReadOnly,
                Access::Write => FsPerms::ReadWrite,
            };
            builder.preopened_dir(path, at, permissions).map_err(|error| GrantError::Directory {
                path: path.clone(),
                reason: error.downcast_ref::<io::Error>().map_or_else(|| error.to_string(), ToString::to_string),
            })?;
        }
        Ok(Self {
            directories: builder.build().filesystem().clone(),
            max_file_size: config.max_file_size(),
            max_open_files: config.max_open_files(),
            appending: Arc::default(),
            threads: BLOCKING.share_of(plugin),
            there: on_its_thread().build().filesystem().clone(),
        })
    }
}

/// What one call has of its grant.
#[derive(Default)]
struct FilesOfCall {
    directories: WasiFilesystemCtx,
    open: Option<OpenFiles>,
}

struct Ours;

impl HasData for Ours {
    type Data<'a> = View<'a>;
}

fn view(state: &mut CallState) -> View<'_> {
    state.count_host_call();
    if state.local::<FilesOfCall>().open.is_none() {
        let (grant, metrics) = (state.grant::<FilesGrant>(), state.metrics().clone());
        let call = state.local::<FilesOfCall>();
        if let Some(grant) = &grant {
            call.directories = grant.directories.clone();
        }
        call.open = Some(OpenFiles::new(grant.as_deref(), Some(metrics)));
    }
    let (call, table) = state.local_and_table::<FilesOfCall>();
    let open = call.open.get_or_insert_with(|| OpenFiles::new(None, None));
    View { inner: WasiFilesystemCtxView { ctx: &mut call.directories, table }, open }
}
