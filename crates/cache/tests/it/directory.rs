//! A directory as people see it.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tapline_cache::{CacheDirectory, Fingerprint, Useless};
use wasmtime::{Config, Engine};

use crate::{component, engine, files, on_disk, place};

fn open(directory: &Path) -> CacheDirectory {
    CacheDirectory::open(directory, 1000, u64::MAX).unwrap()
}

/// The name of an entry's file, after it was compiled for this engine.
fn compile(engine: &Engine, directory: &Path, answer: u32) -> String {
    on_disk(engine, directory).get_or_compile(&component(answer)).unwrap().key.file_name()
}

#[test]
fn it_lists_what_is_there_and_nothing_else() {
    let (_parent, directory) = place();
    let (engine, fuel) = (engine(), Engine::new(Config::new().consume_fuel(true)).unwrap());
    assert!(open(&directory).contents().unwrap().entries.is_empty());
    let old = compile(&engine, &directory, 1);
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(directory.join(old)).unwrap().set_modified(hour_ago).unwrap();
    compile(&fuel, &directory, 1);
    for other in ["notes.txt", "x.cwasm", ".cwasm.tmp"] {
        fs::write(directory.join(other), "not ours").unwrap();
    }
    let contents = open(&directory).contents().unwrap();
    let [new, old] = contents.entries.as_slice() else { panic!("{contents:?}") };
    assert!(contents.leftovers.is_empty());
    assert_eq!(new.name, on_disk(&engine, &directory).key(&component(1)).visible_name());
    assert_eq!(new.name, old.name);
    assert_eq!((new.fingerprint, old.fingerprint), (Fingerprint::of(&fuel), Fingerprint::of(&engine)));
    assert_eq!(old.last_used, hour_ago);
    assert!(new.bytes > 1000 && new.created.is_none_or(|created| created > hour_ago));
    for entry in &contents.entries {
        open(&directory).verify(entry).unwrap();
    }
}

#[test]
fn pruning_takes_what_nobody_would_load() {
    let (_parent, directory) = place();
    let (engine, fuel) = (engine(), Engine::new(Config::new().consume_fuel(true)).unwrap());
    let good = compile(&engine, &directory, 1);
    let damaged = compile(&engine, &directory, 2);
    let other = compile(&fuel, &directory, 1);
    fs::write(directory.join(&damaged), "short").unwrap();
    let (left, held) = (directory.join(format!("{damaged}.tmp")), directory.join(format!("{good}.tmp")));
    fs::write(&left, "half").unwrap();
    let writing = File::create(&held).unwrap();
    writing.lock().unwrap();

    let entry = open(&directory).contents().unwrap().entries.into_iter().find(|entry| damaged.starts_with(&entry.name));
    let error = open(&directory).verify(&entry.unwrap()).unwrap_err();
    assert!(error.to_string().contains("too short"), "{error}");
    let removed = open(&directory).prune(&[Fingerprint::of(&engine)]).unwrap();
    let why: Vec<_> = removed.iter().map(|(entry, why)| (entry.fingerprint, *why)).collect();
    assert!(why.contains(&(Fingerprint::of(&fuel), Useless::OtherEngine)), "{why:?}");
    assert!(why.contains(&(Fingerprint::of(&engine), Useless::Damaged)) && why.len() == 2, "{why:?}");
    assert!(!directory.join(other).exists());
    assert_eq!(
        files(&directory),
        [good.clone(), format!("{good}.tmp"), "key".to_owned()],
        "what is being written stays"
    );

    assert_eq!(open(&directory).clear().unwrap().len(), 1);
    drop(writing);
    assert!(open(&directory).clear().unwrap().is_empty());
    assert_eq!(files(&directory), ["key"]);
}

#[test]
fn ten_thousand_entries_are_listed_and_pruned() {
    let (_parent, directory) = place();
    let engine = engine();
    let good = compile(&engine, &directory, 1);
    let (_, fingerprint) = good.rsplit_once('_').unwrap();
    for number in 0..10_000 {
        let file = File::create(directory.join(format!("{number:064x}_{number}_{fingerprint}"))).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(number)).unwrap();
    }
    assert_eq!(open(&directory).contents().unwrap().entries.len(), 10_001);
    // A host that has room for 1000 takes one more in.
    let new = compile(&engine, &directory, 2);
    let left = open(&directory).contents().unwrap().entries;
    assert_eq!(left.len(), 1000);
    assert!(new.starts_with(&left[0].name) && good.starts_with(&left[1].name), "those that were used last");
    let removed = open(&directory).prune(&[Fingerprint::of(&engine)]).unwrap();
    assert_eq!(removed.len(), 998, "all of which are empty");
    assert!(removed.iter().all(|(_, why)| *why == Useless::Damaged));
}

#[test]
fn a_directory_without_room_is_pruned_to_what_was_used_last() {
    let (_parent, directory) = place();
    let engine = engine();
    let names: Vec<String> = (0..3).map(|answer| compile(&engine, &directory, answer)).collect();
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    for name in &names[..2] {
        File::options().write(true).open(directory.join(name)).unwrap().set_modified(hour_ago).unwrap();
    }
    let small = CacheDirectory::open(&directory, 1, u64::MAX).unwrap();
    let removed = small.prune(&[Fingerprint::of(&engine)]).unwrap();
    assert_eq!(removed.iter().filter(|(_, why)| *why == Useless::NoRoom).count(), 2);
    assert_eq!(files(&directory), [names[2].clone(), "key".to_owned()]);
}
