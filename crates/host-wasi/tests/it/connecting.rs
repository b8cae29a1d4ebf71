//! Connections to whom they are not granted.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tapline_host_core::{
    Call, CallError, Collect, Fault, Host, Interface, PluginSpec, Signature, Tap, limits::PartialLimits,
};
use tapline_host_wasi::{MAX_CONNECTIONS, MAX_LOOKUPS, Network, Standard};
use tokio::time::timeout;

use crate::{
    config,
    guests::{Then, connector},
    name,
};

/// Long enough for anything that is not stuck.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// The address that a name has: the tap's own is left out.
const OF_THE_NAME: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
/// `access-denied`, from the function that begins to connect or from the one that ends it.
const DENIED: [u32; 2] = [101, 201];

/// A tap from an address and a port to what came of the connection.
pub(crate) struct Connecting;

impl Tap for Connecting {
    const NAME: &'static str = "connecting";
    const INTERFACES: &'static [Interface] =
        &[Interface { name: "test:wasi/connecting@1.0.0", function: "run", mode: "full" }];
    type Policy = Collect;
    type Input = (Ipv4Addr, u16);
    type Answer = u32;

    fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        signature.is::<(u32, u32), (u32,)>()
    }

    async fn call(call: &mut Call, (address, port): &(Ipv4Addr, u16)) -> Result<u32, CallError> {
        let address = u32::from_le_bytes(address.octets());
        Ok(call.invoke::<(u32, u32), (u32,)>((address, u32::from(*port))).await?.0)
    }
}

/// A host whose names have the addresses that a test gives them.
fn host(names: &'static [(&'static str, &'static str)], asked: &Arc<AtomicUsize>) -> Host {
    let asked = Arc::clone(asked);
    let network = Network::with_resolver(move |name| {
        asked.fetch_add(1, Ordering::Relaxed);
        let found = names.iter().filter(|(known, _)| *known == name);
        let found: Vec<IpAddr> = found.map(|(_, address)| address.parse().unwrap()).collect();
        Box::pin(async move { if found.is_empty() { Err(io::Error::other("no such name")) } else { Ok(found) } })
    });
    let builder = Host::builder().config(config()).tap::<Connecting>().capability(Standard).capability(network);
    builder.build().unwrap()
}

async fn connect(host: &Host, plugin: Vec<u8>, grant: &[String], to: (Ipv4Addr, u16)) -> u32 {
    host.load(PluginSpec::bytes(name("p"), plugin).grant("network", json!(grant))).await.unwrap();
    let outcome = timeout(PATIENCE, host.dispatch(Connecting, &to)).await.unwrap().unwrap();
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    host.unload(&name("p")).await.unwrap();
    outcome.answers[0].1
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn only_listed_addresses_with_their_ports() {
    let (listener, port) = listener();
    let (_other, other_port) = self::listener();
    let host = host(&[], &Arc::default());
    let plain = || connector("", Then::Nothing);
    let listed = [format!("127.0.0.1:{port}")];
    assert_eq!(connect(&host, plain(), &listed, (LOOPBACK, port)).await, 0);
    assert!(listener.accept().is_ok());
    // The host's own services are as strange as any other, and so is another port of a listed host.
    for (grant, to) in [
        (&["example.org:80".to_owned()][..], (LOOPBACK, port)),
        (&listed, (LOOPBACK, other_port)),
        (&listed, (Ipv4Addr::new(127, 0, 0, 2), port)),
        (&listed, (OF_THE_NAME, port)),
        (&listed, (Ipv4Addr::new(93, 184, 215, 14), port)),
        (&[format!("[::1]:{port}")], (LOOPBACK, port)),
    ] {
        let answer = connect(&host, plain(), grant, to).await;
        assert!(DENIED.contains(&answer) || (to.0 == OF_THE_NAME && answer % 100 == 3), "{grant:?} {to:?}: {answer}");
    }
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "nobody came");
}

#[tokio::test]
async fn localhost_is_what_it_says() {
    let (listener, port) = listener();
    let host = host(&[("localhost", "127.0.0.1")], &Arc::default());
    let plugin = connector("localhost", Then::Nothing);
    assert_eq!(connect(&host, plugin, &[format!("localhost:{port}")], (OF_THE_NAME, port)).await, 0);
    assert!(listener.accept().is_ok());
}

#[tokio::test]
async fn only_listed_names_are_looked_up() {
    let asked = Arc::default();
    let host = host(&[("db.example.org", "93.184.215.14"), ("other.example.org", "93.184.215.14")], &asked);
    let grant = ["db.example.org:5432".to_owned()];
    let to = (Ipv4Addr::new(10, 0, 0, 1), 5432);
    assert_eq!(connect(&host, connector("other.example.org", Then::Nothing), &grant, to).await, 301);
    assert_eq!(connect(&host, connector("example.org", Then::Nothing), &grant, to).await, 301);
    assert_eq!(connect(&host, connector("db.example.org.evil.net", Then::Nothing), &grant, to).await, 301);
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    // The name is listed; what it has resolved to is another address than the one that is connected to.
    let answer = connect(&host, connector("db.example.org", Then::Nothing), &grant, to).await;
    assert!(DENIED.contains(&answer), "{answer}");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_name_that_resolves_to_an_address_inside_leads_nowhere() {
    let (listener, port) = listener();
    let host = host(
        &[
            ("loopback.example.org", "127.0.0.1"),
            ("mapped.example.org", "::ffff:127.0.0.1"),
            ("private.example.org", "192.168.0.1"),
            ("metadata.example.org", "169.254.169.254"),
        ],
        &Arc::default(),
    );
    for name in ["loopback.example.org", "mapped.example.org", "private.example.org", "metadata.example.org"] {
        let grant = [format!("{name}:{port}")];
        assert_eq!(connect(&host, connector(name, Then::Nothing), &grant, (OF_THE_NAME, port)).await, 401, "{name}");
        // Nor does the lookup open the way for an address that the plugin knows by itself.
        let to = (LOOPBACK, port);
        assert_eq!(connect(&host, connector(name, Then::Nothing), &grant, to).await, 401, "{name}");
    }
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "nobody came");
    // Unless the operator lists the address itself.
    let grant = [format!("loopback.example.org:{port}"), format!("127.0.0.1:{port}")];
    let plugin = connector("loopback.example.org", Then::Nothing);
    assert_eq!(connect(&host, plugin, &grant, (OF_THE_NAME, port)).await, 0);
    assert!(listener.accept().is_ok());
}

#[tokio::test]
async fn a_name_without_an_address_is_an_error_of_the_lookup() {
    let host = host(&[], &Arc::default());
    let grant = ["db.example.org:5432".to_owned()];
    assert_eq!(connect(&host, connector("db.example.org", Then::Nothing), &grant, (OF_THE_NAME, 5432)).await, 418);
}

#[tokio::test]
async fn no_udp_and_nobody_listens() {
    let host = host(&[], &Arc::default());
    let grant = ["127.0.0.1:9".to_owned()];
    assert_eq!(connect(&host, connector("", Then::Udp), &grant, (LOOPBACK, 0)).await, 601);
    assert_eq!(connect(&host, connector("", Then::Listen), &grant, (LOOPBACK, 9)).await, 701);
    assert_eq!(connect(&host, connector("", Then::Listen), &grant, (OF_THE_NAME, 9)).await, 701);
    // As the system binds before it connects.
    assert_eq!(connect(&host, connector("", Then::Listen), &grant, (OF_THE_NAME, 0)).await, 801);
}

#[tokio::test]
async fn a_call_makes_no_more_sockets_than_it_may() {
    let (_listener, port) = listener();
    let host = host(&[], &Arc::default());
    let grant = [format!("127.0.0.1:{port}")];
    let most = connector("", Then::Sockets(MAX_CONNECTIONS - 1));
    assert_eq!(connect(&host, most, &grant, (LOOPBACK, port)).await, 0);
    let more = connector("", Then::Sockets(MAX_CONNECTIONS));
    assert_eq!(connect(&host, more, &grant, (LOOPBACK, port)).await, 510);
}

#[tokio::test]
async fn a_call_looks_up_no_more_names_than_it_may() {
    let asked = Arc::default();
    let host = host(&[("db.example.org", "93.184.215.14")], &asked);
    let grant = ["db.example.org:5432".to_owned()];
    let to = (Ipv4Addr::new(10, 0, 0, 1), 5432);
    let most = connect(&host, connector("db.example.org", Then::Lookups(MAX_LOOKUPS - 1)), &grant, to).await;
    assert!(DENIED.contains(&most), "the last one is answered, and the connection denied: {most}");
    assert_eq!(asked.swap(0, Ordering::Relaxed), MAX_LOOKUPS as usize);
    // `temporary-resolver-failure`, and nobody is asked.
    assert_eq!(connect(&host, connector("db.example.org", Then::Lookups(MAX_LOOKUPS)), &grant, to).await, 319);
    assert_eq!(asked.load(Ordering::Relaxed), MAX_LOOKUPS as usize);
}

#[tokio::test]
async fn waiting_for_ever_at_a_socket_ends_with_the_deadline() {
    let (_listener, port) = listener();
    let host = host(&[], &Arc::default());
    let limits = PartialLimits { max_execution_time_ms: Some(300), ..PartialLimits::default() };
    let spec = PluginSpec::bytes(name("p"), connector("", Then::Wait)).limits(limits);
    host.load(spec.grant("network", json!([format!("127.0.0.1:{port}")]))).await.unwrap();
    let outcome = timeout(PATIENCE, host.dispatch(Connecting, &(LOOPBACK, port))).await.unwrap().unwrap();
    let fault = &outcome.failures[0].fault;
    assert!(matches!(fault, Fault::TimedOut { .. }), "{fault}");
    assert_eq!(host.slots().0, 0);
}
