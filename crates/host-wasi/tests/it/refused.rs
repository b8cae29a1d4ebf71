//! What plugins were refused is counted, by plugin and by the name of the grant, where an operator looks.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::json;
use tapline_host_core::{Host, PluginSpec};
use tapline_host_wasi::{
    MAX_CONNECTIONS, MAX_DIRECTORY_ENTRIES, MAX_FILE_STREAMS, MAX_LOOKUPS, MAX_RANDOM_BYTES, Network,
};

use crate::{Place, ambient::Randomness, answers, config, connecting::Connecting, file_streams, guests, name, probe};

/// All that has moved, such as `plugin="p",capability="files" 2`.
fn refusals(host: &Host) -> Vec<String> {
    let metrics = host.metrics().render().unwrap();
    let lines = metrics.lines().filter_map(|line| line.strip_prefix("tapline_host_call_refusals_total{"));
    lines.filter(|line| !line.ends_with(" 0")).map(|line| line.replace('}', "")).collect()
}

fn counted(plugin: &str, capability: &str, times: u64) -> Vec<String> {
    if times == 0 { Vec::new() } else { vec![format!("plugin=\"{plugin}\",capability=\"{capability}\" {times}")] }
}

/// Runs each group of commands in a call of its own. Each is refused so often.
async fn check(host: &Host, groups: &[(&[&str], u64)]) {
    let mut all = 0;
    for (commands, times) in groups {
        let answers = answers(host, commands).await;
        all += times;
        assert_eq!(refusals(host), counted("probe-wasi", "files", all), "{commands:?}: {answers:?}");
    }
}

#[tokio::test]
async fn files_that_are_too_large_or_too_many() {
    let place = Place::new();
    let mut grant = place.grant_with("write", "max_file_size", 1000);
    grant["max_open_files"] = 2.into();
    let host = probe(grant).await;
    check(
        &host,
        &[
            (&["write /data/a 1000", "append /data/b 1000", "read /data/a", "list /data", "set-size /data/a 5"], 0),
            (&["read /data/none", "make-directory /data/a", "write /data 1"], 0),
            (&["write /data/a 1001"], 1),
            (&["write-at /data/a 1000 1"], 1),
            (&["append /data/b 1", "append /data/b 1"], 2),
            (&["set-size /data/a 1001"], 1),
            (&["open /data/a", "open /data/a", "open /data/a", "list /data", "close", "open /data/a"], 2),
        ],
    )
    .await;
}

#[tokio::test]
async fn paths_that_lead_outside_and_what_is_there_to_read_alone() {
    let place = Place::new();
    std::os::unix::fs::symlink("..", place.data().join("up")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        place.data().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let host = probe(place.grant("read")).await;
    check(
        &host,
        &[
            (&["read /data/up/secret"], 1),
            (&["size /data/../secret"], 1),
            (&["read /data/pipe"], 1),
            (&["write /data/new 1"], 1),
            (&["make-directory /data/new"], 1),
            (&["remove /data/up/secret"], 1),
            // The plugin's own standard library knows that nobody has granted it this.
            (&["read /etc/passwd"], 0),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_listing_that_is_too_long() {
    let place = Place::new();
    for number in 0..=MAX_DIRECTORY_ENTRIES {
        std::fs::write(place.data().join(number.to_string()), "").unwrap();
    }
    check(&probe(place.grant("read")).await, &[(&["list /data"], 1)]).await;
}

#[tokio::test]
async fn streams_that_are_too_many() {
    let place = Place::new();
    let host = file_streams::host(&place).await;
    for (way, times) in [(file_streams::READ, 1), (file_streams::WRITE_AT, 2), (file_streams::APPEND, 3)] {
        file_streams::stream(&host, (way, MAX_FILE_STREAMS, 0)).await;
        file_streams::stream(&host, (way, MAX_FILE_STREAMS + 1, 0)).await;
        assert_eq!(refusals(&host), counted("p", "files", times));
    }
}

#[tokio::test]
async fn addresses_sockets_and_lookups() {
    use guests::Then;
    let network = Network::with_resolver(|_| Box::pin(async { Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]) }));
    let builder = Host::builder().config(config()).tap::<Connecting>().capability(tapline_host_wasi::Standard);
    let host = builder.capability(network).build().unwrap();
    // What was counted about it outlasts the plugin.
    let _counted = host.metrics().lease("p");
    let listed = (Ipv4Addr::LOCALHOST, 9);
    let mut all = 0;
    for (lookup, then, to, times) in [
        // Nobody answers there, which is no refusal.
        ("", Then::Nothing, listed, 0),
        ("", Then::Nothing, (Ipv4Addr::LOCALHOST, 10), 1),
        ("", Then::Listen, (Ipv4Addr::LOCALHOST, 9), 1),
        ("", Then::Listen, (Ipv4Addr::UNSPECIFIED, 0), 1),
        ("", Then::Udp, listed, 1),
        ("", Then::Sockets(MAX_CONNECTIONS - 1), listed, 0),
        ("", Then::Sockets(MAX_CONNECTIONS), listed, 1),
        ("other.example.org", Then::Nothing, listed, 1),
        ("listed.example.org", Then::Nothing, listed, 0),
        ("listed.example.org", Then::Lookups(MAX_LOOKUPS - 1), listed, 0),
        ("listed.example.org", Then::Lookups(MAX_LOOKUPS), listed, 1),
        ("inside.example.org", Then::Nothing, listed, 1),
    ] {
        let grant = json!(["127.0.0.1:9", "listed.example.org:9", "inside.example.org:10"]);
        host.load(PluginSpec::bytes(name("p"), guests::connector(lookup, then)).grant("network", grant)).await.unwrap();
        let outcome = host.dispatch(Connecting, &to).await.unwrap();
        assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
        host.unload(&name("p")).await.unwrap();
        all += times;
        assert_eq!(refusals(&host), counted("p", "network", all), "{lookup} {to:?}: {:?}", outcome.answers);
    }
}

#[tokio::test]
async fn random_bytes_that_are_too_many() {
    let host = tapline_host_wasi::register(Host::builder().config(config()).tap::<Randomness>()).build().unwrap();
    host.load(PluginSpec::bytes(name("p"), guests::random()).grant("random", true)).await.unwrap();
    for (is_secure, length, times) in [
        (true, MAX_RANDOM_BYTES, 0),
        (true, MAX_RANDOM_BYTES + 1, 1),
        (false, MAX_RANDOM_BYTES, 1),
        (false, u64::MAX, 2),
    ] {
        host.dispatch(Randomness, &(is_secure, length)).await.unwrap();
        assert_eq!(refusals(&host), counted("p", "random", times));
    }
}
