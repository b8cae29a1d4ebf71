//! The limits of one plugin: a preset, and single limits over it, in one table.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, IntoDeserializer, MapAccess, Visitor,
        value::{MapAccessDeserializer, StringDeserializer},
    },
};
use tapline_host_core::limits::{PartialLimits, Preset};

/// `flatten` would do the same, but its errors do not know the line.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::config) struct PluginLimits {
    pub(in crate::config) preset: Option<Preset>,
    single: PartialLimits,
}

impl PluginLimits {
    /// The preset with the single limits over it.
    pub(in crate::config) fn together(self) -> PartialLimits {
        let single = self.single;
        let Some(preset) = self.preset.map(Preset::limits) else { return single };
        let fuel = preset.enable_fuel_metering();
        let time = u64::try_from(preset.max_execution_time().as_millis()).unwrap_or(u64::MAX);
        PartialLimits {
            max_memory_bytes: single.max_memory_bytes.or(Some(preset.max_memory_bytes())),
            max_table_elements: single.max_table_elements.or(Some(preset.max_table_elements())),
            max_instances: single.max_instances.or(Some(preset.max_instances())),
            max_functions: single.max_functions.or(Some(preset.max_functions())),
            max_memories: single.max_memories.or(Some(preset.max_memories())),
            max_execution_time_ms: single.max_execution_time_ms.or(Some(time)),
            // One for the whole host: a preset does not speak about it.
            max_stack_size_bytes: single.max_stack_size_bytes,
            enable_fuel_metering: single.enable_fuel_metering.or(fuel.then_some(true)),
            fuel_limit: single.fuel_limit.or(fuel.then(|| preset.fuel_limit())),
        }
    }
}

impl<'de> Deserialize<'de> for PluginLimits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;

        impl<'de> Visitor<'de> for Table {
            type Value = PluginLimits;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PluginLimits, A::Error> {
                let mut preset = None;
                let rest = WithoutPreset { map, preset: &mut preset };
                let single = PartialLimits::deserialize(MapAccessDeserializer::new(rest))?;
                Ok(PluginLimits { preset, single })
            }
        }

        deserializer.deserialize_map(Table)
    }
}

/// Hands on a table, and keeps the one key that is not a limit.
struct WithoutPreset<'a, A> {
    map: A,
    preset: &'a mut Option<Preset>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithoutPreset<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key::<String>()? {
            if key == "preset" {
                *self.preset = Some(self.map.next_value()?);
                continue;
            }
            let key: StringDeserializer<A::Error> = key.into_deserializer();
            return seed.deserialize(key).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}
