//! Code that is brought when it is needed, and given up when nobody calls.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tapline_host_core::{Compilation, Fault, Host, HostConfig, LoadError, PluginSpec, Reuse, Stock};
use tempfile::TempDir;

use crate::guests::{Number, config, host_with, metric, name, number, number_with, spec};

fn host(config: HostConfig) -> Host {
    host_with(config).0
}

fn on_disk(directory: &TempDir) -> HostConfig {
    HostConfig { cache_directory: Some(directory.path().join("compiled")), ..config() }
}

/// How many plugins this host took from `memory`, `disk` or `compiled`.
fn loads(host: &Host, level: &str) -> u64 {
    metric(host, &format!("tapline_cache_loads_total{{level=\"{level}\"}}"))
}

async fn answers(host: &Host, input: u32) -> Vec<u32> {
    let outcome = host.dispatch(Number, &input).await.unwrap();
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    outcome.answers.into_iter().map(|(_, answer)| answer).collect()
}

#[tokio::test]
async fn nothing_is_compiled_until_the_first_call() {
    let host = host(config());
    let plugin = host.load_lazily(spec("lazy", number("(i32.add (local.get $x) (i32.const 1))"))).await.unwrap();
    assert!(!plugin.has_code());
    assert_eq!((loads(&host, "compiled"), host.order("number").unwrap().plugins().len()), (0, 1));
    assert_eq!(answers(&host, 1).await, [2]);
    assert!(plugin.has_code());
    assert_eq!(answers(&host, 2).await, [3]);
    assert_eq!(loads(&host, "compiled"), 1);
}

#[tokio::test]
async fn many_plugins_are_loaded_at_once_or_none_of_them() {
    let host = host(config());
    let same = |plugin: &str| spec(plugin, number("(local.get $x)"));
    let broken = |plugin: &str| spec(plugin, b"no component".to_vec());
    let errors = host.load_all_lazily(vec![same("a"), broken("b"), same("c"), broken("d")]).await.unwrap_err();
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert!(errors.len() == 2 && errors[0].contains("`b`") && errors[1].contains("`d`"), "{errors:?}");
    let twice = host.load_all_lazily(vec![same("a"), same("c"), same("a")]).await.unwrap_err();
    assert!(matches!(&twice[..], [LoadError::Duplicate { plugin }] if plugin.as_ref() == "a"), "{twice:?}");
    assert!(host.plugins().is_empty(), "nothing of what was refused is there");

    let names: Vec<_> = (0..25).map(|number| format!("p{number:02}")).collect();
    let loaded = host.load_all_lazily(names.iter().map(|plugin| same(plugin)).collect()).await.unwrap();
    assert_eq!(loaded.iter().map(|plugin| plugin.name().to_string()).collect::<Vec<_>>(), names);
    assert_eq!(host.order("number").unwrap().plugins().len(), 25);
    let again = host.load_all_lazily(vec![same("p03"), same("new")]).await.unwrap_err();
    assert!(matches!(&again[..], [LoadError::Duplicate { plugin }] if plugin.as_ref() == "p03"), "{again:?}");
    assert_eq!(answers(&host, 5).await, [5; 25]);
    assert!(host.load_all_lazily(Vec::new()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_first_calls_bring_the_code_once() {
    let host = host(config());
    host.load_lazily(spec("lazy", number("(local.get $x)"))).await.unwrap();
    let calls = (0..100).map(|input| {
        let host = host.clone();
        tokio::spawn(async move { answers(&host, input).await })
    });
    for (input, answer) in (0..).zip(join_all(calls).await) {
        assert_eq!(answer.unwrap(), [input]);
    }
    assert_eq!(loads(&host, "compiled") + loads(&host, "memory"), 1);
}

#[tokio::test]
async fn what_only_the_code_shows_fails_the_calls_and_says_why() {
    let host = host(config());
    host.load_lazily(spec("lazy", number("(i64.const 1)"))).await.unwrap();
    let start = "(func $start (unreachable)) (start $start)";
    host.load_lazily(spec("starts-badly", number_with(start, "(local.get $x)"))).await.unwrap();
    for _ in 0..2 {
        let failures = host.dispatch(Number, &1).await.unwrap().failures;
        let reasons: Vec<&LoadError> = failures
            .iter()
            .map(|failure| match &failure.fault {
                Fault::NotLoaded { reason } => &**reason,
                other => unreachable!("{other:?}"),
            })
            .collect();
        assert!(matches!(reasons[0], LoadError::Compile { plugin, .. } if *plugin == name("lazy")), "{reasons:?}");
        assert!(
            matches!(reasons[1], LoadError::Probe { plugin, .. } if *plugin == name("starts-badly")),
            "{reasons:?}"
        );
        let text = failures[0].to_string();
        assert!(
            text.contains("could not be loaded: plugin `lazy` cannot be compiled: ") && text.contains("type mismatch")
        );
        assert!(failures.iter().all(|failure| failure.fault.hint().is_some()));
    }
    let counted = "tapline_tap_invocations_total{plugin=\"lazy\",tap=\"number\",outcome=\"not_loaded\"}";
    assert_eq!(metric(&host, counted), 2);
}

#[tokio::test]
async fn a_file_that_changed_before_its_code_was_brought_again_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("plugin.wasm");
    std::fs::write(&file, number("(local.get $x)")).unwrap();
    let host = host(on_disk(&directory));
    let plugin = host.load_lazily(PluginSpec::file(name("p"), &file)).await.unwrap();
    // What was read is what is called, whatever the file is now.
    std::fs::write(&file, number("(i32.const 666)")).unwrap();
    assert_eq!(answers(&host, 5).await, [5]);

    rest(&host, || !plugin.has_code()).await;
    assert_eq!(answers(&host, 5).await, [5], "from the directory");
    rest(&host, || !plugin.has_code()).await;
    std::fs::remove_dir_all(directory.path().join("compiled")).unwrap();
    let failures = host.dispatch(Number, &5).await.unwrap().failures;
    assert!(
        matches!(&failures[0].fault, Fault::NotLoaded { reason } if matches!(**reason, LoadError::Changed { .. })),
        "{failures:?}"
    );
    std::fs::write(&file, number("(local.get $x)")).unwrap();
    // What failed is not tried again at once, unless somebody says so.
    assert!(host.enable(&name("p")).await.unwrap());
    assert_eq!(answers(&host, 5).await, [5], "compiled anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_its_own_plugin_and_not_for_those_that_nobody_calls() {
    let compilation = Compilation { timeout: Duration::from_secs(60), ..Compilation::default() };
    let host = host(HostConfig { compilation, ..config() });
    // Enough work for a compiler to be seen at it.
    let slow = |number: usize| {
        let function = "(func (param f64) (result f64) local.get 0 ".to_owned()
            + &format!("local.get 0 f64.mul f64.const {number} f64.add ").repeat(500)
            + ")";
        number_with(&function.repeat(20), "(unreachable)")
    };
    for index in 0..4 {
        let plugin = format!("slow-{index}");
        host.load_lazily(spec(&plugin, slow(index))).await.unwrap();
    }
    // The only plugin of its tap: a dispatch calls nobody else.
    host.load_lazily(spec("quick", crate::guests::text(1, 64, 5))).await.unwrap();
    let done = Arc::new(Mutex::new(Vec::new()));
    let bringing = {
        let (host, done) = (host.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            host.bring_all(|plugin, brought| {
                brought.unwrap();
                done.lock().unwrap().push(plugin.to_string());
            })
            .await;
        })
    };
    let answer = host.dispatch(crate::guests::Text, &()).await.unwrap();
    assert_eq!(answer.unwrap().1, "hello");
    let before = done.lock().unwrap().len();
    assert!(before < 4, "the call waited for {before} others");
    bringing.await.unwrap();
    let slow = host.plugins().iter().filter(|plugin| plugin.has_code()).count();
    assert_eq!(slow, 5);
    let mut told = done.lock().unwrap().clone();
    told.sort();
    assert!(told.ends_with(&["slow-0", "slow-1", "slow-2", "slow-3"].map(str::to_owned)), "{told:?}");
}

/// Lets the host look for idle plugins until `done`.
async fn rest(host: &Host, done: impl Fn() -> bool) {
    let until = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        never = host.rest_when_idle(Duration::from_millis(8)) => match never {},
        () = until => {}
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_plugin_that_nobody_calls_gives_up_its_instances_and_its_code() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(on_disk(&directory));
    let reuse = Some(Reuse::default());
    let plugin = PluginSpec { reuse, ..spec("idle", number("(i32.add (local.get $x) (i32.const 1))")) };
    let plugin = host.load(plugin).await.unwrap();
    assert_eq!(answers(&host, 1).await, [2]);
    assert_eq!(host.slots().0, 1, "an instance waits for its next use");
    let is_mapped = || std::fs::read_to_string("/proc/self/maps").unwrap().contains(&plugin.key().file_name());
    assert!(plugin.has_code() && host.slots().0 == 1);

    rest(&host, || !plugin.has_code()).await;
    assert_eq!(host.slots().0, 0);
    assert!(!is_mapped(), "the code is in memory");
    assert_eq!(answers(&host, 2).await, [3]);
    assert!(is_mapped(), "it was mapped");
    assert_eq!((loads(&host, "compiled"), loads(&host, "disk")), (1, 1));
    rest(&host, || !plugin.has_code()).await;
    assert!(!is_mapped());
}

/// Its stock goes with it, and nobody makes it anew until it is called: with a directory for its code, and without.
#[tokio::test]
async fn nothing_is_made_ahead_for_a_plugin_that_nobody_calls() {
    let directory = tempfile::tempdir().unwrap();
    for config in [config(), on_disk(&directory)] {
        let host = host(config);
        let stock = Some(Stock { min: 2, max: 4 });
        let plugin = PluginSpec { stock, ..spec("p", number("(i32.add (local.get $x) (i32.const 1))")) };
        host.load(plugin).await.unwrap();
        let made = || metric(&host, "tapline_stock_made_total{plugin=\"p\"}");
        let stocked = async |more: u64| {
            while made() < more || host.slots().0 < 2 {
                tokio::task::yield_now().await;
            }
        };
        stocked(2).await;
        rest(&host, || host.slots().0 == 0).await;
        let before = made();
        // Longer than the second after which a stock is looked at, whatever happens.
        tokio::select! {
            never = host.rest_when_idle(Duration::from_millis(8)) => match never {},
            () = tokio::time::sleep(Duration::from_millis(2500)) => {}
        }
        assert_eq!((made(), host.slots().0), (before, 0));
        assert_eq!(answers(&host, 1).await, [2]);
        stocked(before + 2).await;
    }
}

#[tokio::test]
async fn a_plugin_keeps_its_code_while_it_is_called_and_where_there_is_no_directory() {
    let directory = tempfile::tempdir().unwrap();
    let (kept, resting) = (host(config()), host(on_disk(&directory)));
    for host in [&kept, &resting] {
        host.load(spec("p", number("(local.get $x)"))).await.unwrap();
    }
    let calls_end = AtomicBool::new(false);
    let without_directory = kept.plugins()[0].clone();
    let called = resting.plugins()[0].clone();
    let watch = async {
        // Called in each turn, as often as anybody looks: it has its code at each of them.
        for _ in 0..2000 {
            assert_eq!(answers(&resting, 3).await, [3]);
            tokio::task::yield_now().await;
        }
        calls_end.store(true, Relaxed);
        while called.has_code() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        never = kept.rest_when_idle(Duration::from_millis(1)) => match never {},
        never = resting.rest_when_idle(Duration::from_millis(4)) => match never {},
        () = watch => {}
    }
    assert!(calls_end.load(Relaxed) && without_directory.has_code());
    assert_eq!(loads(&resting, "disk"), 0, "it was never brought again");
}

#[tokio::test]
async fn a_plugin_whose_compiled_file_is_gone_keeps_its_code() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(on_disk(&directory));
    let plugin = host.load(spec("p", number("(local.get $x)"))).await.unwrap();
    std::fs::remove_file(directory.path().join("compiled").join(plugin.key().file_name())).unwrap();
    // Looked at as often, and in the same directory.
    let other = host.load(spec("other", crate::guests::text(1, 64, 5))).await.unwrap();
    rest(&host, || !other.has_code()).await;
    assert!(plugin.has_code(), "its next call would have to wait for the compiler");
    assert_eq!(answers(&host, 4).await, [4]);
    assert_eq!(loads(&host, "compiled"), 2, "each of them once");
}

/// A gate holds a call inside the guest: however long that takes, the plugin is in use.
#[tokio::test]
async fn a_call_that_takes_long_keeps_its_plugin() {
    let directory = tempfile::tempdir().unwrap();
    let (host, gate) = host_with(on_disk(&directory));
    let plugin = spec("waits", crate::guests::waiting()).grant("gate", "open");
    let plugin = host.load(plugin).await.unwrap();
    let calling = tokio::spawn({
        let host = host.clone();
        async move { answers(&host, 9).await }
    });
    while host.slots().0 == 0 {
        tokio::task::yield_now().await;
    }
    // Beside it one that nobody calls: when that rests, this one was looked at as often.
    let other = host.load(spec("idle", crate::guests::text(1, 64, 5))).await.unwrap();
    rest(&host, || !other.has_code()).await;
    assert!(plugin.has_code());
    gate.add_permits(1);
    assert_eq!(calling.await.unwrap(), [9]);
    rest(&host, || !plugin.has_code()).await;
}
