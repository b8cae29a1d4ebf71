//! The functions of `wasi:sockets/ip-name-lookup`. Ours, because only listed names are looked up, and because the
//! addresses that come back decide what may be connected to.

use std::{
    net::{IpAddr, Ipv6Addr},
    vec,
};

use tapline_host_core::{CallState, escape};
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource, ResourceType},
};
use wasmtime_wasi::{
    async_trait,
    p2::{
        DynPollable, Network, Pollable,
        bindings::sockets::network::{ErrorCode, IpAddress},
        subscribe,
    },
    runtime::{AbortOnDropJoinHandle, spawn},
};

use super::{NAME, NetworkGrant, NetworkOfCall, Resolver};
use crate::config::{MAX_LOOKUPS, is_outside};

pub(super) const INTERFACE: &str = "wasi:sockets/ip-name-lookup@0.2.12";

/// The addresses of one name, when they are known.
enum Lookup {
    Waiting(AbortOnDropJoinHandle<Result<Vec<IpAddr>, ErrorCode>>),
    Done(Result<vec::IntoIter<IpAddr>, ErrorCode>),
}

#[async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        if let Self::Waiting(lookup) = self {
            *self = Self::Done(lookup.await.map(IntoIterator::into_iter));
        }
    }
}

pub(super) fn link(linker: &mut Linker<CallState>, resolver: &Resolver) -> wasmtime::Result<()> {
    let mut instance = linker.instance(INTERFACE)?;
    instance.resource(
        "resolve-address-stream",
        ResourceType::host::<Lookup>(),
        |mut store: StoreContextMut<'_, CallState>, handle| {
            store.data_mut().table().delete(Resource::<Lookup>::new_own(handle))?;
            Ok(())
        },
    )?;
    let resolver = resolver.clone();
    instance.func_wrap(
        "resolve-addresses",
        move |mut store: StoreContextMut<'_, CallState>, (network, name): (Resource<Network>, String)| {
            start(store.data_mut(), &network, name, &resolver).map(|lookup| (lookup,))
        },
    )?;
    instance.func_wrap("[method]resolve-address-stream.resolve-next-address", next)?;
    instance.func_wrap("[method]resolve-address-stream.subscribe", wait)
}

fn start(
    state: &mut CallState,
    network: &Resource<Network>,
    name: String,
    resolver: &Resolver,
) -> wasmtime::Result<Result<Resource<Lookup>, ErrorCode>> {
    state.count_host_call();
    state.table().get(network)?;
    let lookup = match literal(&name) {
        // Nobody is asked, so nothing is learned; connecting is checked all the same.
        Some(address) => Lookup::Done(Ok(vec![address].into_iter())),
        None => {
            let grant = state.grant::<NetworkGrant>();
            let granted = grant.map(|grant| (grant.list.ports(&name), grant)).filter(|(ports, _)| !ports.is_empty());
            let Some((ports, grant)) = granted else {
                state.host_call_refused(NAME);
                return Ok(Err(ErrorCode::AccessDenied));
            };
            let call = state.local::<NetworkOfCall>();
            if call.lookups == MAX_LOOKUPS {
                state.host_call_refused(NAME);
                return Ok(Err(ErrorCode::TemporaryResolverFailure));
            }
            call.lookups += 1;
            let resolved = call.resolved.clone();
            let (plugin, metrics) = (state.plugin().clone(), state.metrics().clone());
            let found = resolver.look_up(name.clone(), grant.lookups.clone());
            Lookup::Waiting(spawn(async move {
                let found = found.await.map_err(|_| ErrorCode::NameUnresolvable)?;
                let found = found.into_iter().map(|address| address.to_canonical());
                let listed = |address: &IpAddr| ports.iter().any(|port| grant.list.lists((*address, *port).into()));
                let (usable, inside): (Vec<_>, Vec<_>) =
                    found.partition(|address| is_outside(*address) || listed(address));
                if !inside.is_empty() {
                    metrics.host_call_refused(NAME);
                    tracing::warn!(
                        %plugin, name = %escape(&name), addresses = ?inside,
                        "a granted name resolves to addresses inside, which are refused unless they are granted as addresses"
                    );
                }
                if usable.is_empty() {
                    return Err(if inside.is_empty() { ErrorCode::NameUnresolvable } else { ErrorCode::AccessDenied });
                }
                for address in usable.iter().filter(|address| is_outside(**address)) {
                    resolved.add(*address, &ports);
                }
                Ok(usable)
            }))
        }
    };
    Ok(Ok(state.table().push(lookup)?))
}

fn literal(name: &str) -> Option<IpAddr> {
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.map_or_else(|| name.parse().ok(), |bare| bare.parse::<Ipv6Addr>().ok().map(IpAddr::from))
}

fn next(
    mut store: StoreContextMut<'_, CallState>,
    (lookup,): (Resource<Lookup>,),
) -> wasmtime::Result<(Result<Option<IpAddress>, ErrorCode>,)> {
    store.data().count_host_call();
    let lookup = store.data_mut().table().get_mut(&lookup)?;
    Ok((match lookup {
        Lookup::Waiting(_) => Err(ErrorCode::WouldBlock),
        Lookup::Done(Ok(addresses)) => Ok(addresses.next().map(IpAddress::from)),
        Lookup::Done(Err(error)) => Err(*error),
    },))
}

fn wait(
    mut store: StoreContextMut<'_, CallState>,
    (lookup,): (Resource<Lookup>,),
) -> wasmtime::Result<(Resource<DynPollable>,)> {
    store.data().count_host_call();
    Ok((subscribe(store.data_mut().table(), lookup)?,))
}
