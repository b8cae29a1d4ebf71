//! The circuit breaker, step by step and against random histories.

use std::time::Duration;

use proptest::prelude::*;
use tapline_tap_dispatch::{Breaker, BreakerChange, BreakerSettings, BreakerState, Pass};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn settings() -> BreakerSettings {
    BreakerSettings { enabled: true, failures: 3, first_open: ms(100), max_open: ms(350) }
}

fn fail(breaker: &Breaker, now: Duration) -> Option<BreakerChange> {
    breaker.failed(breaker.admit(|| now).unwrap(), now)
}

#[test]
fn it_opens_after_failures_in_a_row_and_a_success_starts_the_count_anew() {
    let breaker = Breaker::new(settings());
    for _ in 0..10 {
        assert_eq!(fail(&breaker, ms(0)), None);
        assert_eq!(fail(&breaker, ms(0)), None);
        assert_eq!(breaker.view(ms(0)).failures, 2);
        assert_eq!(breaker.succeeded(breaker.admit(|| ms(0)).unwrap()), None);
        assert_eq!(breaker.view(ms(0)).failures, 0);
    }
    assert_eq!(fail(&breaker, ms(0)), None);
    // A call that says nothing about the plugin neither counts nor starts the count anew.
    breaker.abandoned(breaker.admit(|| ms(0)).unwrap());
    assert_eq!(fail(&breaker, ms(0)), None);
    assert_eq!(fail(&breaker, ms(5)), Some(BreakerChange::Opened(ms(100))));
    assert_eq!(breaker.admit(|| ms(5)), Err(ms(100)));
    assert_eq!(breaker.admit(|| ms(104)), Err(ms(1)));
    let view = breaker.view(ms(65));
    assert_eq!((view.state, view.failures, view.openings), (BreakerState::Open, 3, 1));
    assert_eq!((view.open_for, view.retry_in), (ms(100), ms(40)));
}

#[test]
fn one_probe_at_a_time_and_its_success_closes() {
    let breaker = open_at(ms(0));
    let probe = breaker.admit(|| ms(100)).unwrap();
    assert_eq!(breaker.admit(|| ms(100)), Err(Duration::ZERO));
    assert_eq!(breaker.view(ms(100)).state, BreakerState::HalfOpen);
    assert_eq!(breaker.succeeded(probe), Some(BreakerChange::Closed));
    assert_eq!(breaker.view(ms(100)).open_for, Duration::ZERO);
    let passes: Vec<Pass> = (0..5).map(|_| breaker.admit(|| ms(100)).unwrap()).collect();
    // The count and the time that it stays open begin anew.
    assert_eq!(breaker.failed(passes[0], ms(100)), None);
    assert_eq!(breaker.failed(passes[1], ms(100)), None);
    assert_eq!(breaker.failed(passes[2], ms(100)), Some(BreakerChange::Opened(ms(100))));
}

#[test]
fn each_failed_probe_doubles_the_time_up_to_the_most() {
    let breaker = open_at(ms(0));
    let mut now = ms(100);
    for expected in [200, 350, 350] {
        assert_eq!(fail(&breaker, now), Some(BreakerChange::Opened(ms(expected))));
        now += ms(expected);
    }
    assert_eq!(breaker.view(now).openings, 4);
}

#[test]
fn a_probe_that_is_given_up_lets_the_next_call_be_the_probe() {
    let breaker = open_at(ms(0));
    for _ in 0..3 {
        let probe = breaker.admit(|| ms(100)).unwrap();
        breaker.abandoned(probe);
        // Too late: it has been given up.
        assert_eq!(breaker.succeeded(probe), None);
    }
    let probe = breaker.admit(|| ms(100)).unwrap();
    assert_eq!(breaker.succeeded(probe), Some(BreakerChange::Closed));
}

#[test]
fn calls_from_before_a_change_have_no_say() {
    let breaker = Breaker::new(settings());
    let early: Vec<Pass> = (0..20).map(|_| breaker.admit(|| ms(0)).unwrap()).collect();
    for pass in &early[..3] {
        breaker.failed(*pass, ms(0));
    }
    assert_eq!(breaker.view(ms(0)).state, BreakerState::Open);
    for pass in &early[3..6] {
        assert_eq!(breaker.failed(*pass, ms(50)), None, "it is open, and stays so no longer for them");
    }
    assert_eq!(breaker.succeeded(early[6]), None, "a call from before does not close it");
    let probe = breaker.admit(|| ms(100)).unwrap();
    assert_eq!(breaker.failed(early[7], ms(100)), None, "nor does it end the probe");
    breaker.abandoned(early[8]);
    assert_eq!(breaker.admit(|| ms(100)), Err(Duration::ZERO));
    assert_eq!(breaker.succeeded(probe), Some(BreakerChange::Closed));
    for pass in &early[9..] {
        assert_eq!(breaker.failed(*pass, ms(100)), None, "nor does it open it again");
    }
    assert_eq!(breaker.view(ms(100)).failures, 0);
}

#[test]
fn the_end_of_time_is_no_panic() {
    let breaker = Breaker::new(BreakerSettings { max_open: Duration::MAX, first_open: Duration::MAX, ..settings() });
    for _ in 0..3 {
        fail(&breaker, Duration::MAX);
    }
    assert!(breaker.admit(|| Duration::MAX).is_ok());
}

#[test]
fn many_threads_get_one_probe() {
    let breaker = open_at(ms(0));
    let passes: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| breaker.admit(|| ms(100)).is_ok())).collect();
        threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
    });
    assert_eq!(passes, 1);
}

fn open_at(now: Duration) -> Breaker {
    let breaker = Breaker::new(settings());
    assert_eq!((0..3).filter_map(|_| fail(&breaker, now)).count(), 1);
    breaker
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u64),
    Ask,
    /// One of the calls under way ends.
    Succeed(usize),
    Fail(usize),
    Abandon(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..400_u64).prop_map(Step::Wait),
        3 => Just(Step::Ask),
        1 => any::<usize>().prop_map(Step::Succeed),
        3 => any::<usize>().prop_map(Step::Fail),
        1 => any::<usize>().prop_map(Step::Abandon),
    ]
}

/// What is known of a call under way.
struct Running {
    pass: Pass,
    /// How often the breaker had changed when the call began.
    changes: u32,
    probe: bool,
}

proptest! {
    /// Plays random histories and keeps book of what a breaker promises: who is let through, what opens it, for how
    /// long, and that it always finds its way back.
    #[test]
    fn any_history(steps in prop::collection::vec(step(), 0..200), failures in 1..4_u32, first in 1..200_u64, max in 200..900_u64) {
        let breaker = Breaker::new(BreakerSettings { enabled: true, failures, first_open: ms(first), max_open: ms(max) });
        let mut running: Vec<Running> = Vec::new();
        let (mut now, mut changes, mut in_a_row) = (Duration::ZERO, 0_u32, 0_u32);
        // Open until then; and how long the last opening was, while none has been made good.
        let (mut open_until, mut last_open) = (None::<Duration>, None::<Duration>);
        for step in steps {
            let probing = running.iter().any(|call| call.probe);
            match step {
                Step::Wait(time) => now += ms(time),
                Step::Ask => match (breaker.admit(|| now), open_until) {
                    (Ok(pass), None) => running.push(Running { pass, changes, probe: false }),
                    (Ok(pass), Some(until)) => {
                        prop_assert!(until <= now && !probing, "a probe after the time, and one only");
                        running.push(Running { pass, changes, probe: true });
                    }
                    (Err(retry_in), until) => {
                        let until = until.expect("a closed breaker lets everybody through");
                        prop_assert!(now < until || probing, "somebody has to be let through");
                        prop_assert_eq!(retry_in, until.saturating_sub(now));
                    }
                },
                Step::Succeed(which) | Step::Fail(which) | Step::Abandon(which) if !running.is_empty() => {
                    let call = running.swap_remove(which % running.len());
                    let has_a_say = call.changes == changes;
                    match step {
                        Step::Succeed(_) => {
                            let change = breaker.succeeded(call.pass);
                            prop_assert_eq!(change == Some(BreakerChange::Closed), call.probe);
                            if call.probe {
                                (open_until, last_open) = (None, None);
                                changes += 1;
                            }
                            if has_a_say {
                                in_a_row = 0;
                            }
                        }
                        Step::Fail(_) => {
                            let change = breaker.failed(call.pass, now);
                            if has_a_say && !call.probe && open_until.is_none() {
                                in_a_row += 1;
                            }
                            let opens = call.probe || has_a_say && open_until.is_none() && in_a_row == failures;
                            let expected = last_open.map_or(ms(first), |last| (last * 2).min(ms(max)));
                            prop_assert_eq!(change, opens.then_some(BreakerChange::Opened(expected)));
                            if opens {
                                (open_until, last_open, in_a_row) = (Some(now + expected), Some(expected), 0);
                                changes += 1;
                            }
                        }
                        _ => breaker.abandoned(call.pass),
                    }
                }
                _ => {}
            }
            let probing = running.iter().any(|call| call.probe);
            let state = match open_until {
                None => BreakerState::Closed,
                Some(until) if now < until && !probing => BreakerState::Open,
                Some(_) => BreakerState::HalfOpen,
            };
            prop_assert_eq!(breaker.view(now).state, state);
        }
        // Whatever happened: when all calls have ended and time has passed, a call that succeeds closes it.
        for call in running {
            breaker.abandoned(call.pass);
        }
        let pass = breaker.admit(|| now + ms(max)).expect("nobody is left out for ever");
        breaker.succeeded(pass);
        prop_assert_eq!(breaker.view(now + ms(max)).state, BreakerState::Closed);
    }
}
