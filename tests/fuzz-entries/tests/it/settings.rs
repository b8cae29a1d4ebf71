//! Configuration files.

use proptest::prelude::*;
use tapline_fuzz_entries::config;
use tapline_host_core::limits::{Limits, Profile};

/// Pieces of a configuration, right and wrong.
const LINES: [&str; 24] = [
    "[server]",
    "[host]",
    "[host.limits]",
    "[plugins.a]",
    "[plugins.a.limits]",
    "[plugins.b]",
    "[plugins.a.order.item_view]",
    "[plugins.a.grants]",
    "path = \"a.wasm\"",
    "preset = \"untrusted\"",
    "profile = \"secure\"",
    "pool_size = 3",
    "max_memory_bytes = 1000000",
    "max_memory_bytes = -1",
    "max_execution_time_ms = 0",
    "fuel_limit = 5",
    "enable_fuel_metering = true",
    "listen = \"a:1\"",
    "database = \"read\"",
    "weight = 5",
    "after = [\"b\", 1]",
    "= 1",
    "a = { b = [ 1, { c = \"\u{fc}\\u0000\" } ] }",
    "#$TAPLINE_WASM_TIMEOUT_SECS=30",
];

proptest! {
    #![proptest_config(crate::cases(2000))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(config(&bytes));
    }

    #[test]
    fn any_lines_are_read_or_refused(lines in prop::collection::vec(prop::sample::select(&LINES[..]), 0..12)) {
        drop(config(lines.join("\n").as_bytes()));
    }

    #[test]
    fn any_variables_are_read_or_refused(
        name in prop::sample::select(&["MAX_POOL_SIZE", "TIMEOUT_SECS", "MEMORY_LIMIT_MB", "MEMORY_LIMIT_PAGES"][..]),
        value in prop_oneof![any::<u64>().prop_map(|number| number.to_string()), "\\PC{0,20}"],
    ) {
        drop(config(format!("#$TAPLINE_WASM_{name}={value}").as_bytes()));
    }

    #[test]
    fn a_plugin_keeps_the_smaller_limit(host in 65_536..4_u64 << 30, plugin in 65_536..4_u64 << 30, time in 1..86_400_u64) {
        let text = format!(
            "#$TAPLINE_WASM_TIMEOUT_SECS={time}\n[host.limits]\nmax_memory_bytes = {host}\n\
             [plugins.a]\npath = \"a\"\nlimits = {{ max_memory_bytes = {plugin} }}\n"
        );
        let (config, plugins) = config(text.as_bytes()).unwrap();
        prop_assert_eq!(config.limits.max_execution_time().as_secs(), time);
        let effective = plugins[0].limits.apply_to(config.limits).unwrap().smallest(config.limits);
        prop_assert_eq!(effective.max_memory_bytes(), host.min(plugin));
    }
}

#[test]
fn an_empty_file_is_the_default_profile() {
    let (host, plugins) = config(b"").unwrap();
    assert_eq!(host.limits, Profile::Default.settings().limits);
    assert_eq!(host.limits, Limits::default());
    assert!(plugins.is_empty());
}
