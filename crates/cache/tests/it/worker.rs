//! Programs that are no workers, or that do not live long enough. What a real one compiles is tested with the host.

use std::time::Duration;

use tapline_cache::{ArtifactCache, CacheConfig, CacheError, Worker};

use crate::{component, engine};

/// Far longer than anything here takes, but for what never ends.
const LONG: Duration = Duration::from_secs(60);

fn refused(program: &str, arguments: &[&str], timeout: Duration) -> CacheError {
    let worker = Worker {
        program: program.into(),
        arguments: arguments.iter().map(Into::into).collect(),
        settings: Vec::new(),
        max_memory_bytes: 1 << 30,
        timeout,
    };
    let cache = ArtifactCache::new(&engine(), CacheConfig { worker: Some(worker), ..CacheConfig::default() });
    let error = cache.get_or_compile(&component(1)).unwrap_err();
    let statistics = cache.statistics();
    assert_eq!((statistics.misses, statistics.compilations), (1, 0));
    error
}

#[test]
fn one_that_answers_without_the_key() {
    // It gives back what it gets, the key among it; and it ends with the very status of success.
    for _ in 0..20 {
        let error = refused("/bin/cat", &[], LONG);
        assert!(matches!(error, CacheError::Worker { .. }), "{error:?}");
    }
}

#[test]
fn one_that_ends_at_once_or_does_not_start() {
    let error = refused("/bin/sh", &["-c", "echo 'no such setting' >&2; exit 3"], LONG);
    assert!(
        error.to_string().ends_with("it gave no answer, and ended with exit status: 3: no such setting"),
        "{error}"
    );
    let error = refused("no/such/program", &[], LONG);
    assert!(error.to_string().starts_with("cannot run no/such/program to compile component"), "{error}");
    assert!(matches!(error, CacheError::NoWorker { source, .. } if source.kind() == std::io::ErrorKind::NotFound));
}

#[test]
fn one_that_never_ends_is_killed() {
    let limit = Duration::from_millis(50);
    // The second one does not even hold on to its output.
    for script in ["while :; do :; done", "exec sleep 1000000 >&- 2>&-"] {
        let error = refused("/bin/sh", &["-c", script], limit);
        assert!(matches!(error, CacheError::TimedOut { limit: it, .. } if it == limit), "{error:?}");
    }
}

#[test]
fn one_that_the_system_ends() {
    for signal in ["ABRT", "KILL"] {
        let error = refused("/bin/sh", &["-c", &format!("kill -{signal} $$")], LONG);
        assert!(matches!(error, CacheError::OutOfMemory { limit: 1_073_741_824, .. }), "{signal}: {error:?}");
    }
    let error = refused("/bin/sh", &["-c", "kill -XCPU $$"], LONG);
    assert!(matches!(error, CacheError::TimedOut { .. }), "{error:?}");
}
