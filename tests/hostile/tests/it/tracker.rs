//! The memory that the host counts, against what the guests say that they have.

use std::sync::Arc;

use tapline_host_core::HostConfig;
use tapline_hostile::{Ground, Guest, INPUT, Letter, PATIENCE, Text, config};
use tokio::{task::yield_now, time::timeout};

const GUESTS: usize = 40;

/// Grows by a number of pages that differs from call to call, tells how many it has, and waits; three times.
fn grower(answer: &str) -> String {
    let phase = |grow: &str| {
        format!("(drop (memory.grow {grow})) (call $report (memory.size)) (drop (call $count)) (call $wait)")
    };
    format!(
        "(local $n i32) (local.set $n (call $count)) {} {} {} (i32.const {answer})",
        phase("(i32.rem_u (i32.mul (local.get $n) (i32.const 7)) (i32.const 13))"),
        phase("(i32.rem_u (local.get $n) (i32.const 5))"),
        // More than there is for anybody.
        phase("(i32.const 60000)"),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sum_is_exact_while_many_grow_and_go() {
    let ground = Arc::new(Ground::with(HostConfig { pool_size: 100, ..config() }, |builder| builder).await);
    ground.load("letters", Guest::new::<Letter>(grower("65")).bytes()).await;
    ground.load("texts", Guest::new::<Text>(grower("0")).memory("3").bytes()).await;
    let mut calls: Vec<_> = (0..2 * GUESTS)
        .map(|number| {
            let ground = Arc::clone(&ground);
            tokio::spawn(async move {
                if number % 2 == 0 {
                    ground.host.dispatch(Letter, &INPUT).await.unwrap().answers.len()
                } else {
                    ground.host.dispatch(Text, &INPUT).await.unwrap().answers.len()
                }
            })
        })
        .collect();
    let used = || ground.host.memory().usage();
    // Everybody is at the gate once all of them have counted: one more time in each phase.
    let all_wait = |phases: &[usize]| {
        let expected = phases.iter().sum::<usize>() as u32;
        let ground = Arc::clone(&ground);
        async move {
            let reached = async {
                while ground.world.count("letters") + ground.world.count("texts") < expected {
                    yield_now().await;
                }
            };
            timeout(PATIENCE, reached).await.unwrap();
        }
    };
    let count = 2 * GUESTS;

    all_wait(&[2 * count]).await;
    let first = used();
    assert_eq!(first.current_pages, ground.world.reported_pages());
    assert_eq!((first.peak_pages, first.refused_growths), (first.current_pages, 0));
    assert_eq!(first.maximum_pages, 2048 * count as u64, "the sum of the limits of all that live");

    ground.world.gate.add_permits(count);
    all_wait(&[3 * count]).await;
    let second = used();
    assert!(second.current_pages > first.current_pages, "{first:?} {second:?}");
    assert_eq!(second.current_pages, ground.world.reported_pages());
    assert_eq!((second.peak_pages, second.refused_growths), (second.current_pages, 0));

    // A half of them goes away.
    for call in calls.drain(..GUESTS) {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    let third = used();
    assert!(third.current_pages < second.current_pages, "{second:?} {third:?}");
    assert_eq!(third.current_pages, ground.world.reported_pages());
    assert_eq!(third.peak_pages, second.peak_pages, "a peak stays");

    // The others ask for too much, and go on with what they have.
    ground.world.gate.add_permits(GUESTS);
    all_wait(&[3 * count, GUESTS]).await;
    let fourth = used();
    assert_eq!((fourth.current_pages, fourth.refused_growths), (third.current_pages, GUESTS as u64));
    assert_eq!(fourth.current_pages, ground.world.reported_pages());

    ground.world.gate.add_permits(GUESTS);
    for call in calls {
        assert_eq!(timeout(PATIENCE, call).await.unwrap().unwrap(), 1);
    }
    assert_eq!(ground.world.reported_pages(), 0);
    ground.is_quiet("all of them").await;
}
