//! Streams of files, of which a guest can make many and use them at the same time.

use std::collections::BTreeSet;

use tapline_host_core::{Call, CallError, Collect, Host, Interface, PluginSpec, Signature, Tap};
use tapline_host_wasi::MAX_FILE_STREAMS;

use crate::{
    Place, config,
    guests::{WRITE, streamer},
    name,
};

pub(crate) const READ: u32 = 0;
pub(crate) const WRITE_AT: u32 = 1;
pub(crate) const APPEND: u32 = 2;
/// `quota`, as the guest answers it.
const QUOTA: u32 = 7000;

/// A tap from a way, a number of streams and a number of writes to how many streams there were.
pub(crate) struct Streaming;

impl Tap for Streaming {
    const NAME: &'static str = "streaming";
    const INTERFACES: &'static [Interface] =
        &[Interface { name: "test:wasi/streaming@1.0.0", function: "run", mode: "full" }];
    type Policy = Collect;
    type Input = (u32, u32, u32);
    type Answer = u32;

    fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        signature.is::<(u32, u32, u32), (u32,)>()
    }

    async fn call(call: &mut Call, asked: &(u32, u32, u32)) -> Result<u32, CallError> {
        Ok(call.invoke::<(u32, u32, u32), (u32,)>(*asked).await?.0)
    }
}

pub(crate) async fn host(place: &Place) -> Host {
    let host = tapline_host_wasi::register(Host::builder().config(config()).tap::<Streaming>()).build().unwrap();
    host.load(PluginSpec::bytes(name("p"), streamer()).grant("files", place.grant("write"))).await.unwrap();
    host
}

pub(crate) async fn stream(host: &Host, asked: (u32, u32, u32)) -> u32 {
    let outcome = host.dispatch(Streaming, &asked).await.unwrap();
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    outcome.answers[0].1
}

#[tokio::test]
async fn a_file_has_no_more_streams_than_it_may() {
    let place = Place::new();
    let host = host(&place).await;
    for way in [READ, WRITE_AT, APPEND] {
        assert_eq!(stream(&host, (way, 100, 0)).await, QUOTA + MAX_FILE_STREAMS, "{way}");
        // The next call begins anew.
        assert_eq!(stream(&host, (way, MAX_FILE_STREAMS, 0)).await, MAX_FILE_STREAMS, "{way}");
    }
}

#[tokio::test]
async fn what_many_streams_write_at_once_is_all_there() {
    let place = Place::new();
    let host = host(&place).await;
    let writes = 3;
    for way in [WRITE_AT, APPEND] {
        assert_eq!(stream(&host, (way, MAX_FILE_STREAMS, writes)).await, MAX_FILE_STREAMS, "{way}");
        let written = std::fs::read(place.data().join("file")).unwrap();
        assert_eq!(written.len(), WRITE * (MAX_FILE_STREAMS * writes) as usize, "{way}");
        assert_eq!(written.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([b'x']), "{way}");
        std::fs::remove_file(place.data().join("file")).unwrap();
    }
}
