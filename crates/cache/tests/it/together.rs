use std::sync::Barrier;
use std::thread;

use tapline_cache::{ArtifactCache, CacheError, Source};

use crate::{component, engine, files, in_memory, on_disk, place, run};

const THREADS: usize = 16;

/// Lets many threads ask for one component at the same moment, each in the cache that it is given.
fn ask_together<'a>(wasm: &[u8], cache_of: impl Fn(usize) -> &'a ArtifactCache) -> Vec<Result<Source, CacheError>> {
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|index| {
                let (cache, start) = (cache_of(index), &start);
                scope.spawn(move || {
                    start.wait();
                    cache.get_or_compile(wasm).map(|loaded| loaded.source)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn count(answers: &[Result<Source, CacheError>], source: Source) -> usize {
    answers.iter().filter(|answer| answer.as_ref().is_ok_and(|other| *other == source)).count()
}

#[test]
fn many_threads_cause_one_compilation() {
    let cache = in_memory(&engine(), 10);
    let answers = ask_together(&component(9), |_| &cache);
    assert_eq!((count(&answers, Source::Compiled), count(&answers, Source::Memory)), (1, THREADS - 1));
    let statistics = cache.statistics();
    assert_eq!((statistics.compilations, statistics.hits()), (1, THREADS as u64 - 1));
    assert_eq!(statistics.entries[0].access_count, THREADS as u64);
}

#[test]
fn many_threads_hear_of_one_failure_each() {
    let cache = in_memory(&engine(), 10);
    let wasm = component(9);
    let answers = ask_together(&wasm[..wasm.len() - 1], |_| &cache);
    assert!(answers.iter().all(|answer| matches!(answer, Err(CacheError::Compile { .. }))));
    assert!(cache.statistics().entries.is_empty());
}

/// Two caches hold two locks, as two processes do: the lock belongs to the open file and not to the process.
#[test]
fn two_caches_on_one_directory_compile_once() {
    let engine = engine();
    let (_parent, directory) = place();
    for answer in 0..20 {
        let caches = [on_disk(&engine, &directory), on_disk(&engine, &directory)];
        let answers = ask_together(&component(answer), |index| &caches[index % 2]);
        assert_eq!((count(&answers, Source::Compiled), count(&answers, Source::Disk)), (1, 1), "{answers:?}");
        let compilations: u64 = caches.iter().map(|cache| cache.statistics().compilations).sum();
        assert_eq!(compilations, 1);
        let loaded = caches[0].get_or_compile(&component(answer)).unwrap();
        assert_eq!(run(&engine, &loaded), answer);
    }
    assert_eq!(files(&directory).len(), 21, "an entry for each and the key, no temporary file");
}

#[test]
fn two_caches_that_start_at_once_agree_on_the_key() {
    let engine = engine();
    for _ in 0..20 {
        let (_parent, directory) = place();
        let start = Barrier::new(2);
        let [one, two] = thread::scope(|scope| {
            [(); 2]
                .map(|()| {
                    scope.spawn(|| {
                        start.wait();
                        on_disk(&engine, &directory)
                    })
                })
                .map(|thread| thread.join().unwrap())
        });
        assert_eq!(one.get_or_compile(&component(1)).unwrap().source, Source::Compiled);
        assert_eq!(two.get_or_compile(&component(1)).unwrap().source, Source::Disk);
    }
}
