//! Several processes with one directory, and processes that die at the worst moment. Each is this test program again.

use std::env;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tapline_cache::Source;

use crate::{component, engine, files, large_component, on_disk, place, run};

/// The directory that a child uses, and how many small components it asks for. None of them: one large component.
const DIRECTORY: &str = "TAPLINE_CACHE_TEST_DIRECTORY";
const COMPONENTS: &str = "TAPLINE_CACHE_TEST_COMPONENTS";

/// What a child does. Without the variables it is a test like any other, which has nothing to do.
#[test]
fn child() {
    let Some(directory) = env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let cache = on_disk(&engine(), &directory);
    let count = env::var(COMPONENTS).unwrap().parse().unwrap();
    for number in 0..count {
        cache.get_or_compile(&component(number)).unwrap();
    }
    if count == 0 {
        assert_eq!(cache.get_or_compile(&large_component()).unwrap().source, Source::Compiled);
    }
    println!("\ncompiled {}", cache.statistics().compilations);
}

/// The command that runs [`child`], behind whatever else is to run first.
fn command(first: &[&str], directory: &Path, components: u32) -> Command {
    let mut words: Vec<std::ffi::OsString> = first.iter().map(Into::into).collect();
    words.push(env::current_exe().unwrap().into());
    words.extend(["--exact", "processes::child", "--nocapture"].map(Into::into));
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env(DIRECTORY, directory).env(COMPONENTS, components.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(directory: &Path, components: u32) -> Child {
    command(&[], directory, components).spawn().unwrap()
}

#[track_caller]
fn compiled(output: &Output) -> u32 {
    let text = String::from_utf8_lossy(&output.stdout);
    let count = text.lines().find_map(|line| line.strip_prefix("compiled "));
    count.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr))).parse().unwrap()
}

/// The large component is compiled, kept and found again, whatever the child has left.
#[track_caller]
fn check_recovered(directory: &Path) {
    let engine = engine();
    let wasm = large_component();
    let cache = on_disk(&engine, directory);
    assert_eq!(cache.get_or_compile(&wasm).unwrap().source, Source::Compiled);
    let again = on_disk(&engine, directory);
    let loaded = again.get_or_compile(&wasm).unwrap();
    assert_eq!((loaded.source, run(&engine, &loaded)), (Source::Disk, 7));
    assert_eq!(files(directory), [loaded.key.file_name(), "key".to_owned()], "nothing else is left");
}

#[test]
fn processes_with_one_directory_compile_each_component_once() {
    const COUNT: u32 = 20;
    let (_parent, directory) = place();
    let children: Vec<Child> = (0..4).map(|_| start(&directory, COUNT)).collect();
    let outputs: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert_eq!(outputs.iter().map(compiled).sum::<u32>(), COUNT);
    assert_eq!(files(&directory).len(), COUNT as usize + 1);
}

/// The system ends a process that writes beyond its limit: with part of the file written.
#[test]
fn a_process_that_dies_in_the_middle_of_a_write_leaves_nothing_that_is_loaded() {
    let (_parent, directory) = place();
    let output = command(&["sh", "-c", "ulimit -f 64; exec \"$@\"", "sh"], &directory, 0).output().unwrap();
    // 25 is SIGXFSZ on Linux, 31 a core that was not written.
    assert!(output.status.signal().is_some(), "{output:?}");
    let left = files(&directory);
    let [half, _key] = left.as_slice() else { panic!("{left:?}") };
    assert!(half.ends_with(".cwasm.tmp"), "{half}");
    let bytes = fs::metadata(directory.join(half)).unwrap().len();
    assert!((1..1 << 20).contains(&bytes), "{bytes} bytes of more than a million");
    check_recovered(&directory);
}

#[test]
fn a_process_that_is_killed_while_it_has_the_lock_holds_nobody_up() {
    let (_parent, directory) = place();
    for _ in 0..3 {
        let mut child = start(&directory, 0);
        // Its temporary file is there from before it compiles until it is written.
        let begun = || fs::read_dir(&directory).is_ok_and(|mut files| files.any(|file| is_temporary(&file.unwrap())));
        while !begun() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Unless it was done in that moment.
        if files(&directory).iter().all(|name| !name.ends_with(".cwasm")) {
            check_recovered(&directory);
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}

fn is_temporary(file: &fs::DirEntry) -> bool {
    file.file_name().to_string_lossy().ends_with(".cwasm.tmp")
}

/// A write that fails in the middle, as on a full disk: the limit of the size of a file does the same to one process.
#[test]
fn a_full_disk_costs_the_file_and_nothing_else() {
    let (_parent, directory) = place();
    let limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "sh"];
    let output = command(&limited, &directory, 0).output().unwrap();
    assert_eq!(compiled(&output), 1, "it has what it asked for");
    assert_eq!(files(&directory), ["key"], "and left no half of it");
    check_recovered(&directory);
}
