//! What a guest can do to itself and to its host. The field `do` of an item names one of these.

use std::{collections::HashMap, fs, hint::black_box, time::Instant};

use tapline_sdk::{RenderElement, Value};

/// Does what `command` says, and comes back only from what does no harm.
#[expect(clippy::panic, clippy::print_stdout, reason = "a probe misbehaves on purpose")]
pub(crate) fn act(command: &str) -> Result<(), String> {
    match command {
        "" => Ok(()),
        "error" => Err("as asked".to_owned()),
        "long error" => Err("x".repeat(100_000)),
        "panic" => panic!("as asked"),
        "long panic" => panic!("{}", "x".repeat(1_000_000)),
        "index" => Err(format!("{}", black_box([1, 2, 3])[black_box(3)])),
        "loop" => loop {
            black_box(());
        },
        "recurse" => Err(recurse(0).to_string()),
        "allocate" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        "exit" => std::process::exit(7),
        "abort" => std::process::abort(),
        "print" => {
            for line in 0..100_000 {
                println!("line {line}");
            }
            Ok(())
        }
        "log" => {
            for line in 0..1000 {
                tapline_sdk::log::info!("line {line}");
            }
            Ok(())
        }
        "clock" => Err(format!("{:?}", Instant::now())),
        other => Err(format!("the probe cannot `{other}`")),
    }
}

fn recurse(depth: u64) -> u64 {
    if black_box(depth) == u64::MAX { 0 } else { recurse(black_box(depth + 1)) + 1 }
}

/// What a sealed plugin sees of the world: no variable, no file, no argument, and the same "random" order each time.
pub(crate) fn surroundings() -> String {
    let mut map = HashMap::new();
    map.extend((0..20).map(|number| (number, ())));
    let order: Vec<_> = map.into_keys().collect();
    let files: Vec<_> = ["/", ".", "/etc/passwd", "/proc/self/environ"].map(|path| fs::read(path).is_ok()).into();
    format!(
        "variables {}, arguments {}, files {files:?}, order {order:?}",
        std::env::vars().count(),
        std::env::args().count()
    )
}

/// An answer for `item_view` that is wrong in the way that `command` says. `None`: it is not about the answer.
pub(crate) fn render(command: &str) -> Option<RenderElement> {
    Some(match command {
        "script" => RenderElement::markup("<script>alert(1)</script><b onclick=x>bold</b>"),
        "deep" => (0..10_000).fold(RenderElement::fragment(), |child, _| RenderElement::element("div").child(child)),
        "wide" => RenderElement::fragment().children((0..20_000).map(|_| RenderElement::element("br"))),
        "large" => RenderElement::markup("x".repeat(3 << 20)),
        "huge" => RenderElement::markup("x".repeat(20 << 20)),
        "surroundings" => RenderElement::fragment().text(surroundings()),
        _ => return None,
    })
}

/// A value in a form that a test can compare.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Boolean(answer) => format!("boolean {answer}"),
        Value::Integer(number) => format!("integer {number}"),
        Value::Float(number) => format!("float {number}"),
        Value::Text(text) => format!("text {text}"),
        Value::Formatted(text) => format!("{} {}", text.format, text.text),
        Value::Json(json) => format!("json {json}"),
        Value::Reference(_) | Value::References(_) => {
            let one =
                |reference: &tapline_sdk::Reference| format!("{}/{} {}", reference.kind, reference.id, reference.label);
            value.as_references().iter().map(one).collect::<Vec<_>>().join(", ")
        }
    }
}
