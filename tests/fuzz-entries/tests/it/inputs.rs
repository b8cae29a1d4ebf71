//! Inputs that fuzzing found, and those that it starts with.

use std::{fs, path::Path};

use tapline_fuzz_entries::ENTRIES;

/// Runs each file of `directory/ENTRY` through its entry, and says how many there were.
#[expect(clippy::print_stdout, reason = "the last name that a failed test shows is the input that it failed with")]
fn run(directory: &str) -> usize {
    let mut files = 0;
    for (entry, call) in ENTRIES {
        let Ok(inputs) = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory).join(entry)) else {
            continue;
        };
        for input in inputs {
            let path = input.unwrap().path();
            println!("{}", path.display());
            match path.extension() {
                // A module in the text format, for people.
                Some(extension) if extension == "wat" => call(&wat::parse_file(&path).unwrap()),
                _ => call(&fs::read(&path).unwrap()),
            }
            files += 1;
        }
    }
    files
}

#[test]
fn what_fuzzing_found_stays_mended() {
    assert!(run("regressions") >= 8, "the inputs that were found are there");
}

#[test]
fn seeds_are_dealt_with() {
    assert!(run("../../fuzz/seeds") >= 8, "the seeds of the fuzz targets were found");
}

#[test]
fn each_entry_has_a_fuzz_target() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
    let targets = fs::read_dir(targets).unwrap().map(|target| target.unwrap().path());
    let mut targets: Vec<_> = targets.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let mut entries = ENTRIES.map(|(entry, _)| entry.to_owned());
    targets.sort();
    entries.sort();
    assert_eq!(targets, entries);
}
