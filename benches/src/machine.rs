//! What the figures were taken on, and what the process used.

use std::{fs, process::Command, thread};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tapline_host_core::{HostConfig, cache::WASMTIME_VERSION};

/// The machine and the settings: two reports can be compared when these agree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// The release of the kernel.
    pub kernel: String,
    /// The version of wasmtime.
    pub wasmtime: String,
    /// `release` or `debug`. Only the first says anything about speed.
    pub build: String,
    /// The host's settings that weigh most.
    pub settings: String,
    /// Whether dirty pages were found by asking the kernel.
    pub pagemap_scan: bool,
    /// The load of the machine over the last minute before the run. Above 0.5, somebody else was at work.
    pub load: f64,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn here(pagemap_scan: bool) -> Self {
        let config = HostConfig::default();
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let after = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let kilobytes = after(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0_u64);
        Self {
            cpu: after(&read("/proc/cpuinfo"), "model name"),
            cores: cores(),
            memory_bytes: kilobytes << 10,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            wasmtime: WASMTIME_VERSION.to_owned(),
            build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
            settings: format!(
                "pooling allocator, {} slots of {} MiB, optimisation {:?}, epochs on, fuel off, metrics on",
                config.pool_size,
                config.limits.max_memory_bytes() >> 20,
                config.optimisation
            ),
            pagemap_scan,
            load: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default(),
        }
    }
}

/// Processors that this process may use.
#[must_use]
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The commit of the source, with `+` where files differ from it; `unknown` outside a repository.
#[must_use]
pub fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match (git(&["rev-parse", "HEAD"]), git(&["status", "--porcelain", "--untracked-files=no"])) {
        (Some(commit), Some(changes)) if changes.is_empty() => commit,
        (Some(commit), _) => commit + "+",
        (None, _) => "unknown".to_owned(),
    }
}

/// Bytes of this process that are in memory now.
///
/// # Errors
///
/// There is no `/proc`.
pub fn resident_bytes() -> Result<u64> {
    status("VmRSS:")
}

/// The most bytes of this process that were ever in memory.
///
/// # Errors
///
/// There is no `/proc`.
pub fn peak_resident_bytes() -> Result<u64> {
    status("VmHWM:")
}

fn status(key: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"))?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().with_context(|| format!("{key} {line}"))?;
    Ok(kilobytes << 10)
}

/// Nanoseconds of processor time that the calling thread has used.
///
/// # Errors
///
/// The kernel does not count them.
pub fn thread_cpu_nanoseconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").context("/proc/thread-self/schedstat")?;
    text.split(' ').next().and_then(|first| first.parse().ok()).context("/proc/thread-self/schedstat is empty")
}

/// Page faults of this process that needed no disk.
///
/// # Errors
///
/// There is no `/proc`.
pub fn minor_faults() -> Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    // The name of the program stands in parentheses and may hold spaces; the tenth field is the eighth behind it.
    let behind = stat.rsplit_once(')').context("/proc/self/stat has no name")?.1;
    behind.split_whitespace().nth(7).and_then(|field| field.parse().ok()).context("/proc/self/stat is too short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_says_what_it_is() {
        let machine = Machine::here(true);
        assert!(machine.cores >= 1 && machine.memory_bytes > 1 << 20 && !machine.kernel.is_empty(), "{machine:?}");
        assert!(machine.settings.contains("100 slots of 128 MiB"), "{}", machine.settings);
        // Other tests run beside this one, so the two cannot be compared: they are read one after the other.
        for bytes in [peak_resident_bytes().unwrap(), resident_bytes().unwrap()] {
            assert!((1 << 20..machine.memory_bytes).contains(&bytes), "{bytes} bytes");
        }
        assert!(!commit().is_empty());
    }

    #[test]
    fn work_uses_processor_time_and_touching_memory_faults() {
        let (cpu, faults) = (thread_cpu_nanoseconds().unwrap(), minor_faults().unwrap());
        let mut touched = vec![0_u8; 32 << 20];
        for page in touched.chunks_mut(4096) {
            page[0] = 1;
        }
        assert!(std::hint::black_box(touched).contains(&1));
        assert!(minor_faults().unwrap() > faults);
        // The kernel may add up late, but never back.
        assert!(thread_cpu_nanoseconds().unwrap() >= cpu);
    }
}
