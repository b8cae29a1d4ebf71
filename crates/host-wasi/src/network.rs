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

use tapline_host_core::{CallState, Capability, GrantValue, Granted, Reach, metrics::PluginMetrics};
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    WasiCtx,
    p2::{
        TcpSocket, UdpSocket,
        bindings::sockets::{
            instance_network,
            network::{self, ErrorCode},
            tcp,
            tcp_create_socket::{Host as _, IpAddressFamily},
            udp,
        },
    },
    sockets::{SocketAddrUse, WasiSockets, WasiSocketsCtx, WasiSocketsCtxView},
};

use crate::{
    config::{AllowList, MAX_CONNECTIONS, MAX_LOOKUPS_AT_ONCE},
    places::{Places, Share},
};

/// The name of the grant, and of what is counted.
const NAME: &str = "network";
const CREATE_SOCKET: &str = "wasi:sockets/tcp-create-socket@0.2.12";
const CREATE_UDP_SOCKET: &str = "wasi:sockets/udp-create-socket@0.2.12";

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
/// [`MAX_CONNECTIONS`](crate::MAX_CONNECTIONS) sockets and looks up at most [`MAX_LOOKUPS`](crate::MAX_LOOKUPS) names. Of
/// all plugins at most [`MAX_LOOKUPS_AT_ONCE`](crate::MAX_LOOKUPS_AT_ONCE) names are looked up at the same time, three
/// quarters of that for one plugin; the next one waits. A wait ends with the call's deadline. What is refused is counted.
#[derive(Clone)]
pub struct Network {
    resolver: Resolver,
    lookups: Places,
}

#[derive(Clone)]
enum Resolver {
    /// Blocks a thread for each name.
    System(fn(&str) -> io::Result<Vec<IpAddr>>),
    Own(Arc<Resolve>),
}

impl Default for Network {
    /// Looks names up as the system does.
    fn default() -> Self {
        Self::with(Resolver::System(|name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())))
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

impl Network {
    /// Looks names up in another way. The function gets listed names alone, in the plugin's spelling. How many it looks up
    /// at the same time is its own matter; what it returns is dropped when the call ends.
    pub fn with_resolver<F>(resolve: F) -> Self
    where
        F: Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync + 'static,
    {
        Self::with(Resolver::Own(Arc::new(resolve)))
    }

    fn with(resolver: Resolver) -> Self {
        Self { resolver, lookups: Places::new(MAX_LOOKUPS_AT_ONCE) }
    }
}

impl Capability for Network {
    fn grant_name(&self) -> Option<&'static str> {
        Some(NAME)
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
            CREATE_UDP_SOCKET,
        ]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        let options = network::LinkOptions::default();
        network::add_to_linker::<_, WasiSockets>(linker, &options, sockets)?;
        instance_network::add_to_linker::<_, WasiSockets>(linker, sockets)?;
        tcp::add_to_linker::<_, WasiSockets>(linker, sockets)?;
        udp::add_to_linker::<_, WasiSockets>(linker, sockets)?;
        linker.instance(CREATE_SOCKET)?.func_wrap("create-tcp-socket", create_socket)?;
        linker.instance(CREATE_UDP_SOCKET)?.func_wrap("create-udp-socket", create_udp_socket)?;
        lookup::link(linker, &self.resolver)
    }

    fn grant(&self, plugin: &str, value: &GrantValue) -> Result<Granted, String> {
        let list = AllowList::read(value).map_err(|error| error.to_string())?;
        Ok(Arc::new(NetworkGrant { list, lookups: self.lookups.share_of(plugin) }))
    }
}

impl Resolver {
    /// The addresses of a name, once there is a place for the lookup in the plugin's share.
    fn look_up(&self, name: String, lookups: Share) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        match self {
            Self::System(resolve) => {
                let resolve = *resolve;
                Box::pin(async move { lookups.run(move || resolve(&name)).await })
            }
            Self::Own(resolve) => resolve(name),
        }
    }
}

/// Whom one plugin may connect to.
struct NetworkGrant {
    list: AllowList,
    lookups: Share,
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
        let metrics = state.metrics().clone();
        let sockets = match state.grant::<NetworkGrant>() {
            Some(grant) => allowing(grant, state.local::<NetworkOfCall>().resolved.clone(), metrics),
            None => WasiSocketsCtx::default(),
        };
        state.local::<NetworkOfCall>().sockets = Some(sockets);
    }
    let (call, table) = state.local_and_table::<NetworkOfCall>();
    WasiSocketsCtxView { ctx: call.sockets.get_or_insert_default(), table }
}

fn allowing(grant: Arc<NetworkGrant>, resolved: Resolved, metrics: PluginMetrics) -> WasiSocketsCtx {
    let mut builder = WasiCtx::builder();
    builder.allow_tcp(true).allow_udp(false).allow_ip_name_lookup(false).socket_addr_check(move |address, usage| {
        let allowed = match usage {
            SocketAddrUse::TcpConnect => grant.list.lists(address) || resolved.contains(address),
            // What the system does before it connects: any port, any of the host's addresses. It is of use to nobody who
            // may not listen.
            SocketAddrUse::TcpBind => address.ip().is_unspecified() && address.port() == 0,
            _ => false,
        };
        if !allowed {
            metrics.host_call_refused(NAME);
        }
        Box::pin(async move { allowed })
    });
    builder.build().sockets().clone()
}

fn create_socket(
    mut store: StoreContextMut<'_, CallState>,
    (family,): (IpAddressFamily,),
) -> wasmtime::Result<(Result<Resource<TcpSocket>, ErrorCode>,)> {
    let state = store.data_mut();
    if state.local::<NetworkOfCall>().sockets_made == MAX_CONNECTIONS {
        state.host_call_refused(NAME);
        return Ok((Err(ErrorCode::NewSocketLimit),));
    }
    state.local::<NetworkOfCall>().sockets_made += 1;
    match sockets(state).create_tcp_socket(family) {
        Ok(socket) => Ok((Ok(socket),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

/// Nobody gets one.
fn create_udp_socket(
    store: StoreContextMut<'_, CallState>,
    (_family,): (IpAddressFamily,),
) -> wasmtime::Result<(Result<Resource<UdpSocket>, ErrorCode>,)> {
    store.data().count_host_call();
    store.data().host_call_refused(NAME);
    Ok((Err(ErrorCode::AccessDenied),))
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::LazyLock};

    use serde_json::json;
    use tokio::{task::JoinSet, time::timeout};

    use super::*;
    use crate::places::tests::{Gate, OpenOnDrop, PATIENCE};

    static RESOLVER: LazyLock<Arc<Gate>> = LazyLock::new(Arc::default);

    /// A resolver that never hears of the names of one domain.
    fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
        if name.ends_with("silent.example.org") {
            RESOLVER.pass();
        }
        Ok(vec![Ipv4Addr::LOCALHOST.into()])
    }

    #[tokio::test]
    async fn a_plugin_whose_names_have_no_answer_leaves_lookups_to_others() {
        let network = Network::with(Resolver::System(resolve));
        let grant = |plugin: &str| {
            let granted = network.grant(plugin, &json!(["db.example.org:5432"])).unwrap();
            granted.downcast::<NetworkGrant>().unwrap().lookups.clone()
        };
        let (greedy, modest) = (grant("greedy"), grant("modest"));
        let gate = OpenOnDrop(Arc::clone(&RESOLVER));
        let mut running = JoinSet::new();
        for number in 0..2 * MAX_LOOKUPS_AT_ONCE {
            running.spawn(network.resolver.look_up(format!("{number}.silent.example.org"), greedy.clone()));
        }
        gate.0.until_waiting(12).await;
        let found = network.resolver.look_up("db.example.org".to_owned(), modest.clone());
        assert_eq!(timeout(PATIENCE, found).await.unwrap().unwrap(), [Ipv4Addr::LOCALHOST]);
        assert_eq!((greedy.free(), modest.free()), ((0, 4), (12, 4)));
        gate.0.open();
        let found = timeout(PATIENCE, running.join_all()).await.unwrap();
        assert_eq!(found.into_iter().filter(Result::is_ok).count(), 2 * MAX_LOOKUPS_AT_ONCE);
    }
}
