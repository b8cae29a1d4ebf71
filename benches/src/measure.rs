//! Arms that take turns.

use std::{collections::BTreeMap, future::Future, pin::Pin, rc::Rc, time::Instant};

use anyhow::{Context as _, Result};

use crate::stats;

type Turn = Vec<Vec<f64>>;
type Calls<'a> = Pin<Box<dyn Future<Output = Result<Turn>> + 'a>>;
/// The median and the 95th percentile of each round.
type PerRound = (Vec<f64>, Vec<f64>);

/// One way to do the work, with what it has clocks for.
pub struct Arm<'a> {
    name: &'static str,
    clocks: Vec<&'static str>,
    turn: Box<dyn Fn(usize) -> Calls<'a> + 'a>,
}

impl<'a> Arm<'a> {
    /// An arm whose `call` does the work once, checks the answer outside of its clocks, and says what each clock showed,
    /// in nanoseconds.
    pub fn new<const N: usize>(
        name: &'static str,
        clocks: [&'static str; N],
        call: impl AsyncFn() -> Result<[f64; N]> + 'a,
    ) -> Self {
        let call = Rc::new(call);
        let turn = move |calls: usize| -> Calls<'a> {
            let call = Rc::clone(&call);
            Box::pin(async move {
                let mut times = vec![Vec::with_capacity(calls); N];
                for _ in 0..calls {
                    for (list, time) in times.iter_mut().zip(call().await?) {
                        list.push(time);
                    }
                }
                Ok(times)
            })
        };
        Self { name, clocks: clocks.to_vec(), turn: Box::new(turn) }
    }
}

/// What the rounds said: for each arm and clock the median and the 95th percentile of each round.
#[derive(Debug, Default)]
pub struct Rounds(BTreeMap<(&'static str, &'static str), PerRound>);

impl Rounds {
    /// The medians, one for each round, in nanoseconds. None for an arm or a clock that there is not.
    #[must_use]
    pub fn medians(&self, arm: &str, clock: &str) -> &[f64] {
        self.find(arm, clock).map_or(&[], |(medians, _)| medians)
    }

    /// The 95th percentiles, one for each round, in nanoseconds.
    #[must_use]
    pub fn p95(&self, arm: &str, clock: &str) -> &[f64] {
        self.find(arm, clock).map_or(&[], |(_, p95)| p95)
    }

    fn find(&self, arm: &str, clock: &str) -> Option<&PerRound> {
        self.0.iter().find(|((a, c), _)| *a == arm && *c == clock).map(|(_, lists)| lists)
    }
}

/// Gives every arm `calls` calls in each of `rounds` rounds, after one round that does not count. Who begins changes from
/// round to round.
///
/// # Errors
///
/// What an arm says, with its name.
pub async fn take_turns(arms: &[Arm<'_>], rounds: usize, calls: usize) -> Result<Rounds> {
    let mut result = Rounds::default();
    for round in 0..=rounds {
        for place in 0..arms.len() {
            let arm = &arms[(place + round) % arms.len()];
            let times = (arm.turn)(calls).await.with_context(|| format!("the arm `{}`", arm.name))?;
            if round == 0 {
                continue;
            }
            for (clock, times) in arm.clocks.iter().zip(times) {
                let lists = result.0.entry((arm.name, clock)).or_default();
                lists.0.push(stats::median(&times));
                lists.1.push(stats::quantile(&times, 0.95));
            }
        }
    }
    Ok(result)
}

/// Nanoseconds since then.
#[must_use]
pub fn nanoseconds(since: Instant) -> f64 {
    since.elapsed().as_nanos() as f64
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[tokio::test]
    async fn arms_take_turns_and_the_first_round_does_not_count() {
        let order = RefCell::new(String::new());
        let calls = Cell::new(0.0);
        let arm = |name: &'static str| {
            let (order, calls) = (&order, &calls);
            Arm::new(name, ["whole", "part"], async move || {
                order.borrow_mut().push_str(name);
                calls.set(calls.get() + 1.0);
                Ok([calls.get(), 1.0])
            })
        };
        let rounds = take_turns(&[arm("a"), arm("b")], 2, 2).await.unwrap();
        assert_eq!(order.into_inner(), "aabb".to_owned() + "bbaa" + "aabb");
        assert_eq!(rounds.medians("a", "whole"), [7.5, 9.5]);
        assert_eq!(rounds.medians("b", "whole"), [5.5, 11.5]);
        assert_eq!(rounds.medians("b", "part"), [1.0, 1.0]);
        assert!(rounds.p95("a", "whole")[0] > 7.5);
        assert!(rounds.medians("c", "whole").is_empty());
    }

    #[tokio::test]
    async fn an_arm_that_fails_is_named() {
        let arm = Arm::new("broken", ["whole"], async || -> Result<[f64; 1]> { anyhow::bail!("other answer") });
        let error = take_turns(&[arm], 1, 1).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "the arm `broken`: other answer");
    }
}
