//! Arithmetic of limits: whoever asks, nobody gets more than the host allows.

use proptest::prelude::*;
use tapline_host_core::limits::{Limits, PartialLimits};

/// Values inside of every range, so that each limit can be built; the ranges themselves are tested where they are.
fn partial() -> impl Strategy<Value = PartialLimits> {
    let sizes = (
        prop::option::of(65_536..4_u64 << 30),
        prop::option::of(0..10_000_000_u32),
        prop::option::of(1..10_000_u32),
        prop::option::of(1..1_000_000_u32),
        prop::option::of(1..100_u32),
    );
    let rest = (
        prop::option::of(1..86_400_000_u64),
        prop::option::of(65_536..8_u64 << 20),
        prop::option::of(any::<bool>()),
        prop::option::of(1..u64::MAX),
    );
    (sizes, rest).prop_map(|((memory, table, instances, functions, memories), (time, stack, metering, fuel))| {
        PartialLimits {
            max_memory_bytes: memory,
            max_table_elements: table,
            max_instances: instances,
            max_functions: functions,
            max_memories: memories,
            max_execution_time_ms: time,
            max_stack_size_bytes: stack,
            enable_fuel_metering: metering,
            // A fuel limit without metering is refused, which has a test of its own.
            fuel_limit: fuel.filter(|_| metering == Some(true)),
        }
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    partial().prop_map(|partial| partial.apply_to(Limits::default()).unwrap())
}

/// Every limit as a number; no metering is more than any fuel.
fn figures(limits: Limits) -> [u64; 8] {
    [
        limits.max_memory_bytes(),
        limits.max_table_elements().into(),
        limits.max_instances().into(),
        limits.max_functions().into(),
        limits.max_memories().into(),
        u64::try_from(limits.max_execution_time().as_millis()).unwrap(),
        limits.max_stack_size_bytes(),
        if limits.enable_fuel_metering() { limits.fuel_limit() } else { u64::MAX },
    ]
}

proptest! {
    #![proptest_config(crate::cases(2000))]

    #[test]
    fn the_smallest_is_the_smaller_figure_of_each(a in limits(), b in limits(), c in limits()) {
        let smallest = figures(a.smallest(b));
        for (index, figure) in smallest.into_iter().enumerate() {
            prop_assert_eq!(figure, figures(a)[index].min(figures(b)[index]));
        }
        prop_assert_eq!(a.smallest(a), a);
        prop_assert_eq!(a.smallest(b), b.smallest(a));
        prop_assert_eq!(a.smallest(b).smallest(c), a.smallest(b.smallest(c)));
    }

    #[test]
    fn what_is_given_replaces_and_what_is_missing_stays(partial in partial(), base in limits()) {
        let limits = partial.apply_to(base).unwrap();
        prop_assert_eq!(limits.max_memory_bytes(), partial.max_memory_bytes.unwrap_or(base.max_memory_bytes()));
        prop_assert_eq!(limits.max_functions(), partial.max_functions.unwrap_or(base.max_functions()));
        let metering = partial.enable_fuel_metering.unwrap_or(base.enable_fuel_metering());
        prop_assert_eq!(limits.enable_fuel_metering(), metering);
        prop_assert_eq!(PartialLimits::default().apply_to(base).unwrap(), base);
        prop_assert_eq!(partial.apply_to(limits).unwrap(), limits);
        let written = PartialLimits::from(limits);
        prop_assert_eq!(written.apply_to(base).unwrap(), limits);
        let text = serde_json::to_string(&written).unwrap();
        prop_assert_eq!(serde_json::from_str::<PartialLimits>(&text).unwrap(), written);
    }
}
