//! What a call has open, counted by what the system has open for it.

use std::sync::Arc;

use tapline_host_core::metrics::PluginMetrics;
use tokio::sync::Mutex;
use wasmtime_wasi::{filesystem::WasiFilesystemCtx, p2::bindings::filesystem::types::ErrorCode};

use super::{BLOCKING, FilesGrant, NAME};
use crate::{config::MAX_FILE_STREAMS, places::Share};

/// The open files of one call, and what holds for each.
pub(super) struct OpenFiles {
    limit: usize,
    /// One clone for each place that is taken.
    places: Arc<()>,
    by_handle: Vec<(u32, Place)>,
    pub(super) rules: Arc<Rules>,
}

/// What holds for all files of a call.
pub(super) struct Rules {
    pub(super) max_file_size: u64,
    /// Those who append take turns. Nobody keeps a thread while it waits for its turn.
    pub(super) appending: Arc<Mutex<()>>,
    /// Where operations run.
    pub(super) threads: Share,
    /// What `wasmtime-wasi` needs to run them there.
    pub(super) there: WasiFilesystemCtx,
    pub(super) metrics: Option<PluginMetrics>,
}

/// The place of one open file. Its descriptor and its streams share it: it is free when all of them are gone.
pub(super) type Place = Arc<Arc<()>>;

impl OpenFiles {
    pub(super) fn new(grant: Option<&FilesGrant>, metrics: Option<PluginMetrics>) -> Self {
        Self {
            limit: grant.map_or(0, |grant| grant.max_open_files as usize),
            places: Arc::default(),
            by_handle: Vec::new(),
            rules: Arc::new(Rules::new(grant, metrics)),
        }
    }

    /// A place for one more file.
    pub(super) fn take(&self) -> Result<Place, ErrorCode> {
        if Arc::strong_count(&self.places) > self.limit {
            return Err(ErrorCode::Quota);
        }
        Ok(Arc::new(Arc::clone(&self.places)))
    }

    pub(super) fn keep(&mut self, handle: u32, place: Place) {
        self.by_handle.push((handle, place));
    }

    /// The place of a handle, for one more stream. None: a directory of the grant, which takes none.
    pub(super) fn place(&self, handle: u32) -> Result<Option<Place>, ErrorCode> {
        let Some((_, place)) = self.by_handle.iter().find(|(known, _)| *known == handle) else { return Ok(None) };
        // One of them is the descriptor's.
        if Arc::strong_count(place) > MAX_FILE_STREAMS as usize {
            return Err(ErrorCode::Quota);
        }
        Ok(Some(Arc::clone(place)))
    }

    pub(super) fn leave(&mut self, handle: u32) {
        self.by_handle.retain(|(known, _)| *known != handle);
    }
}

impl Rules {
    pub(super) fn new(grant: Option<&FilesGrant>, metrics: Option<PluginMetrics>) -> Self {
        Self {
            max_file_size: grant.map_or(0, |grant| grant.max_file_size),
            appending: grant.map_or_else(Arc::default, |grant| Arc::clone(&grant.appending)),
            threads: grant.map_or_else(|| BLOCKING.share(), |grant| grant.threads.clone()),
            there: grant.map_or_else(WasiFilesystemCtx::default, |grant| grant.there.clone()),
            metrics,
        }
    }

    /// Counts that the guest was refused something.
    pub(super) fn refused(&self) {
        if let Some(metrics) = &self.metrics {
            metrics.host_call_refused(NAME);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(limit: usize) -> OpenFiles {
        OpenFiles { limit, ..OpenFiles::new(None, None) }
    }

    #[test]
    fn a_place_is_free_when_the_last_that_shares_it_is_gone() {
        let mut open = open(2);
        let first = open.take().unwrap();
        open.keep(1, first);
        let stream = open.place(1).unwrap();
        let second = open.take().unwrap();
        open.keep(2, second);
        assert_eq!(open.take().unwrap_err(), ErrorCode::Quota);
        open.leave(1);
        assert_eq!(open.take().unwrap_err(), ErrorCode::Quota);
        drop(stream);
        assert!(open.take().is_ok());
        assert!(open.place(1).unwrap().is_none());
        assert!(open.place(2).unwrap().is_some());
    }

    #[test]
    fn a_file_has_so_many_streams_and_room_for_another_when_one_is_gone() {
        let mut open = open(2);
        open.keep(1, open.take().unwrap());
        open.keep(2, open.take().unwrap());
        let mut streams: Vec<_> = (0..MAX_FILE_STREAMS).map(|_| open.place(1).unwrap()).collect();
        assert_eq!(open.place(1).unwrap_err(), ErrorCode::Quota);
        assert!(open.place(2).is_ok());
        streams.pop();
        assert!(open.place(1).is_ok());
    }
}
