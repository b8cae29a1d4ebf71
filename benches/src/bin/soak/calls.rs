//! What is called, how each call should end, and what became of it.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use futures_util::future::join_all;
use tapline_benches::plugin_path;
use tapline_content::{Field, Header, Item, ItemView, Value, register};
use tapline_host_core::{
    BreakerSettings, CallError, Contributions, Host, HostConfig, PluginName, PluginSpec, Tap, limits::Limits,
    metrics::Outcome,
};

use tapline_host_log::Log;

use crate::guest::{ANSWER, Act, Burn, Busy, Endless, Fail, Helper, Pause, Reused, Spin, Stocked, plugins};

/// The plugins in Rust, which implement `item_view`.
const PROBES: [&str; 2] = ["probe", "probe-lazy"];

/// One dispatch in so many is a fault: then one call in a hundred is, because a good dispatch makes one call or two.
pub(crate) const ONE_FAULT_IN: u64 = 80;
/// The same while it warms up: whatever a fault leaves in a slot, such as a stack that was used to its end, is there before
/// anything is measured.
pub(crate) const ONE_FAULT_IN_WHEN_COLD: u64 = 5;
/// Most calls that ended otherwise than they should whose lines are kept.
const MAX_WRONG: usize = 20;

/// One dispatch.
#[derive(Clone, Copy, Debug)]
enum Make {
    /// `item_view` of both probes, with this in the field `do`.
    View(&'static str),
    /// `act` with this number.
    Act(u32),
    /// `spin`, to its deadline.
    Spin,
    /// `endless`, given up after being polled so many times.
    GiveUp(u32),
    /// `burn`, until its fuel is used up.
    Burn,
    /// `fail` with this number.
    Fail(u32),
    /// `busy`, within which it is called again, in vain.
    Busy,
    /// `reused` and `stocked`, of which an instance may be there already.
    There,
}

/// Every kind of fault, with the way in which it should end.
const FAULTS: [(Make, Outcome); 27] = [
    (Make::View("error"), Outcome::GuestError),
    (Make::Act(1), Outcome::Trap),
    (Make::Spin, Outcome::Timeout),
    (Make::View("panic"), Outcome::Panic),
    (Make::Act(2), Outcome::StackOverflow),
    (Make::GiveUp(1), Outcome::Cancelled),
    (Make::View("allocate"), Outcome::OutOfMemory),
    (Make::Act(3), Outcome::Trap),
    (Make::Act(4), Outcome::Trap),
    (Make::GiveUp(2), Outcome::Cancelled),
    (Make::View("long error"), Outcome::GuestError),
    (Make::Act(5), Outcome::Trap),
    (Make::View("index"), Outcome::Panic),
    (Make::Act(6), Outcome::BadAnswer),
    (Make::View("recurse"), Outcome::StackOverflow),
    (Make::Act(7), Outcome::BadAnswer),
    (Make::GiveUp(5), Outcome::Cancelled),
    (Make::View("abort"), Outcome::Trap),
    (Make::Act(8), Outcome::OutOfMemory),
    (Make::View("exit"), Outcome::Trap),
    (Make::Act(9), Outcome::Panic),
    (Make::View("large"), Outcome::BadAnswer),
    (Make::Burn, Outcome::OutOfFuel),
    (Make::Fail(0), Outcome::HostError),
    (Make::Busy, Outcome::Overloaded),
    (Make::Fail(1), Outcome::HostError),
    (Make::Fail(2), Outcome::Timeout),
];

/// The host, and an item for each command.
pub(crate) struct Calls {
    pub(crate) host: Host,
    items: BTreeMap<&'static str, Arc<Item>>,
}

impl Calls {
    /// A host with so many slots.
    pub(crate) async fn new(slots: u32) -> Result<Self, Box<dyn Error>> {
        let config = HostConfig {
            pool_size: slots,
            // A guest that takes all it can get should not need long for it.
            limits: Limits::builder().max_memory_bytes(16 << 20).build()?,
            breaker: BreakerSettings::OFF,
            plugin_share_percent: 100,
            ..HostConfig::default()
        };
        let helper = Helper::default();
        let builder = register(Host::builder().config(config)).capability(Pause).capability(helper.clone());
        let builder = builder.capability(Log).tap::<Act>().tap::<Spin>().tap::<Endless>().tap::<Burn>();
        let host = builder.tap::<Fail>().tap::<Busy>().tap::<Reused>().tap::<Stocked>().build()?;
        helper.serve(&host);
        for name in PROBES {
            host.load(PluginSpec::file(PluginName::new(name)?, plugin_path(name))).await?;
        }
        for plugin in plugins()? {
            host.load(plugin).await?;
        }
        let commands = FAULTS.iter().filter_map(|(make, _)| match make {
            Make::View(command) => Some(*command),
            _ => None,
        });
        let items = commands.chain([""]).map(|command| Ok((command, item(command)?)));
        Ok(Self { host, items: items.collect::<Result<_, Box<dyn Error>>>()? })
    }

    /// Fills the stacks of as many calls as there can be, several times: a stack that a guest has filled stays with the pool, and
    /// which of them a later call gets is chance.
    pub(crate) async fn fill_stacks(&self, tally: &mut Tally) {
        let (make, expected) = (Make::Act(2), Outcome::StackOverflow);
        for _ in 0..5 {
            let all = (0..self.host.slots().1).map(|_| self.host.dispatch(Act, &2));
            for outcome in join_all(all).await {
                tally.note::<Act, _>(&[Act::NAME], outcome, make, expected, |_| false);
            }
        }
    }

    /// Takes the plugins out that keep instances, which then have no slot any more.
    pub(crate) async fn keep_none(&self) -> Result<(), Box<dyn Error>> {
        for name in [Reused::NAME, Stocked::NAME] {
            self.host.unload(&PluginName::new(name)?).await?;
        }
        Ok(())
    }

    /// Makes the dispatch of this number, which is a fault when `one_fault_in` divides it, and notes what became of each of
    /// its calls.
    pub(crate) async fn make(&self, number: u64, one_fault_in: u64, tally: &mut Tally) {
        let (make, expected) = match (number / one_fault_in, number % one_fault_in) {
            (round, 0) => FAULTS[usize::try_from(round).unwrap_or_default() % FAULTS.len()],
            (_, fifth) if fifth % 5 == 1 => (Make::There, Outcome::Ok),
            (_, odd) if odd % 2 == 1 => (Make::Act(0), Outcome::Ok),
            _ => (Make::View(""), Outcome::Ok),
        };
        match make {
            Make::View(command) => {
                let outcome = self.host.dispatch(ItemView, &self.items[command]).await;
                tally.note::<ItemView, _>(&PROBES, outcome, make, expected, |answer| !answer.is_empty());
            }
            Make::Act(how) => {
                let outcome = self.host.dispatch(Act, &how).await;
                tally.note::<Act, _>(&[Act::NAME], outcome, make, expected, |answer| answer == ANSWER);
            }
            Make::Spin => {
                let outcome = self.host.dispatch(Spin, &0).await;
                tally.note::<Spin, _>(&[Spin::NAME], outcome, make, expected, |_| false);
            }
            Make::Burn => {
                let outcome = self.host.dispatch(Burn, &0).await;
                tally.note::<Burn, _>(&[Burn::NAME], outcome, make, expected, |_| false);
            }
            Make::Fail(how) => {
                let outcome = self.host.dispatch(Fail, &how).await;
                tally.note::<Fail, _>(&[Fail::NAME], outcome, make, expected, |_| false);
            }
            Make::Busy => {
                let outcome = self.host.dispatch(Busy, &0).await;
                tally.note::<Busy, _>(&[Busy::NAME], outcome, make, Outcome::Ok, |answer| answer == ANSWER);
                // The one within it.
                tally.count(Busy::NAME, Busy::NAME, expected);
            }
            Make::There => {
                let outcome = self.host.dispatch(Reused, &0).await;
                tally.note::<Reused, _>(&[Reused::NAME], outcome, make, expected, |answer| answer == ANSWER);
                let outcome = self.host.dispatch(Stocked, &0).await;
                tally.note::<Stocked, _>(&[Stocked::NAME], outcome, make, expected, |answer| answer == ANSWER);
            }
            Make::GiveUp(polls) => {
                let mut calling = pin!(self.host.dispatch(Endless, &0));
                for _ in 0..polls {
                    let polled = poll_fn(|context| Poll::Ready(calling.as_mut().poll(context))).await;
                    if let Poll::Ready(outcome) = polled {
                        tally.note::<Endless, _>(&[Endless::NAME], outcome, make, expected, |_| false);
                        return;
                    }
                    tokio::task::yield_now().await;
                }
                tally.count(Endless::NAME, Endless::NAME, expected);
            }
        }
    }
}

fn item(command: &str) -> Result<Arc<Item>, Box<dyn Error>> {
    let header = Header {
        id: "a".into(),
        revision: 1,
        kind: "document".into(),
        title: "A".into(),
        author: "".into(),
        published: true,
        promoted: false,
        sticky: false,
        created: 0,
        changed: 0,
    };
    let body = Field { name: "body".into(), value: Value::Text("text ".repeat(100).into()) };
    let command = Field { name: "do".into(), value: Value::Text(command.into()) };
    Ok(Arc::new(Item::new(header, [body, command])?))
}

/// What became of the calls.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// By plugin, tap and outcome.
    counts: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    /// Calls that ended otherwise than they should, the first of them.
    pub(crate) wrong: Vec<String>,
}

impl Tally {
    fn count(&mut self, plugin: &'static str, tap: &'static str, outcome: Outcome) {
        *self.counts.entry((plugin, tap, outcome.as_str())).or_default() += 1;
    }

    fn wrong(&mut self, make: Make, what: impl std::fmt::Display) {
        if self.wrong.len() < MAX_WRONG {
            self.wrong.push(format!("{make:?}: {what}"));
        }
    }

    fn note<T: Tap, A>(
        &mut self,
        plugins: &[&'static str],
        outcome: Result<Contributions<A>, CallError>,
        make: Make,
        expected: Outcome,
        is_good: impl Fn(&A) -> bool,
    ) {
        let Contributions { answers, failures } = match outcome {
            Ok(contributions) => contributions,
            Err(error) => return self.wrong(make, error),
        };
        for plugin in plugins {
            let answer = answers.iter().find(|(name, _)| name.as_str() == *plugin);
            let failure = failures.iter().find(|error| error.plugin.as_str() == *plugin);
            let outcome = match (answer, failure) {
                (Some((_, answer)), None) => {
                    if !is_good(answer) {
                        self.wrong(make, "a wrong answer");
                    }
                    Outcome::Ok
                }
                (None, Some(error)) => error.fault.outcome(),
                _ => {
                    self.wrong(make, format!("{plugin} was not called once"));
                    continue;
                }
            };
            self.count(plugin, T::NAME, outcome);
            if outcome != expected {
                let error = failure.map_or_else(|| "it was answered".to_owned(), ToString::to_string);
                self.wrong(make, error);
            }
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (key, count) in other.counts {
            *self.counts.entry(key).or_default() += count;
        }
        self.wrong.extend(other.wrong);
        self.wrong.truncate(MAX_WRONG);
    }

    /// Calls of handlers.
    pub(crate) fn taps(&self) -> u64 {
        self.counts.values().sum()
    }

    pub(crate) fn faults(&self) -> u64 {
        let is_fault = |outcome: &str| outcome != Outcome::Ok.as_str();
        self.counts.iter().filter(|((_, _, outcome), _)| is_fault(outcome)).map(|(_, count)| count).sum()
    }

    /// The counts as the series of the host's counter.
    pub(crate) fn series(&self) -> impl Iterator<Item = (String, u64)> {
        self.counts.iter().map(|((plugin, tap, outcome), count)| {
            let labels = format!(r#"plugin="{plugin}",tap="{tap}",outcome="{outcome}""#);
            (format!("tapline_tap_invocations_total{{{labels}}}"), *count)
        })
    }

    pub(crate) fn table(&self) -> String {
        let mut rows = String::new();
        for ((plugin, tap, outcome), count) in &self.counts {
            // Writing to a string does not fail.
            let _ = writeln!(rows, "{plugin:<12}{tap:<12}{outcome:<16}{count:>12}");
        }
        format!("{:<12}{:<12}{:<16}{:>12}\n{rows}", "plugin", "tap", "outcome", "taps")
    }
}
