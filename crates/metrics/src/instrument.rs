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

/// What an instrument counts. A base unit, as Prometheus asks for, but in the names that other documents have given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Things: calls, lines, slots.
    Count,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Bytes.
    Bytes,
    /// A part of 1.
    Ratio,
}

impl Unit {
    /// Nanoseconds in one, for a unit of time. Times are recorded in nanoseconds, whatever they are shown in.
    pub(crate) const fn nanos(self) -> Option<f64> {
        match self {
            Self::Seconds => Some(1e9),
            Self::Milliseconds => Some(1e6),
            Self::Microseconds => Some(1e3),
            Self::Count | Self::Bytes | Self::Ratio => None,
        }
    }

    /// The unit in words.
    const fn word(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Bytes => "bytes",
            Self::Ratio => "part of 1",
        }
    }

    /// The word after `# UNIT` in the text, with which the name then ends.
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Seconds => Some("seconds"),
            Self::Milliseconds => Some("ms"),
            Self::Microseconds => Some("us"),
            Self::Bytes => Some("bytes"),
            Self::Count | Self::Ratio => None,
        }
    }
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
    /// What to ask Prometheus for, where nothing more is known of the question: how fast a counter rises, below what 99 of
    /// 100 values of a histogram stay, each over five minutes and by all labels, or the value of a gauge.
    #[must_use]
    pub fn query(&self) -> String {
        let name = self.name;
        let by =
            |labels: &[&str]| if labels.is_empty() { String::new() } else { format!(" by ({})", labels.join(", ")) };
        match self.kind {
            Kind::Counter => format!("sum{} (rate({name}[5m]))", by(self.labels)),
            Kind::Histogram => {
                let by = by(&[self.labels, &["le"][..]].concat());
                format!("histogram_quantile(0.99, sum{by} (rate({name}_bucket[5m])))")
            }
            Kind::Gauge | Kind::Info => name.to_owned(),
        }
    }

    /// The name without what its kind and its unit put behind it: the exposition format adds both by itself.
    pub(crate) fn stem(&self) -> &'static str {
        let family = self.family();
        let Some(unit) = self.unit.as_str() else { return family };
        family.strip_suffix(unit).and_then(|name| name.strip_suffix('_')).unwrap_or(family)
    }

    /// Where among its labels the name of a plugin stands, if it has one.
    pub(crate) fn plugin_label(&self) -> Option<usize> {
        self.labels.iter().position(|label| matches!(*label, "plugin" | "module"))
    }

    /// The name of the family in OpenMetrics: without what the kind puts behind it.
    pub(crate) fn family(&self) -> &'static str {
        let name = match self.kind {
            Kind::Counter => self.name.strip_suffix("_total"),
            Kind::Info => self.name.strip_suffix("_info"),
            Kind::Gauge | Kind::Histogram => None,
        };
        name.unwrap_or(self.name)
    }
}

/// The table as Markdown, for the documentation.
#[must_use]
pub fn markdown() -> String {
    let mut text = "| name | kind | unit | labels | what | query |\n|---|---|---|---|---|---|\n".to_owned();
    for row in INSTRUMENTS {
        let labels: Vec<String> = row.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, unit, help) = (row.name, row.kind.as_str(), row.unit.word(), row.help);
        text.push_str(&format!(
            "| `{name}` | {kind} | {unit} | {} | {help} | `{}` |\n",
            labels.join(", "),
            row.query()
        ));
    }
    text
}

/// Writes the table and the ids, which are positions in it.
macro_rules! instruments {
    ($( $id:ident: $name:literal, $kind:ident, $unit:ident, [$($label:literal),*], $help:literal; )*) => {
        /// A row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Id { $( $id, )* }

        impl Id {
            /// Every row, in the order of the table.
            pub(crate) const ALL: &[Self] = &[ $( Self::$id, )* ];
        }

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
        "Time of one call of a handler, from taking an instance to the decoded answer. A call that got no instance has none.";
    TapCpu: "tapline_tap_cpu_seconds", Histogram, Seconds, ["plugin", "tap"],
        "Time during which one call of a handler was running and not waiting: the time that its future was polled.";
    BreakerState: "tapline_breaker_state", Gauge, Count, ["plugin", "tap"],
        "What the circuit breaker of a handler does: 0 closed, 1 half-open, 2 open.";
    BreakerOpenings: "tapline_breaker_openings_total", Counter, Count, ["plugin", "tap"],
        "Times that the circuit breaker of a handler opened, also after a probe that failed.";
    FuelUsed: "tapline_fuel_used_total", Counter, Count, ["plugin", "tap"],
        "Fuel that calls of a handler have used, where it is metered.";
    FuelPeak: "tapline_fuel_peak", Gauge, Count, ["plugin", "tap"],
        "The most fuel that one call of a handler has used since the host started.";
    InstantiateDuration: "tapline_instantiate_duration_seconds", Histogram, Seconds, ["plugin"],
        "Time of the stage instantiate fresh: to make one instance, for a call or ahead of one.";
    TeardownDuration: "tapline_teardown_duration_seconds", Histogram, Seconds, ["plugin"],
        "Time to drop one instance.";
    InstanceReuses: "tapline_instance_reuses_total", Counter, Count, ["plugin"],
        "Calls that ran on an instance which earlier calls had used.";
    StockHits: "tapline_stock_hits_total", Counter, Count, ["plugin"],
        "Calls that ran on an instance which was made ahead.";
    StockTakeDuration: "tapline_stock_take_duration_seconds", Histogram, Seconds, [],
        "Time of the stage take from stock: from the start of a call to an instance made ahead that can be entered.";
    StockMade: "tapline_stock_made_total", Counter, Count, ["plugin"],
        "Instances that were made ahead.";
    QueueWaitDuration: "tapline_queue_wait_duration_seconds", Histogram, Seconds, [],
        "Time that a call waited for a free slot of the pool.";
    EpochYields: "tapline_epoch_yields_total", Counter, Count, ["plugin"],
        "Times that a guest had run for a tick of the clock and let others run.";
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
    PoolResident: "tapline_pool_resident_bytes", Gauge, Bytes, [],
        "Memory of the pool: what instances have, and what free slots keep for the next one.";
    CacheLoads: "tapline_cache_loads_total", Counter, Count, ["level"],
        "Compiled plugins that were asked for, by where they came from.";
    ProcessStartDuration: "tapline_process_start_duration_seconds", Gauge, Seconds, [],
        "Time of the stage process start: from the start of the program until it listened, with the processor time before `main`.";
    CompileDuration: "tapline_compile_duration_seconds", Histogram, Seconds, [],
        "Time of the stage compile: to compile one plugin.";
    LoadArtifactDuration: "tapline_load_artifact_duration_seconds", Histogram, Seconds, [],
        "Time of the stage load artifact: to find one plugin's compiled code on disk, to check it and to map it.";
    LoadsRefused: "tapline_loads_refused_total", Counter, Count, ["reason"],
        "Plugins that were refused when they were loaded or when their code was brought, by why.";
    CompilationsRefused: "tapline_compilations_refused_total", Counter, Count, ["reason"],
        "Plugins that were not compiled because of a limit, by which.";
    HostCallDuration: "tapline_host_call_duration_seconds", Histogram, Seconds, ["capability"],
        "Time of one host function, its waits included, of capabilities that time them: `database`.";
    HostCallBytes: "tapline_host_call_bytes_total", Counter, Bytes, ["capability"],
        "Bytes of the answers that host functions gave to guests, of capabilities that count them: `database`.";
    HostCallRefusals: "tapline_host_call_refusals_total", Counter, Count, ["plugin", "capability"],
        "Calls of host functions that were refused: they asked for more than a limit or a grant allows, or for what may not be.";
    GuestOutputDropped: "tapline_guest_output_dropped_bytes_total", Counter, Bytes, ["plugin"],
        "Bytes that a guest wrote to its standard streams beyond its limit.";
    LogLines: "tapline_log_lines_total", Counter, Count, ["plugin", "level"],
        "Log lines of guests.";
    LogLinesDropped: "tapline_log_lines_dropped_total", Counter, Count, ["plugin"],
        "Log lines of a guest, and of the host about its calls, beyond their limit.";
    LogLinesLost: "tapline_log_lines_lost_total", Counter, Count, [],
        "Lines of the program's log that were thrown away, because they were not taken from its standard error in time.";
    Health: "tapline_health", Gauge, Count, [],
        "Whether the host can do its work: 0 ready, 1 degraded, 2 unready, as `/health/ready` says.";
    PluginsLoaded: "tapline_plugins_loaded", Gauge, Count, [],
        "Plugins that are loaded now.";
    BuildInfo: "tapline_build_info", Info, Count, ["version", "wasmtime"],
        "The versions of this program and of its engine.";

    // The names of P8. What a module did is derived from the rows above: it costs a call nothing.
    StartupMs: "startup_ms", Gauge, Milliseconds, ["surface", "impl", "module", "service"],
        "Time of the last start of a module: compile or load artifact, and instantiate fresh, from its bytes to an instance that could be called.";
    Startup: "startup_seconds", Histogram, Seconds, ["surface", "impl", "module", "service"],
        "Time of each start of a module: compile or load artifact, and instantiate fresh, from its bytes to an instance that could be called.";
    Rss: "rss_bytes", Gauge, Bytes, ["surface", "impl", "service"],
        "Memory of the process that is in RAM.";
    ArtifactSize: "artifact_size_bytes", Gauge, Bytes, ["surface", "impl", "module", "service"],
        "Size of a module's file.";
    OpCpu: "op_cpu_us", Histogram, Microseconds, ["surface", "impl", "module", "service"],
        "Time during which one call of a module was running and not waiting.";
    OpLatency: "op_latency_ms", Histogram, Milliseconds, ["surface", "impl", "module", "service"],
        "Time of one call of a module.";
    WasmInstantiates: "wasm_instantiates_total", Counter, Count, ["surface", "impl", "module", "service"],
        "Instances that were made of a module: one for each start, and those of its calls.";
    WasmCacheHits: "wasm_cache_hits_total", Counter, Count, ["surface", "impl", "module", "service"],
        "Instances among them whose code was there, in memory or on disk.";
    WasmCacheMisses: "wasm_cache_misses_total", Counter, Count, ["surface", "impl", "module", "service"],
        "Instances among them for which the module had to be compiled.";
    ProcessCpu: "process_cpu_seconds_total", Counter, Seconds, ["surface", "impl", "service", "route"],
        "CPU time of the process, by the route whose requests were answered with it; `other` is the rest.";
    HttpRequests: "http_requests_total", Counter, Count, ["surface", "impl", "service", "route"],
        "Requests that were answered, by the pattern of their address; `other` is what fits none.";

    // The names of DWCP, whose VM is an instance of ours.
    WasmColdStart: "wasm_cold_start_duration_ms", Histogram, Milliseconds, [],
        "Time of each start of a module: compile or load artifact, and instantiate fresh, from its bytes to an instance that could be called.";
    WasmWarmStart: "wasm_warm_start_duration_ms", Histogram, Milliseconds, [],
        "Time to make one instance of a module that had been started.";
    WasmCacheHitRate: "wasm_cache_hit_rate", Gauge, Ratio, [],
        "The part of all instances whose code was there, in memory or on disk.";
    WasmActiveVms: "wasm_active_vms", Gauge, Count, [],
        "Instances that serve a call now.";
    WasmIdleVms: "wasm_idle_vms", Gauge, Count, [],
        "Instances that wait for their next call.";

    // The names of RipTide. Counters of today's formats would have to end in `_total`: these are gauges that only rise.
    RiptidePages: "riptide_wasm_memory_pages", Gauge, Count, [],
        "Linear memory of all instances, in pages of 64 KiB.";
    RiptideGrowFailed: "riptide_wasm_grow_failed_total", Counter, Count, [],
        "Times that any guest asked for more memory or table than its limit.";
    RiptidePeakPages: "riptide_wasm_peak_memory_pages", Gauge, Count, [],
        "The most linear memory that all instances have had together, in pages of 64 KiB.";
    RiptideColdStart: "riptide_wasm_cold_start_time_ms", Gauge, Milliseconds, [],
        "Time of the last start of any module: compile or load artifact, and instantiate fresh.";
    RiptideAotHits: "riptide_wasm_aot_cache_hits", Gauge, Count, [],
        "Starts of modules whose code was there, in memory or on disk.";
    RiptideAotMisses: "riptide_wasm_aot_cache_misses", Gauge, Count, [],
        "Starts of modules that had to be compiled.";
}
