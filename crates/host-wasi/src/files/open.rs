//! What a call has open, counted by what the system has open for it.

use std::sync::{Arc, Mutex};

use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::FilesGrant;

/// The open files of one call, and what holds for each.
pub(super) struct OpenFiles {
    limit: usize,
    pub(super) max_file_size: u64,
    pub(super) appending: Arc<Mutex<()>>,
    /// One clone for each place that is taken.
    places: Arc<()>,
    by_handle: Vec<(u32, Place)>,
}

/// The place of one open file. Its descriptor and its streams share it: it is free when all of them are gone.
pub(super) type Place = Arc<Arc<()>>;

impl OpenFiles {
    pub(super) fn new(grant: Option<&FilesGrant>) -> Self {
        Self {
            limit: grant.map_or(0, |grant| grant.max_open_files as usize),
            max_file_size: grant.map_or(0, |grant| grant.max_file_size),
            appending: grant.map_or_else(Arc::default, |grant| Arc::clone(&grant.appending)),
            places: Arc::default(),
            by_handle: Vec::new(),
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

    /// The place of a handle. None: a directory of the grant, which takes none.
    pub(super) fn place(&self, handle: u32) -> Option<Place> {
        self.by_handle.iter().find(|(known, _)| *known == handle).map(|(_, place)| Arc::clone(place))
    }

    pub(super) fn leave(&mut self, handle: u32) {
        self.by_handle.retain(|(known, _)| *known != handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_when_the_last_that_shares_it_is_gone() {
        let mut open = OpenFiles { limit: 2, ..OpenFiles::new(None) };
        let first = open.take().unwrap();
        let stream = Arc::clone(&first);
        open.keep(1, first);
        let second = open.take().unwrap();
        open.keep(2, second);
        assert_eq!(open.take().unwrap_err(), ErrorCode::Quota);
        open.leave(1);
        assert_eq!(open.take().unwrap_err(), ErrorCode::Quota);
        drop(stream);
        assert!(open.take().is_ok());
        assert!(open.place(1).is_none());
        assert!(open.place(2).is_some());
    }
}
