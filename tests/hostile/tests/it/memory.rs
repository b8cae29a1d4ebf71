//! Guests that want more memory or table than there is for them.

use tapline_host_core::{
    Fault, LoadError,
    limits::{PartialLimits, RefusalKind},
};
use tapline_hostile::{Attack, Ends, Ground, Guest, Listen, Text, fault, refused};
use wasmtime::Trap;

const REFUSED: &str = "tapline_refused_growths_total";

/// 16 pages and 100 elements: the limits are the same code at any size, and small ones are quick to reach.
fn small() -> PartialLimits {
    PartialLimits { max_memory_bytes: Some(16 << 16), max_table_elements: Some(100), ..PartialLimits::default() }
}

const NO_MEMORY: fn() -> Ends =
    || fault!(Fault::OutOfMemory(refusal) if refusal.kind == RefusalKind::Memory && refusal.limit == 16 << 16);
const NO_TABLE: fn() -> Ends =
    || fault!(Fault::OutOfMemory(refusal) if refusal.kind == RefusalKind::TableElements && refusal.limit == 100);

#[tokio::test]
async fn memory_beyond_the_limit() {
    let ground = Ground::new().await;
    // Each page is written to as soon as it is there.
    let page_by_page = "(local $n i32)
        (loop $more
          (local.set $n (memory.grow (i32.const 1)))
          (if (i32.eq (local.get $n) (i32.const -1)) (then (unreachable)))
          (i32.store (i32.shl (local.get $n) (i32.const 16)) (i32.const 1))
          (br $more))
        (i32.const 0)";
    let at_once = "(if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable))) (i32.const 0)";
    let beyond = "(if (i32.eq (memory.grow (i32.const 65535)) (i32.const -1)) (then (unreachable))) (i32.const 0)";
    for (what, body) in [("page by page", page_by_page), ("at once", at_once), ("all that there can be", beyond)] {
        ground.survives(Attack::new(what, &Guest::number(body), NO_MEMORY()).limits(small()).moves(REFUSED)).await;
    }
    let ignores = Guest::number("(loop (drop (memory.grow (i32.const 16))) (br 0)) (i32.const 0)");
    ground.survives(Attack::endless("without end", &ignores).limits(small()).may_move(REFUSED)).await;
}

/// Who does not look at what a growth says takes -1 for a page, and its address for one where there is something.
#[tokio::test]
async fn memory_that_was_refused_and_is_used_all_the_same() {
    let ground = Ground::new().await;
    let grow = "(memory.grow (i32.const 16))";
    let page = format!("(i32.shl {grow} (i32.const 16))");
    let no_element = "(table.grow $t (ref.null func) (i32.const 100))";
    let uses = |body: String| Guest::number(body).with("(table $t 1 funcref)");
    let attacks = [
        ("a load", uses(format!("(i32.load {grow})")), NO_MEMORY()),
        ("a store", uses(format!("(i32.store {page} (i32.const 1)) (i32.const 0)")), NO_MEMORY()),
        ("a fill", uses(format!("(memory.fill {page} (i32.const 1) (i32.const 1048576)) (i32.const 0)")), NO_MEMORY()),
        ("an element", uses(format!("(drop (table.get $t {no_element})) (i32.const 0)")), NO_TABLE()),
        ("a call", uses(format!("(call_indirect $t {no_element}) (i32.const 0)")), NO_TABLE()),
        ("a host call", uses(format!("(call $take {page} (i32.const 9)) (i32.const 0)")), NO_MEMORY()),
        (
            "an answer",
            Guest::new::<Text>(format!(
                "(i32.store (i32.const 16) {page}) (i32.store (i32.const 20) (i32.const 9)) (i32.const 16)"
            )),
            NO_MEMORY(),
        ),
    ];
    for (what, guest, ends) in attacks {
        ground.survives(Attack::new(what, &guest, ends).limits(small()).moves(REFUSED)).await;
    }
    let starts = uses("(local.get $x)".to_owned())
        .with(&format!("(func $start (call $take {page} (i32.const 9))) (start $start)"));
    let refusal = refused!("start", LoadError::Probe { source, .. } if matches!(source.fault, Fault::OutOfMemory(_)));
    ground.survives(Attack::new("a start function", &starts, refusal).limits(small()).moves(REFUSED)).await;
    // It was refused something, and fails of something else.
    let other = uses(format!("(drop {grow}) (i32.div_u (i32.const 1) (i32.const 0))"));
    let ends = fault!(Fault::Trapped { trap: Trap::IntegerDivisionByZero, .. });
    ground.survives(Attack::new("a division", &other, ends).limits(small()).moves(REFUSED)).await;
}

#[tokio::test]
async fn no_memory_in_which_to_make_room_for_arguments() {
    let ground = Ground::new().await;
    let grow = "(memory.grow (i32.const 16))";
    let rooms = [
        ("no room", format!("(if (i32.eq {grow} (i32.const -1)) (then (unreachable))) (i32.const 0)")),
        ("room where there is nothing", format!("(i32.shl {grow} (i32.const 16))")),
        ("room at -1", grow.to_owned()),
        ("room that it writes to", format!("(i32.store {grow} (i32.const 1)) (i32.const 0)")),
    ];
    for (what, realloc) in rooms {
        let guest = Guest::new::<Listen>("(i32.const 0)").realloc(&realloc);
        ground.survives(Attack::new(what, &guest, NO_MEMORY()).limits(small()).moves(REFUSED)).await;
    }
    // With the refusal it gives room that it had already, and that is no failure.
    let guest = Guest::new::<Listen>("(i32.const 7)").realloc(&format!("(drop {grow}) (i32.const 1024)"));
    ground.survives(Attack::new("other room", &guest, Ends::Answer("7")).limits(small()).moves(REFUSED)).await;
}

#[tokio::test]
async fn memory_up_to_the_limit() {
    let ground = Ground::new().await;
    // Writes to the last byte that there may be, then asks for one page more and lives with the refusal.
    let exact = "(if (i32.ne (memory.grow (i32.const 15)) (i32.const 1)) (then (unreachable)))
        (i32.store8 (i32.const 1048575) (i32.const 1))
        (memory.grow (i32.const 1))";
    let attack = Attack::new("not a page more", &Guest::number(exact), Ends::Answer("4294967295"));
    ground.survives(attack.limits(small()).moves(REFUSED)).await;

    // The default limit, 128 MiB, and every page of it.
    let all = "(local $at i32)
        (if (i32.ne (memory.grow (i32.const 2047)) (i32.const 1)) (then (unreachable)))
        (loop $next
          (i32.store (local.get $at) (i32.const 1))
          (local.set $at (i32.add (local.get $at) (i32.const 65536)))
          (br_if $next (i32.lt_u (local.get $at) (i32.const 134217728))))
        (memory.size)";
    ground.survives(Attack::new("all of it", &Guest::number(all), Ends::Answer("2048"))).await;
}

#[tokio::test]
async fn tables_beyond_the_limit() {
    let ground = Ground::new().await;
    let table = "(table $t 1 funcref)";
    let step_by_step = "(loop $more
          (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 7)) (i32.const -1))))
        (unreachable)";
    let at_once = "(if (i32.eq (table.grow $t (ref.null func) (i32.const 100)) (i32.const -1)) (then (unreachable)))
        (i32.const 0)";
    for (what, body) in [("step by step", step_by_step), ("at once", at_once)] {
        let guest = Guest::number(body).with(table);
        ground.survives(Attack::new(what, &guest, NO_TABLE()).limits(small()).moves(REFUSED)).await;
    }
    let ignores = Guest::number("(loop (drop (table.grow $t (ref.null func) (i32.const 100))) (br 0)) (i32.const 0)");
    ground.survives(Attack::endless("without end", &ignores.with(table)).limits(small()).may_move(REFUSED)).await;
    // Two tables share one limit.
    let both = Guest::number(
        "(if (i32.eq (table.grow $t (ref.null func) (i32.const 50)) (i32.const -1)) (then (return (i32.const 1))))
         (table.grow $u (ref.null func) (i32.const 50))",
    );
    let attack =
        Attack::new("two tables", &both.with("(table $t 1 funcref) (table $u 1 funcref)"), Ends::Answer("4294967295"));
    ground.survives(attack.limits(small()).moves(REFUSED)).await;
}

#[tokio::test]
async fn more_than_the_limit_at_the_start() {
    let ground = Ground::new().await;
    let guest = || Guest::number("(local.get $x)");
    let too_large = |what: &'static str, guest: &Guest, ends| Attack::new(what, guest, ends).limits(small());
    ground
        .survives(too_large(
            "a memory",
            &guest().memory("17"),
            refused!(
                "too_large",
                LoadError::TooLarge { what: "bytes of memory", needs: 1_114_112, limit: 1_048_576, .. }
            ),
        ))
        .await;
    ground
        .survives(too_large(
            "a table",
            &guest().with("(table 101 funcref)"),
            refused!("too_large", LoadError::TooLarge { what: "table elements", needs: 101, limit: 100, .. }),
        ))
        .await;
    // Data and elements that do not fit into what is there.
    ground
        .survives(Attack::new(
            "data",
            &guest().with(r#"(data (i32.const 65535) "two")"#),
            refused!("start", LoadError::Probe { source, .. }
                if matches!(source.fault, Fault::Trapped { trap: Trap::MemoryOutOfBounds, .. })),
        ))
        .await;
    ground
        .survives(Attack::new(
            "elements",
            &guest().with("(table 1 funcref) (elem (i32.const 1) $run)"),
            refused!("start", LoadError::Probe { source, .. }
                if matches!(source.fault, Fault::Trapped { trap: Trap::TableOutOfBounds, .. })),
        ))
        .await;
    // A megabyte of data in a page of memory.
    let much = guest().data(0, &vec![b'x'; 1 << 20]);
    ground
        .survives(Attack::new(
            "a megabyte of data in one page",
            &much,
            refused!("start", LoadError::Probe { source, .. }
                if matches!(source.fault, Fault::Trapped { trap: Trap::MemoryOutOfBounds, .. })),
        ))
        .await;
    // The start function grows what the module was too shy to ask for.
    let grows = guest().with(
        "(func $start (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))) (start $start)",
    );
    ground
        .survives(
            too_large(
                "a start function that grows",
                &grows,
                refused!("start", LoadError::Probe { source, .. } if matches!(source.fault, Fault::OutOfMemory(_))),
            )
            .moves(REFUSED),
        )
        .await;
}
