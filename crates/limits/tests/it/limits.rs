//! Limits as data: defaults, what is refused, and how they combine.

use std::time::Duration;

use tapline_limits::{Limits, LimitsBuilder, LimitsError, PartialLimits};

const MIB: u64 = 1024 * 1024;

#[test]
fn defaults_are_the_documented_figures() {
    let limits = Limits::default();
    assert_eq!(limits.max_memory_bytes(), 134_217_728);
    assert_eq!(limits.max_table_elements(), 1000);
    assert_eq!(limits.max_instances(), 100);
    assert_eq!(limits.max_functions(), 10_000);
    assert_eq!(limits.max_memories(), 1);
    assert_eq!(limits.max_execution_time(), Duration::from_secs(30));
    assert_eq!(limits.max_stack_size_bytes(), 1_048_576);
    assert!(!limits.enable_fuel_metering());
    assert_eq!(limits.fuel_limit(), 0);
    assert_eq!(Limits::builder().build(), Ok(limits));
    assert_eq!(Limits::builder().enable_fuel_metering(true).build().unwrap().fuel_limit(), 1_000_000);
}

#[test]
fn every_setter_sets_its_own_field() {
    let limits = Limits::builder()
        .max_memory_bytes(2 * MIB)
        .max_table_elements(3)
        .max_instances(4)
        .max_functions(5)
        .max_memories(6)
        .max_execution_time(Duration::from_micros(7900))
        .max_stack_size_bytes(80_000)
        .enable_fuel_metering(true)
        .fuel_limit(9)
        .build()
        .unwrap();
    assert_eq!(
        serde_json::to_value(limits).unwrap(),
        serde_json::json!({
            "max_memory_bytes": 2_097_152, "max_table_elements": 3, "max_instances": 4, "max_functions": 5,
            "max_memories": 6, "max_execution_time_ms": 7, "max_stack_size_bytes": 80_000,
            "enable_fuel_metering": true, "fuel_limit": 9,
        })
    );
}

#[test]
fn impossible_values_are_refused() {
    type Set = fn(LimitsBuilder) -> LimitsBuilder;
    let refused: [(&str, u64, Set); 16] = [
        ("max_memory_bytes", 0, |b| b.max_memory_bytes(0)),
        ("max_memory_bytes", 65_535, |b| b.max_memory_bytes(65_535)),
        ("max_memory_bytes", 4_294_967_297, |b| b.max_memory_bytes(4_294_967_297)),
        ("max_table_elements", 10_000_001, |b| b.max_table_elements(10_000_001)),
        ("max_instances", 0, |b| b.max_instances(0)),
        ("max_instances", 10_001, |b| b.max_instances(10_001)),
        ("max_functions", 0, |b| b.max_functions(0)),
        ("max_functions", 1_000_001, |b| b.max_functions(1_000_001)),
        ("max_memories", 0, |b| b.max_memories(0)),
        ("max_memories", 101, |b| b.max_memories(101)),
        ("max_execution_time_ms", 0, |b| b.max_execution_time(Duration::from_micros(999))),
        ("max_execution_time_ms", u64::MAX, |b| b.max_execution_time(Duration::MAX)),
        ("max_execution_time_ms", 86_400_001, |b| b.max_execution_time(Duration::from_millis(86_400_001))),
        ("max_stack_size_bytes", 65_535, |b| b.max_stack_size_bytes(65_535)),
        ("max_stack_size_bytes", 8_388_609, |b| b.max_stack_size_bytes(8_388_609)),
        ("fuel_limit", 0, |b| b.enable_fuel_metering(true).fuel_limit(0)),
    ];
    for (field, value, set) in refused {
        match set(Limits::builder()).build() {
            Err(LimitsError::OutOfRange { field: f, value: v, min, max }) => {
                assert_eq!((f, v), (field, value));
                assert!(value < min || value > max);
            }
            other => panic!("{field} = {value} gives {other:?}"),
        }
    }
    let without = Err(LimitsError::FuelWithoutMetering { fuel_limit: 5 });
    assert_eq!(Limits::builder().fuel_limit(5).build(), without);
    assert_eq!(Limits::builder().enable_fuel_metering(false).fuel_limit(5).build(), without);
}

#[test]
fn the_ends_of_the_ranges_are_allowed() {
    let least = Limits::builder()
        .max_memory_bytes(65_536)
        .max_table_elements(0)
        .max_instances(1)
        .max_functions(1)
        .max_memories(1)
        .max_execution_time(Duration::from_millis(1))
        .max_stack_size_bytes(65_536)
        .enable_fuel_metering(true)
        .fuel_limit(1);
    let most = Limits::builder()
        .max_memory_bytes(4_294_967_296)
        .max_table_elements(10_000_000)
        .max_instances(10_000)
        .max_functions(1_000_000)
        .max_memories(100)
        .max_execution_time(Duration::from_secs(86_400))
        .max_stack_size_bytes(8_388_608)
        .enable_fuel_metering(true)
        .fuel_limit(u64::MAX);
    let (least, most) = (least.build().unwrap(), most.build().unwrap());
    assert_eq!(least.smallest(most), least);
    assert_eq!(most.smallest(least), least);
}

#[test]
fn smallest_goes_field_by_field() {
    let a = Limits::builder().max_memory_bytes(MIB).max_instances(50).build().unwrap();
    let b = Limits::builder().max_memory_bytes(2 * MIB).max_instances(20).max_memories(3).build().unwrap();
    let both = Limits::builder().max_memory_bytes(MIB).max_instances(20).build().unwrap();
    assert_eq!(a.smallest(b), both);
    assert_eq!(b.smallest(a), both);
}

#[test]
fn smallest_meters_fuel_when_either_does() {
    let fuel = |fuel| Limits::builder().enable_fuel_metering(true).fuel_limit(fuel).build().unwrap();
    let off = Limits::default();
    assert_eq!(off.smallest(fuel(7)), fuel(7));
    assert_eq!(fuel(7).smallest(off), fuel(7));
    assert_eq!(fuel(7).smallest(fuel(6)), fuel(6));
    assert_eq!(off.smallest(off), off);
}

#[test]
fn partial_limits_keep_what_lies_below() {
    let base = Limits::builder().max_memories(2).enable_fuel_metering(true).fuel_limit(77).build().unwrap();
    assert_eq!(PartialLimits::default().apply_to(base), Ok(base));
    let partial: PartialLimits = serde_json::from_str(r#"{"max_memory_bytes":65536}"#).unwrap();
    let applied = partial.apply_to(base).unwrap();
    assert_eq!((applied.max_memory_bytes(), applied.max_memories(), applied.fuel_limit()), (65_536, 2, 77));

    let metering = |on| PartialLimits { enable_fuel_metering: Some(on), ..PartialLimits::default() };
    assert_eq!(metering(true).apply_to(base).unwrap().fuel_limit(), 77);
    assert_eq!(metering(true).apply_to(Limits::default()).unwrap().fuel_limit(), 1_000_000);
    assert!(!metering(false).apply_to(base).unwrap().enable_fuel_metering());
    let fuel = PartialLimits { fuel_limit: Some(5), ..PartialLimits::default() };
    assert_eq!(fuel.apply_to(base).unwrap().fuel_limit(), 5);
    assert_eq!(fuel.apply_to(Limits::default()), Err(LimitsError::FuelWithoutMetering { fuel_limit: 5 }));
}

#[test]
fn files_cannot_get_round_the_checks() {
    assert_eq!(serde_json::from_str::<Limits>("{}").unwrap(), Limits::default());
    let limits = Limits::builder().max_memories(2).enable_fuel_metering(true).build().unwrap();
    for limits in [limits, Limits::default()] {
        let text = serde_json::to_string(&limits).unwrap();
        assert_eq!(serde_json::from_str::<Limits>(&text).unwrap(), limits);
    }
    let error = serde_json::from_str::<Limits>(r#"{"max_memory_bytes":0}"#).unwrap_err();
    assert_eq!(error.to_string(), "`max_memory_bytes` is 0, it has to be 65536 to 4294967296");
    assert!(serde_json::from_str::<PartialLimits>(r#"{"max_memory":1}"#).is_err());
    assert!(serde_json::from_str::<Limits>(r#"{"max_memory":1}"#).is_err());
    assert!(serde_json::from_str::<Limits>(r#"{"max_memories":-1}"#).is_err());
}
