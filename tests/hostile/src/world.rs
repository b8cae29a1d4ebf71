//! The host functions that guests of this package call, and what they share with a test.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tapline_host_core::{CallState, Capability, HostFault};
use tokio::sync::{Semaphore, SemaphorePermit};
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource, ResourceType},
};

/// What the host functions do, or wait for.
pub struct World {
    /// What `wait` waits for, and `try-wait` asks for: each takes one permit. `drain` takes one after another, without end.
    pub gate: Semaphore,
    counts: Mutex<BTreeMap<String, u32>>,
    pages: AtomicU64,
}

impl Default for World {
    fn default() -> Self {
        Self { gate: Semaphore::new(0), counts: Mutex::default(), pages: AtomicU64::new(0) }
    }
}

impl World {
    /// How often the plugin has called `count`.
    pub fn count(&self, plugin: &str) -> u32 {
        self.counts.lock().unwrap().get(plugin).copied().unwrap_or_default()
    }

    /// The pages that all living guests say that they have: the sum of what each told `report` last.
    pub fn reported_pages(&self) -> u64 {
        self.pages.load(Relaxed)
    }
}

/// What a handle stands for.
#[derive(Debug)]
pub struct Thing;

/// What one call reported, taken back when its store is dropped.
#[derive(Default)]
struct Reported(Option<(Arc<World>, u64)>);

impl Drop for Reported {
    fn drop(&mut self) {
        if let Some((world, pages)) = self.0.take() {
            world.pages.fetch_sub(pages, Relaxed);
        }
    }
}

/// What a host function keeps, and what panics when it is dropped.
#[derive(Default)]
struct Fragile;

impl Drop for Fragile {
    fn drop(&mut self) {
        panic!("the host is broken at the end");
    }
}

/// A second one, because a call keeps one value of each type.
#[derive(Default)]
struct Fragile2(Fragile);

/// `hostile:test/host` and `hostile:test/resources`, for every plugin.
pub(crate) struct HostFunctions(pub(crate) Arc<World>);

type Store<'a> = StoreContextMut<'a, CallState>;

impl Capability for HostFunctions {
    fn grant_name(&self) -> Option<&'static str> {
        None
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["hostile:test/host@1.0.0", "hostile:test/resources@1.0.0"]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        let mut host = linker.instance("hostile:test/host@1.0.0")?;
        let world = Arc::clone(&self.0);
        host.func_wrap_async("wait", move |_: Store<'_>, (): ()| {
            let world = Arc::clone(&world);
            Box::new(async move {
                world.gate.acquire().await?.forget();
                Ok(())
            })
        })?;
        let world = Arc::clone(&self.0);
        host.func_wrap_async("drain", move |_: Store<'_>, (): ()| {
            let world = Arc::clone(&world);
            Box::new(async move {
                loop {
                    world.gate.acquire().await?.forget();
                }
                #[expect(unreachable_code, reason = "says what the function returns")]
                Ok(())
            })
        })?;
        let world = Arc::clone(&self.0);
        host.func_wrap("try-wait", move |_: Store<'_>, (): ()| {
            Ok((world.gate.try_acquire().map(SemaphorePermit::forget).is_ok(),))
        })?;
        host.func_wrap_async("step", |_: Store<'_>, (): ()| {
            Box::new(async {
                tokio::task::yield_now().await;
                Ok(())
            })
        })?;
        let world = Arc::clone(&self.0);
        host.func_wrap("count", move |store: Store<'_>, (): ()| {
            let mut counts = world.counts.lock().unwrap();
            let count = counts.entry(store.data().plugin().to_string()).or_default();
            *count += 1;
            Ok((*count,))
        })?;
        host.func_wrap("take", |_: Store<'_>, (bytes,): (Vec<u8>,)| {
            drop(bytes);
            Ok(())
        })?;
        host.func_wrap("fail", |_: Store<'_>, (how,): (u32,)| -> wasmtime::Result<()> {
            assert!(how != 0, "the host is broken");
            Err(HostFault { capability: "test", message: "it is stuck".into() }.into())
        })?;
        host.func_wrap_async("fail-later", |_: Store<'_>, (how,): (u32,)| {
            Box::new(async move {
                tokio::task::yield_now().await;
                assert!(how != 0, "the host is broken after a wait");
                Ok(())
            })
        })?;
        let world = Arc::clone(&self.0);
        host.func_wrap_async("fail-at-end", move |mut store: Store<'_>, (how,): (u32,)| {
            let world = Arc::clone(&world);
            Box::new(async move {
                match how {
                    0 => {
                        store.data_mut().local::<Fragile>();
                        store.data_mut().local::<Fragile2>();
                    }
                    1 => {
                        let _handle = store.data_mut().table().push(Fragile)?;
                    }
                    // Dropped when the wait is.
                    _ => {
                        let fragile = Fragile;
                        world.gate.acquire().await?.forget();
                        std::mem::forget(fragile);
                    }
                }
                Ok(())
            })
        })?;
        let world = Arc::clone(&self.0);
        host.func_wrap("report", move |mut store: Store<'_>, (pages,): (u32,)| {
            let (pages, reported) = (u64::from(pages), store.data_mut().local::<Reported>());
            let before = reported.0.replace((Arc::clone(&world), pages)).map_or(0, |(_, before)| before);
            world.pages.fetch_add(pages, Relaxed);
            world.pages.fetch_sub(before, Relaxed);
            Ok(())
        })?;
        let mut resources = linker.instance("hostile:test/resources@1.0.0")?;
        resources.resource("thing", ResourceType::host::<Thing>(), |mut store: Store<'_>, id| {
            store.data_mut().table().delete(Resource::<Thing>::new_own(id))?;
            Ok(())
        })?;
        resources.func_wrap("make", |mut store: Store<'_>, (): ()| Ok((store.data_mut().table().push(Thing)?,)))
    }
}
