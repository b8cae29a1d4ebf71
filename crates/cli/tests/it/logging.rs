//! The log of a host that serves, and whoever reads it.

use std::{
    io::{self, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{Place, site::Serving};

/// A pipe is full with sixteen pages, or as many as the system gives it.
const PAGE: [u8; 4096] = [b'\n'; 4096];

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let place = Place::new();
    place.configure(&["seo"], "");
    let (reader, log) = io::pipe().unwrap();
    let mut filler = log.try_clone().unwrap();
    // Ends with the reader.
    let filling = thread::spawn(move || while filler.write_all(&PAGE).is_ok() {});
    // A program that hangs goes on when the log is closed, and the test ends.
    let (done, is_done) = mpsc::channel();
    let closing = thread::spawn(move || {
        let has_ended = is_done.recv_timeout(Duration::from_secs(60)).is_ok();
        drop(reader);
        has_ended
    });

    let mut command = place.command(&["serve", "--log", "debug"]);
    command.stderr(log);
    let serving = Serving::launch(command);
    for _ in 0..50 {
        assert_eq!(serving.get("/").0, 200);
        assert_eq!(serving.get("/item/none").0, 404);
    }
    let (_, metrics) = serving.get("/metrics");
    assert!(metrics.contains("tapline_log_lines_lost_total 0"), "{metrics}");
    assert_eq!(serving.end("-TERM"), 0, "the end waits for nobody either");
    // Nobody hears it where the time was up.
    let _ = done.send(());
    assert!(closing.join().unwrap(), "it stood still until the log was closed");
    filling.join().unwrap();
}

#[test]
fn the_last_lines_are_written_before_the_end() {
    let place = Place::new();
    place.configure(&["seo"], "");
    let mut serving = Serving::start(&place);
    assert_eq!(serving.get("/").0, 200);
    let log = serving.child.stderr.take().unwrap();
    assert_eq!(serving.end("-TERM"), 0);
    let log = io::read_to_string(log).unwrap();
    assert!(log.contains(" ready ") && log.contains("asked to end"), "{log}");
}
