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
            refused!("too_large", LoadError::TooLarge { what: "functions", needs: 10_001, limit: 10_000, .. }),
        ),
        Attack::new(
            "instances of one module",
            &guest().component(&format!("{small}{}", once.repeat(99))),
            refused!("too_large", LoadError::TooLarge { what: "instances", needs: 101, limit: 100, .. }),
        ),
        Attack::new(
            "tables of one module",
            &guest().with(&"(table 1 funcref)".repeat(9)),
            refused!("too_large", LoadError::TooLarge { what: "tables", needs: 9, limit: 8, .. }),
        ),
        Attack::new(
            "tables of many instances",
            &guest().component(&format!("{with_table}{}", once.repeat(9))),
            refused!("too_large", LoadError::TooLarge { what: "tables", needs: 9, limit: 8, .. }),
        ),
        Attack::new(
            "memories of two modules",
            &guest().component(&format!("{with_memory}{once}")),
            refused!("too_large", LoadError::TooLarge { what: "memories", needs: 2, limit: 1, .. }),
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
            refused!("too_large", LoadError::TooLarge { what: "instances", needs: 1002, limit: 100, .. }),
        ),
    ];
    for attack in attacks {
        ground.survives(attack).await;
    }
}

/// What is copied when an instance is made, and kept for it, is little in the file and much when it is made many times.
#[tokio::test]
async fn too_much_to_do_for_one_instance() {
    let ground = Ground::new().await;
    let often = |module: &str, times: usize| {
        let with = r#"(with "" (instance (export "memory" (memory $memory "memory"))))"#;
        let instances = format!("(core instance (instantiate $much {with}))").repeat(times);
        guest().component(&format!("(core module $much {module}) {instances}"))
    };
    let (import, page) = (r#"(import "" "memory" (memory 1))"#, "x".repeat(65_536));
    let attacks = [
        Attack::new(
            "data",
            &often(&format!("{import}{}", format!(r#"(data (i32.const 0) "{page}")"#).repeat(30)), 90),
            refused!(
                "too_large",
                LoadError::TooLarge { what: "bytes of data", needs: 176_947_200, limit: 134_217_728, .. }
            ),
        ),
        Attack::new(
            "elements",
            &guest()
                .with(&format!("(table 200 funcref) (elem (i32.const 0) {})", "$run ".repeat(200)))
                .with(&format!("(elem (i32.const 0) {})", "$run ".repeat(200)).repeat(5)),
            refused!("too_large", LoadError::TooLarge { what: "elements of segments", needs: 1200, limit: 1000, .. }),
        ),
        Attack::new(
            "segments with nothing in them",
            &often(&format!("{import}{}", r#"(data (i32.const 0) "")"#.repeat(1200)), 90),
            refused!("too_large", LoadError::TooLarge { what: "segments", needs: 108_000, limit: 100_000, .. }),
        ),
        Attack::new(
            "globals",
            &often(&"(global i32 (i32.const 0))".repeat(3000), 90),
            refused!("too_large", LoadError::TooLarge { what: "bytes beside its memory", limit: 4_194_304, .. }),
        ),
    ];
    for attack in attacks {
        ground.survives(attack).await;
    }
}

#[tokio::test]
async fn what_is_switched_off() {
    let ground = Ground::new().await;
    let off =
        |what: &'static str, guest: Guest| Attack::new(what, &guest, refused!("compile", LoadError::Compile { .. }));
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
