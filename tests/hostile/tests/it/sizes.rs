//! Components with too many parts. None of them is instantiated, and most are not even compiled.

use tapline_host_core::LoadError;
use tapline_hostile::{Attack, Ends, Ground, Guest, refused};

fn guest() -> Guest {
    Guest::number("(local.get $x)")
}

#[tokio::test]
async fn too_many_parts() {
    let ground = Ground::new().await;
    let small = "(core module $small)";
    let once = "(core instance (instantiate $small))";
    let with_table = "(core module $small (table 1 funcref))";
    let with_memory = "(core module $small (memory 1))";
    let attacks = [
        Attack::new(
            "functions",
            &guest().with(&"(func)".repeat(10_000)),
            refused!(LoadError::TooLarge { what: "functions", needs: 10_001, limit: 10_000, .. }),
        ),
        Attack::new(
            "instances of one module",
            &guest().component(&format!("{small}{}", once.repeat(99))),
            refused!(LoadError::TooLarge { what: "instances", needs: 101, limit: 100, .. }),
        ),
        Attack::new(
            "tables of one module",
            &guest().with(&"(table 1 funcref)".repeat(9)),
            refused!(LoadError::TooLarge { what: "tables", needs: 9, limit: 8, .. }),
        ),
        Attack::new(
            "tables of many instances",
            &guest().component(&format!("{with_table}{}", once.repeat(9))),
            refused!(LoadError::TooLarge { what: "tables", needs: 9, limit: 8, .. }),
        ),
        Attack::new(
            "memories of two modules",
            &guest().component(&format!("{with_memory}{once}")),
            refused!(LoadError::TooLarge { what: "memories", needs: 2, limit: 1, .. }),
        ),
        // Only what is instantiated counts.
        Attack::new("memories that are never instantiated", &guest().component(with_memory), Ends::Answer("41")),
        Attack::new(
            "as many tables as there may be",
            &guest().with(&"(table 1 funcref)".repeat(8)),
            Ends::Answer("41"),
        ),
        // Ten times ten times ten, in a few hundred bytes.
        Attack::new(
            "instances within instances",
            &guest().component(&format!(
                "(component $a {small} {}) (component $b (alias outer 1 $a (component $a)) {}) {}",
                once.repeat(10),
                "(instance (instantiate $a))".repeat(10),
                "(instance (instantiate $b))".repeat(10),
            )),
            refused!(LoadError::TooLarge { what: "instances", needs: 1002, limit: 100, .. }),
        ),
    ];
    for attack in attacks {
        ground.survives(attack).await;
    }
}

#[tokio::test]
async fn what_is_switched_off() {
    let ground = Ground::new().await;
    let off = |what: &'static str, guest: Guest| {
        Attack::new(what, &guest, refused!(LoadError::Invalid { .. } | LoadError::Compile { .. }))
    };
    let attacks = [
        off("a shared memory", guest().with("(func (drop (i32.atomic.load (i32.const 0))))")),
        off("a reference to a function", guest().with("(type $f (func)) (func (param (ref null $f)))")),
        off("an exception", guest().with("(tag $t) (func (throw $t))")),
        off(
            "garbage collection",
            guest().with("(type $s (struct (field i32))) (func (drop (struct.new $s (i32.const 1))))"),
        ),
    ];
    for attack in attacks {
        ground.survives(attack).await;
    }
}
