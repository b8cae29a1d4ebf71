//! Answers that are not what their type says, and arguments for which there is no room.

use tapline_host_core::Fault;
use tapline_hostile::{Attack, Choices, Ends, Ground, Guest, Letter, List, Listen, Text, Things, fault};
use wasmtime::Trap;

/// An answer that is refused with this text.
macro_rules! because {
    ($text:literal) => {
        fault!(Fault::BadAnswer { reason } if reason.contains($text))
    };
}

/// Where the text is the engine's own affair.
fn bad() -> Ends {
    fault!(Fault::BadAnswer { .. })
}

/// A guest that answers with `length` of something that begins at `pointer`.
fn slice<T: tapline_hostile::HostileTap>(pointer: u32, length: u32) -> Guest {
    Guest::new::<T>(format!(
        "(i32.store (i32.const 16) (i32.const {pointer})) (i32.store (i32.const 20) (i32.const {length})) (i32.const 16)"
    ))
}

#[tokio::test]
async fn strings() {
    let ground = Ground::new().await;
    let attacks = [
        Attack::new("2 GiB", &slice::<Text>(64, 0x7fff_ffff), bad()),
        Attack::new("4 GiB less one", &slice::<Text>(0, u32::MAX), bad()),
        Attack::new(
            "100 MB that are there",
            &slice::<Text>(64, 100_000_000).memory("1600"),
            because!("fuel allocated for hostcalls"),
        ),
        Attack::new(
            "one byte too much",
            &slice::<Text>(64, (4 << 20) + 1).memory("100"),
            because!("fuel allocated for hostcalls"),
        ),
        Attack::new(
            "beyond the memory",
            &slice::<Text>(65_000, 10_000),
            because!("string pointer/length out of bounds"),
        ),
        Attack::new(
            "a pointer below zero",
            &slice::<Text>(u32::MAX - 10, 5),
            because!("string pointer/length out of bounds"),
        ),
        Attack::new(
            "a pointer that wraps",
            &slice::<Text>(u32::MAX - 10, 100),
            because!("string pointer/length out of bounds"),
        ),
        Attack::new("no text", &slice::<Text>(64, 4).data(64, b"\xff\xfe\xfd\xfc"), bad()),
        Attack::new("half of a pair", &slice::<Text>(64, 3).data(64, b"\xed\xa0\x80"), bad()),
        Attack::new("a longer way to write a slash", &slice::<Text>(64, 2).data(64, b"\xc0\xaf"), bad()),
        Attack::new(
            "an answer outside of the memory",
            &Guest::new::<Text>("(i32.const 65532)"),
            because!("pointer out of bounds of memory"),
        ),
        Attack::new(
            "an answer that is not aligned",
            &Guest::new::<Text>("(i32.const 17)"),
            because!("return pointer not aligned"),
        ),
        // The most that there may be arrives.
        Attack::new("nothing, from the end", &slice::<Text>(65_536, 0), Ends::Answer(r#""""#)),
    ];
    for attack in attacks {
        ground.survives(attack).await;
    }
}

#[tokio::test]
async fn lists() {
    let ground = Ground::new().await;
    let attacks = [
        Attack::new("a million strings", &slice::<List>(1024, 1_000_000).memory("200"), because!("fuel allocated for hostcalls")),
        Attack::new("a million strings that are not there", &slice::<List>(64, 1_000_000), bad()),
        Attack::new("as many as can be counted", &slice::<List>(64, u32::MAX), bad()),
        Attack::new("strings that are not aligned", &slice::<List>(65, 1), because!("list pointer is not aligned")),
        Attack::new("a string that is not there", &slice::<List>(64, 1).data(64, b"\xff\xff\xff\x7f\x01\0\0\0"), because!("string pointer/length out of bounds")),
        // The same megabyte, a thousand times: what is counted is what the host makes of it.
        Attack::new(
            "one megabyte a thousand times",
            &slice::<List>(1024, 1000)
                .memory("32")
                .with("(func $start (local $at i32) (local.set $at (i32.const 1024)) (loop $next (i32.store (local.get $at) (i32.const 65536)) (i32.store offset=4 (local.get $at) (i32.const 1048576)) (local.set $at (i32.add (local.get $at) (i32.const 8))) (br_if $next (i32.lt_u (local.get $at) (i32.const 9024))))) (start $start)"),
            because!("fuel allocated for hostcalls"),
        ),
        Attack::new("two strings", &slice::<List>(64, 2), Ends::Answer(r#"["", ""]"#)),
    ];
    for attack in attacks {
        ground.survives(attack).await;
    }
}

#[tokio::test]
async fn tags_and_characters() {
    let ground = Ground::new().await;
    // Four bytes each: the tag of the result, the tag of the option or the boolean, the number.
    let choice = |bytes: &[u8]| slice::<Choices>(64, 1).data(64, bytes);
    let letter = |number: u32| Guest::new::<Letter>(format!("(i32.const {number})"));
    let attacks = [
        Attack::new("a tag that there is not", &choice(&[2, 0, 0]), bad()),
        Attack::new("a tag far off", &choice(&[255, 0, 0]), bad()),
        Attack::new("a tag inside that there is not", &choice(&[0, 2, 7]), bad()),
        Attack::new("a boolean that is a number is true", &choice(&[1, 7, 0]), Ends::Answer("[Err(true)]")),
        Attack::new("all as it should be", &choice(&[0, 1, 7]), Ends::Answer("[Ok(Some(7))]")),
        Attack::new("half of a pair", &letter(0xd800), bad()),
        Attack::new("a character beyond the last", &letter(0x0011_0000), bad()),
        Attack::new("a character far beyond", &letter(u32::MAX), bad()),
        Attack::new("the last character", &letter(0x0010_ffff), Ends::Answer(r"'\u{10ffff}'")),
    ];
    for attack in attacks {
        ground.survives(attack).await;
    }
}

#[tokio::test]
async fn handles() {
    let ground = Ground::new().await;
    let things = |body: &str| Guest::new::<Things>(body);
    let attacks = [
        Attack::new("handle 0", &things("(i32.const 0)"), bad()),
        Attack::new("a handle that it never had", &things("(i32.const 7)"), because!("unknown handle index 7")),
        Attack::new("a handle below zero", &things("(i32.const -1)"), bad()),
        Attack::new(
            "a handle that it gave back",
            &things(
                "(local $thing i32) (local.set $thing (call $make)) (call $drop (local.get $thing)) (local.get $thing)",
            ),
            bad(),
        ),
        Attack::new(
            "a handle of another kind",
            &things("(call $other (i32.const 5))")
                .component("(type $other (resource (rep i32))) (core func $other (canon resource.new $other))")
                .function("other", "(param i32) (result i32)"),
            bad(),
        ),
        Attack::new(
            "a handle given back twice",
            &Guest::number("(call $drop (call $make)) (call $drop (i32.const 1)) (i32.const 0)"),
            bad(),
        ),
    ];
    for attack in attacks {
        ground.survives(attack).await;
    }
}

#[tokio::test]
async fn no_room_for_arguments() {
    let ground = Ground::new().await;
    let listens = |realloc: &str| Guest::new::<Listen>("(i32.const 0)").realloc(realloc);
    let attacks = [
        Attack::new(
            "room beyond the memory",
            &listens("(i32.const 65000)"),
            because!("realloc return: beyond end of memory"),
        ),
        Attack::new("room below zero", &listens("(i32.const -8)"), because!("realloc return: beyond end of memory")),
        Attack::new(
            "room that is not aligned",
            &listens("(i32.const 1025)"),
            because!("realloc return: result not aligned"),
        ),
        Attack::new(
            "no room",
            &listens("(unreachable)"),
            fault!(Fault::Trapped { trap: Trap::UnreachableCodeReached, .. }),
        ),
        // Writing over its own memory harms the guest alone.
        Attack::new("room at zero", &listens("(i32.const 0)"), Ends::Answer("0")),
    ];
    for attack in attacks {
        ground.survives(attack).await;
    }
}
