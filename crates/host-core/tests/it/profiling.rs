//! Where guests spend their time, by the names of their functions.

use tapline_host_core::{Host, Profile, limits::PartialLimits};

use crate::guests::{Number, config, number, number_with, spec, time};

#[tokio::test]
async fn a_guest_is_sampled_where_it_is_busy_by_the_names_of_its_functions() {
    let profile = Profile::default();
    let host = Host::builder().config(config()).tap::<Number>().profile(profile.clone()).build().unwrap();
    let spin = "(func $spin (param $x i32) (loop $again (br $again)))";
    let evil = r#"(func $"a;b\0a\1b" (param $x i32) (loop $again (br $again)))"#;
    let call = "(call $spin (local.get $x)) (i32.const 1)";
    host.load(spec("busy", number_with(spin, call)).limits(time(30))).await.unwrap();
    host.load(spec("evil", number_with(evil, &call.replace("$spin", r#"$"a;b\0a\1b""#))).limits(time(30)))
        .await
        .unwrap();
    host.load(spec("quick", number("(local.get $x)"))).await.unwrap();
    // Metered plugins run on an engine of their own.
    let fuel = PartialLimits { enable_fuel_metering: Some(true), fuel_limit: Some(u64::MAX), ..time(30) };
    host.load(spec("metered", number_with(spin, call)).limits(fuel)).await.unwrap();
    host.dispatch(Number, &1).await.unwrap();
    let folded = profile.folded();
    // What ends a guest that loops is a tick, and each tick is a sample.
    for stack in ["busy;number;run;spin ", "evil;number;run;a:b\\n\\u{1b} ", "metered;number;run;spin "] {
        let line = folded.lines().find_map(|line| line.strip_prefix(stack));
        assert!(line.unwrap_or("none").parse::<u64>().is_ok(), "no `{stack}` in\n{folded}");
    }
}
