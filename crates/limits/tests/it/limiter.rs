//! The store limiter against real guests in real stores.

use tapline_limits::{Limits, LimitsBuilder, MemoryTracker, MemoryUsage, Refusal, RefusalKind, StoreLimiter};
use wasmtime::{
    Config, Engine, Instance, InstanceAllocationStrategy, Module, PoolingAllocationConfig, Store, component,
};

const PAGE: u64 = 65_536;

/// A guest with two memories and two tables, and a function to grow each.
const GUEST: &str = r#"(module
    (memory $a 1) (memory $b 0 4)
    (table $t 2 funcref) (table $u 0 5 funcref)
    (func (export "grow-a") (param i32) (result i32) (memory.grow $a (local.get 0)))
    (func (export "grow-b") (param i32) (result i32) (memory.grow $b (local.get 0)))
    (func (export "grow-t") (param i32) (result i32) (table.grow $t (ref.null func) (local.get 0)))
    (func (export "grow-u") (param i32) (result i32) (table.grow $u (ref.null func) (local.get 0))))"#;

struct Guest {
    store: Store<StoreLimiter>,
    instance: Instance,
}

impl Guest {
    fn new(engine: &Engine, limiter: StoreLimiter) -> Self {
        let (store, instance) = instantiate(engine, GUEST, limiter);
        Self { store, instance: instance.unwrap() }
    }

    /// What the guest sees: the old size, or -1.
    #[track_caller]
    fn grow(&mut self, what: &str, by: u32) -> i32 {
        let grow = self.instance.get_typed_func::<u32, i32>(&mut self.store, what).unwrap();
        grow.call(&mut self.store, by).unwrap()
    }

    fn limiter(&self) -> &StoreLimiter {
        self.store.data()
    }
}

fn module(engine: &Engine, wat: &str) -> Module {
    Module::new(engine, wat::parse_str(wat).unwrap()).unwrap()
}

fn instantiate(engine: &Engine, wat: &str, limiter: StoreLimiter) -> (Store<StoreLimiter>, wasmtime::Result<Instance>) {
    let module = module(engine, wat);
    let mut store = Store::new(engine, limiter);
    store.limiter(|limiter| limiter);
    let instance = Instance::new(&mut store, &module, &[]);
    (store, instance)
}

fn limits(pages: u64, elements: u32) -> LimitsBuilder {
    Limits::builder().max_memory_bytes(pages * PAGE).max_table_elements(elements).max_memories(2)
}

fn figures(usage: MemoryUsage) -> (u64, u64, u64, u64) {
    (usage.current_pages, usage.maximum_pages, usage.peak_pages, usage.refused_growths)
}

#[test]
fn memory_grows_to_the_limit_and_not_past_it() {
    let limits = limits(8, 10).build().unwrap();
    let mut guest = Guest::new(&Engine::default(), StoreLimiter::new(&limits));
    assert_eq!(figures(guest.limiter().usage()), (1, 8, 1, 0));
    assert_eq!(guest.grow("grow-a", 7), 1);
    assert_eq!(figures(guest.limiter().usage()), (8, 8, 8, 0));
    assert_eq!(guest.limiter().refused(), None);

    assert_eq!(guest.grow("grow-a", 1), -1);
    assert_eq!(figures(guest.limiter().usage()), (8, 8, 8, 1));
    let refusal = guest.limiter().refused().unwrap();
    assert_eq!((refusal.kind, refusal.asked, refusal.limit), (RefusalKind::Memory, 9 * PAGE, 8 * PAGE));
    assert_eq!(guest.limiter().peak_bytes(), 8 * PAGE);

    // The largest request that there is.
    assert_eq!(guest.grow("grow-a", u32::MAX), -1);
    assert_eq!(guest.grow("grow-a", 0), 8);
    assert_eq!(figures(guest.limiter().usage()), (8, 8, 8, 2));
}

#[test]
fn memories_share_one_limit() {
    let limits = limits(4, 10).build().unwrap();
    let mut guest = Guest::new(&Engine::default(), StoreLimiter::new(&limits));
    assert_eq!(guest.grow("grow-b", 2), 0);
    assert_eq!(guest.grow("grow-a", 2), -1);
    assert_eq!(guest.limiter().refused().unwrap().asked, 5 * PAGE);
    assert_eq!(guest.grow("grow-a", 1), 1);
    assert_eq!(guest.grow("grow-b", 1), -1);
    assert_eq!(figures(guest.limiter().usage()), (4, 4, 4, 2));
}

#[test]
fn a_memorys_own_maximum_counts_as_refusal() {
    let limits = limits(100, 10).build().unwrap();
    let mut guest = Guest::new(&Engine::default(), StoreLimiter::new(&limits));
    assert_eq!(guest.grow("grow-b", 4), 0);
    assert_eq!(guest.grow("grow-b", 1), -1);
    assert_eq!(figures(guest.limiter().usage()), (5, 100, 5, 1));
    let Refusal { kind, asked, limit, .. } = guest.limiter().refused().unwrap();
    assert_eq!((kind, asked, limit), (RefusalKind::Memory, 5 * PAGE, 4 * PAGE));
}

#[test]
fn tables_share_one_limit() {
    let limits = limits(4, 6).build().unwrap();
    let mut guest = Guest::new(&Engine::default(), StoreLimiter::new(&limits));
    assert_eq!(guest.grow("grow-t", 2), 2);
    assert_eq!(guest.grow("grow-u", 3), -1);
    let refusal = guest.limiter().refused().unwrap();
    assert_eq!(refusal.to_string(), "7 table elements asked for, 6 allowed");
    assert_eq!(guest.grow("grow-u", 2), 0);
    assert_eq!(guest.grow("grow-t", 1), -1);
    assert_eq!(guest.grow("grow-t", u32::MAX), -1);
    assert_eq!(guest.limiter().refused_growths(), 3);
    // Tables are no memory.
    assert_eq!(figures(guest.limiter().usage()), (1, 4, 1, 3));
}

#[test]
fn an_initial_size_past_the_limit_is_refused() {
    let limits = limits(1, 10).build().unwrap();
    for (wat, kind, asked) in [
        ("(module (memory 2))", RefusalKind::Memory, 2 * PAGE),
        ("(module (memory 1) (memory 1))", RefusalKind::Memory, 2 * PAGE),
        ("(module (table 11 funcref))", RefusalKind::TableElements, 11),
    ] {
        let (store, instance) = instantiate(&Engine::default(), wat, StoreLimiter::new(&limits));
        assert!(instance.is_err(), "{wat}");
        let refusal = store.data().refused().unwrap();
        assert_eq!((refusal.kind, refusal.asked), (kind, asked), "{wat}");
    }
}

#[test]
fn instances_memories_and_tables_are_counted() {
    let engine = Engine::default();
    let limits = Limits::builder().max_instances(2).build().unwrap();
    let (mut store, first) = instantiate(&engine, "(module)", StoreLimiter::new(&limits));
    first.unwrap();
    let empty = module(&engine, "(module)");
    Instance::new(&mut store, &empty, &[]).unwrap();
    assert!(Instance::new(&mut store, &empty, &[]).is_err());

    let (_, one) = instantiate(&engine, "(module (memory 0))", StoreLimiter::new(&limits));
    one.unwrap();
    let (_, two) = instantiate(&engine, "(module (memory 0) (memory 0))", StoreLimiter::new(&limits));
    assert!(two.is_err());

    let tables = |count| format!("(module {})", "(table 0 funcref)".repeat(count));
    let (mut store, most) = instantiate(&engine, &tables(100), StoreLimiter::new(&limits));
    most.unwrap();
    let one_more = module(&engine, &tables(1));
    assert!(Instance::new(&mut store, &one_more, &[]).is_err());
}

#[test]
fn components_are_held_to_the_sum_of_their_core_modules() {
    let wat = r"(component
        (core module $m (memory 2))
        (core instance (instantiate $m))
        (core instance (instantiate $m)))";
    let engine = Engine::default();
    let component = component::Component::new(&engine, wat::parse_str(wat).unwrap()).unwrap();
    let linker = component::Linker::new(&engine);
    for (pages, fits) in [(4, true), (3, false)] {
        let mut store = Store::new(&engine, StoreLimiter::new(&limits(pages, 0).build().unwrap()));
        store.limiter(|limiter| limiter);
        assert_eq!(linker.instantiate(&mut store, &component).is_ok(), fits);
        assert_eq!(store.data().refused().is_none(), fits);
        assert_eq!(store.data().usage().current_pages, if fits { 4 } else { 2 });
    }
}

/// The limiter grants what the pool's slots cannot hold: the growth is taken back, and counted as refused.
#[test]
fn a_growth_that_the_engine_cannot_carry_out_is_taken_back() {
    let mut pool = PoolingAllocationConfig::default();
    pool.max_memory_size(4 * 65_536).total_core_instances(1).total_memories(2).total_tables(2);
    pool.max_memories_per_module(2).max_tables_per_module(2).table_elements(8);
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config).unwrap();

    let tracker = MemoryTracker::default();
    let limits = limits(100, 100).build().unwrap();
    let mut guest = Guest::new(&engine, StoreLimiter::with_tracker(&limits, &tracker));
    for refused in 1..=2 {
        assert_eq!(guest.grow("grow-a", 9), -1);
        assert_eq!(figures(guest.limiter().usage()), (1, 100, 1, refused));
        assert_eq!(tracker.usage().current_pages, 1);
        let refusal = guest.limiter().refused().unwrap();
        assert_eq!((refusal.kind, refusal.asked, refusal.limit), (RefusalKind::Memory, 10 * PAGE, PAGE));
    }
    assert_eq!(guest.grow("grow-a", 3), 1);
    assert_eq!(guest.grow("grow-t", 7), -1);
    assert_eq!(guest.limiter().refused().unwrap().kind, RefusalKind::TableElements);
    assert_eq!(guest.grow("grow-t", 6), 2);
    assert_eq!(figures(guest.limiter().usage()), (4, 100, 4, 3));
    drop(guest);
    assert_eq!((tracker.usage().current_pages, tracker.usage().maximum_pages), (0, 0));
}

#[test]
fn the_tracker_sums_over_stores_and_gets_back_what_they_had() {
    let engine = Engine::default();
    let tracker = MemoryTracker::default();
    let limits = limits(8, 10).build().unwrap();
    let mut a = Guest::new(&engine, StoreLimiter::with_tracker(&limits, &tracker));
    let mut b = Guest::new(&engine, StoreLimiter::with_tracker(&limits, &tracker.clone()));
    assert_eq!(figures(tracker.usage()), (2, 16, 2, 0));
    a.grow("grow-a", 3);
    b.grow("grow-a", 7);
    b.grow("grow-a", 1);
    assert_eq!(figures(tracker.usage()), (12, 16, 12, 1));
    drop(b);
    assert_eq!(figures(tracker.usage()), (4, 8, 12, 1));
    a.grow("grow-b", 1);
    a.grow("grow-t", 100);
    assert_eq!(figures(tracker.usage()), (5, 8, 12, 2));
    drop(a);
    assert_eq!(figures(tracker.usage()), (0, 0, 12, 2));
}

/// Also when the instantiation fails half-way.
#[test]
fn the_tracker_gets_back_what_a_failed_instantiation_had() {
    let tracker = MemoryTracker::default();
    let limits = limits(3, 10).build().unwrap();
    let (store, instance) = instantiate(
        &Engine::default(),
        "(module (memory 2) (memory 2))",
        StoreLimiter::with_tracker(&limits, &tracker),
    );
    assert!(instance.is_err());
    assert_eq!(figures(tracker.usage()), (2, 3, 2, 1));
    drop(store);
    assert_eq!(figures(tracker.usage()), (0, 0, 2, 1));
}

#[test]
fn the_tracker_is_exact_over_threads() {
    let engine = Engine::default();
    let tracker = MemoryTracker::default();
    let limits = limits(4, 10).build().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let mut guest = Guest::new(&engine, StoreLimiter::with_tracker(&limits, &tracker));
                    guest.grow("grow-a", 3);
                    guest.grow("grow-a", 1);
                }
            });
        }
    });
    let usage = tracker.usage();
    assert_eq!((usage.current_pages, usage.maximum_pages, usage.refused_growths), (0, 0, 400));
    assert!((4..=32).contains(&usage.peak_pages), "{usage:?}");
}
