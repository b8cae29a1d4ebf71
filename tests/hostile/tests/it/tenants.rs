//! What one call leaves behind is not there for the next one in the same slot.

use tapline_host_core::{HostConfig, PagemapScan, PluginSpec, Reuse, limits::PartialLimits, swap_is_impossible};
use tapline_hostile::{Ground, Guest, INPUT, Letter, Number, config, name};

/// The pages by which a tenant grows: more than lie between the small one and the large one. What the small one gets,
/// the large one had from the start, and the end of it the large one got as well.
const GROWN: u32 = 60;

/// Looks for anything that is not as a fresh instance has it, also in what it gets when it grows, then leaves something
/// everywhere. Answers with the number of things that it found.
fn tenant(pages: u32) -> Guest {
    let stale = |condition: &str| {
        format!("(if {condition} (then (local.set $stale (i32.add (local.get $stale) (i32.const 1)))))")
    };
    // Every word from `$at` to `end`.
    let words = |condition: &str, end: u32| {
        format!(
            "(loop $next {}
               (local.set $at (i32.add (local.get $at) (i32.const 8)))
               (br_if $next (i32.lt_u (local.get $at) (i32.const {end}))))",
            stale(condition),
        )
    };
    let (grown, end) = (pages << 16, (pages + GROWN) << 16);
    let checks = [
        // The memory: its size, every word of it, and the data that it starts with.
        stale(&format!("(i32.ne (memory.size) (i32.const {pages}))")),
        words(
            "(i32.and (i64.ne (i64.load (local.get $at)) (i64.const 0)) (i32.ne (local.get $at) (i32.const 8000)))",
            grown,
        ),
        stale("(i64.ne (i64.load (i32.const 8000)) (i64.const 0x3837363534333231))"),
        // Data that was dropped cannot be copied: that would be a trap.
        "(memory.init $passive (i32.const 16) (i32.const 0) (i32.const 4))".to_owned(),
        // What it gets beyond the memory that it starts with. `$at` is where that begins.
        stale(&format!("(i32.ne (memory.grow (i32.const {GROWN})) (i32.const {pages}))")),
        words("(i64.ne (i64.load (local.get $at)) (i64.const 0))", end),
        // Globals.
        stale("(i32.ne (global.get $a) (i32.const 7))"),
        stale("(i64.ne (global.get $b) (i64.const 0))"),
        // Tables: their sizes, an element that was there from the start, and all the others, also those that it gets.
        stale("(i32.ne (table.size $t) (i32.const 300))"),
        stale("(ref.is_null (table.get $t (i32.const 2)))"),
        stale("(i32.ne (table.size $u) (i32.const 1))"),
        stale("(i32.ne (table.grow $t (ref.null func) (i32.const 200)) (i32.const 300))"),
        "(local.set $at (i32.const 3))".to_owned(),
        format!(
            "(loop $next {}
               (local.set $at (i32.add (local.get $at) (i32.const 1)))
               (br_if $next (i32.lt_u (local.get $at) (i32.const 500))))",
            stale("(i32.eqz (ref.is_null (table.get $t (local.get $at))))"),
        ),
        "(table.init $t $elements (i32.const 10) (i32.const 0) (i32.const 1))".to_owned(),
    ];
    let body = format!(
        "(local $stale i32) (local $at i32)
         {}
         ;; One word in every second page of the system, so that no two dirty regions touch; then a large one, and all
         ;; that it got.
         (local.set $at (i32.const 0))
         (loop $next
           (i64.store (local.get $at) (i64.const -1))
           (local.set $at (i32.add (local.get $at) (i32.const 8192)))
           (br_if $next (i32.lt_u (local.get $at) (i32.const {grown}))))
         (memory.fill (i32.const 1000000) (i32.const 170) (i32.const 600000))
         (memory.fill (i32.const {grown}) (i32.const 170) (i32.const {added}))
         (i64.store (i32.const 8000) (i64.const -1))
         (data.drop $passive)
         (global.set $a (i32.const -1))
         (global.set $b (i64.const -1))
         (table.fill $t (i32.const 3) (ref.func $run) (i32.const 497))
         (table.set $t (i32.const 2) (ref.null func))
         (drop (table.grow $u (ref.func $run) (i32.const 300)))
         (elem.drop $elements)
         (local.get $stale)",
        checks.join("\n"),
        added = GROWN << 16,
    );
    Guest::number(body).memory(&pages.to_string()).data(8000, b"12345678").with(
        r#"(data $passive "pass")
           (global $a (mut i32) (i32.const 7))
           (global $b (mut i64) (i64.const 0))
           (table $t 300 funcref)
           (elem (table $t) (i32.const 2) func $run)
           (elem $elements func $run)
           (table $u 1 funcref)"#,
    )
}

#[tokio::test]
async fn the_next_one_in_the_slot_finds_nothing() {
    for pagemap_scan in [PagemapScan::WhenSafe, PagemapScan::Off] {
        // One slot: whoever comes next gets what the one before had.
        let ground = Ground::with(HostConfig { pool_size: 1, pagemap_scan, ..config() }, |builder| builder).await;
        let scans = ground.host.engine_facts().pagemap_scan;
        match pagemap_scan {
            PagemapScan::Off => assert!(!scans),
            PagemapScan::WhenSafe if swap_is_impossible() && kernel() >= (6, 7) => assert!(scans),
            PagemapScan::WhenSafe => assert!(!scans, "it is not safe, or the kernel cannot"),
        }
        // 400 and 800 dirty regions; the engine asks the kernel for 32 at a time. Plugins with fuel have an engine of
        // their own, and so a pool of their own.
        for metered in [None, Some(metered())] {
            for (plugin, pages) in [("large", 100), ("small", 50)] {
                let spec = PluginSpec::bytes(name(plugin), tenant(pages).bytes());
                ground.host.load(spec.limits(metered.unwrap_or_default())).await.unwrap();
            }
            for _ in 0..10 {
                let outcome = ground.host.dispatch(Number, &INPUT).await.unwrap();
                let fresh = [(name("large"), 0), (name("small"), 0), (name("well-behaved"), INPUT + 1)];
                assert_eq!(outcome.answers, fresh, "{pagemap_scan:?}, {metered:?}: {:?}", outcome.failures);
            }
            for plugin in ["large", "small"] {
                assert!(ground.host.unload(&name(plugin)).await.unwrap());
            }
            ground.is_quiet("tenants").await;
        }
    }
}

/// Fuel for all that a tenant does, some ten instructions for each of its words.
fn metered() -> PartialLimits {
    PartialLimits { enable_fuel_metering: Some(true), fuel_limit: Some(1_000_000_000), ..PartialLimits::default() }
}

/// Major and minor version of Linux.
fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// The guest would see it: an instance that is used again does not look fresh to it.
#[tokio::test]
async fn and_would_find_it_in_an_instance_that_is_used_again() {
    let ground = Ground::with(HostConfig { pool_size: 4, ..config() }, |builder| builder).await;
    let mut spec = PluginSpec::bytes(name("again"), tenant(50).bytes());
    spec.reuse = Some(Reuse::default());
    ground.host.load(spec).await.unwrap();
    let first = ground.host.dispatch(Number, &INPUT).await.unwrap();
    assert_eq!(first.answers[0], (name("again"), 0));
    let second = ground.host.dispatch(Number, &INPUT).await.unwrap();
    // The memory is dirty, and the data that it wants to copy is gone.
    assert!(!second.answers.contains(&(name("again"), 0)), "{second:?}");
}

/// A call that is dropped half-way has left its dirt as well.
#[tokio::test]
async fn nor_does_it_after_a_fault_or_a_caller_that_went_away() {
    for end in ["(unreachable)", "(call $wait)"] {
        let ground = Ground::with(HostConfig { pool_size: 1, ..config() }, |builder| builder).await;
        let dirt = Guest::new::<Letter>(format!(
            "(drop (memory.grow (i32.const {GROWN})))
             (memory.fill (i32.const 0) (i32.const 255) (i32.const {all})) {end} (i32.const 65)",
            all = (50 + GROWN) << 16,
        ));
        ground.load("dirty", dirt.memory("50").bytes()).await;
        ground.load("clean", tenant(50).bytes()).await;
        for _ in 0..3 {
            let dispatch = ground.host.dispatch(Letter, &INPUT);
            if let Some(outcome) = crate::cancelled::polled(dispatch, 1).await {
                assert_eq!(outcome.unwrap().failures.len(), 1);
            }
            let outcome = ground.host.dispatch(Number, &INPUT).await.unwrap();
            assert_eq!(outcome.answers[0], (name("clean"), 0), "{:?}", outcome.failures);
        }
        ground.is_quiet("dirt").await;
    }
}
