//! What is outside: exits, the environment, files, clocks, randomness. A plugin without a grant has none of them.

use std::{path::PathBuf, sync::Arc};

use tapline_content::{Field, Header, Item, ItemInsert, ItemView, Value};
use tapline_host_core::{Fault, LoadError};
use tapline_hostile::{Attack, Ends, Ground, Guest, Strike, Struck, config, fault, refused};
use wasmtime::Trap;

/// Rust plugins that do to themselves what the field `do` says: one gets the whole item, one a handle.
const PROBES: [&str; 2] = ["probe", "probe-lazy"];

fn bytes(plugin: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/plugins/{plugin}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask build-plugins`", path.display()))
}

fn item(command: &str) -> Arc<Item> {
    let header = Header {
        id: "readme".into(),
        revision: 1,
        kind: "document".into(),
        title: "Readme".into(),
        author: "Ada".into(),
        published: true,
        promoted: false,
        sticky: false,
        created: 0,
        changed: 0,
    };
    let fields = [Field { name: "do".into(), value: Value::Text(command.into()) }];
    Arc::new(Item::new(header, fields).unwrap())
}

/// Dispatches `item_view` with the command.
fn view(command: &'static str) -> Strike {
    Arc::new(move |host| {
        let host = host.clone();
        Box::pin(async move {
            let outcome = host.dispatch(ItemView, &item(command)).await.unwrap();
            let answers = outcome.answers.into_iter().map(|(plugin, answer)| (plugin, answer.body())).collect();
            Struck { answers, failures: outcome.failures }
        })
    })
}

/// Dispatches `item_insert` with the command. It has no answer: one that did not fail answers "done" here.
fn insert(command: &'static str) -> Strike {
    Arc::new(move |host| {
        let host = host.clone();
        Box::pin(async move {
            let failures = host.dispatch(ItemInsert, &item(command)).await.unwrap();
            let done = failures.is_empty().then(|| (tapline_hostile::name(tapline_hostile::BAD), "done".to_owned()));
            Struck { answers: done.into_iter().collect(), failures }
        })
    })
}

#[tokio::test]
async fn rust_plugins_that_reach_out() {
    let ground = Ground::with(config(), tapline_content::register).await;
    let exit = || fault!(Fault::Trapped { trap: Trap::UnreachableCodeReached, .. });
    for probe in PROBES {
        let attacks = [
            Attack::with("exit", bytes(probe), "item_view", view("exit"), exit()),
            Attack::with("abort", bytes(probe), "item_view", view("abort"), exit()),
            Attack::with("the clock", bytes(probe), "item_view", view("clock"), fault!(Fault::Panicked(_))),
            Attack::with("recursion", bytes(probe), "item_view", view("recurse"), fault!(Fault::StackOverflow { .. })),
            Attack::with("a loop", bytes(probe), "item_view", view("loop"), fault!(Fault::TimedOut { .. })).lasting(),
            Attack::with("output", bytes(probe), "item_insert", insert("print"), Ends::Answer("done"))
                .moves("tapline_log_lines_total{level=\"info\"}")
                .moves("tapline_guest_output_dropped_bytes_total")
                // What all calls of one second have logged together is bounded as well.
                .may_move("tapline_log_lines_dropped_total"),
        ];
        for attack in attacks {
            ground.survives(attack).await;
        }
    }
}

/// What a sealed plugin sees of the world is the same whenever it looks: nothing.
#[tokio::test]
async fn nothing_of_the_environment_shows() {
    let ground = Ground::with(config(), tapline_content::register).await;
    for probe in PROBES {
        ground.load(probe, bytes(probe)).await;
    }
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.extend(view("surroundings")(&ground.host).await.answers.into_iter().map(|(_, text)| text));
    }
    let expected = "variables 0, arguments 0, files [false, false, false, false], order [";
    assert!(seen.len() == 4 && seen.iter().all(|text| *text == seen[0] && text.starts_with(expected)), "{seen:?}");
}

#[tokio::test]
async fn imports_that_nobody_granted_are_refused_by_name() {
    let ground = Ground::new().await;
    macro_rules! wants {
        ($what:literal, $interface:literal) => {
            Attack::new(
                $what,
                &Guest::number("(local.get $x)").component(concat!("(import \"", $interface, "\" (instance))")),
                refused!("import", LoadError::UnknownImport { interface, .. } if interface == $interface),
            )
        };
    }
    let attacks = [
        wants!("the environment", "wasi:cli/environment@0.2.6"),
        wants!("an exit", "wasi:cli/exit@0.2.6"),
        wants!("standard input", "wasi:cli/stdin@0.2.6"),
        wants!("standard output", "wasi:cli/stdout@0.2.6"),
        wants!("files", "wasi:filesystem/preopens@0.2.6"),
        wants!("a clock", "wasi:clocks/monotonic-clock@0.2.6"),
        wants!("the time of day", "wasi:clocks/wall-clock@0.2.6"),
        wants!("randomness", "wasi:random/random@0.2.6"),
        wants!("the network", "wasi:sockets/tcp@0.2.6"),
        wants!("what only it knows", "evil:corp/backdoor@6.6.6"),
    ];
    for attack in attacks {
        ground.survives(attack).await;
    }
    let bare = Guest::number("(local.get $x)").component(r#"(import "a-bare-function" (func))"#);
    let refusal = refused!("import", LoadError::UnknownImport { interface, .. } if interface == "a-bare-function");
    ground.survives(Attack::new("a bare function", &bare, refusal)).await;
}
