//! Where instances are kept: for their next use, or for a call that has not come yet.

use std::cell::Cell;

use tapline_host_core::{HostConfig, PluginSpec, Reuse, Stock};
use tapline_hostile::{Ground, Guest, INPUT, Letter, PATIENCE, Text, config, name};

use super::{End, at_every_point_then, polled};

const COUNTS: &str = "counts";

/// A plugin that counts its uses in a global, waits three times, and answers with their number as a letter.
fn counts() -> PluginSpec {
    let body = "(global.set $uses (i32.add (global.get $uses) (i32.const 1)))
        (call $step) (call $step) (call $step)
        (i32.add (i32.const 64) (global.get $uses))";
    let guest = Guest::new::<Letter>(body).with("(global $uses (mut i32) (i32.const 0))");
    PluginSpec::bytes(name(COUNTS), guest.bytes())
}

fn reused() -> PluginSpec {
    PluginSpec { reuse: Some(Reuse::default()), ..counts() }
}

/// What an instance answers in a use, counted from 1.
fn letter(uses: u32) -> char {
    char::from_u32(64 + uses).unwrap()
}

async fn ask(ground: &Ground) -> char {
    let outcome = ground.host.dispatch(Letter, &INPUT).await.unwrap();
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    outcome.answers[0].1
}

/// Instances that serve a call, and instances that wait for one.
fn instances(ground: &Ground) -> (usize, usize) {
    let pool = ground.host.pool_metrics();
    (pool.active_vms, pool.idle_vms)
}

/// The plugin is gone, and all that was kept for it.
async fn unloaded(ground: &Ground, plugin: &str) {
    assert!(ground.host.unload(&name(plugin)).await.unwrap());
    ground.until("the last instances", |host| host.slots().0 == 0).await;
    ground.is_quiet("a plugin that is gone").await;
}

#[tokio::test]
async fn in_the_first_use_of_an_instance() {
    let ground = Ground::new().await;
    ground.host.load(reused()).await.unwrap();
    let (polls, outcome) = at_every_point_then(
        &ground,
        COUNTS,
        || ground.host.dispatch(Letter, &INPUT),
        async |end, after: &str| {
            assert_eq!(instances(&ground), (0, usize::from(end == End::Done)), "{after}");
            ground.serves().await;
        },
    )
    .await;
    assert_eq!(outcome.unwrap().answers, [(name(COUNTS), 'A')]);
    assert!(polls > 3, "three waits: {polls}");
    unloaded(&ground, COUNTS).await;
}

#[tokio::test]
async fn in_a_later_use_of_an_instance() {
    let ground = Ground::new().await;
    ground.host.load(reused()).await.unwrap();
    let uses = Cell::new(0);
    let (polls, outcome) = at_every_point_then(
        &ground,
        COUNTS,
        || ground.host.dispatch(Letter, &INPUT),
        async |end, after: &str| {
            let before = match end {
                End::NotBegun => uses.get(),
                // It may be as a call left it in the middle: there is no use of it after that.
                End::Cancelled => 0,
                End::Done => uses.get() + 1,
            };
            assert_eq!(instances(&ground), (0, usize::from(before > 0)), "{after}");
            assert_eq!(ask(&ground).await, letter(before + 1), "{after}");
            uses.set(before + 1);
        },
    )
    .await;
    assert_eq!(outcome.unwrap().answers, [(name(COUNTS), 'B')], "each call before it had the second use as well");
    assert!(polls > 3, "three waits: {polls}");
    // One call after each of the calls that were polled 0 to `polls` times, and the last of these.
    let (counters, polls) = (ground.counters(COUNTS), polls as u64);
    assert_eq!((counters.outcome("ok"), counters.outcome("cancelled")), (polls + 2, polls - 1), "{counters:?}");
    assert_eq!(counters.calls(), 2 * polls + 1);
    // All that were polled found an instance; of the calls after them, the last one did.
    assert_eq!(counters.get("tapline_instance_reuses_total"), polls + 1);
    unloaded(&ground, COUNTS).await;
}

#[tokio::test]
async fn on_an_instance_that_was_made_ahead() {
    let ground = Ground::new().await;
    ground.host.load(PluginSpec { stock: Some(Stock { min: 2, max: 4 }), ..counts() }).await.unwrap();
    // A stock looks at itself once in a second anyway, in which there are some hundred thousand turns.
    let stocked = async |after: &str| {
        let turns = Cell::new(0);
        let is_full = |_: &_| {
            turns.set(turns.get() + 1);
            instances(&ground) == (0, 2)
        };
        ground.until(after, is_full).await;
        assert!(turns.get() < 50_000, "{after}: nobody told the stock that an instance is gone");
    };
    stocked("a load").await;
    let (polls, outcome) = at_every_point_then(
        &ground,
        COUNTS,
        || ground.host.dispatch(Letter, &INPUT),
        async |_, after: &str| {
            stocked(after).await;
            assert_eq!(ask(&ground).await, 'A', "{after}");
            stocked(after).await;
        },
    )
    .await;
    assert_eq!(outcome.unwrap().answers, [(name(COUNTS), 'A')]);
    assert!(polls > 3, "three waits: {polls}");
    let (counters, polls) = (ground.counters(COUNTS), polls as u64);
    assert_eq!((counters.outcome("ok"), counters.outcome("cancelled")), (polls + 2, polls - 1), "{counters:?}");
    assert_eq!(counters.calls(), 2 * polls + 1);
    assert_eq!(counters.get("tapline_stock_hits_total"), counters.calls(), "nobody made an instance of its own");
    unloaded(&ground, COUNTS).await;
}

/// One slot, one place to wait for it, and beside the plugin that is reused another one.
async fn one_slot() -> Ground {
    let settings = HostConfig { pool_size: 1, max_waiting: 1, max_wait: PATIENCE, ..config() };
    let ground = Ground::with(settings, |more| more).await;
    ground.host.load(reused()).await.unwrap();
    ground.load("texts", Guest::new::<Text>("(call $step) (call $step) (i32.const 0)").bytes()).await;
    ground
}

#[tokio::test]
async fn in_the_slot_of_an_instance_that_gave_way() {
    let ground = one_slot().await;
    assert_eq!(ask(&ground).await, 'A');
    let (polls, outcome) = at_every_point_then(
        &ground,
        "texts",
        || ground.host.dispatch(Text, &INPUT),
        async |end, after: &str| {
            let (idle, next) = if end == End::NotBegun { (1, 'B') } else { (0, 'A') };
            assert_eq!(instances(&ground), (0, idle), "{after}");
            assert_eq!(ask(&ground).await, next, "{after}");
        },
    )
    .await;
    assert_eq!(outcome.unwrap().answers.len(), 1);
    assert!(polls > 2, "two waits: {polls}");
    unloaded(&ground, COUNTS).await;
}

/// Who waits for a slot keeps others from keeping their instances. Who has gone must not.
#[tokio::test]
async fn while_it_waits_for_a_slot_whose_instance_would_be_kept() {
    let ground = one_slot().await;
    let mut uses = 0;
    for times in 0.. {
        let before = [COUNTS, "texts"].map(|plugin| ground.counters(plugin));
        let (first, second) = tokio::join!(
            biased;
            ask(&ground),
            polled(ground.host.dispatch(Text, &INPUT), times),
        );
        assert_eq!(first, letter(uses + 1), "{times}");
        let (active, idle) = instances(&ground);
        assert_eq!(active, 0, "{times}");
        // The first one waits three times: whoever is polled no more often than that has gone before it ends.
        assert!(times > 3 || idle == 1, "{times}: the instance was given up for somebody who has gone");
        uses = if idle == 1 { uses + 1 } else { 0 };
        let [of_first, of_second] = [COUNTS, "texts"].map(|plugin| ground.counters(plugin));
        let (of_first, of_second) = (of_first.since(&before[0]), of_second.since(&before[1]));
        assert_eq!((of_first.calls(), of_first.outcome("ok")), (1, 1), "{times}: {of_first:?}");
        let counts = End::of(second.as_ref(), times).counts();
        assert_eq!((of_second.calls(), of_second.outcome("cancelled")), counts, "{times}: {of_second:?}");
        if let Some(outcome) = second {
            assert_eq!((outcome.unwrap().answers.len(), idle), (1, 0), "the instance gave way");
            break;
        }
    }
    assert_eq!(ask(&ground).await, 'A');
    unloaded(&ground, COUNTS).await;
}
