//! What people are told: each error by the case that causes it.

use expect_test::expect;

use crate::{NUMBERS, load, runtime, runtime_with, shown};
use tapline_function::{Runtime, Sandbox};
use tapline_host_core::{Compilation, Host, HostConfig, Party};

/// What loading these bytes comes to.
async fn refused(runtime: &Runtime, name: &str, bytes: impl Into<Vec<u8>>) -> String {
    let bytes: Vec<u8> = bytes.into();
    shown(&runtime.load(name, bytes, None).await.map(drop).unwrap_err())
}

#[tokio::test]
async fn files_that_are_no_modules() {
    let runtime = runtime();
    let wat = |text: &str| wat::parse_str(text).unwrap();
    let mut text = String::new();
    for bytes in [
        &b""[..],
        b"This is not WebAssembly.",
        b"\0asm",
        b"\0asm\x01\0\0\0",
        b"\0asm\x01\0\0\0\x01",
        b"\0asm\x0d\0\x01\0\xff",
        &wat("(component)"),
        &wat(r#"(module (import "env" "print" (func)) (func (export "f")))"#),
        &wat(r#"(module (import "env" "memory" (memory 1)) (func (export "f")))"#),
        &wat(r#"(module (import "wasi_snapshot_preview1" "fd_wriet" (func)) (func (export "f")))"#),
        &wat(r#"(module (memory 1 2 shared) (func (export "f")))"#),
        &wat(r#"(module (memory i64 1) (func (export "f")))"#),
        &wat(r#"(module (func (export "v") (result v128) (v128.const i64x2 1 2)))"#),
        &wat(r#"(component (import "acme:a/b@1.0.0" (instance (export "f" (func)))))"#),
    ] {
        text += &refused(&runtime, "bad", bytes).await;
    }
    expect![[r#"
        plugin `bad` is not WebAssembly: it starts with []
          hint: give a .wasm file
        plugin `bad` is not WebAssembly: it starts with [54, 68, 69, 73, 20, 69, 73, 20]
          hint: give a .wasm file
        plugin `bad` is damaged or uses what plugins may not use, at byte 0x4: unexpected end-of-file
          hint: build it again, and copy the whole file
        `bad` cannot be run
          because: exports no function that can be called
          hint: export a function with numbers as parameters and at most one as its result
        `bad` cannot be run
          because: not a valid WebAssembly module
          because: unexpected end-of-file (at offset 0x9)
          hint: build it again and copy the whole file; threads and 64-bit memory are not supported
        plugin `bad` is damaged or uses what plugins may not use, at byte 0x8: malformed section id
          hint: build it again, and copy the whole file
        plugin `bad` exports no function; it exports nothing
          hint: 
        `bad` cannot be run
          because: imports `print` from `env`, which no host offers
          hint: an `extern` block or a C library of the plugin declares it; link the code into the plugin instead
        `bad` cannot be run
          because: imports `memory` from `env`, which no host offers
          hint: an `extern` block or a C library of the plugin declares it; link the code into the plugin instead
        `bad` cannot be run
          because: imports the WASI function `fd_wriet`, which the adapter does not have
          hint: the function is not part of WASI preview 1; build with Rust's own wasm32-wasip1
        `bad` cannot be run
          because: not a valid WebAssembly module
          because: threads must be enabled for shared memories (at offset 0x15)
          hint: build it again and copy the whole file; threads and 64-bit memory are not supported
        `bad` cannot be run
          because: not a valid WebAssembly module
          because: memory64 must be enabled for 64-bit memories (at offset 0x15)
          hint: build it again and copy the whole file; threads and 64-bit memory are not supported
        `bad` cannot be run
          because: exports no function that can be called: `v`, because it takes or returns a vector or a reference
          hint: export a function with numbers as parameters and at most one as its result
        plugin `bad`: disallowed import: acme:a/b@1.0.0 is not offered by this host
          hint: 
    "#]]
    .assert_eq(&text);
}

#[tokio::test]
async fn files_that_are_not_there_or_too_large() {
    let compilation = Compilation { max_component_bytes: 100, ..Compilation::default() };
    let config = HostConfig { pool_size: 4, compilation, ..HostConfig::default() };
    let runtime = runtime_with(config, Sandbox::default());
    let directory = tempfile::tempdir().unwrap();
    let large = directory.path().join("large.wasm");
    std::fs::write(&large, [0; 101]).unwrap();
    let mut text = String::new();
    for path in [large, directory.path().join("missing.wasm"), "/dev/zero".into()] {
        text += &shown(&runtime.load_file(&path, None).await.map(drop).unwrap_err());
    }
    let text = text.replace(&directory.path().display().to_string(), "DIR");
    expect![[r#"
        DIR/large.wasm has more than 100 bytes
          hint: raise `max_component_bytes`, if you trust it with that much
        cannot read DIR/missing.wasm
          because: No such file or directory (os error 2)
          hint: 
        /dev/zero has more than 100 bytes
          hint: raise `max_component_bytes`, if you trust it with that much
    "#]]
    .assert_eq(&text);
    let error = crate::runtime().load_file(directory.path(), None).await.map(drop).unwrap_err();
    assert!(shown(&error).contains("because: Is a directory"), "{}", shown(&error));
    assert!(refused(&runtime, "large", vec![0; 101]).await.contains("needs 101 bytes, 100 are allowed"));
}

#[tokio::test]
async fn a_given_hash_is_verified() {
    use sha2::{Digest as _, Sha256};
    let runtime = runtime();
    let bytes = wat::parse_str(NUMBERS).unwrap();
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02X}")).collect();
    runtime.load("numbers", bytes.clone(), Some(&hash)).await.unwrap();
    let other = hash.replace(|digit: char| digit.is_ascii_digit(), "0");
    let error = runtime.load("numbers", bytes.clone(), Some(&other)).await.map(drop).unwrap_err();
    let expected = format!("`numbers` has the SHA-256 {}, not {}", hash.to_lowercase(), other.to_lowercase());
    assert_eq!(error.to_string(), expected);
    for bad in ["", "abc", &"g".repeat(64), &"1".repeat(65)] {
        let error = runtime.load("numbers", bytes.clone(), Some(bad)).await.map(drop).unwrap_err();
        assert_eq!(error.to_string(), format!("`{bad}` is no SHA-256: that has 64 hexadecimal digits"));
    }
}

#[tokio::test]
async fn calls_that_are_none_and_functions_that_are_not_there() {
    let runtime = runtime();
    let module = load(&runtime, "numbers", NUMBERS).await;
    let mut text = String::new();
    for call in [
        "fibonacci",
        "fibonacci(",
        "fibonnaci(10)",
        "half_of(1)",
        "pair()",
        "vector()",
        "fibonacci(1, 2)",
        "fibonacci(\"1\")",
    ] {
        text += &shown(&module.call(call).await.unwrap_err());
    }
    expect![[r#"
        this is no call such as `fibonacci(10)`: there are no parentheses behind the name, at byte 9
          hint: 
        this is no call such as `fibonacci(10)`: unexpected end of input, at byte 10
          hint: 
        `numbers` has no function `fibonnaci`
          hint: did you mean `fibonacci(s32) -> s64`?
        `numbers` has no function `half_of`
          hint: did you mean `Half_Of(f64) -> f64`?
        `pair` of `numbers` cannot be called: it returns more than one value
          hint: 
        `vector` of `numbers` cannot be called: it takes or returns a vector or a reference
          hint: 
        the arguments do not fit `fibonacci(s32) -> s64`: 2 arguments are given, and it takes 1
          hint: 
        the arguments do not fit `fibonacci(s32) -> s64`: argument 1: `"1"` is no s32
          hint: 
    "#]]
    .assert_eq(&text);
    let error = module.call("xyz\u{1b}[2J()").await.unwrap_err();
    assert!(!error.to_string().contains('\u{1b}'), "{error}");
}

#[tokio::test]
async fn a_trap_says_where() {
    let runtime = runtime();
    let module = load(&runtime, "numbers", NUMBERS).await;
    let error = module.call("divide(1, 0)").await.unwrap_err();
    assert_eq!(error.party(), Party::Guest);
    expect![[r#"
        `divide` of `numbers`: trapped: wasm trap: integer divide by zero
          at divide (0xc5)
          hint: 
    "#]]
    .assert_eq(&shown(&error));
    let named = r#"(module
        (func $_ZN4core9panicking5panic17h0123456789abcdefE unreachable)
        (func (export "f") (call $_ZN4core9panicking5panic17h0123456789abcdefE)))"#;
    let module = load(&runtime, "named", named).await;
    expect![[r#"
        `f` of `named`: trapped: wasm trap: wasm `unreachable` instruction executed
          at core::panicking::panic (0x31)
          at function 1 (0x36)
          hint: 
    "#]]
    .assert_eq(&shown(&module.call("f()").await.unwrap_err()));
    // Each call is for itself: no circuit breaker stands before the next one.
    for _ in 0..20 {
        module.call("f()").await.unwrap_err();
    }
    assert!(module.call("f()").await.unwrap_err().to_string().contains("trapped"));
}

#[tokio::test]
async fn a_host_that_is_closed() {
    let runtime = runtime();
    let module = load(&runtime, "numbers", NUMBERS).await;
    assert!(runtime.close(std::time::Duration::from_secs(5)).await);
    let error = module.call("fibonacci(1)").await.unwrap_err();
    assert_eq!(error.to_string(), "`fibonacci` of `numbers`: the host is shutting down");
}

#[tokio::test]
async fn a_grant_that_no_capability_of_the_host_has() {
    let sandbox = Sandbox { grants: [("mail".to_owned(), true.into())].into(), ..Sandbox::default() };
    let config = HostConfig { pool_size: 4, ..HostConfig::default() };
    let runtime = Runtime::new(Host::builder().config(config), sandbox).unwrap();
    let error = refused(&runtime, "numbers", wat::parse_str(NUMBERS).unwrap()).await;
    assert!(error.contains("no capability is called `mail`"), "{error}");
    let sandbox = Sandbox { grants: [("network".to_owned(), true.into())].into(), ..Sandbox::default() };
    let error = refused(&runtime_with(HostConfig::default(), sandbox), "n", wat::parse_str(NUMBERS).unwrap()).await;
    assert!(error.contains("no effect while `network_access` is off"), "{error}");
}
