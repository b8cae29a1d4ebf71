//! Guests that do what they may, far too often.

use tapline_host_core::Fault;
use tapline_hostile::{Attack, Ends, Ground, Guest, fault};

const LINES: &str = "tapline_log_lines_total{level=\"info\"}";
const LINES_DROPPED: &str = "tapline_log_lines_dropped_total";
const OUTPUT_DROPPED: &str = "tapline_guest_output_dropped_bytes_total";

/// An answer that is refused with this text.
macro_rules! because {
    ($text:literal) => {
        fault!(Fault::BadAnswer { reason } if reason.contains($text))
    };
}

/// A body that does `what` as often as `times` says, and answers.
fn often(what: &str, times: u32) -> String {
    format!(
        "(local $n i32)
         (loop $next {what}
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $next (i32.lt_u (local.get $n) (i32.const {times}))))
         (local.get $x)"
    )
}

#[tokio::test]
async fn lines_and_output() {
    let ground = Ground::new().await;
    let log = "(call $log (i32.const 2) (i32.const 0) (i32.const 4096))";
    let output = "(call $output (i32.const 1) (i32.const 0) (i32.const 65536))";
    let text = |body: String| Guest::number(body).data(0, &b"x".repeat(5000));
    let attacks = [
        Attack::new("log lines", &text(often(log, 100_000)), Ends::Answer("41")).moves(LINES).moves(LINES_DROPPED),
        Attack::endless("log lines without end", &text(format!("(loop {log} (br 0)) (i32.const 0)")))
            .may_move(LINES)
            .may_move(LINES_DROPPED),
        Attack::new("output", &text(often(output, 10_000)), Ends::Answer("41")).moves(OUTPUT_DROPPED),
        Attack::endless("output without end", &text(format!("(loop {output} (br 0)) (i32.const 0)")))
            .may_move(OUTPUT_DROPPED),
        Attack::new(
            "one line of 100 MB",
            &Guest::number("(call $log (i32.const 2) (i32.const 0) (i32.const 100000000)) (i32.const 0)")
                .memory("1600"),
            because!("fuel allocated for hostcalls"),
        ),
        Attack::new(
            "100 MB of output at once",
            &Guest::number("(call $output (i32.const 1) (i32.const 0) (i32.const 100000000)) (i32.const 0)")
                .memory("1600"),
            fault!(Fault::BadAnswer { .. }),
        ),
    ];
    for attack in attacks {
        ground.survives(attack).await;
    }
}

#[tokio::test]
async fn arguments_of_host_calls() {
    let ground = Ground::new().await;
    let take = |bytes: u32| Guest::number(format!("(call $take (i32.const 0) (i32.const {bytes})) (local.get $x)"));
    let attacks = [
        Attack::new("4 MiB", &take(4 << 20).memory("64"), Ends::Answer("41")),
        Attack::new("a byte more", &take((4 << 20) + 1).memory("65"), because!("fuel allocated for hostcalls")),
        Attack::new("what is not there", &take(65_537), because!("list pointer/length out of bounds")),
        Attack::endless(
            "4 MiB without end",
            &Guest::number("(loop (call $take (i32.const 0) (i32.const 4194304)) (br 0)) (i32.const 0)").memory("64"),
        ),
    ];
    for attack in attacks {
        ground.survives(attack).await;
    }
}

#[tokio::test]
async fn handles_that_are_never_given_back() {
    let ground = Ground::new().await;
    let own = |body: &str| {
        Guest::number(body)
            .component("(type $own (resource (rep i32))) (core func $own (canon resource.new $own))")
            .function("own", "(param i32) (result i32)")
    };
    let attacks = [
        Attack::new("a thousand of the host's", &Guest::number(often("(drop (call $make))", 1000)), Ends::Answer("41")),
        Attack::new(
            "the host's",
            &Guest::number("(loop (drop (call $make)) (br 0)) (i32.const 0)"),
            because!("resource table has no free keys"),
        ),
        Attack::new(
            "a thousand of its own",
            &own(&often("(drop (call $own (i32.const 1)))", 1000)),
            Ends::Answer("41"),
        ),
        Attack::new(
            "its own",
            &own("(loop (drop (call $own (i32.const 1))) (br 0)) (i32.const 0)"),
            fault!(Fault::BadAnswer { .. }),
        ),
        Attack::new(
            "a hundred thousand that are given back",
            &Guest::number(often("(call $drop (call $make))", 100_000)),
            Ends::Answer("41"),
        ),
    ];
    for attack in attacks {
        ground.survives(attack).await;
    }
}
