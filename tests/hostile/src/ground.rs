//! A host with a well-behaved plugin on it, and what every attack on it goes through.

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use tapline_host_core::{
    Host, HostBuilder, HostConfig, LoadError, PluginName, PluginSpec,
    limits::{Limits, PartialLimits},
    metrics::SeriesLease,
};
use tapline_host_log::Log;
use tokio::{task::yield_now, time::timeout};

use crate::{
    attack::{Attack, BAD, Ends},
    counters::{Counters, outcome_key, refusal_key},
    guest,
    tap::{Choices, INPUT, Letter, List, Listen, Neighbour, Number, Struck, Text, Things},
    world::{HostFunctions, World},
};

/// Long enough for anything that is not stuck, short enough for a test that is.
pub const PATIENCE: Duration = Duration::from_secs(60);

const GOOD: &str = "well-behaved";

/// Settings for tests: a small pool, and more time for a call than any test takes.
#[must_use]
pub fn config() -> HostConfig {
    let limits = Limits::builder().max_execution_time(10 * PATIENCE).build().unwrap();
    HostConfig { pool_size: 8, limits, ..HostConfig::default() }
}

/// A plugin's name.
#[must_use]
pub fn name(name: &str) -> PluginName {
    PluginName::new(name).unwrap()
}

/// A limit of time alone.
#[must_use]
pub fn time(limit: Duration) -> PartialLimits {
    let limit = u64::try_from(limit.as_millis()).unwrap();
    PartialLimits { max_execution_time_ms: Some(limit), ..PartialLimits::default() }
}

/// A host with every tap of this package, and a well-behaved plugin that answers two of them.
pub struct Ground {
    /// The host.
    pub host: Host,
    /// What its functions share with the test.
    pub world: Arc<World>,
    /// What the host has counted about the bad plugin outlasts it: it is looked at when the plugin is gone, or was refused.
    _counted: SeriesLease,
}

impl Ground {
    /// One with the settings of [`config`].
    pub async fn new() -> Self {
        Self::with(config(), |builder| builder).await
    }

    /// One with other settings, and with what `more` adds.
    pub async fn with(config: HostConfig, more: impl FnOnce(HostBuilder) -> HostBuilder) -> Self {
        // Lines that nobody wants are not written, and so not counted either.
        let _ = tracing_subscriber::fmt().with_writer(std::io::sink).try_init();
        let world = Arc::new(World::default());
        let builder = Host::builder().config(config).capability(HostFunctions(Arc::clone(&world))).capability(Log);
        let builder = builder.tap::<Number>().tap::<Neighbour>().tap::<Text>().tap::<List>();
        let builder = builder.tap::<Choices>().tap::<Letter>().tap::<Things>().tap::<Listen>();
        let host = more(builder).build().unwrap();
        let ground = Self { _counted: host.metrics().lease(BAD), host, world };
        ground.host.load(PluginSpec::bytes(name(GOOD), guest::well_behaved())).await.unwrap();
        ground
    }

    /// Loads a plugin with all the host's limits.
    pub async fn load(&self, plugin: &str, bytes: Vec<u8>) {
        self.host.load(PluginSpec::bytes(name(plugin), bytes)).await.unwrap();
    }

    /// What the host has counted about a plugin.
    #[must_use]
    pub fn counters(&self, plugin: &str) -> Counters {
        Counters::of(&self.host, plugin)
    }

    /// The well-behaved plugin is served.
    pub async fn serves(&self) {
        let outcome = timeout(PATIENCE, self.host.dispatch(Neighbour, &INPUT)).await.unwrap().unwrap();
        assert_eq!((outcome.answers, outcome.failures.len()), (vec![(name(GOOD), INPUT + 1)], 0));
    }

    /// Gives way to others until the host is like this.
    pub async fn until(&self, what: &str, is_it: impl Fn(&Host) -> bool) {
        let waiting = async {
            while !is_it(&self.host) {
                yield_now().await;
            }
        };
        let waited = timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "{what}: {:?}", self.host.pool_metrics());
    }

    /// No slot is taken and no memory counted, and the next call is served.
    pub async fn is_quiet(&self, after: &str) {
        let used =
            |host: &Host| (host.slots().0, host.memory().usage().current_pages, host.memory().usage().maximum_pages);
        assert_eq!(used(&self.host), (0, 0, 0), "slots and pages that are not given back after {after}");
        self.serves().await;
    }

    /// Waits for `future`, and serves the well-behaved plugin at least once, and once more at each turn that `future`
    /// leaves to others.
    pub async fn beside<F: Future>(&self, future: F) -> F::Output {
        let serving = async {
            loop {
                self.serves().await;
                yield_now().await;
            }
        };
        let both = async {
            tokio::select! {
                biased;
                never = serving => never,
                output = future => output,
            }
        };
        timeout(PATIENCE, both).await.unwrap()
    }

    /// The host serves before, during and after the attack, which ends as it has to: with its fault, under its names,
    /// with exactly its counters.
    pub async fn survives(&self, attack: Attack) {
        let what = attack.what;
        self.is_quiet(what).await;
        if attack.lasts {
            self.serves_while_it_lasts(&attack).await;
        }
        let (before, refused_before) = (self.counters(BAD), Counters::of_refused_loads(&self.host));
        let loaded = self.beside(self.host.load(attack.spec())).await;
        let mut expected: BTreeSet<String> = attack.moves.iter().map(|counter| (*counter).to_owned()).collect();
        match (attack.ends, loaded) {
            (Ends::Refused(_, pattern, fits), Err(error)) => {
                assert!(fits(&error), "{what}: {error:?} is not {pattern}");
                assert!(error.to_string().contains(&format!("plugin `{BAD}`")), "{what}: {error}");
                if let LoadError::Probe { source, .. } = &error {
                    assert_eq!((source.plugin.as_ref(), source.tap.as_ref()), (BAD, attack.tap), "{what}");
                }
                assert_eq!(self.host.plugins().len(), 1, "{what}: a refused plugin leaves the host as it was");
            }
            (Ends::Refused(_, pattern, _), Ok(_)) => panic!("{what}: loaded, and not refused with {pattern}"),
            (_, Err(error)) => panic!("{what}: not loaded: {error:?}"),
            (ends, Ok(_)) => {
                let struck = self.beside(attack.strike(&self.host)).await;
                expected.insert(outcome_key(check(&attack, ends, struck)));
                assert!(self.host.unload(&name(BAD)).await.unwrap());
            }
        }
        let moved = self.counters(BAD).since(&before);
        let names = moved.names().filter(|name| !attack.may_move.contains(name));
        let names: BTreeSet<String> = names.map(str::to_owned).collect();
        assert_eq!(names, expected, "{what}: the counters that moved");
        let reason = if let Ends::Refused(reason, ..) = attack.ends { Some(refusal_key(reason)) } else { None };
        assert_eq!(moved.calls(), u64::from(reason.is_none()), "{what}: {moved:?}");
        let refused = Counters::of_refused_loads(&self.host).since(&refused_before);
        let expected = Vec::from_iter(reason.as_deref().map(|reason| (reason, 1)));
        assert_eq!(refused.all().collect::<Vec<_>>(), expected, "{what}: the loads that were refused");
        self.is_quiet(what).await;
    }

    /// With all the time of the world the attack goes on and on, and others are served on its thread meanwhile. That it
    /// ends at its deadline is another matter: here no clock decides.
    async fn serves_while_it_lasts(&self, attack: &Attack) {
        let what = attack.what;
        let before = self.counters(BAD);
        self.host.load(attack.patient_spec()).await.unwrap_or_else(|error| panic!("{what}: not loaded: {error:?}"));
        let serving = async {
            for _ in 0..3 {
                self.serves().await;
                yield_now().await;
            }
        };
        let both = async {
            tokio::select! {
                biased;
                struck = attack.strike(&self.host) => panic!("{what}: ended by itself: {struck:?}"),
                () = serving => {}
            }
        };
        timeout(PATIENCE, both).await.unwrap();
        let moved = self.counters(BAD).since(&before);
        assert_eq!((moved.outcome("cancelled"), moved.calls()), (1, 1), "{what}: {moved:?}");
        assert!(self.host.unload(&name(BAD)).await.unwrap());
        self.is_quiet(what).await;
    }
}

/// Compares what became of the attack with what has to. Returns the outcome that has to be counted.
fn check(attack: &Attack, ends: Ends, struck: Struck) -> &'static str {
    let what = attack.what;
    let (bad, others): (Vec<_>, Vec<_>) = struck.answers.into_iter().partition(|(plugin, _)| plugin.as_ref() == BAD);
    let neighbour = (attack.tap == "number").then(|| (name(GOOD), (INPUT + 1).to_string()));
    assert_eq!(others, Vec::from_iter(neighbour), "{what}: the neighbour answers in the same dispatch");
    match ends {
        Ends::Answer(answer) => {
            assert!(struck.failures.is_empty(), "{what}: {:?}", struck.failures);
            assert_eq!(bad, [(name(BAD), answer.to_owned())], "{what}");
            "ok"
        }
        Ends::Fault(pattern, fits) => {
            let [error] = struck.failures.as_slice() else { panic!("{what}: answered {bad:?} and not with {pattern}") };
            assert_eq!((error.plugin.as_ref(), error.tap.as_ref()), (BAD, attack.tap), "{what}");
            assert!(fits(&error.fault), "{what}: {:?} is not {pattern}", error.fault);
            error.fault.outcome().as_str()
        }
        Ends::Refused(..) => panic!("{what}: a plugin that is refused is not called"),
    }
}
