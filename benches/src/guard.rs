//! The guard: what must not get worse unseen.
//!
//! It measures what is stable on a noisy machine, compares it with a file that an earlier run has written, and says what got
//! worse by more than its tolerance. Counts are taken in the `dev` profile, in which the tests are built: our own code is
//! not optimised there and what it stands on is, which is a fixed condition like any other and costs no second build of
//! the engine. Times are taken in `release`, as ratios to bare wasmtime or to native code in the same run.
//!
//! `cargo xtask guard` builds and runs it.

pub mod baseline;
pub mod comment;
pub mod compare;
pub mod sizes;
pub mod taps;
pub mod times;
pub mod trace;

/// What a value may depend on beside the architecture and the version of wasmtime, which always have to agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Nothing.
    Everywhere,
    /// Whether dirty pages are found by asking the kernel.
    Kernel,
    /// The processor, how many there are, and that too.
    Machine,
}

/// One kind of value. Its id is this name, or this name with `.PLUGIN` behind it.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Stable.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// It is worse when it has grown by more than this, in percent: the figures of requirement R36.
    pub tolerance: f64,
    /// And by more than this, in its unit: so that nothing is compared with zero in percent.
    pub slack: f64,
    /// Where two values can be compared.
    pub scope: Scope,
    /// Whether it is a count: what CI compares.
    pub counted: bool,
}

macro_rules! kinds {
    ($($name:literal $about:literal $unit:literal $tolerance:literal $slack:literal $scope:ident $counted:literal;)*) => {
        /// All of them, in the order of the report.
        pub const KINDS: &[Kind] = &[$(Kind {
            name: $name,
            about: $about,
            unit: $unit,
            tolerance: $tolerance,
            slack: $slack,
            scope: Scope::$scope,
            counted: $counted,
        },)*];
    };
}

// A background thread may fault once in hundreds of taps, and a table may grow once: what a tap itself does, it does each
// time.
kinds! {
    "artifact" "the component" "bytes" 10.0 0.0 Everywhere true;
    "compiled" "the component, compiled" "bytes" 10.0 0.0 Everywhere true;
    "faults" "page faults of one tap" "per tap" 10.0 0.05 Kernel true;
    "system-calls" "system calls of one tap" "per tap" 10.0 0.05 Kernel true;
    "allocations" "allocations of one tap in the host" "per tap" 10.0 0.5 Everywhere true;
    "instructions" "instructions of one tap, host and guest" "per tap" 10.0 0.0 Kernel true;
    "resident" "memory after a fixed load" "bytes" 10.0 0.0 Machine false;
    "cold-start" "p95 of compiling, loading and the first tap" "× bare wasmtime" 20.0 0.0 Machine false;
    "tap" "p50 of one tap" "× bare wasmtime" 10.0 0.0 Machine false;
    "cpu" "processor time of one tap" "× bare wasmtime" 10.0 0.0 Machine false;
    "native" "WebAssembly, p50 of one tap" "× the same function, native" 10.0 0.0 Machine false;
}

/// The kind of an id.
#[must_use]
pub fn kind(id: &str) -> Option<&'static Kind> {
    let name = id.split('.').next().unwrap_or(id);
    KINDS.iter().find(|kind| kind.name == name)
}

/// The kind of this name.
///
/// # Errors
///
/// There is none; the error names the nearest.
pub fn by_name(name: &str) -> anyhow::Result<&'static Kind> {
    use anyhow::Context as _;
    KINDS.iter().find(|kind| kind.name == name).with_context(|| {
        let near = |kind: &&Kind| (strsim::jaro(kind.name, name) * 1000.0) as u32;
        let nearest = KINDS.iter().max_by_key(near).map_or("", |kind| kind.name);
        format!("nothing that the guard measures is called `{name}`; did you mean `{nearest}`?")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_its_kind() {
        assert_eq!(kind("tap.teaser").map(|kind| kind.name), Some("tap"));
        assert_eq!(kind("resident").map(|kind| kind.name), Some("resident"));
        assert!(kind("taps.teaser").is_none());
        let error = by_name("fault").unwrap_err().to_string();
        assert!(error.contains("`fault`; did you mean `faults`?"), "{error}");
    }

    #[test]
    fn tolerances_are_those_of_the_requirement() {
        for kind in KINDS {
            assert_eq!(kind.tolerance, if kind.name == "cold-start" { 20.0 } else { 10.0 }, "{}", kind.name);
        }
    }
}
