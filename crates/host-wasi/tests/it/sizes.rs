//! Files that are too large, and too many of them.

use tapline_host_wasi::{DEFAULT_MAX_FILE_SIZE, DEFAULT_MAX_OPEN_FILES, MAX_DIRECTORY_ENTRIES};

use crate::{Place, answers, check, probe};

/// What a guest sees of `file-too-large`, `quota` and `overflow`.
const TOO_LARGE: &str = "error 22";
const TOO_MANY: &str = "error 19";
const TOO_LONG: &str = "error 61";

#[tokio::test]
async fn no_way_of_writing_makes_a_file_larger_than_it_may_be() {
    let place = Place::new();
    let host = probe(place.grant_with("write", "max_file_size", 1000)).await;
    check(
        &host,
        &[
            ("write /data/whole 1000", "ok"),
            ("write /data/more 1001", TOO_LARGE),
            ("write-at /data/at 999 1", "ok"),
            ("write-at /data/at 1000 1", TOO_LARGE),
            ("write-at /data/at 18446744073709551615 1", "error 28"),
            ("write-at /data/at 9223372036854775807 1", TOO_LARGE),
            ("set-size /data/at 1000", "ok"),
            ("set-size /data/at 1001", TOO_LARGE),
            ("set-size /data/at 9223372036854775807", TOO_LARGE),
            ("append /data/log 990", "ok"),
            ("append /data/log 10", "ok"),
            ("append /data/log 1", TOO_LARGE),
            ("write-at /data/log 0 1000", "ok"),
        ],
    )
    .await;
    for entry in std::fs::read_dir(place.data()).unwrap() {
        let entry = entry.unwrap();
        assert!(entry.metadata().unwrap().len() <= 1000, "{entry:?}");
    }
    // What was larger before can be read, and not grow.
    std::fs::write(place.data().join("old"), vec![b'y'; 2000]).unwrap();
    check(&host, &[("size /data/old", "ok 2000"), ("append /data/old 1", TOO_LARGE)]).await;
    let read = answers(&host, &["read /data/old"]).await;
    assert_eq!(read[0].len(), "ok ".len() + 2000);
}

#[tokio::test]
async fn ten_mebibytes_if_nothing_is_said() {
    let place = Place::new();
    let host = probe(place.grant("write")).await;
    assert_eq!(DEFAULT_MAX_FILE_SIZE, 10_485_760);
    check(&host, &[("write-at /data/a 10485759 1", "ok"), ("write-at /data/a 10485760 1", TOO_LARGE)]).await;
}

#[tokio::test]
async fn the_eleventh_file_is_refused_until_one_is_closed() {
    let place = Place::new();
    std::fs::write(place.data().join("a"), "").unwrap();
    let host = probe(place.grant("read")).await;
    let mut commands: Vec<(&str, String)> =
        (1..=DEFAULT_MAX_OPEN_FILES).map(|number| ("open /data/a", format!("ok {number}"))).collect();
    assert_eq!(commands.len(), 10);
    commands.push(("open /data/a", TOO_MANY.to_owned()));
    commands.push(("list /data", TOO_MANY.to_owned()));
    commands.push(("close", "ok 9".to_owned()));
    commands.push(("open /data/a", "ok 10".to_owned()));
    commands.push(("open /data/a", TOO_MANY.to_owned()));
    let commands: Vec<(&str, &str)> = commands.iter().map(|(command, answer)| (*command, answer.as_str())).collect();
    // The next call begins anew.
    for _ in 0..3 {
        check(&host, &commands).await;
    }
}

#[tokio::test]
async fn fewer_files_where_the_operator_says_so() {
    let place = Place::new();
    std::fs::write(place.data().join("a"), "").unwrap();
    let host = probe(place.grant_with("read", "max_open_files", 2)).await;
    check(&host, &[("open /data/a", "ok 1"), ("open /data/a", "ok 2"), ("open /data/a", TOO_MANY)]).await;
}

#[tokio::test]
async fn a_directory_with_too_many_entries_is_not_listed() {
    let place = Place::new();
    for number in 0..MAX_DIRECTORY_ENTRIES {
        std::fs::write(place.data().join(number.to_string()), "").unwrap();
    }
    let host = probe(place.grant("read")).await;
    let found = answers(&host, &["list /data"]).await;
    assert_eq!(found[0].split(' ').count(), 1 + MAX_DIRECTORY_ENTRIES);
    std::fs::write(place.data().join("one more"), "").unwrap();
    check(&host, &[("list /data", TOO_LONG)]).await;
}

#[tokio::test]
async fn a_pipe_is_not_opened_so_that_nobody_waits_at_it() {
    let place = Place::new();
    let pipe = place.data().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    std::os::unix::fs::symlink("pipe", place.data().join("link")).unwrap();
    let host = probe(place.grant("write")).await;
    check(&host, &[("read /data/pipe", "error 63"), ("write /data/link 1", "error 63")]).await;
}
