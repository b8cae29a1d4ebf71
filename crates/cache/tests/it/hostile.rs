use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tapline_cache::{ArtifactCache, CacheConfig, CacheDirectory, CacheError, DiskState, Fault, Fingerprint, Source};
use wasmtime::Engine;

use crate::{component, engine, files, on_disk, place, run};

const ANSWER: u32 = 23;

/// Puts something in the place of a good entry, and shows that it is compiled anew, that it runs, and that the
/// next start finds a good entry again.
#[track_caller]
fn check_refused(spoil: impl FnOnce(&Engine, &Path)) {
    let engine = engine();
    let (_parent, directory) = place();
    let wasm = component(ANSWER);
    let entry = directory.join(on_disk(&engine, &directory).get_or_compile(&wasm).unwrap().key.file_name());
    spoil(&engine, &entry);

    let cache = on_disk(&engine, &directory);
    let loaded = cache.get_or_compile(&wasm).unwrap();
    assert_eq!(loaded.source, Source::Compiled);
    assert_eq!(run(&engine, &loaded), ANSWER);
    let statistics = cache.statistics();
    assert_eq!((statistics.refused_files, statistics.disk_hits, statistics.compilations), (1, 0, 1));

    let loaded = on_disk(&engine, &directory).get_or_compile(&wasm).unwrap();
    assert_eq!(loaded.source, Source::Disk);
    assert_eq!(run(&engine, &loaded), ANSWER);
}

/// Changes one byte, counted from the start or, if negative, from the end.
fn flip(entry: &Path, position: isize) {
    let mut bytes = fs::read(entry).unwrap();
    let index = position.rem_euclid(bytes.len() as isize) as usize;
    bytes[index] ^= 1;
    fs::write(entry, bytes).unwrap();
}

#[test]
fn a_changed_byte_is_found_wherever_it_is() {
    check_refused(|_, entry| flip(entry, 0));
    check_refused(|_, entry| flip(entry, 5_000));
    check_refused(|_, entry| flip(entry, -33));
    check_refused(|_, entry| flip(entry, -1));
}

#[test]
fn a_cut_or_longer_file_is_refused() {
    let length = |entry: &Path| fs::metadata(entry).unwrap().len();
    let cut = |entry: &Path, length: u64| fs::File::options().write(true).open(entry).unwrap().set_len(length).unwrap();
    check_refused(|_, entry| cut(entry, 0));
    check_refused(|_, entry| cut(entry, 31));
    check_refused(|_, entry| cut(entry, 32));
    check_refused(|_, entry| cut(entry, length(entry) / 2));
    check_refused(|_, entry| cut(entry, length(entry) - 32));
    check_refused(|_, entry| cut(entry, length(entry) + 1));
}

#[test]
fn working_code_that_we_did_not_write_is_refused() {
    check_refused(|engine, entry| {
        fs::write(entry, engine.precompile_component(&component(666)).unwrap()).unwrap();
    });
}

#[test]
fn an_entry_of_ours_under_another_name_is_refused() {
    check_refused(|engine, entry| {
        let directory = entry.parent().unwrap();
        let other = on_disk(engine, directory).get_or_compile(&component(666)).unwrap();
        fs::copy(directory.join(other.key.file_name()), entry).unwrap();
    });
}

#[test]
fn an_entry_of_another_directory_is_refused() {
    check_refused(|engine, entry| {
        let (_parent, elsewhere) = place();
        let other = on_disk(engine, &elsewhere).get_or_compile(&component(ANSWER)).unwrap();
        fs::copy(elsewhere.join(other.key.file_name()), entry).unwrap();
    });
}

#[test]
fn a_lost_or_cut_key_makes_all_entries_foreign() {
    check_refused(|_, entry| fs::remove_file(entry.with_file_name("key")).unwrap());
    check_refused(|_, entry| fs::write(entry.with_file_name("key"), b"short").unwrap());
}

#[test]
fn what_a_dead_process_left_half_written_is_written_over() {
    let engine = engine();
    let (_parent, directory) = place();
    let wasm = component(ANSWER);
    let cache = on_disk(&engine, &directory);
    let name = cache.key(&wasm).file_name();
    fs::write(directory.join(format!("{name}.tmp")), vec![1; 1 << 20]).unwrap();
    assert_eq!(cache.get_or_compile(&wasm).unwrap().source, Source::Compiled);
    assert_eq!(files(&directory), [name, "key".to_owned()]);
    let loaded = on_disk(&engine, &directory).get_or_compile(&wasm).unwrap();
    assert_eq!((loaded.source, run(&engine, &loaded)), (Source::Disk, ANSWER));
}

fn fifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// What is no file of ours in the place of an entry, whatever could be read there.
#[test]
fn an_entry_that_is_no_file_of_ours_is_refused() {
    let aside = |entry: &Path| {
        let aside = entry.with_file_name("aside");
        fs::rename(entry, &aside).unwrap();
        aside
    };
    check_refused(|_, entry| fs::set_permissions(entry, fs::Permissions::from_mode(0o602)).unwrap());
    check_refused(|_, entry| fs::set_permissions(entry, fs::Permissions::from_mode(0o620)).unwrap());
    check_refused(|_, entry| std::os::unix::fs::symlink(aside(entry), entry).unwrap());
    check_refused(|_, entry| {
        fs::remove_file(entry).unwrap();
        fifo(entry);
    });
    check_refused(|_, entry| {
        fs::remove_file(entry).unwrap();
        fs::create_dir(entry).unwrap();
    });
    // It would take for ever to read.
    check_refused(|_, entry| fs::File::options().write(true).open(entry).unwrap().set_len(1 << 40).unwrap());
}

/// As root alone can try it: others could have the file open.
#[test]
fn an_entry_of_another_user_is_refused() {
    if rustix::process::geteuid().is_root() {
        check_refused(|_, entry| std::os::unix::fs::chown(entry, Some(65_534), Some(65_534)).unwrap());
    }
}

#[test]
fn a_pipe_in_place_of_the_key_is_replaced() {
    check_refused(|_, entry| {
        let key = entry.with_file_name("key");
        fs::remove_file(&key).unwrap();
        fifo(&key);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    });
}

/// Somebody who could write to the directory once has put something where a new entry is written.
#[track_caller]
fn check_planted(plant: impl FnOnce(&Path)) {
    let engine = engine();
    let (_parent, directory) = place();
    let wasm = component(ANSWER);
    let cache = on_disk(&engine, &directory);
    let name = cache.key(&wasm).file_name();
    plant(&directory.join(format!("{name}.tmp")));
    assert_eq!(cache.get_or_compile(&wasm).unwrap().source, Source::Compiled);
    let entry = fs::symlink_metadata(directory.join(&name)).unwrap();
    assert_eq!((entry.is_file(), entry.permissions().mode() & 0o7777), (true, 0o600), "a file of our own");
    let loaded = on_disk(&engine, &directory).get_or_compile(&wasm).unwrap();
    assert_eq!((loaded.source, run(&engine, &loaded)), (Source::Disk, ANSWER));
}

#[test]
fn nothing_is_written_to_what_others_have_put_there() {
    let parent = tempfile::tempdir().unwrap();
    let victim = parent.path().join("victim");
    fs::write(&victim, "not to be touched").unwrap();
    check_planted(|planted| std::os::unix::fs::symlink(&victim, planted).unwrap());
    check_planted(|planted| std::os::unix::fs::symlink("nowhere", planted).unwrap());
    check_planted(fifo);
    check_planted(|planted| fs::create_dir(planted).unwrap());
    // Who has it open could write to it when it is mapped.
    let mut open = None;
    check_planted(|planted| {
        open = Some(fs::File::create(planted).unwrap());
        fs::set_permissions(planted, fs::Permissions::from_mode(0o666)).unwrap();
    });
    assert_eq!(open.unwrap().metadata().unwrap().len(), 0, "somebody else's file");
    if rustix::process::geteuid().is_root() {
        check_planted(|planted| {
            fs::write(planted, "").unwrap();
            std::os::unix::fs::chown(planted, Some(65_534), Some(65_534)).unwrap();
        });
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "not to be touched");
}

#[test]
fn another_name_of_a_file_keeps_what_is_in_it() {
    let engine = engine();
    let (_parent, directory) = place();
    let cache = on_disk(&engine, &directory);
    let wasm = component(ANSWER);
    let (name, other) = (cache.key(&wasm).file_name(), directory.join("other"));
    fs::write(&other, "not to be touched").unwrap();
    fs::hard_link(&other, directory.join(format!("{name}.tmp"))).unwrap();
    cache.get_or_compile(&wasm).unwrap();
    assert_eq!(fs::read_to_string(&other).unwrap(), "not to be touched");
}

/// The parent may be anybody's, such as a directory for temporary files.
#[test]
fn a_directory_that_takes_the_place_of_ours_is_not_used() {
    let engine = engine();
    let (_parent, directory) = place();
    let cache = on_disk(&engine, &directory);
    let (first, second) = (component(ANSWER), component(ANSWER + 1));
    cache.get_or_compile(&first).unwrap();
    fs::rename(&directory, directory.with_file_name("moved")).unwrap();
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(cache.get_or_compile(&second).unwrap().source, Source::Compiled);
    assert_eq!(files(&directory), [""; 0], "nothing of ours");
    assert_eq!(cache.statistics().failed_writes, 0, "what was moved is still ours");
    assert!(cache.is_on_disk(&cache.key(&second)));
    // One that is gone keeps nothing, and the cache works.
    assert!(matches!(cache.disk_state(), DiskState::Ready { .. }));
    fs::remove_dir_all(directory.with_file_name("moved")).unwrap();
    assert!(matches!(cache.disk_state(), DiskState::Unusable { reason: CacheError::Directory { .. }, .. }));
    let loaded = cache.get_or_compile(&component(ANSWER + 2)).unwrap();
    assert_eq!((loaded.source, run(&engine, &loaded)), (Source::Compiled, ANSWER + 2));
    assert_eq!((cache.statistics().failed_writes, files(&directory).len()), (1, 0));
}

#[test]
fn what_is_no_file_of_ours_is_found_and_pruned() {
    let engine = engine();
    let (_parent, directory) = place();
    let names: Vec<String> =
        (0..4).map(|answer| on_disk(&engine, &directory).key(&component(answer)).file_name()).collect();
    fifo(&directory.join(&names[0]));
    std::os::unix::fs::symlink("nowhere", directory.join(&names[1])).unwrap();
    fs::create_dir(directory.join(&names[2])).unwrap();
    fifo(&directory.join(format!("{}.tmp", names[3])));
    let opened = CacheDirectory::open(&directory, 1000, u64::MAX).unwrap();
    let contents = opened.contents().unwrap();
    assert_eq!((contents.entries.len(), contents.leftovers.len()), (3, 1));
    assert!(contents.entries.iter().all(|entry| opened.verify(entry).is_err()));
    assert_eq!(opened.prune(&[Fingerprint::of(&engine)]).unwrap().len(), 3);
    assert_eq!(files(&directory), ["key"]);
    // One that cannot be removed keeps no other.
    fs::create_dir_all(directory.join(&names[0]).join("full")).unwrap();
    fs::write(directory.join(&names[1]), "").unwrap();
    assert!(opened.clear().unwrap_err().to_string().starts_with(&format!("cannot remove {}: ", names[0])));
    assert_eq!(files(&directory), [names[0].clone(), "key".to_owned()]);
}

/// A cache that works, although not with this directory; and why not.
#[track_caller]
fn check_unusable(directory: &Path) -> CacheError {
    let engine = engine();
    let cache: ArtifactCache = on_disk(&engine, directory);
    let loaded = cache.get_or_compile(&component(ANSWER)).unwrap();
    assert_eq!((loaded.source, run(&engine, &loaded)), (Source::Compiled, ANSWER));
    let DiskState::Unusable { directory: named, reason } = cache.disk_state() else { panic!("the disk is used") };
    assert_eq!(named, directory);
    assert_eq!(reason.fault(), Fault::Operator);
    assert!(reason.hint().is_some());
    reason
}

fn with_mode(mode: u32) -> (tempfile::TempDir, PathBuf) {
    let (parent, directory) = place();
    fs::create_dir_all(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
    (parent, directory)
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    for mode in [0o770, 0o707, 0o720, 0o1777] {
        let (_parent, directory) = with_mode(mode);
        let reason = check_unusable(&directory);
        assert!(matches!(reason, CacheError::DirectoryMode { mode: seen, .. } if seen == mode), "{reason:?}");
        assert!(files(&directory).is_empty(), "nothing is put there");
    }
}

#[test]
fn a_directory_that_others_can_read_is_closed_to_them() {
    let engine = engine();
    let mode_of = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for mode in [0o755, 0o750, 0o711, 0o704] {
        // As `mkdir` makes it, and once more when it is in use.
        let (_parent, directory) = with_mode(mode);
        for source in [Source::Compiled, Source::Disk] {
            fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(on_disk(&engine, &directory).get_or_compile(&component(ANSWER)).unwrap().source, source);
            assert_eq!(mode_of(&directory), 0o700, "{mode:o}");
        }
    }
}

#[test]
fn a_directory_that_others_read_for_another_reason_is_refused_and_left_alone() {
    let (_parent, directory) = with_mode(0o755);
    fs::write(directory.join("index.html"), "read by a web server").unwrap();
    let reason = check_unusable(&directory);
    assert!(matches!(reason, CacheError::DirectoryMode { mode: 0o755, .. }), "{reason:?}");
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(files(&directory), ["index.html"], "nothing is put there");
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    let ours = rustix::process::geteuid().as_raw();
    // Root may give a directory away; anybody else finds one of root's.
    let (parent, made) = with_mode(0o755);
    let (directory, owner) = if ours == 0 {
        std::os::unix::fs::chown(&made, Some(65_534), None).unwrap();
        (made, 65_534)
    } else {
        (PathBuf::from("/usr"), 0)
    };
    let reason = check_unusable(&directory);
    assert!(
        matches!(reason, CacheError::DirectoryOwner { owner: seen, expected, .. } if (seen, expected) == (owner, ours)),
        "{reason:?}"
    );
    drop(parent);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let engine = engine();
    let (_parent, directory) = place();
    on_disk(&engine, &directory).get_or_compile(&component(1)).unwrap();
    let key = directory.join("key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let reason = check_unusable(&directory);
    assert!(matches!(reason, CacheError::KeyExposed { mode: 0o640, .. }), "{reason:?}");
}

#[test]
fn a_file_in_place_of_the_directory_is_no_reason_to_stop() {
    let (parent, _) = place();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    for directory in [file.clone(), file.join("below")] {
        let reason = check_unusable(&directory);
        assert!(matches!(reason, CacheError::Directory { .. }), "{reason:?}");
    }
}

#[test]
fn a_directory_in_which_no_key_can_be_made_is_no_reason_to_stop() {
    let (_parent, directory) = with_mode(0o700);
    // Permissions do not stop root: a directory with something in it that has the name of the key does.
    fs::create_dir_all(directory.join("key/full")).unwrap();
    fs::set_permissions(directory.join("key"), fs::Permissions::from_mode(0o700)).unwrap();
    let reason = check_unusable(&directory);
    assert!(matches!(reason, CacheError::Directory { .. }), "{reason:?}");
    assert_eq!(files(&directory), ["key"], "nothing is left behind");
}

/// Whoever could open the directory once can keep a lock of it for ever.
#[test]
fn a_lock_on_the_directory_holds_up_nobody() {
    let (_parent, directory) = with_mode(0o700);
    let lock = fs::File::open(&directory).unwrap();
    lock.lock().unwrap();
    let engine = engine();
    assert_eq!(on_disk(&engine, &directory).get_or_compile(&component(ANSWER)).unwrap().source, Source::Compiled);
    assert_eq!(on_disk(&engine, &directory).get_or_compile(&component(ANSWER)).unwrap().source, Source::Disk);
}

#[test]
fn a_directory_without_write_permission_is_read_and_left_alone() {
    let engine = engine();
    let (_parent, directory) = place();
    let (kept, new) = (component(1), component(2));
    let key = on_disk(&engine, &directory).get_or_compile(&kept).unwrap().key;

    // Permissions do not stop root: a directory with something in it that has the name of the temporary file does.
    let name = on_disk(&engine, &directory).key(&new).file_name();
    fs::create_dir_all(directory.join(format!("{name}.tmp/full"))).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o500)).unwrap();

    let cache = on_disk(&engine, &directory);
    assert!(matches!(cache.disk_state(), DiskState::Ready { .. }));
    assert_eq!(cache.get_or_compile(&kept).unwrap().source, Source::Disk);
    let loaded = cache.get_or_compile(&new).unwrap();
    assert_eq!((loaded.source, run(&engine, &loaded)), (Source::Compiled, 2));
    assert_eq!(cache.statistics().failed_writes, 1);
    let mut expected = [key.file_name(), "key".to_owned(), format!("{name}.tmp")];
    expected.sort();
    assert_eq!(files(&directory), expected);
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn an_entry_that_cannot_be_replaced_is_never_loaded() {
    let engine = engine();
    let (_parent, directory) = place();
    let wasm = component(ANSWER);
    let cache = on_disk(&engine, &directory);
    fs::create_dir(directory.join(cache.key(&wasm).file_name())).unwrap();
    let loaded = cache.get_or_compile(&wasm).unwrap();
    assert_eq!((loaded.source, run(&engine, &loaded)), (Source::Compiled, ANSWER));
    assert_eq!(cache.statistics().refused_files, 1);
}

/// As by Ctrl-Z: the system keeps the lock of a process that is stopped for as long as it is.
#[test]
fn a_process_that_is_stopped_while_it_compiles_holds_nobody_up_for_ever() {
    let engine = engine();
    let (_parent, directory) = place();
    let wasm = component(ANSWER);
    let patience = Duration::from_millis(50);
    let config = CacheConfig { directory: Some(directory.clone()), lock_patience: patience, ..CacheConfig::default() };
    let cache = ArtifactCache::new(&engine, config);
    let held = fs::File::create(directory.join(format!("{}.tmp", cache.key(&wasm).file_name()))).unwrap();
    held.lock().unwrap();

    let loaded = cache.get_or_compile(&wasm).unwrap();
    assert_eq!((loaded.source, run(&engine, &loaded)), (Source::Compiled, ANSWER));
    assert!(loaded.took >= patience && loaded.work + patience <= loaded.took, "what it waited is no work: {loaded:?}");
    assert_eq!(cache.statistics().failed_writes, 1, "it is not kept");
    drop(held);
    assert_eq!(on_disk(&engine, &directory).get_or_compile(&wasm).unwrap().source, Source::Compiled);
    assert_eq!(on_disk(&engine, &directory).get_or_compile(&wasm).unwrap().source, Source::Disk);
}
