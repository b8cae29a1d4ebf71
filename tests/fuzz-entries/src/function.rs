//! What `tapline run` gets from strangers: the text of a call, and a module.

use std::sync::{LazyLock, Mutex};

use tapline_function::{Error, Module, Runtime, Sandbox};
use tapline_host_core::{Host, Party};

use crate::host::{assert_readable, assert_settled, config, lock, runtime};

/// The functions of a module that are called.
const CALLED: usize = 4;

/// Answers a list of values of every type with the same list: in the memory, a list is an address and a length whatever
/// it holds.
const ECHO: &str = r#"(component
    (core module $m
        (memory (export "memory") 16)
        (global $end (mut i32) (i32.const 1024))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (global.set $end (i32.and (i32.add (global.get $end) (i32.const 7)) (i32.const -8)))
            (global.get $end)
            (global.set $end (i32.add (global.get $end) (local.get 3))))
        (func (export "echo") (param i32 i32) (result i32)
            (i32.store (i32.const 16) (local.get 0))
            (i32.store (i32.const 20) (local.get 1))
            (i32.const 16)))
    (core instance $i (instantiate $m))
    (alias core export $i "memory" (core memory $memory))
    (alias core export $i "realloc" (core func $realloc))
    (alias core export $i "echo" (core func $echo))
    (type $point' (record (field "x" s32) (field "y" (option u8))))
    (export $point "point" (type $point'))
    (type $colour' (enum "red" "inf"))
    (export $colour "colour" (type $colour'))
    (type $rights' (flags "read" "write"))
    (export $rights "rights" (type $rights'))
    (type $value' (variant
        (case "none") (case "flag" bool) (case "small" s8) (case "large" u64) (case "single" f32) (case "double" f64)
        (case "letter" char) (case "text" string) (case "bytes" (list u8)) (case "pair" (tuple u16 string))
        (case "point" $point) (case "colour" $colour) (case "rights" $rights) (case "perhaps" (option (option u8)))
        (case "outcome" (result u8 (error string)))))
    (export $value "value" (type $value'))
    (func (export "echo") (param "values" (list $value)) (result (list $value))
        (canon lift (core func $echo) (memory $memory) (realloc $realloc))))"#;

/// A runtime with the thread that drives it, and what is loaded once.
struct Fixture<T> {
    thread: tokio::runtime::Runtime,
    runtime: Runtime,
    loaded: T,
}

impl Fixture<()> {
    fn new() -> Self {
        // No directory: what a module may be granted is not what is looked for here.
        let sandbox = Sandbox { allowed_directories: Vec::new(), ..Sandbox::default() };
        let builder = tapline_host_wasi::register(Host::builder().config(config()));
        Self { thread: runtime(), runtime: Runtime::new(builder, sandbox).unwrap(), loaded: () }
    }
}

static ECHOES: LazyLock<Mutex<Fixture<Module>>> = LazyLock::new(|| {
    let Fixture { thread, runtime, loaded: () } = Fixture::new();
    let loaded = thread.block_on(runtime.load("echo", wat::parse_str(ECHO).unwrap(), None)).unwrap();
    Mutex::new(Fixture { thread, runtime, loaded })
});

static MODULES: LazyLock<Mutex<Fixture<()>>> = LazyLock::new(|| Mutex::new(Fixture::new()));

/// Calls, as `bytes` say it, a component that has one function: `echo`, which takes a list of values of every type.
///
/// # Errors
///
/// It is no call, or none of this function.
pub fn call(bytes: &[u8]) -> Result<String, Error> {
    let Fixture { thread, runtime, loaded } = &*lock(&ECHOES);
    let call = |text: &str| thread.block_on(loaded.call(text)).map(|answer| answer.text());
    let text = String::from_utf8_lossy(bytes);
    let answer = call(&text).inspect_err(|error| {
        assert_refusal(error);
        if let Error::BadCall { position, .. } = error {
            assert!(text.is_char_boundary(*position), "{position} is a place in the text: {error}");
        }
    });
    if let Ok(answer) = &answer {
        assert!(!answer.contains(char::is_control), "{answer:?}");
        let again = call(&format!("echo({answer})")).expect("what was answered can be written");
        assert_eq!(again, *answer);
    }
    assert_settled(runtime.host());
    answer
}

/// Loads a core module or a component as `tapline run` does, and calls its first functions with zeros. Returns what they
/// answered; `None` for one that failed, or that takes something else.
///
/// # Errors
///
/// It is refused, as it should most inputs.
pub fn function(bytes: &[u8]) -> Result<Vec<Option<String>>, Error> {
    let Fixture { thread, runtime, .. } = &*lock(&MODULES);
    let outcome: Result<_, Error> = thread.block_on(async {
        let module = runtime.load("fuzz", bytes, None).await?;
        let mut answers = Vec::new();
        for signature in module.signatures().iter().take(CALLED) {
            assert!(!signature.contains(char::is_control), "{signature:?}");
            answers.push(match module.call(&with_zeros(signature)).await {
                Ok(answer) => Some(answer.text()),
                Err(error) => {
                    assert_refusal(&error);
                    None
                }
            });
        }
        Ok(answers)
    });
    if let Err(error) = &outcome {
        assert_readable(error);
        drop(error.hint());
    }
    assert_settled(runtime.host());
    outcome
}

/// Neither what is written nor what is called is ever the host's fault.
fn assert_refusal(error: &Error) {
    assert_readable(error);
    assert_ne!(error.party(), Party::Host, "{error}");
    if let Some(hint) = error.hint() {
        assert!(!hint.contains(char::is_control), "{hint:?}");
    }
}

/// A call of a function with this signature, as far as it takes numbers: `add(0, 0)` for `add(s32, s32) -> s32`.
fn with_zeros(signature: &str) -> String {
    let (name, rest) = signature.split_once('(').expect("a signature has parentheses");
    let parameters = rest.split(')').next().unwrap_or_default();
    let zeros = if parameters.is_empty() { Vec::new() } else { vec!["0"; parameters.split(", ").count()] };
    format!("{name}({})", zeros.join(", "))
}
