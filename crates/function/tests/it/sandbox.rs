//! What a module may reach.

use expect_test::expect;
use tapline_function::{Access, Directory, Runtime, Sandbox};
use tapline_host_core::limits::Limits;

use crate::{config, load, runtime, runtime_with, shown};

/// A core module that opens a file, and one that counts its environment variables.
const PREVIEW1: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 100) "new.txt../outside")
    ;; Opens a file to write (creating it) in the first directory, and writes one byte: the first error, or 0.
    (func $make (param $name i32) (param $length i32) (result i32)
        (local $error i32)
        (local.set $error (call $open (i32.const 3) (i32.const 0) (local.get $name) (local.get $length)
            (i32.const 1) (i64.const 64) (i64.const 64) (i32.const 0) (i32.const 8)))
        (if (i32.eqz (local.get $error)) (then
            (i32.store (i32.const 16) (i32.const 100))
            (i32.store (i32.const 20) (i32.const 1))
            (local.set $error (call $write (i32.load (i32.const 8)) (i32.const 16) (i32.const 1) (i32.const 24)))))
        (local.get $error))
    (func (export "make") (result i32) (call $make (i32.const 100) (i32.const 7)))
    (func (export "outside") (result i32) (call $make (i32.const 107) (i32.const 10))))"#;

const ENVIRONMENT: &str = r#"(module
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "count") (result i32)
        (drop (call $sizes (i32.const 0) (i32.const 4)))
        (i32.load (i32.const 0)))
    ;; The last letter of the first variable.
    (func (export "letter") (result i32)
        (drop (call $sizes (i32.const 0) (i32.const 4)))
        (drop (call $get (i32.const 16) (i32.const 256)))
        (i32.load8_u (i32.add (i32.load (i32.const 16)) (i32.sub (i32.load (i32.const 4)) (i32.const 2))))))"#;

fn with(sandbox: Sandbox) -> Runtime {
    runtime_with(config(Limits::default()), sandbox)
}

async fn refused(sandbox: Sandbox, text: &str) -> String {
    shown(&with(sandbox).load("module", wat::parse_str(text).unwrap(), None).await.map(drop).unwrap_err())
}

#[tokio::test]
async fn the_defaults_give_output_and_nothing_else() {
    let text = refused(Sandbox::default(), PREVIEW1).await + &refused(Sandbox::default(), ENVIRONMENT).await;
    let off = Sandbox { enable_wasi: false, ..Sandbox::default() };
    expect![[r#"
        `module`: disallowed import: path_open is denied by default
          hint: take `path_open` from the denied functions
        `module`: disallowed import: environ_sizes_get, environ_get: not on the list of allowed functions
          hint: if you trust it with them, allow environ_sizes_get,environ_get
        `module`: disallowed import: path_open, fd_write: WASI is off
          hint: 
    "#]]
    .assert_eq(&(text + &refused(off, PREVIEW1).await));
    let hello = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 0) "\08\00\00\00\05\00\00\00hello")
        (func (export "hello") (result i32)
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32))) (i32.load (i32.const 32))))"#;
    assert_eq!(load(&runtime(), "hello", hello).await.call("hello()").await.unwrap().text(), "5");
}

#[tokio::test]
async fn files_of_a_directory_and_none_outside() {
    let around = tempfile::tempdir().unwrap();
    let path = around.path().join("inside");
    std::fs::create_dir(&path).unwrap();
    let directory = |access| vec![Directory { path: path.clone(), at: "/data".to_owned(), access }];

    let writing = with(Sandbox::default().directories(directory(Access::Write)));
    let module = load(&writing, "files", PREVIEW1).await;
    assert_eq!(module.call("make()").await.unwrap().text(), "0");
    assert_eq!(std::fs::read(path.join("new.txt")).unwrap(), b"n");
    assert_ne!(module.call("outside()").await.unwrap().text(), "0");
    assert!(!around.path().join("outside").exists());

    std::fs::remove_file(path.join("new.txt")).unwrap();
    let reading = with(Sandbox::default().directories(directory(Access::Read)));
    let module = load(&reading, "files", PREVIEW1).await;
    assert_ne!(module.call("make()").await.unwrap().text(), "0");
    assert!(!path.join("new.txt").exists());

    let missing = vec![Directory { path: path.join("missing"), at: "/data".to_owned(), access: Access::Read }];
    let error = refused(Sandbox::default().directories(missing), PREVIEW1).await;
    assert!(error.contains("cannot be opened as a directory"), "{error}");
}

#[tokio::test]
async fn the_largest_file() {
    let directory = tempfile::tempdir().unwrap();
    let directories = vec![Directory { path: directory.path().to_owned(), at: "/".to_owned(), access: Access::Write }];
    let sandbox = Sandbox::default().directories(directories);
    let many = r#"(module
        (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 2)
        (data (i32.const 0) "\00\00\01\00\00\10\00\00")
        (data (i32.const 100) "large")
        ;; Writes 4 KiB so often: the first error, or 0.
        (func (export "write") (param $times i32) (result i32)
            (local $error i32)
            (drop (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 5)
                (i32.const 1) (i64.const 64) (i64.const 64) (i32.const 0) (i32.const 8)))
            (loop $again
                (if (i32.eqz (local.get $times)) (then (return (i32.const 0))))
                (local.set $times (i32.sub (local.get $times) (i32.const 1)))
                (br_if $again (i32.eqz (local.tee $error
                    (call $write (i32.load (i32.const 8)) (i32.const 0) (i32.const 1) (i32.const 24))))))
            (local.get $error)))"#;
    let runtime = with(Sandbox { max_file_size: 5 * 4096, ..sandbox });
    let module = load(&runtime, "many", many).await;
    assert_eq!(module.call("write(5)").await.unwrap().text(), "0");
    assert_ne!(module.call("write(6)").await.unwrap().text(), "0");
    assert!(std::fs::metadata(directory.path().join("large")).unwrap().len() <= 5 * 4096);
}

#[tokio::test]
async fn variables_that_are_given_and_no_others() {
    let given = |variables: &[(&str, &str)]| {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        with(Sandbox::default().environment(variables.iter().map(own)))
    };
    let runtime = given(&[("LETTER", "x")]);
    let module = load(&runtime, "variables", ENVIRONMENT).await;
    assert_eq!(module.call("count()").await.unwrap().text(), "1");
    assert_eq!(module.call("letter()").await.unwrap().text(), u32::from(b'x').to_string());
    // Nothing is given, and the test has variables of its own.
    let runtime = given(&[]);
    let module = load(&runtime, "variables", ENVIRONMENT).await;
    assert_eq!(module.call("count()").await.unwrap().text(), "0");
    let error = shown(
        &given(&[("A=B", "x")])
            .load("variables", wat::parse_str(ENVIRONMENT).unwrap(), None)
            .await
            .map(drop)
            .unwrap_err(),
    );
    assert!(error.contains("`A=B` is no name of a variable"), "{error}");
}

/// The standard adapter asks for directories before it writes a line: there are none, and that is no reason to refuse it.
#[tokio::test]
async fn output_beside_variables() {
    let both = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 0) "\08\00\00\00\05\00\00\00hello")
        (func (export "hello") (result i32)
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))
            (drop (call $sizes (i32.const 36) (i32.const 40)))
            (i32.add (i32.load (i32.const 32)) (i32.load (i32.const 36)))))"#;
    let runtime = with(Sandbox::default().environment([("A".to_owned(), "1".to_owned())]));
    let module = load(&runtime, "both", both).await;
    assert_eq!(module.call("hello()").await.unwrap().text(), "6");
    assert!(runtime.host().plugins().is_empty(), "it is no plugin");
}

#[tokio::test]
async fn a_component_gets_what_is_granted() {
    let random = r#"(component
        (import "wasi:random/random@0.2.0" (instance $random (export "get-random-u64" (func (result u64)))))
        (core func $get (canon lower (func $random "get-random-u64")))
        (core module $m (import "" "get" (func $get (result i64)))
            (func (export "dice") (result i64) (i64.and (call $get) (i64.const 1))))
        (core instance $i (instantiate $m (with "" (instance (export "get" (func $get))))))
        (func (export "dice") (result u64) (canon lift (core func $i "dice"))))"#;
    let granted = || Sandbox { grants: [("random".to_owned(), true.into())].into(), ..Sandbox::default() };
    let text = refused(Sandbox::default(), random).await;
    let denied = Sandbox { denied_functions: vec!["wasi:random/*".parse().unwrap()], ..granted() };
    let unlisted = Sandbox { allowed_functions: Some(vec!["wasi:clocks/*".parse().unwrap()]), ..granted() };
    expect![[r#"
        plugin `module`: disallowed import: wasi:random/random@0.2.0 needs the grant `random`
          hint: if you trust it with that, grant `random`
        plugin `module`: disallowed import: wasi:random/random@0.2.0#get-random-u64 is denied by `wasi:random/*`
          hint: if you trust it with `wasi:random/random@0.2.0#get-random-u64`, change the allowed and denied functions
        plugin `module`: disallowed import: wasi:random/random@0.2.0#get-random-u64 is not on the list of allowed functions
          hint: if you trust it with `wasi:random/random@0.2.0#get-random-u64`, change the allowed and denied functions
    "#]].assert_eq(&(text + &refused(denied, random).await + &refused(unlisted, random).await));
    let dice = load(&with(granted()), "dice", random).await.call("dice()").await.unwrap().text();
    assert!(dice == "0" || dice == "1", "{dice}");
}
