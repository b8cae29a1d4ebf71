//! What WebAssembly forbids, panics, and the ways out of a call that are none.

use tapline_host_core::{BreakerSettings, BreakerState, Fault, LoadError, Party};
use tapline_hostile::{Attack, Ends, Ground, Guest, INPUT, Number, fault, name, refused};
use wasmtime::Trap;

macro_rules! trap {
    ($trap:ident) => {
        fault!(Fault::Trapped { trap: Trap::$trap, .. })
    };
}

#[tokio::test]
async fn traps_are_named() {
    let ground = Ground::new().await;
    let traps = [
        ("unreachable code", "(unreachable)", trap!(UnreachableCodeReached)),
        ("a division by zero", "(i32.div_u (local.get $x) (i32.const 0))", trap!(IntegerDivisionByZero)),
        ("a remainder of zero", "(i32.rem_s (local.get $x) (i32.const 0))", trap!(IntegerDivisionByZero)),
        ("an integer overflow", "(i32.div_s (i32.const -2147483648) (i32.const -1))", trap!(IntegerOverflow)),
        ("a number that is none", "(i32.trunc_f32_s (f32.const nan))", trap!(BadConversionToInteger)),
        ("a number too large", "(i32.trunc_f64_s (f64.const 1e300))", trap!(IntegerOverflow)),
        ("a load out of bounds", "(i32.load (i32.const 65533))", trap!(MemoryOutOfBounds)),
        ("a load far out of bounds", "(i32.load offset=0xffffffff (i32.const -1))", trap!(MemoryOutOfBounds)),
        (
            "a store out of bounds",
            "(i64.store (i32.const 65535) (i64.const 1)) (i32.const 0)",
            trap!(MemoryOutOfBounds),
        ),
        (
            "a copy out of bounds",
            "(memory.copy (i32.const 0) (i32.const 1) (i32.const -1)) (i32.const 0)",
            trap!(MemoryOutOfBounds),
        ),
        ("a call of nothing", "(call_indirect $t (i32.const 0)) (i32.const 0)", trap!(IndirectCallToNull)),
        ("a call beyond the table", "(call_indirect $t (i32.const 99)) (i32.const 0)", trap!(TableOutOfBounds)),
        (
            "a call with another signature",
            "(call_indirect $t (param i64) (i64.const 0) (i32.const 1)) (i32.const 0)",
            trap!(BadSignature),
        ),
        ("a table beyond its end", "(drop (table.get $t (i32.const 4))) (i32.const 0)", trap!(TableOutOfBounds)),
    ];
    for (what, body, ends) in traps {
        let guest = Guest::number(body).with("(table $t 4 funcref) (func $f) (elem (i32.const 1) $f)");
        ground.survives(Attack::new(what, &guest, ends)).await;
    }
}

/// Thirteen bytes that stand for a megabyte of text, sixteen frames deep: what is shown of them is short, and is not made
/// longer first.
#[tokio::test]
async fn names_that_stand_for_more_than_they_are() {
    let ground = Ground::new().await;
    let deep = |end: &str| {
        let name = "_RMC0FGZZZ_Eu";
        Guest::number(format!("(call ${name} (i32.const 20)) (i32.const 0)")).with(&format!(
            "(func ${name} (param $left i32) (if (local.get $left)
               (then (call ${name} (i32.sub (local.get $left) (i32.const 1)))) (else {end})))"
        ))
    };
    let trap = fault!(Fault::Trapped { trap: Trap::UnreachableCodeReached, backtrace } if backtrace.len() < 16 * 300);
    ground.survives(Attack::new("a trap", &deep("(unreachable)"), trap)).await;
    let text = "(call $panicked (i32.const -1) (i32.const 9) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))";
    let broken = fault!(Fault::BadAnswer { reason } if reason.len() < 5000);
    ground.survives(Attack::new("an argument that is not there", &deep(text), broken)).await;
}

/// A start function is code of the guest as any other, when the host tries the plugin and when it makes an instance.
#[tokio::test]
async fn arguments_that_are_not_there_in_a_start_function() {
    let ground = Ground::new().await;
    let nine_from_the_end = "(i32.const -1) (i32.const 9)";
    let calls = [
        ("panicked", format!("{nine_from_the_end} (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)")),
        ("log", format!("(i32.const 2) {nine_from_the_end}")),
        ("take", nine_from_the_end.to_owned()),
    ];
    let opens_after = BreakerSettings::default().failures;
    for (function, arguments) in calls {
        let call = format!("(call ${function} {arguments})");
        let starts =
            |start: &str| Guest::number("(local.get $x)").with(&format!("(func $start {start}) (start $start)"));
        let refusal = refused!("start", LoadError::Probe { source, .. }
            if matches!(source.fault, Fault::BadAnswer { .. }) && source.fault.party() == Party::Guest);
        ground.survives(Attack::new(function, &starts(&call), refusal)).await;

        // Behaves while it is loaded, which is the first time.
        let later = starts(&format!("(if (i32.gt_u (call $count) (i32.const 1)) (then {call}))"));
        ground.load(function, later.bytes()).await;
        for failures in 1..=opens_after {
            let outcome = ground.beside(ground.host.dispatch(Number, &INPUT)).await.unwrap();
            let [error] = outcome.failures.as_slice() else { panic!("{function}: {:?}", outcome.failures) };
            assert_eq!((error.plugin.as_ref(), error.fault.party()), (function, Party::Guest), "{error}");
            assert!(matches!(error.fault, Fault::BadAnswer { .. }), "{error}");
            let breaker = ground.host.breakers().into_iter().find(|it| it.plugin == name(function)).unwrap();
            let (state, openings) =
                if failures < opens_after { (BreakerState::Closed, 0) } else { (BreakerState::Open, 1) };
            assert_eq!((breaker.state, breaker.failures, breaker.openings), (state, failures, openings), "{function}");
        }
        let counters = ground.counters(function);
        let failures = u64::from(opens_after);
        assert_eq!((counters.outcome("bad_answer"), counters.calls()), (failures, failures), "{counters:?}");
        assert!(ground.host.unload(&name(function)).await.unwrap());
        ground.is_quiet(function).await;
    }
}

/// A guest that reports a panic, `message` bytes of it, then does what `end` says.
fn panicking(message: &[u8], length: usize, end: &str) -> Guest {
    let body = format!(
        "(call $panicked (i32.const 16) (i32.const {length}) (i32.const 0) (i32.const 10) (i32.const 7) (i32.const 3)) {end}"
    );
    Guest::number(body).memory("1024").data(0, b"src/lib.rs").data(16, message)
}

#[tokio::test]
async fn panics() {
    let ground = Ground::new().await;
    let attacks = [
        Attack::new(
            "a panic",
            &panicking(b"it broke", 8, "(unreachable)"),
            fault!(Fault::Panicked(panic) if panic.to_string() == "it broke (src/lib.rs:7:3)"),
        ),
        Attack::new(
            "a long message",
            &panicking(&b"x".repeat(100_000), 100_000, "(unreachable)"),
            fault!(Fault::Panicked(panic) if panic.message.len() == 4096),
        ),
        Attack::new(
            "a message of 60 MB",
            &panicking(b"x", 60_000_000, "(unreachable)"),
            fault!(Fault::BadAnswer { .. }),
        ),
        Attack::new(
            "a message that is not text",
            &panicking(b"\xff\xfe\xfd", 3, "(unreachable)"),
            fault!(Fault::BadAnswer { .. }),
        ),
        Attack::new(
            "a message that is cut within a character",
            &panicking("é".as_bytes(), 1, "(unreachable)"),
            fault!(Fault::BadAnswer { .. }),
        ),
        Attack::new(
            "a message that commands a terminal",
            &panicking(b"\x1b[2J\nfine", 9, "(unreachable)"),
            fault!(Fault::Panicked(panic) if panic.message == r"\u{1b}[2J\nfine"),
        ),
        Attack::new("a panic that is none", &panicking(b"never mind", 10, "(local.get $x)"), Ends::Answer("41")),
        Attack::endless("panics without end", &panicking(b"again", 5, "(loop (call $f) (br 0)) (i32.const 0)").with(
            "(func $f (call $panicked (i32.const 16) (i32.const 5) (i32.const 0) (i32.const 10) (i32.const 7) (i32.const 3)))",
        )),
    ];
    for attack in attacks {
        ground.survives(attack).await;
    }
}
