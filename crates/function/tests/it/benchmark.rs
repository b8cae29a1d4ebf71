//! Benchmarks and targets.

use std::path::{Path, PathBuf};

use tapline_function::{Error, Sandbox};
use tapline_host_core::{LoadError, NotOnDisk, limits::Limits};

use crate::{NUMBERS, config, load, runtime, runtime_with};

#[tokio::test]
async fn stages_are_measured_apart() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(Limits::default());
    config.cache_directory = Some(directory.path().join("cache"));
    let runtime = runtime_with(config, Sandbox::default());
    let module = load(&runtime, "numbers", NUMBERS).await;
    let results = runtime.benchmark(&module, "fibonacci(5)", 100).await.unwrap();
    assert_eq!(results.iterations, 100);
    let metrics = runtime.host().metrics().render().unwrap();
    assert!(metrics.contains("tapline_cache_loads_total{level=\"disk\"} 100\n"), "each cold start loads:\n{metrics}");
    assert!(results.compile_ms.is_some() && results.started_at <= results.ended_at);
    for stage in [results.load_artifact, results.instantiate_fresh, results.cold_start, results.call] {
        assert!(stage.p50_ms > 0.0 && stage.p50_ms <= stage.p95_ms && stage.p95_ms <= stage.p99_ms, "{stage:?}");
    }
    assert!(results.cold_start.p50_ms > results.load_artifact.p50_ms, "it is a part of it");
    assert_eq!(results.warm_start, results.instantiate_fresh);
    let factor = results.cold_start.average_ms / results.warm_start.average_ms;
    assert!((results.improvement_factor - factor).abs() < 1e-9);

    let validation = runtime.validate_performance();
    assert!(validation.timestamp >= results.ended_at);
    assert_eq!(validation.targets.len(), 4);
    assert_eq!(validation.overall_met, validation.targets.iter().all(|target| target.met));
    let hit_rate = validation.targets.iter().find(|target| target.name == "cache hit rate").unwrap();
    // Once it was compiled, and in each iteration it came from its file.
    assert!(hit_rate.met && hit_rate.actual.is_some_and(|rate| rate > 99.0 && rate < 100.0), "{hit_rate:?}");
    assert!(validation.targets.iter().all(|target| target.actual.is_some()), "{validation:?}");
}

#[tokio::test]
async fn benchmarks_that_cannot_be() {
    let runtime = runtime();
    let module = load(&runtime, "numbers", NUMBERS).await;
    let error = async |call, iterations| runtime.benchmark(&module, call, iterations).await.unwrap_err().to_string();
    assert_eq!(error("fibonacci(5)", 99).await, "99 iterations are too few, a benchmark has at least 100");
    assert!(error("fibonacci()", 100).await.contains("0 arguments are given"));
    assert_eq!(
        error("fibonacci(5)", 100).await,
        "plugin `numbers`: its code is not loaded from disk: there is no directory for compiled code"
    );
}

/// A benchmark measures what it says, or nothing.
#[tokio::test]
async fn a_benchmark_loads_from_disk_or_says_why_not() {
    async fn why(spoil: impl FnOnce(&Path)) -> NotOnDisk {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("cache");
        let mut config = config(Limits::default());
        config.cache_directory = Some(directory.clone());
        let runtime = runtime_with(config, Sandbox::default());
        let module = load(&runtime, "numbers", NUMBERS).await;
        spoil(&directory);
        match runtime.benchmark(&module, "fibonacci(5)", 100).await.unwrap_err() {
            Error::Load(LoadError::NotOnDisk { why, .. }) => why,
            other => panic!("{other}"),
        }
    }
    fn entry(directory: &Path) -> PathBuf {
        let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
        files.into_iter().find(|path| path.extension().is_some_and(|it| it == "cwasm")).unwrap()
    }
    assert!(matches!(why(|directory| std::fs::remove_file(entry(directory)).unwrap()).await, NotOnDisk::Gone));
    let damage = |directory: &Path| {
        let mut bytes = std::fs::read(entry(directory)).unwrap();
        bytes[100] ^= 1;
        std::fs::write(entry(directory), bytes).unwrap();
    };
    assert!(matches!(why(damage).await, NotOnDisk::Refused));
}

#[tokio::test]
async fn a_benchmark_without_a_directory_that_works_says_what_is_wrong_with_it() {
    let parent = tempfile::tempdir().unwrap();
    std::fs::set_permissions(parent.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let mut config = config(Limits::default());
    config.cache_directory = Some(parent.path().to_owned());
    let runtime = runtime_with(config, Sandbox::default());
    let module = load(&runtime, "numbers", NUMBERS).await;
    let error = runtime.benchmark(&module, "fibonacci(5)", 100).await.unwrap_err();
    let Error::Load(LoadError::NotOnDisk { why: NotOnDisk::Unusable(reason), .. }) = &error else { panic!("{error}") };
    assert!(reason.hint().is_some() && error.hint().is_some());
}
