//! Paths that no standard library has looked at before.

use std::os::unix::fs::symlink;

use tapline_host_core::{Call, CallError, Collect, Host, Interface, PluginSpec, Signature, Tap};

use crate::{Place, config, guests, name};

/// A tap from a path to 0, or 1 and the error of WASI.
struct Opening;

impl Tap for Opening {
    const NAME: &'static str = "opening";
    const INTERFACES: &'static [Interface] =
        &[Interface { name: "test:wasi/opening@1.0.0", function: "run", mode: "full" }];
    type Policy = Collect;
    type Input = str;
    type Answer = u32;

    fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        signature.is::<(&str,), (u32,)>()
    }

    async fn call(call: &mut Call, path: &str) -> Result<u32, CallError> {
        Ok(call.invoke::<(&str,), (u32,)>((path,)).await?.0)
    }
}

#[tokio::test]
async fn the_host_itself_keeps_to_the_directory() {
    let place = Place::new();
    let data = place.data();
    std::fs::create_dir(data.join("deep")).unwrap();
    std::fs::write(data.join("file"), "mine").unwrap();
    symlink("../secret", data.join("relative")).unwrap();
    symlink(place.outside.path().join("secret"), data.join("absolute")).unwrap();
    symlink("..", data.join("up")).unwrap();
    symlink("loop", data.join("loop")).unwrap();
    symlink("../deep/../file", data.join("deep/within")).unwrap();
    let host = tapline_host_wasi::register(Host::builder().config(config()).tap::<Opening>()).build().unwrap();
    host.load(PluginSpec::bytes(name("opener"), guests::opener()).grant("files", place.grant("write"))).await.unwrap();
    let secret = place.outside.path().join("secret").display().to_string();
    let long = "a/../".repeat(10_000);
    for (path, opened) in [
        ("file", true),
        ("./file", true),
        ("deep/../file", true),
        ("deep/within", true),
        ("deep/", true),
        (".", true),
        ("", false),
        ("..", false),
        ("../", false),
        ("../secret", false),
        ("../data/file", false),
        ("deep/../../secret", false),
        ("./../secret", false),
        (secret.as_str(), false),
        ("/etc/passwd", false),
        ("//etc/passwd", false),
        ("/proc/self/environ", false),
        ("/", false),
        ("file/", false),
        ("file/..", false),
        ("file/../../secret", false),
        ("relative", false),
        ("relative/", false),
        ("absolute", false),
        ("up", false),
        ("up/", false),
        ("up/secret", false),
        ("up/data/file", false),
        ("deep/../up/secret", false),
        ("loop", false),
        ("file\0", false),
        ("..\\secret", false),
        (long.as_str(), false),
    ] {
        let outcome = host.dispatch(Opening, path).await.unwrap();
        assert!(outcome.failures.is_empty(), "{path}: {:?}", outcome.failures);
        assert_eq!(outcome.answers[0].1 == 0, opened, "{path}: {:?}", outcome.answers);
    }
    place.check_outside();
}
