//! Every number of the report: its id, where it is asked for, its unit and its target.
//!
//! Ids are stable: programs read them. A part in capitals stands for any of its kind: `gate1.ARM.SIZE.own` for
//! `gate1.lazy.2k4.own`.

/// Whether a number decides about the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It does.
    Gate,
    /// It does not.
    Figure,
}

/// What a number should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
    /// It is for comparison.
    Open,
}

impl Target {
    /// Whether the number is what it should be. `None`: nothing was asked for.
    #[must_use]
    pub fn met(self, measured: f64) -> Option<bool> {
        match self {
            // A number that is none meets nothing.
            Self::AtMost(limit) => Some(measured <= limit),
            Self::AtLeast(limit) => Some(measured >= limit),
            Self::Open => None,
        }
    }

    /// `≤ 10`.
    #[must_use]
    pub fn text(self) -> Option<String> {
        match self {
            Self::AtMost(limit) => Some(format!("≤ {limit}")),
            Self::AtLeast(limit) => Some(format!("≥ {limit}")),
            Self::Open => None,
        }
    }
}

/// One kind of number.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its id, see the module.
    pub id: &'static str,
    /// Whether it decides.
    pub kind: Kind,
    /// Where it is asked for: a row of the requirements, or `-`.
    pub requirement: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What it should be.
    pub target: Target,
    /// What it is, in one line.
    pub about: &'static str,
}

macro_rules! specs {
    ($($kind:ident $id:literal $requirement:literal $unit:literal ($($target:tt)*) $about:literal;)*) => {
        /// All of them. The first that fits an id counts.
        pub const SPECS: &[Spec] = &[$(Spec {
            id: $id,
            kind: Kind::$kind,
            requirement: $requirement,
            unit: $unit,
            target: Target::$($target)*,
            about: $about,
        },)*];
    };
}

specs! {
    Gate "gate1.lazy-over-json.2k4" "R35" "times" (AtLeast(5.0)) "full serialisation (JSON) over lazy, the tap's own time, item of 2.4 KB";
    Figure "gate1.lazy-over-json.100k" "R35" "times" (AtLeast(100.0)) "the same at 100 KB";
    Figure "gate1.lazy-over-json.SIZE" "R35" "times" (Open) "the same at other sizes";
    Figure "gate1.lazy-over-full.SIZE" "R35" "times" (Open) "typed full over lazy, the tap's own time; below 1 lazy is slower";
    Figure "gate1.ARM.SIZE.own" "R31" "µs" (Open) "the tap's own time: its arguments, the guest, its answer";
    Figure "gate1.ARM.SIZE.whole" "R31" "µs" (Open) "the whole dispatch on a fresh instance";
    Figure "gate1.ARM.SIZE.p95" "R31" "µs" (Open) "the 95th percentile of the whole dispatch";
    Figure "stage.ARM.SIZE.STAGE" "R35" "µs" (Open) "one stage of a call, clocked apart";
    Figure "phase0-over-full.2k4" "-" "times" (AtLeast(5.0)) "the phase 0 way over typed full, whole dispatch";
    Figure "phase0-over-lazy.2k4" "-" "times" (AtLeast(6.0)) "the phase 0 way over lazy, whole dispatch";
    Figure "phase0-over-ARM.SIZE" "-" "times" (Open) "the same for other arms and sizes";
    Figure "layers.ARM" "-" "%" (AtMost(10.0)) "what our layers add to bare wasmtime, whole dispatch of 2.4 KB";
    Figure "metrics.ARM" "R24" "ns" (AtMost(100.0)) "what recording the metrics adds to that dispatch: with them, less without";
    Figure "faults.ARM" "-" "per tap" (AtMost(0.01)) "page faults in steady state";
    Figure "map.SIZE.READS.WRITES" "R35" "times" (Open) "typed full over lazy for so many fields read and written";
    Gate "gate2.p95" "R35" "ms" (AtMost(10.0)) "95th percentile of 100 in parallel, the wait in the queue counted";
    Figure "gate2.batch" "-" "ms" (AtMost(1.0)) "time until all 100 are done";
    Figure "gate2.batch.bare" "-" "ms" (Open) "the same through bare wasmtime";
    Gate "gate2.alive.COUNT" "R4" "instances short" (AtMost(0.0)) "requests that were not alive at the same time as all others";
    Figure "gate2.wall.COUNT" "R4" "ms" (Open) "time until all of them are alive, and until all have ended";
    Figure "gate2.memory.COUNT" "-" "KB" (AtMost(64.0)) "resident memory for each suspended instance";
    Figure "gate2.peak" "R4" "MB" (Open) "the most memory that the process had with all of them alive";
    Gate "gate3.unanswered" "R5" "requests" (AtMost(0.0)) "requests of gate 3 that failed or hung";
    Gate "gate3.one-connection" "R5" "requests" (AtMost(0.0)) "of 1000 waiting for one connection: those that failed or hung";
    Figure "gate3.one-connection.wall" "R5" "ms" (Open) "time until the 1000 have their answers";
    Figure "gate3.wait.100" "-" "ms" (AtMost(12.0)) "100 requests that each wait 10 ms inside the guest";
    Figure "gate3.wait.1000" "-" "ms" (AtMost(20.0)) "1000 of them";
    Figure "gate3.wait.COUNT.bare" "-" "ms" (Open) "the same through bare wasmtime";
    Figure "gate3.wait.COUNT" "-" "ms" (Open) "more of them than there are instances";
    Figure "gate3.query.COUNT" "R5" "ms" (Open) "so many requests that each await one SQL query";
    Figure "gate3.plain-query" "-" "µs" (Open) "one query through plain sqlx";
    Figure "gate3.guest-query" "-" "µs" (Open) "one query of a guest: what a call costs more that makes one more";
    Figure "gate3.added" "-" "µs" (AtMost(5.0)) "what a guest's query adds to that";
    Figure "dwcp.compile" "R38" "ms" (Open) "a new host that compiles a module of 1 MB, the first time only";
    Figure "dwcp.cold.p50" "R38" "ms" (AtMost(100.0)) "cold start with that module, three stages: new host, load artifact, first call";
    Figure "dwcp.cold.p95" "R38" "ms" (AtMost(150.0)) "the same, 95th percentile";
    Figure "dwcp.cold.p99" "R38" "ms" (AtMost(150.0)) "the same, 99th percentile";
    Figure "dwcp.warm.p50" "R38" "ms" (AtMost(10.0)) "warm start, the stage instantiate fresh: an instance of the loaded module, call, drop";
    Figure "dwcp.warm.p95" "R38" "ms" (AtMost(15.0)) "the same, 95th percentile";
    Figure "dwcp.warm.p99" "R38" "ms" (AtMost(15.0)) "the same, 99th percentile";
    Figure "dwcp.improvement" "R38" "times" (Open) "cold over warm";
    Figure "dwcp.hit-rate" "R38" "%" (AtLeast(80.0)) "10 000 loads of 1000 modules through the cache";
    Figure "dwcp.concurrent" "R38" "ms" (Open) "95th percentile of 100 concurrent calls of that module";
    Figure "dwcp.containers.MS" "R38" "times" (Open) "how many times longer a container starts, by that document's figures";
    Figure "airssys.engine" "R37" "ms" (Open) "creating an engine with the host's settings";
    Figure "airssys.host" "R37" "ms" (Open) "creating a host";
    Figure "airssys.load" "-" "µs" (AtMost(150.0)) "loading a small compiled plugin from disk into a host that runs, checks and trial included";
    Figure "airssys.load.cache" "-" "µs" (AtMost(150.0)) "the part of it that hashes the bytes and finds, checks and maps the artifact";
    Figure "airssys.load.hash" "-" "µs" (Open) "the part of that which is the SHA-256 of the bytes, by which the artifact is found";
    Figure "airssys.load.authenticator" "-" "µs" (Open) "the part of that which is the BLAKE3 of the artifact, which is checked before it is mapped";
    Figure "airssys.load.engine" "-" "µs" (Open) "the engine alone, mapping a file that nobody checks";
    Figure "airssys.load.first" "-" "µs" (Open) "the engine alone, linking that and making its first instance";
    Figure "airssys.load-1mb" "-" "ms" (AtMost(0.5)) "the same for a module of 1 MB";
    Figure "airssys.load-1mb.cache" "-" "ms" (AtMost(0.5)) "the part of it that hashes the bytes and finds, checks and maps the artifact";
    Figure "airssys.load-1mb.hash" "-" "ms" (Open) "the part of that which is the SHA-256 of the bytes, by which the artifact is found";
    Figure "airssys.load-1mb.authenticator" "-" "ms" (Open) "the part of that which is the BLAKE3 of the artifact, which is checked before it is mapped";
    Figure "airssys.load-1mb.engine" "-" "ms" (Open) "the engine alone, mapping a file that nobody checks";
    Figure "airssys.load-1mb.first" "-" "ms" (Open) "the engine alone, linking that and making its first instance";
    Figure "airssys.call.sync" "-" "µs" (AtMost(0.2)) "an empty call on a live instance, bare wasmtime with our settings";
    Figure "airssys.call.async" "-" "µs" (AtMost(0.5)) "the same as a fiber";
    Figure "riptide.cold" "-" "ms" (Open) "new host, load a small compiled plugin from disk, first call";
    Figure "airssys.plugin-to-plugin" "R11" "µs" (AtMost(100.0)) "a plugin that calls another one through a host function: what the inner dispatch takes";
    Figure "stock.wait" "-" "µs" (AtMost(0.5)) "from the dispatch to an instance that can be entered, the stage take from stock";
    Figure "stock.wait.fresh" "-" "µs" (Open) "the same without a stock, the stage instantiate fresh";
    Figure "stock.caller" "-" "times" (AtMost(1.5)) "a whole `item_view` with a stock, over bare wasmtime's call alone on an instance that is there";
    Figure "stock.caller.fresh" "-" "times" (Open) "the same without a stock";
    Figure "stock.saturated" "-" "times" (AtMost(1.05)) "64 tasks that never pause, with a stock over without: 1 within the spread of the machine";
    Figure "stop.GUEST.p50" "-" "ms" (Open) "how late a guest is stopped that never ends";
    Figure "stop.loop.p99" "-" "ms" (AtMost(2.0)) "the same, 99th percentile, an endless loop";
    Figure "stop.GUEST.p99" "-" "ms" (Open) "the same for other guests; `native` is this machine by itself: no guest, two threads and the same clock";
    Figure "stop.neighbours.KIND" "-" "times" (AtMost(1.1)) "the p99 of 99 neighbours beside a plugin that spins, over their p99 without it";
    Figure "stop.neighbours.KIND.p99" "-" "ms" (Open) "that p99";
    Figure "stop.cost.GUEST" "-" "µs" (Open) "bare wasmtime, a fresh instance and one call, with nothing that could stop it";
    Figure "stop.cost.GUEST.MEANS" "-" "%" (Open) "what epoch, fuel, the limiter, or epoch and limiter both add to that";
    Figure "simd.kernel" "R40" "times" (AtLeast(4.0)) "text kernel without over with vector instructions";
    Figure "simd.plugin" "R40" "times" (AtLeast(1.25)) "a whole plugin around it, whole dispatch";
    Figure "p8.start" "-" "ms" (AtMost(10.0)) "a host with 25 compiled plugins starts";
    Figure "p8.start.compilations" "-" "plugins" (AtMost(0.0)) "how many of the 25 were compiled for that";
    Figure "p8.serve" "-" "ms" (AtMost(10.0)) "process start of `tapline serve` with 25 compiled plugins, until it listens";
    Figure "p8.serve.compilations" "-" "plugins" (AtMost(0.0)) "how many of the 25 that process compiled";
    Figure "p8.serve.STAGE" "-" "ms" (Open) "one stage of that: process (until `main`, and back to us), config, database, host, plugins, listen";
    Figure "p8.rss" "R36" "MB" (Open) "resident memory of the process with them loaded";
    Figure "p8.artifact.lazy" "-" "KB" (AtMost(30.0)) "the component of a lazy tap";
    Figure "p8.artifact.full" "-" "KB" (AtMost(60.0)) "the component of a typed full tap";
    Figure "p8.cpu" "R36" "µs" (Open) "processor time for one action, lazy";
    Figure "p8.native" "R36" "µs" (Open) "the same function, native";
    Figure "p8.wasm-over-native" "R36" "times" (Open) "the whole dispatch over the native function";
    Figure "reconsider.p95" "R39" "ms" (AtMost(50.0)) "above it, think again: the p95 of gate 2";
    Figure "reconsider.memory" "R39" "MB" (AtMost(500.0)) "above it, think again: the peak with all instances alive";
    Figure "reconsider.deadlock" "R39" "requests" (AtMost(0.0)) "above it, think again: what did not come back in gate 3";
}

/// What an id means. `None`: there is no such id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Spec> {
    SPECS.iter().find(|spec| fits(spec.id, id))
}

fn fits(pattern: &str, id: &str) -> bool {
    let mut parts = id.split('.');
    let fit = pattern.split('.').all(|wanted| parts.next().is_some_and(|part| part_fits(wanted, part)));
    fit && parts.next().is_none()
}

/// `over-ARM` fits `over-lazy`: capitals stand for anything, what is before them must be there.
fn part_fits(wanted: &str, part: &str) -> bool {
    match wanted.find(|letter: char| letter.is_ascii_uppercase()) {
        Some(start) => part.len() > start && part.starts_with(&wanted[..start]),
        None => wanted == part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(id: &str) -> Target {
        find(id).unwrap_or_else(|| panic!("no {id}")).target
    }

    #[test]
    fn the_first_that_fits_counts() {
        assert_eq!(target("gate1.lazy-over-json.2k4"), Target::AtLeast(5.0));
        assert_eq!(target("gate1.lazy-over-json.10k"), Target::Open);
        assert_eq!(target("gate1.json.10k.own"), Target::Open);
        assert_eq!(target("gate2.memory.4000"), Target::AtMost(64.0));
        assert_eq!(target("phase0-over-lazy.2k4"), Target::AtLeast(6.0));
        assert_eq!(target("phase0-over-json.100k"), Target::Open);
        for unknown in ["gate1", "gate1.lazy", "gate4.x", "gate2.p95.more", "phase0-over-.10k"] {
            assert!(find(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn targets_say_whether_they_are_met() {
        assert_eq!(Target::AtMost(10.0).met(10.0), Some(true));
        assert_eq!(Target::AtMost(10.0).met(10.1), Some(false));
        assert_eq!(Target::AtLeast(5.0).met(4.9), Some(false));
        assert_eq!(Target::AtLeast(5.0).met(f64::NAN), Some(false));
        assert_eq!(Target::Open.met(1.0), None);
        assert_eq!(Target::AtLeast(1.25).text().unwrap(), "≥ 1.25");
    }

    #[test]
    fn every_id_is_documented() {
        let document = include_str!("../../docs/benchmarking.md");
        let missing: Vec<_> =
            SPECS.iter().map(|spec| spec.id).filter(|id| !document.contains(&format!("`{id}`"))).collect();
        assert!(missing.is_empty(), "docs/benchmarking.md does not name {missing:?}");
    }
}
