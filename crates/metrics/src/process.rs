//! What the system knows of this process. Asked when somebody looks.

use std::fs;
use std::time::Duration;

/// The CPU time of all threads since the process started.
#[must_use]
pub fn cpu_time() -> Duration {
    clock(rustix::time::ClockId::ProcessCPUTime)
}

/// The CPU time of the current thread. Costs a system call: for a request, not for a call of a plugin.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    clock(rustix::time::ClockId::ThreadCPUTime)
}

fn clock(id: rustix::time::ClockId) -> Duration {
    let now = rustix::time::clock_gettime(id);
    Duration::new(now.tv_sec.try_into().unwrap_or_default(), now.tv_nsec.try_into().unwrap_or_default())
}

/// Memory of this process that is in RAM, in bytes. `None` where there is no `/proc`.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The memory that this process may have, in bytes: what its cgroup allows, else what the machine has. `None` where
/// neither is known.
#[must_use]
pub fn memory_limit() -> Option<u64> {
    let machine = kibibytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    // In a container the cgroup of the process is the root of what it sees. `max` stands for no limit.
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    Some(group.map_or(machine, |group: u64| group.min(machine)))
}

fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_and_memory() {
        let (thread, process) = (thread_cpu_time(), cpu_time());
        let mut sum = 0_u64;
        while thread_cpu_time() == thread {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(cpu_time() > process);
        assert!(process >= thread);
        #[cfg(target_os = "linux")]
        assert!(resident_bytes().unwrap() > 100_000 && memory_limit().unwrap() > resident_bytes().unwrap());
    }

    #[test]
    fn lines_of_proc() {
        assert_eq!(kibibytes("Name:\tx\nVmRSS:\t    1234 kB\n", "VmRSS:"), Some(1234 * 1024));
        assert_eq!(kibibytes("VmRSS:\t 12\n", "VmRSS:"), None);
        assert_eq!(kibibytes("", "VmRSS:"), None);
    }
}
