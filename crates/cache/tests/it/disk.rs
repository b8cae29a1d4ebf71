use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use tapline_cache::{ArtifactCache, CacheConfig, DiskState, Source, Wasm};
use wasmtime::{Config, Engine};

use crate::{component, engine, files, on_disk, place, run};

#[test]
fn a_second_cache_maps_what_the_first_compiled() {
    let engine = engine();
    let (_parent, directory) = place();
    let wasm = component(41);
    let first = on_disk(&engine, &directory);
    assert_eq!(first.get_or_compile(&wasm).unwrap().source, Source::Compiled);

    // Another engine with the same settings, as after a restart.
    let engine = crate::engine();
    let second = on_disk(&engine, &directory);
    let loaded = second.get_or_compile(&wasm).unwrap();
    assert_eq!(loaded.source, Source::Disk);
    assert_eq!(run(&engine, &loaded), 41);
    let statistics = second.statistics();
    assert_eq!((statistics.disk_hits, statistics.misses, statistics.compilations), (1, 0, 0));
    assert_eq!(second.get_or_compile(&wasm).unwrap().source, Source::Memory);
    assert_eq!(files(&directory), [loaded.key.file_name(), "key".to_owned()], "no temporary file is left");
}

#[test]
fn a_file_that_is_too_long_for_now_is_left_alone() {
    let engine = engine();
    let (_parent, directory) = place();
    let key = on_disk(&engine, &directory).get_or_compile(&component(1)).unwrap().key;
    let length = fs::metadata(directory.join(key.file_name())).unwrap().len();
    let cache = on_disk(&engine, &directory);
    assert!(cache.find_within(key, length - 1).is_none());
    assert_eq!(cache.find_within(key, length).unwrap().source, Source::Disk);
    assert_eq!(cache.find_within(key, 0).unwrap().source, Source::Memory, "memory is at hand");
}

#[test]
fn a_cache_knows_which_components_its_directory_has() {
    let engine = engine();
    let (_parent, directory) = place();
    let cache = on_disk(&engine, &directory);
    let key = cache.key(&component(1));
    assert!(!cache.is_on_disk(&key));
    cache.get_or_compile(&component(1)).unwrap();
    assert!(cache.is_on_disk(&key) && !cache.is_on_disk(&cache.key(&component(2))));
    fs::remove_file(directory.join(key.file_name())).unwrap();
    assert!(!cache.is_on_disk(&key), "it is in memory alone");
    let without = ArtifactCache::new(&engine, CacheConfig::default());
    without.get_or_compile(&component(1)).unwrap();
    assert!(!without.is_on_disk(&key));
}

#[test]
fn directory_key_and_entry_are_for_us_alone() {
    let engine = engine();
    let (_parent, directory) = place();
    let cache = on_disk(&engine, &directory);
    let name = cache.get_or_compile(&component(1)).unwrap().key.file_name();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join("key")), 0o600);
    assert_eq!(mode(&directory.join(name)), 0o600);
    let DiskState::Ready { directory: named } = cache.disk_state() else { panic!("the disk is used") };
    assert_eq!(named, directory.canonicalize().unwrap());
}

#[test]
fn another_engine_setting_compiles_anew_beside_the_old_entry() {
    let (_parent, directory) = place();
    let wasm = component(3);
    on_disk(&engine(), &directory).get_or_compile(&wasm).unwrap();

    let fuel = Engine::new(Config::new().consume_fuel(true)).unwrap();
    assert_eq!(on_disk(&fuel, &directory).get_or_compile(&wasm).unwrap().source, Source::Compiled);
    assert_eq!(on_disk(&engine(), &directory).get_or_compile(&wasm).unwrap().source, Source::Disk);
    assert_eq!(files(&directory).len(), 3, "two entries and the key");
}

#[test]
fn what_left_memory_comes_back_from_disk() {
    let engine = engine();
    let (_parent, directory) = place();
    let wasm = component(3);
    on_disk(&engine, &directory).get_or_compile(&wasm).unwrap();
    let config = CacheConfig { directory: Some(directory), max_entries: 0, ..CacheConfig::default() };
    let cache = ArtifactCache::new(&engine, config);
    for _ in 0..2 {
        assert_eq!(cache.get_or_compile(&wasm).unwrap().source, Source::Disk);
    }
}

#[test]
fn the_directory_keeps_what_was_used_last() {
    let engine = engine();
    let (_parent, directory) = place();
    let [one, two, three] = [1, 2, 3].map(component);
    let cache = |max_entries| {
        ArtifactCache::new(
            &engine,
            CacheConfig { directory: Some(directory.clone()), max_entries, ..CacheConfig::default() },
        )
    };
    let age = |wasm: &[u8], hours: u64| {
        let path = directory.join(cache(1).key(wasm).file_name());
        let time = SystemTime::now() - Duration::from_secs(hours * 3600);
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    };
    cache(2).get_or_compile(&one).unwrap();
    cache(2).get_or_compile(&two).unwrap();
    age(&one, 2);
    age(&two, 1);
    fs::write(directory.join("notes.txt"), "not ours").unwrap();
    // A use of the older one makes it the younger one.
    assert_eq!(cache(2).get_or_compile(&one).unwrap().source, Source::Disk);
    cache(2).get_or_compile(&three).unwrap();

    let mut expected = [&one, &three].map(|wasm| cache(2).key(wasm).file_name()).to_vec();
    expected.extend(["key".to_owned(), "notes.txt".to_owned()]);
    expected.sort();
    assert_eq!(files(&directory), expected);
}

#[test]
fn a_link_to_the_directory_will_do() {
    let engine = engine();
    let (parent, directory) = place();
    fs::create_dir_all(&directory).unwrap();
    let link = parent.path().join("link");
    symlink(&directory, &link).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    on_disk(&engine, &link).get_or_compile(&component(1)).unwrap();
    assert_eq!(on_disk(&engine, &directory).get_or_compile(&component(1)).unwrap().source, Source::Disk);
}

#[test]
fn the_directory_has_room_for_so_many_bytes() {
    let engine = engine();
    let (_parent, directory) = place();
    let cache = |max_bytes| {
        let config = CacheConfig { directory: Some(directory.clone()), max_bytes, ..CacheConfig::default() };
        ArtifactCache::new(&engine, config)
    };
    let [one, two] = [1, 2].map(component);
    let unbounded = cache(u64::MAX);
    let name = unbounded.get_or_compile(&one).unwrap().key.file_name();
    let bytes = fs::metadata(directory.join(&name)).unwrap().len();
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    fs::File::options().write(true).open(directory.join(&name)).unwrap().set_modified(hour_ago).unwrap();
    // Both have the same size, but for the number that they return.
    let kept = cache(bytes + bytes / 2).get_or_compile(&two).unwrap().key.file_name();
    assert_eq!(files(&directory).iter().filter(|name| name.ends_with(".cwasm")).collect::<Vec<_>>(), [&kept]);
    // One that is too large alone is not written, and drives nobody out.
    assert_eq!(cache(bytes / 2).get_or_compile(&component(3)).unwrap().source, Source::Compiled);
    assert_eq!(files(&directory), [kept, "key".to_owned()]);
}

#[test]
fn a_clock_that_goes_back_keeps_nothing_for_ever() {
    let engine = engine();
    let (_parent, directory) = place();
    let cache = |max_entries| {
        let config = CacheConfig { directory: Some(directory.clone()), max_entries, ..CacheConfig::default() };
        ArtifactCache::new(&engine, config)
    };
    let [one, two, three] = [1, 2, 3].map(component);
    let next_year = SystemTime::now() + Duration::from_secs(365 * 24 * 3600);
    for wasm in [&one, &two] {
        let path = directory.join(cache(3).get_or_compile(wasm).unwrap().key.file_name());
        fs::File::options().write(true).open(path).unwrap().set_modified(next_year).unwrap();
    }
    // What is used after the clock was set back has a time that can be compared with others.
    assert_eq!(cache(3).get_or_compile(&one).unwrap().source, Source::Disk);
    cache(2).get_or_compile(&three).unwrap();
    assert_eq!(cache(2).get_or_compile(&one).unwrap().source, Source::Disk);
    assert_eq!(cache(2).get_or_compile(&two).unwrap().source, Source::Compiled);
}

#[test]
fn what_is_forgotten_comes_back_from_its_file() {
    let engine = engine();
    let (_parent, directory) = place();
    let cache = on_disk(&engine, &directory);
    let wasm = Wasm::new(component(8));
    let key = cache.key_of(&wasm);
    assert!(cache.find(key).is_none());
    assert_eq!(cache.get_or_compile_hashed(&wasm).unwrap().source, Source::Compiled);
    assert_eq!(cache.find(key).unwrap().source, Source::Memory);
    assert!(cache.forget(&key) && !cache.forget(&key));
    let found = cache.find(key).unwrap();
    assert_eq!((found.source, run(&engine, &found)), (Source::Disk, 8));
    assert_eq!(cache.statistics().compilations, 1);
}
