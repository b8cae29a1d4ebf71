//! Whether this process's memory can be swapped out.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Says of which control group this process is.
pub(crate) const MEMBERSHIP: &str = "/proc/self/cgroup";
/// Where the control groups are.
pub(crate) const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

/// Whether no page of this process can be swapped out: there is no swap, or the control group forbids it.
///
/// Pagemap scanning is only safe then: wasmtime 48 does not reset a dirty page that was swapped out, and the next
/// tenant of the slot could read it. What cannot be read counts as "can be swapped".
#[must_use]
pub fn swap_is_impossible() -> bool {
    no_swap_device(Path::new("/proc/swaps")) || cgroup_forbids_swap(Path::new(MEMBERSHIP), Path::new(CONTROL_GROUPS))
}

/// `/proc/swaps` is one heading line, then one line for each device.
fn no_swap_device(swaps: &Path) -> bool {
    fs::read_to_string(swaps).is_ok_and(|text| text.starts_with("Filename") && text.lines().count() == 1)
}

/// The directory of a process's control group, in version 2 of them: the line `0::/path`.
pub(crate) fn control_group(membership: &Path, root: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(membership).ok()?;
    Some(root.join(text.lines().find_map(|line| line.strip_prefix("0::/"))?))
}

/// `memory.swap.max` of the group or one above it.
fn cgroup_forbids_swap(membership: &Path, root: &Path) -> bool {
    let Some(mut directory) = control_group(membership, root) else { return false };
    loop {
        if fs::read_to_string(directory.join("memory.swap.max")).is_ok_and(|max| max.trim() == "0") {
            return true;
        }
        if directory == root || !directory.pop() || !directory.starts_with(root) {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_in_the_list_means_swap() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("swaps");
        fs::write(&file, "Filename\tType\tSize\tUsed\tPriority\n").unwrap();
        assert!(no_swap_device(&file));
        fs::write(&file, "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 1 0 -2\n").unwrap();
        assert!(!no_swap_device(&file));
        assert!(!no_swap_device(&directory.path().join("missing")), "what cannot be read is not safe");
    }

    #[test]
    fn a_group_or_one_above_it_can_forbid_swap() {
        let directory = tempfile::tempdir().unwrap();
        let membership = directory.path().join("cgroup");
        let root = directory.path().join("fs");
        fs::create_dir_all(root.join("service/worker")).unwrap();
        fs::write(&membership, "0::/service/worker\n").unwrap();
        assert!(!cgroup_forbids_swap(&membership, &root));
        fs::write(root.join("service/memory.swap.max"), "max\n").unwrap();
        assert!(!cgroup_forbids_swap(&membership, &root));
        fs::write(root.join("service/memory.swap.max"), "0\n").unwrap();
        assert!(cgroup_forbids_swap(&membership, &root));
        assert!(!cgroup_forbids_swap(&directory.path().join("missing"), &root));
    }
}
