//! Presets and profiles: the table, and names that nothing has.

use tapline_limits::{LimitsError, Preset, Profile};

#[test]
fn presets_are_the_table() {
    // Name, milliseconds, bytes, fuel (0: not metered).
    let table = [
        ("cpu-intensive", 60_000, 134_217_728, 10_000_000),
        ("memory-intensive", 30_000, 536_870_912, 0),
        ("untrusted", 5_000, 33_554_432, 1_000_000),
        ("tap", 30_000, 67_108_864, 0),
        ("extract", 30_000, 268_435_456, 0),
    ];
    assert_eq!(Preset::ALL.len(), table.len());
    for (name, ms, bytes, fuel) in table {
        let preset: Preset = name.parse().unwrap();
        assert_eq!(preset.to_string(), name);
        let limits = preset.limits();
        assert_eq!(limits.max_execution_time().as_millis(), ms, "{name}");
        assert_eq!((limits.max_memory_bytes(), limits.fuel_limit()), (bytes, fuel), "{name}");
        assert_eq!(limits.enable_fuel_metering(), fuel > 0, "{name}");
        assert_eq!((limits.max_instances(), limits.max_table_elements(), limits.max_memories()), (100, 1000, 1));
        assert_eq!((limits.max_functions(), limits.max_stack_size_bytes()), (10_000, 1_048_576));
    }
}

#[test]
fn profiles_are_the_table() {
    // Name, pool, cache, tracing, network and files, milliseconds, bytes, fuel (0: not metered).
    let table = [
        ("default", 100, 1000, false, true, 30_000, 134_217_728, 0),
        ("high-traffic", 500, 5000, false, true, 30_000, 134_217_728, 0),
        ("development", 10, 100, true, true, 300_000, 134_217_728, 0),
        ("secure", 100, 1000, false, false, 10_000, 67_108_864, 1_000_000),
    ];
    assert_eq!(Profile::ALL.len(), table.len());
    for (name, pool, cache, tracing, access, ms, bytes, fuel) in table {
        let profile: Profile = name.parse().unwrap();
        assert_eq!(profile.to_string(), name);
        let settings = profile.settings();
        assert_eq!(
            (settings.pool_size, settings.cache_size, settings.enable_tracing),
            (pool, cache, tracing),
            "{name}"
        );
        assert_eq!((settings.network_access, settings.filesystem_access), (access, access), "{name}");
        assert_eq!(settings.limits.max_execution_time().as_millis(), ms, "{name}");
        assert_eq!((settings.limits.max_memory_bytes(), settings.limits.fuel_limit()), (bytes, fuel), "{name}");
    }
    assert_eq!(Profile::default().to_string(), "default");
}

/// What `build` would refuse must not come in through a name.
#[test]
fn named_limits_pass_the_checks() {
    let all = Preset::ALL.map(Preset::limits).into_iter().chain(Profile::ALL.map(|profile| profile.settings().limits));
    for limits in all {
        let text = serde_json::to_string(&limits).unwrap();
        assert_eq!(serde_json::from_str::<tapline_limits::Limits>(&text).unwrap(), limits);
    }
}

#[test]
fn unknown_names_get_the_nearest() {
    let error = "untrustd".parse::<Preset>().unwrap_err();
    assert_eq!(error.to_string(), "`untrustd` is not a preset, the nearest is `untrusted`");
    assert_eq!(error.hint().unwrap(), "known presets: cpu-intensive, memory-intensive, untrusted, tap, extract");
    let error = "high_traffic".parse::<Profile>().unwrap_err();
    assert_eq!(error.to_string(), "`high_traffic` is not a profile, the nearest is `high-traffic`");
    let error = "Xyzzy".parse::<Profile>().unwrap_err();
    assert_eq!(error.to_string(), "`Xyzzy` is not a profile");
    let long = "a\u{1b}".repeat(1_000_000).parse::<Profile>().unwrap_err();
    assert!(matches!(&long, LimitsError::UnknownName { nearest: None, name, .. } if name.len() == 64));
    assert!(!long.to_string().contains('\u{1b}'));
}

#[test]
fn names_are_what_files_have() {
    assert_eq!(serde_json::from_str::<Preset>("\"cpu-intensive\"").unwrap(), Preset::CpuIntensive);
    assert_eq!(serde_json::to_string(&Profile::HighTraffic).unwrap(), "\"high-traffic\"");
    let error = serde_json::from_str::<Profile>("\"secrue\"").unwrap_err();
    assert_eq!(error.to_string(), "`secrue` is not a profile, the nearest is `secure`");
}
