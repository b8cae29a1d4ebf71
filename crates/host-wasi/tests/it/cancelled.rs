//! Callers that go away while a plugin waits for a file, a clock or a connection, at every point at which they can.

use std::{
    future::{Future, poll_fn},
    io::{self, Read},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    pin::pin,
    sync::mpsc,
    task::Poll,
    time::Duration,
};

use serde_json::json;
use tapline_content::ItemView;
use tapline_host_core::{Fault, Host, PluginSpec, limits::Limits};
use tapline_host_wasi::{DEFAULT_MAX_OPEN_FILES, MAX_FILE_STREAMS};
use tokio::{
    runtime::Builder,
    sync::oneshot,
    task::{spawn_blocking, yield_now},
    time::timeout,
};

use crate::{
    Place, config,
    connecting::Connecting,
    file_streams::{self, Streaming},
    guests::{Then, connector},
    host, item, name, probe_spec,
};

/// Long enough for anything that is not stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the threads for what blocks do while a call is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threads {
    /// What a poll begins is done by another thread, at once or later: where the call is when it is dropped, and whether
    /// an operation runs at that moment, differs from time to time.
    Free,
    /// Nothing differs: what a poll begins is queued when it returns, and never begins if the call is dropped then.
    Busy,
}

impl Threads {
    /// On a runtime that has one of them.
    fn run<F: Future>(test: F) -> F::Output {
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
        runtime.block_on(test)
    }

    /// Polls a future so often and no further, then drops it. `Some`: it was done by then.
    async fn poll<F: Future>(self, future: F, times: usize) -> Option<F::Output> {
        match self {
            Self::Free => polled(future, times).await,
            Self::Busy => polled_while_busy(future, times).await,
        }
    }
}

async fn polled<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn polled_while_busy<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = Box::pin(future);
    for left in (0..times).rev() {
        let (let_go, held) = mpsc::channel::<()>();
        let (begin, begun) = oneshot::channel();
        spawn_blocking(move || {
            let _ = begin.send(());
            let _ = held.recv();
        });
        // What was queued before is done.
        begun.await.unwrap();
        if let Poll::Ready(output) = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
            return Some(output);
        }
        if left == 0 {
            drop(future);
            drop(let_go);
            return None;
        }
    }
    None
}

/// Drops the future that `call` makes after one poll, after two, and so on until one is done. After each no slot is in
/// use, and `nothing_left` finds nothing of it. Returns how many polls the last one took, and what came of it.
async fn at_every_point<F: Future>(
    host: &Host,
    threads: Threads,
    call: impl Fn() -> F,
    nothing_left: impl AsyncFn(usize),
) -> (usize, F::Output) {
    for times in 1.. {
        let done = timeout(PATIENCE, threads.poll(call(), times)).await.unwrap();
        assert_eq!(host.slots().0, 0, "after {times} polls");
        nothing_left(times).await;
        if let Some(output) = done {
            return (times, output);
        }
    }
    unreachable!("some call is done in the end")
}

async fn until(so: impl Fn() -> bool, after: &str) {
    let becomes = async {
        while !so() {
            yield_now().await;
        }
    };
    timeout(PATIENCE, becomes).await.unwrap_or_else(|_| panic!("not so after {after}"));
}

/// What this process has open in a directory. All of it would count what other tests open.
fn open_in(directory: &Path) -> usize {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = all.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    targets.filter(|target| target.starts_with(directory)).count()
}

/// Time for what would wait for ever: enough for what comes before.
fn briefly() -> Limits {
    Limits::builder().max_execution_time(Duration::from_secs(1)).build().unwrap()
}

/// Each command, or a few, in a call of its own.
async fn with_files(threads: Threads, calls: &[&str]) {
    let place = Place::new();
    let data = place.data().canonicalize().unwrap();
    for entry in ["a", "b", "c"] {
        std::fs::write(data.join(entry), vec![b'x'; 20_000]).unwrap();
    }
    let host = host();
    host.load(probe_spec(place.grant("write"))).await.unwrap();
    let before = open_in(&data);
    let most = vec!["open /data/a"; DEFAULT_MAX_OPEN_FILES as usize].join("\n");
    let next = item("do", &format!("{most}\nclose\nappend /data/next 1"));
    for commands in calls {
        let asked = item("do", commands);
        let limits = if commands.starts_with("sleep") { briefly() } else { Limits::default() };
        let call = || host.dispatch_within(ItemView, &asked, limits);
        let (polls, outcome) = at_every_point(&host, threads, call, async |times| {
            let after = format!("{times} polls of `{commands}`");
            until(|| open_in(&data) == before, &after).await;
            let outcome = timeout(PATIENCE, host.dispatch(ItemView, &next)).await.unwrap().unwrap();
            assert!(outcome.failures.is_empty(), "{after}: {:?}", outcome.failures);
            let body = outcome.answers[0].1.body();
            assert!(!body.contains("error") && body.contains("ok 10"), "{after}: {body}");
        })
        .await;
        let outcome = outcome.unwrap();
        assert!(threads == Threads::Free || polls > 1, "`{commands}` does not wait");
        if commands.starts_with("sleep") {
            assert!(matches!(outcome.failures[0].fault, Fault::TimedOut { .. }), "{:?}", outcome.failures);
        } else {
            assert!(!outcome.answers[0].1.body().contains("error"), "`{commands}`: {:?}", outcome.answers);
        }
    }
}

const COMMANDS: [&str; 9] = [
    "read /data/a",
    "write /data/new 20000",
    "write-at /data/new 5000 10000",
    "append /data/log 10000",
    "list /data",
    "set-size /data/b 5",
    "size /data/a",
    "rename /data/c /data/c",
    "open /data/a\nopen /data/b\nappend /data/log 5000\nread /data/a",
];

#[tokio::test]
async fn while_a_file_is_used() {
    with_files(Threads::Free, &COMMANDS).await;
}

#[test]
fn while_a_file_waits_for_a_thread() {
    Threads::run(with_files(Threads::Busy, &COMMANDS));
}

#[tokio::test]
async fn while_it_sleeps() {
    with_files(Threads::Free, &["sleep 1000000"]).await;
}

async fn with_streams(threads: Threads) {
    let place = Place::new();
    let data = place.data().canonicalize().unwrap();
    let host = file_streams::host(&place).await;
    let before = open_in(&data);
    for way in [file_streams::WRITE_AT, file_streams::APPEND] {
        let asked = (way, MAX_FILE_STREAMS, 2);
        let (_, outcome) = at_every_point(
            &host,
            threads,
            || host.dispatch(Streaming, &asked),
            async |times| {
                until(|| open_in(&data) == before, &format!("{times} polls")).await;
                let next = timeout(PATIENCE, file_streams::stream(&host, (way, MAX_FILE_STREAMS, 1))).await;
                assert_eq!(next.unwrap(), MAX_FILE_STREAMS, "after {times} polls");
                // Or it becomes too large.
                std::fs::remove_file(data.join("file")).unwrap();
            },
        )
        .await;
        assert_eq!(outcome.unwrap().answers, [(name("p"), MAX_FILE_STREAMS)]);
    }
}

#[tokio::test]
async fn while_many_streams_write() {
    with_streams(Threads::Free).await;
}

#[test]
fn while_many_streams_wait_for_a_thread() {
    Threads::run(with_streams(Threads::Busy));
}

/// A call of a plugin that looks a name up, if it is not empty, connects to somebody who says nothing, and does what it
/// does then.
async fn with_a_connection(threads: Threads, lookup: &str, then: Then) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let to = (Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port());
    let host = tapline_host_wasi::register(Host::builder().config(config()).tap::<Connecting>()).build().unwrap();
    let spec = PluginSpec::bytes(name("p"), connector(lookup, then));
    host.load(spec.grant("network", json!([format!("localhost:{}", to.1)]))).await.unwrap();
    let limits = if then == Then::Wait { briefly() } else { Limits::default() };
    let call = || host.dispatch_within(Connecting, &to, limits);
    let (polls, outcome) = at_every_point(&host, threads, call, async |times| {
        // Each connection that was made is closed.
        while let Ok((mut connection, _)) = listener.accept() {
            connection.set_nonblocking(true).unwrap();
            let closed = async {
                loop {
                    match connection.read(&mut [0]) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => yield_now().await,
                        other => break assert!(!matches!(other, Ok(1)), "nobody writes"),
                    }
                }
            };
            timeout(PATIENCE, closed).await.unwrap_or_else(|_| panic!("still open after {times} polls"));
        }
    })
    .await;
    assert!(polls > 1, "it does not wait");
    let outcome = outcome.unwrap();
    match then {
        Then::Wait => assert!(matches!(outcome.failures[0].fault, Fault::TimedOut { .. }), "{:?}", outcome.failures),
        _ => assert_eq!(outcome.answers, [(name("p"), 0)], "{:?}", outcome.failures),
    }
}

#[tokio::test]
async fn while_nobody_answers() {
    with_a_connection(Threads::Free, "", Then::Wait).await;
}

#[test]
fn while_a_name_is_looked_up() {
    Threads::run(with_a_connection(Threads::Busy, "localhost", Then::Nothing));
}
