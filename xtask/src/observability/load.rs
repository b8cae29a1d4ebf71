//! Visitors who read all pages again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, ensure};

use crate::demo::pages;

/// More than the pool of the host has slots, so that calls wait.
const VISITORS: usize = 4;

pub(super) struct Load {
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
    page: String,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
}

impl Load {
    pub(super) fn start(address: &str) -> Result<Self> {
        let list = ureq::get(address).call()?.body_mut().read_to_string()?;
        let urls: Arc<[String]> = pages::items(&list).into_iter().map(|path| format!("{address}{path}")).collect();
        let page = urls.first().context("the host has no items")?.clone();
        let shared = Arc::new(Shared::default());
        let visit = |visitor: usize| {
            let (urls, shared) = (Arc::clone(&urls), Arc::clone(&shared));
            thread::spawn(move || {
                for url in urls.iter().cycle().skip(visitor) {
                    if shared.stop.load(Relaxed) {
                        break;
                    }
                    let answer = ureq::get(url).call().and_then(|mut page| page.body_mut().read_to_string());
                    let count = if answer.is_ok() { &shared.answered } else { &shared.failed };
                    count.fetch_add(1, Relaxed);
                }
            })
        };
        let threads = (0..VISITORS).map(visit).collect();
        Ok(Self { threads, shared, page })
    }

    /// The address of an item.
    pub(super) fn page(&self) -> &str {
        &self.page
    }

    /// How many pages were read. Gives an error when one was not answered.
    pub(super) fn stop(mut self) -> Result<u64> {
        self.shared.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            ensure!(thread.join().is_ok(), "a visitor broke off");
        }
        let failed = self.shared.failed.load(Relaxed);
        ensure!(failed == 0, "{failed} pages were not answered while plugins were replaced");
        Ok(self.shared.answered.load(Relaxed))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
    }
}
