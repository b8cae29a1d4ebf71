//! Connections by grant.

mod lookup;

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use tapline_host_core::{CallState, Capability, GrantValue, Granted, Reach};
use tokio::sync::Semaphore;
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    WasiCtx,
    p2::{
        TcpSocket,
        bindings::sockets::{
            instance_network,
            network::{self, ErrorCode},
            tcp,
            tcp_create_socket::{Host as _, IpAddressFamily},
            udp, udp_create_socket,
        },
    },
    runtime::spawn_blocking,
    sockets::{SocketAddrUse, WasiSockets, WasiSocketsCtx, WasiSocketsCtxView},
};

use crate::config::{AllowList, MAX_CONNECTIONS};

const CREATE_SOCKET: &str = "wasi:sockets/tcp-create-socket@0.2.12";

/// Names that are looked up at the same time for all plugins together: each takes a thread for as long as the system
/// waits for an answer, and files need such threads as well.
const LOOKUPS_AT_ONCE: usize = 16;

/// How a name becomes addresses. See [`Network::with_resolver`].
pub type Resolve =
    dyn Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync + 'static;

/// TCP connections to the hosts and ports that the operator lists. Granted, for example, with
/// `network = ["db.example.org:5432"]`.
///
/// Each connection is checked when it is made, by its address:
///
/// - an address that is listed with the port, such as `10.0.0.5:80`, may be connected to;
/// - so may an address to which a listed name has resolved **in this call**, at the ports that are listed for the name,
///   unless it lies inside: loopback, private, link-local and other addresses that are not of the public internet. What a
///   name resolves to is decided by whoever runs it; an address of one's own network has to be listed as an address;
/// - `localhost` stands for `127.0.0.1` and `::1`.
///
/// No other name is looked up. There is no UDP, and nothing listens. A call makes at most
/// [`MAX_CONNECTIONS`](crate::MAX_CONNECTIONS) sockets and looks up at most [`MAX_LOOKUPS`](crate::MAX_LOOKUPS) names. A
/// wait ends with the call's deadline.
#[derive(Clone)]
pub struct Network {
    resolve: Arc<Resolve>,
}

impl Default for Network {
    /// Looks names up as the system does.
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(LOOKUPS_AT_ONCE));
        Self::with_resolver(move |name| {
            let places = Arc::clone(&places);
            Box::pin(async move {
                let place = places.acquire_owned().await.map_err(io::Error::other)?;
                // The place goes with the thread: a call that ends does not end the lookup.
                let lookup = spawn_blocking(move || {
                    let found = (name.as_str(), 0).to_socket_addrs();
                    drop(place);
                    found
                });
                Ok(lookup.await?.map(|address| address.ip()).collect())
            })
        })
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

impl Network {
    /// Looks names up in another way. The function gets listed names alone, in the plugin's spelling.
    pub fn with_resolver<F>(resolve: F) -> Self
    where
        F: Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync + 'static,
    {
        Self { resolve: Arc::new(resolve) }
    }
}

impl Capability for Network {
    fn grant_name(&self) -> Option<&'static str> {
        Some("network")
    }

    fn grant_example(&self) -> &'static str {
        r#"["db.example.org:5432"]"#
    }

    fn reaches(&self, _value: &GrantValue) -> Option<Reach> {
        Some(Reach::Network)
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &[
            "wasi:sockets/network@0.2.12",
            "wasi:sockets/instance-network@0.2.12",
            lookup::INTERFACE,
            "wasi:sockets/tcp@0.2.12",
            CREATE_SOCKET,
            "wasi:sockets/udp@0.2.12",
            "wasi:sockets/udp-create-socket@0.2.12",
        ]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        let options = network::LinkOptions::default();
        network::add_to_linker::<_, WasiSockets>(linker, &options, sockets)?;
        instance_network::add_to_linker::<_, WasiSockets>(linker, sockets)?;
        tcp::add_to_linker::<_, WasiSockets>(linker, sockets)?;
        udp::add_to_linker::<_, WasiSockets>(linker, sockets)?;
        udp_create_socket::add_to_linker::<_, WasiSockets>(linker, sockets)?;
        linker.instance(CREATE_SOCKET)?.func_wrap("create-tcp-socket", create_socket)?;
        lookup::link(linker, &self.resolve)
    }

    fn grant(&self, _plugin: &str, value: &GrantValue) -> Result<Granted, String> {
        AllowList::read(value).map(|list| Arc::new(list) as Granted).map_err(|error| error.to_string())
    }
}

/// What one call has of its grant.
#[derive(Default)]
struct NetworkOfCall {
    sockets: Option<WasiSocketsCtx>,
    resolved: Resolved,
    sockets_made: u32,
    lookups: u32,
}

/// The addresses, with ports, to which listed names have resolved in this call.
#[derive(Clone, Default)]
struct Resolved(Arc<Mutex<Vec<SocketAddr>>>);

impl Resolved {
    fn add(&self, address: IpAddr, ports: &[u16]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for port in ports {
            let address = SocketAddr::new(address, *port);
            if !all.contains(&address) {
                all.push(address);
            }
        }
    }

    fn contains(&self, address: SocketAddr) -> bool {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&address)
    }
}

fn sockets(state: &mut CallState) -> WasiSocketsCtxView<'_> {
    state.count_host_call();
    if state.local::<NetworkOfCall>().sockets.is_none() {
        let sockets = match state.grant::<AllowList>() {
            Some(list) => allowing(list, state.local::<NetworkOfCall>().resolved.clone()),
            None => WasiSocketsCtx::default(),
        };
        state.local::<NetworkOfCall>().sockets = Some(sockets);
    }
    let (call, table) = state.local_and_table::<NetworkOfCall>();
    WasiSocketsCtxView { ctx: call.sockets.get_or_insert_default(), table }
}

fn allowing(list: Arc<AllowList>, resolved: Resolved) -> WasiSocketsCtx {
    let mut builder = WasiCtx::builder();
    builder.allow_tcp(true).allow_udp(false).allow_ip_name_lookup(false).socket_addr_check(move |address, usage| {
        let allowed = match usage {
            SocketAddrUse::TcpConnect => list.lists(address) || resolved.contains(address),
            // What the system does before it connects: any port, any of the host's addresses. It is of use to nobody who
            // may not listen.
            SocketAddrUse::TcpBind => address.ip().is_unspecified() && address.port() == 0,
            _ => false,
        };
        Box::pin(async move { allowed })
    });
    builder.build().sockets().clone()
}

fn create_socket(
    mut store: StoreContextMut<'_, CallState>,
    (family,): (IpAddressFamily,),
) -> wasmtime::Result<(Result<Resource<TcpSocket>, ErrorCode>,)> {
    let made = &mut store.data_mut().local::<NetworkOfCall>().sockets_made;
    if *made == MAX_CONNECTIONS {
        return Ok((Err(ErrorCode::NewSocketLimit),));
    }
    *made += 1;
    match sockets(store.data_mut()).create_tcp_socket(family) {
        Ok(socket) => Ok((Ok(socket),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}
