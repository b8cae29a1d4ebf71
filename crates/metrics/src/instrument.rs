//! The one table of instruments.

/// How an instrument moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Only goes up, starts at 0 with the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations, counted by size.
    Histogram,
    /// Always 1; its labels are what it says.
    Info,
}

impl Kind {
    /// The word after `# TYPE` in the text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// What an instrument counts. Always a base unit, as Prometheus asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Things: calls, lines, slots.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// One row of [`INSTRUMENTS`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Instrument {
    /// The full name, as it is queried: with the unit, and with `_total` or `_info` where the kind asks for it. A
    /// histogram's samples have `_bucket`, `_sum` and `_count` behind it.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What it counts.
    pub unit: Unit,
    /// The names of its labels, in order.
    pub labels: &'static [&'static str],
    /// What it means, in one sentence.
    pub help: &'static str,
}

impl Instrument {
    /// The name without what its kind and its unit put behind it: the exposition format adds both by itself.
    pub(crate) fn stem(&self) -> &'static str {
        let name = match self.kind {
            Kind::Counter => self.name.strip_suffix("_total"),
            Kind::Info => self.name.strip_suffix("_info"),
            Kind::Gauge | Kind::Histogram => None,
        };
        let name = name.unwrap_or(self.name);
        let suffix = match self.unit {
            Unit::Count => "",
            Unit::Seconds => "_seconds",
            Unit::Bytes => "_bytes",
        };
        name.strip_suffix(suffix).unwrap_or(name)
    }
}

/// Writes the table and the ids, which are positions in it.
macro_rules! instruments {
    ($( $id:ident: $name:literal, $kind:ident, $unit:ident, [$($label:literal),*], $help:literal; )*) => {
        /// A row of the table.
        #[derive(Clone, Copy, Debug)]
        pub(crate) enum Id { $( $id, )* }

        /// Every instrument that there is.
        pub const INSTRUMENTS: &[Instrument] = &[ $(
            Instrument { name: $name, kind: Kind::$kind, unit: Unit::$unit, labels: &[$($label),*], help: $help },
        )* ];
    };
}

instruments! {
    TapInvocations: "tapline_tap_invocations_total", Counter, Count, ["plugin", "tap", "outcome"],
        "Calls of a handler, by how they ended.";
    TapDuration: "tapline_tap_duration_seconds", Histogram, Seconds, ["plugin", "tap"],
        "Time of one call of a handler, from taking an instance to the decoded answer.";
    BreakerState: "tapline_breaker_state", Gauge, Count, ["plugin", "tap"],
        "What the circuit breaker of a handler does: 0 closed, 1 half-open, 2 open.";
    BreakerOpenings: "tapline_breaker_openings_total", Counter, Count, ["plugin", "tap"],
        "Times that the circuit breaker of a handler opened, also after a probe that failed.";
    FuelUsed: "tapline_fuel_used_total", Counter, Count, ["plugin", "tap"],
        "Fuel that calls of a handler have used, where it is metered.";
    FuelPeak: "tapline_fuel_peak", Gauge, Count, ["plugin", "tap"],
        "The most fuel that one call of a handler has used since the host started.";
    InstantiateDuration: "tapline_instantiate_duration_seconds", Histogram, Seconds, ["plugin"],
        "Time to make one instance.";
    TeardownDuration: "tapline_teardown_duration_seconds", Histogram, Seconds, ["plugin"],
        "Time to drop one instance.";
    InstanceReuses: "tapline_instance_reuses_total", Counter, Count, ["plugin"],
        "Calls that ran on an instance which earlier calls had used.";
    StockHits: "tapline_stock_hits_total", Counter, Count, ["plugin"],
        "Calls that ran on an instance which was made ahead.";
    StockMade: "tapline_stock_made_total", Counter, Count, ["plugin"],
        "Instances that were made ahead.";
    QueueWaitDuration: "tapline_queue_wait_duration_seconds", Histogram, Seconds, [],
        "Time that a call waited for a free slot of the pool.";
    MemoryPeak: "tapline_memory_peak_bytes", Gauge, Bytes, ["plugin"],
        "The most linear memory that one instance has had since the host started.";
    RefusedGrowths: "tapline_refused_growths_total", Counter, Count, ["plugin"],
        "Times that a guest asked for more memory or table than its limit.";
    PoolSlots: "tapline_pool_slots", Gauge, Count, [],
        "Instances that can exist at the same time.";
    PoolSlotsInUse: "tapline_pool_slots_in_use", Gauge, Count, [],
        "Instances that exist now.";
    PoolSlotsIdle: "tapline_pool_slots_idle", Gauge, Count, [],
        "Instances among them that wait for a call.";
    CacheLoads: "tapline_cache_loads_total", Counter, Count, ["level"],
        "Compiled plugins that were asked for, by where they came from.";
    CompileDuration: "tapline_compile_duration_seconds", Histogram, Seconds, [],
        "Time to compile one plugin.";
    CompilationsRefused: "tapline_compilations_refused_total", Counter, Count, ["reason"],
        "Plugins that were not compiled because of a limit, by which.";
    HostCallDuration: "tapline_host_call_duration_seconds", Histogram, Seconds, ["capability"],
        "Time of one host function, its waits included.";
    GuestOutputDropped: "tapline_guest_output_dropped_bytes_total", Counter, Bytes, ["plugin"],
        "Bytes that a guest wrote to its standard streams beyond its limit.";
    LogLines: "tapline_log_lines_total", Counter, Count, ["plugin", "level"],
        "Log lines of guests.";
    LogLinesDropped: "tapline_log_lines_dropped_total", Counter, Count, ["plugin"],
        "Log lines of guests beyond their limit.";
    PluginsLoaded: "tapline_plugins_loaded", Gauge, Count, [],
        "Plugins that are loaded now.";
    BuildInfo: "tapline_build_info", Info, Count, ["version", "wasmtime"],
        "The versions of this program and of its engine.";
}
