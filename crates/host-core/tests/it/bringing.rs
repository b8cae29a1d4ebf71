//! Calls that wait for code, callers that go away meanwhile, and code that cannot be had.

use std::{fs::File, pin::pin, time::Duration};

use futures_util::{future::join_all, poll};
use tapline_host_core::{Compilation, Fault, Host, HostConfig, LoadError, Party, PluginSpec};
use tempfile::TempDir;

use crate::guests::{Number, PATIENCE, Text, config, host_with, limits, metric, name, number, spec, text};

/// A host whose compiler stands still: it waits for a file that another process seems to be writing.
struct Held {
    host: Host,
    _directory: TempDir,
    compiling: Vec<File>,
}

impl Held {
    /// `specs` are loaded without their code.
    async fn new(config: HostConfig, specs: Vec<PluginSpec>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cache_directory = Some(directory.path().join("compiled"));
        let host = host_with(HostConfig { cache_directory, ..config }).0;
        let mut compiling = Vec::new();
        for plugin in host.load_all_lazily(specs).await.unwrap() {
            let entry = format!("compiled/{}.tmp", plugin.key().file_name());
            let file = File::create(directory.path().join(entry)).unwrap();
            file.lock().unwrap();
            compiling.push(file);
        }
        Self { host, _directory: directory, compiling }
    }

    /// A host with the plugin `p`, which answers with its input, and this much time for a compilation.
    async fn with_p(compiling: Duration, config: HostConfig) -> Self {
        let compilation = Compilation { timeout: compiling, max_concurrent: 1, ..Compilation::default() };
        Self::new(HostConfig { compilation, ..config }, vec![p()]).await
    }

    fn let_go(&mut self) {
        self.compiling.clear();
    }

    /// Dispatches to `p`, which is to fail.
    async fn fault(&self) -> Fault {
        self.host.dispatch(Number, &1).await.unwrap().failures.swap_remove(0).fault
    }

    async fn until_there(&self) {
        while !self.host.plugins().iter().all(|plugin| plugin.has_code()) {
            tokio::task::yield_now().await;
        }
    }

    fn compiled(&self) -> u64 {
        metric(&self.host, "tapline_cache_loads_total{level=\"compiled\"}")
    }

    /// Compilations that took too long, and those that found no place.
    fn refused(&self) -> [u64; 2] {
        ["time", "busy"]
            .map(|reason| metric(&self.host, &format!("tapline_compilations_refused_total{{reason=\"{reason}\"}}")))
    }
}

fn p() -> PluginSpec {
    spec("p", number("(local.get $x)"))
}

#[tokio::test]
async fn what_could_not_be_compiled_is_not_compiled_again_for_each_call() {
    let mut held = Held::with_p(Duration::from_millis(20), config()).await;
    let plugin = held.host.plugins()[0].clone();
    assert!(plugin.code_failure().is_none(), "nobody has tried");
    for _ in 0..20 {
        let fault = held.fault().await;
        let Fault::NotLoaded { reason } = fault else { panic!("{fault:?}") };
        assert!(matches!(*reason, LoadError::CompileTimedOut { .. }), "{reason}");
    }
    assert_eq!(held.refused(), [1, 0], "the other nineteen heard of the first one's failure");
    let failure = plugin.code_failure().unwrap();
    assert!(matches!(*failure.error, LoadError::CompileTimedOut { .. }));
    assert_eq!(failure.attempts, 1);

    // Whoever enables it, or has everything loaded again, believes that it can be compiled now.
    assert!(held.host.enable(&name("p")).await.unwrap());
    assert!(plugin.code_failure().is_none());
    held.fault().await;
    assert_eq!(held.refused(), [1, 1], "it was tried again");
    assert!(held.host.apply(vec![p()]).await.unwrap().is_nothing());
    held.fault().await;
    assert_eq!(held.refused(), [1, 2], "and again");

    held.let_go();
    let answer = async {
        loop {
            held.host.enable(&name("p")).await.unwrap();
            let outcome = held.host.dispatch(Number, &7).await.unwrap();
            if let Some((_, answer)) = outcome.answers.first() {
                return *answer;
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, answer).await.unwrap(), 7);
    assert!(plugin.code_failure().is_none());
}

#[tokio::test]
async fn a_pause_ends_by_itself() {
    let held = Held::with_p(Duration::from_millis(1), config()).await;
    let plugin = held.host.plugins()[0].clone();
    let again = async {
        loop {
            held.fault().await;
            match plugin.code_failure().unwrap().attempts {
                1 => tokio::time::sleep(plugin.code_failure().unwrap().retry_in).await,
                attempts => return attempts,
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, again).await.unwrap(), 2);
}

#[tokio::test]
async fn code_is_brought_to_its_end_when_its_caller_is_gone() {
    let mut held = Held::with_p(PATIENCE, config()).await;
    {
        let mut call = pin!(held.host.dispatch(Number, &1));
        assert!(poll!(&mut call).is_pending());
    }
    held.let_go();
    tokio::time::timeout(PATIENCE, held.until_there()).await.unwrap();
    assert_eq!(held.host.dispatch(Number, &2).await.unwrap().answers, [(name("p"), 2)]);
    assert_eq!(held.compiled(), 1);
    held.host.load(spec("q", number("(i32.const 3)"))).await.unwrap();
}

#[tokio::test]
async fn those_who_come_later_wait_for_what_the_first_began() {
    let mut held = Held::with_p(PATIENCE, config()).await;
    let second = {
        let mut first = pin!(held.host.dispatch(Number, &1));
        assert!(poll!(&mut first).is_pending());
        let host = held.host.clone();
        let mut second = Box::pin(async move { host.dispatch(Number, &2).await });
        assert!(poll!(&mut second).is_pending());
        second
    };
    held.let_go();
    assert_eq!(second.await.unwrap().answers, [(name("p"), 2)]);
    assert_eq!(held.compiled(), 1);
}

#[tokio::test]
async fn as_many_wait_for_code_as_may_wait_for_slots() {
    // Of four places, three quarters are one plugin's, rounded up.
    let mut held = Held::with_p(PATIENCE, HostConfig { max_waiting: 4, ..config() }).await;
    let host = held.host.clone();
    let inputs: Vec<u32> = (0..10).collect();
    let calls = join_all(inputs.iter().map(|input| host.dispatch(Number, input)));
    let (outcomes, ()) = tokio::join!(biased; calls, async { held.let_go() });
    let (mut answered, mut refused) = (Vec::new(), Vec::new());
    for outcome in outcomes.into_iter().map(Result::unwrap) {
        answered.extend(outcome.answers.into_iter().map(|(_, answer)| answer));
        refused.extend(outcome.failures);
    }
    assert_eq!(answered, [0, 1, 2, 3], "the one who began it, and three who wait");
    assert_eq!(refused.len(), 6);
    for error in &refused {
        assert!(matches!(error.fault, Fault::NoCodeYet { waited: Duration::ZERO }), "{error}");
        assert!(error.to_string().contains("no more calls may wait for it") && error.fault.hint().is_some());
    }
    assert_eq!(
        metric(&host, "tapline_tap_invocations_total{plugin=\"p\",tap=\"number\",outcome=\"overloaded\"}"),
        6,
        "like those that find no place in front of the pool"
    );
    // The places are free again.
    host.load_lazily(spec("q", number("(i32.const 9)"))).await.unwrap();
    let again = join_all(inputs[..4].iter().map(|input| host.dispatch(Number, input))).await;
    assert!(again.into_iter().all(|outcome| outcome.unwrap().answers.len() == 2));
}

#[tokio::test]
async fn plugins_without_code_share_the_line_of_all() {
    let whole = HostConfig { max_waiting: 2, plugin_share_percent: 100, ..config() };
    let mut held = Held::new(whole, vec![p(), spec("text", text(1, 64, 5))]).await;
    let host = held.host.clone();
    let numbers = join_all([0, 1, 2].iter().map(|input| host.dispatch(Number, input)));
    let texts = async { tokio::join!(biased; host.dispatch(Text, &()), host.dispatch(Text, &())) };
    let (numbers, (first, second), ()) = tokio::join!(biased; numbers, texts, async { held.let_go() });
    assert!(numbers.into_iter().all(|outcome| outcome.unwrap().answers.len() == 1));
    assert!(first.unwrap().is_some(), "it has its code brought, and waits in no line");
    assert!(second.unwrap().is_none(), "two wait for the other plugin's code, and there are two places");
    let counted = "tapline_tap_invocations_total{plugin=\"text\",tap=\"text\",outcome=\"overloaded\"}";
    assert_eq!(metric(&host, counted), 1);
}

#[tokio::test]
async fn nobody_waits_for_code_longer_than_for_a_slot_or_for_an_answer() {
    let short = Duration::from_millis(100);
    let mut held = Held::with_p(PATIENCE, HostConfig { max_wait: short, limits: limits(100), ..config() }).await;
    for _ in 0..2 {
        let fault = held.fault().await;
        assert!(matches!(fault, Fault::NoCodeYet { waited } if waited >= short), "{fault:?}");
    }
    let plugin = held.host.plugins()[0].clone();
    assert!(plugin.code_failure().is_none(), "it is being brought");
    assert_eq!(held.host.breakers()[0].failures, 0, "the plugin did not fail");
    held.let_go();
    tokio::time::timeout(PATIENCE, held.until_there()).await.unwrap();
    assert_eq!(held.compiled(), 1);
}

#[tokio::test]
async fn those_that_wait_for_code_hear_at_once_that_the_host_stops() {
    let mut held = Held::with_p(PATIENCE, config()).await;
    let host = held.host.clone();
    let calls = async { tokio::join!(biased; host.dispatch(Number, &1), host.dispatch(Number, &2)) };
    let ((first, second), drained) = tokio::join!(biased; calls, host.shut_down(PATIENCE));
    for outcome in [first, second, host.dispatch(Number, &3).await] {
        let failures = outcome.unwrap().failures;
        assert!(matches!(failures[0].fault, Fault::ShuttingDown), "{failures:?}");
    }
    assert!(drained, "no call was running");
    held.let_go();
}

/// Of two places one is kept for calls: however long the others take, a plugin that is called has its code brought.
#[tokio::test]
async fn a_call_does_not_wait_for_those_that_nobody_has_called() {
    let compilation = Compilation { timeout: PATIENCE, max_concurrent: 2, ..Compilation::default() };
    let held = HostConfig { compilation, ..config() };
    let mut held = Held::new(held, vec![p(), spec("q", number("(i32.const 3)"))]).await;
    let host = held.host.clone();
    let mut bringing = Box::pin(async { host.bring_all(|_, _| {}).await });
    assert!(poll!(&mut bringing).is_pending());
    // As far as it can get: all compilers that it may have stand still.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
        assert!(poll!(&mut bringing).is_pending());
    }
    held.host.load_lazily(spec("text", text(1, 64, 5))).await.unwrap();
    let answer = tokio::time::timeout(PATIENCE / 2, held.host.dispatch(Text, &())).await;
    assert!(answer.expect("it has a place of its own").unwrap().is_some());
    assert!(!held.host.plugins().iter().any(|plugin| plugin.name().as_str() == "p" && plugin.has_code()));
    held.let_go();
    tokio::time::timeout(PATIENCE, bringing).await.unwrap();
    tokio::time::timeout(PATIENCE, held.until_there()).await.unwrap();
}

/// That others take all compilers says nothing about the plugin: the next call tries again, and nobody reports it as broken.
#[tokio::test]
async fn a_plugin_that_finds_no_compiler_has_not_failed() {
    let compilation = Compilation { timeout: Duration::from_millis(20), max_concurrent: 1, ..Compilation::default() };
    let mut held = Held::new(HostConfig { compilation, ..config() }, vec![p()]).await;
    // Its compilation goes on after its time, and keeps the only place.
    assert!(matches!(held.fault().await, Fault::NotLoaded { .. }));
    let plugin = held.host.load_lazily(spec("text", text(1, 64, 5))).await.unwrap();
    let busy = held.host.dispatch(Text, &()).await.unwrap();
    assert!(busy.is_none());
    assert_eq!(held.refused()[1], 1);
    assert!(plugin.code_failure().is_none());
    held.let_go();
    let answered = async { while held.host.dispatch(Text, &()).await.unwrap().is_none() {} };
    tokio::time::timeout(PATIENCE, answered).await.expect("no pause keeps it from trying");
}

/// A plugin that could not be tried because the pool was full is tried by the next call.
#[tokio::test]
async fn a_full_pool_is_no_failure_of_the_code() {
    let one = HostConfig { pool_size: 1, max_wait: Duration::from_millis(20), limits: limits(60_000), ..config() };
    let (host, gate) = host_with(one);
    host.load(spec("slow", crate::guests::waiting()).grant("gate", "open")).await.unwrap();
    let holding = tokio::spawn({
        let host = host.clone();
        async move { host.dispatch(Number, &1).await.unwrap() }
    });
    while host.slots().0 == 0 {
        tokio::task::yield_now().await;
    }
    let plugin = host.load_lazily(spec("text", text(1, 64, 5))).await.unwrap();
    host.bring_all(|_, brought| {
        let error = brought.unwrap_err();
        assert!(matches!(&*error, LoadError::Probe { source, .. } if matches!(source.fault, Fault::Overloaded { .. })));
        assert_eq!(error.party(), Party::Operator);
    })
    .await;
    assert!(!plugin.has_code() && plugin.code_failure().is_none());
    gate.add_permits(1);
    assert_eq!(holding.await.unwrap().answers.len(), 1);
    assert!(host.dispatch(Text, &()).await.unwrap().is_some());
}
