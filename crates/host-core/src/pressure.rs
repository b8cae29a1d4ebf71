//! Whether memory is short.

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use crate::swap::{CONTROL_GROUPS, MEMBERSHIP, control_group};

/// What the kernel says of the machine: of the last ten seconds the share in which somebody waited for memory, among others.
const OF_THE_MACHINE: &str = "/proc/pressure/memory";
/// The same of a control group: a container has a limit of its own, which it can reach on a machine that has plenty.
const OF_THE_GROUP: &str = "memory.pressure";
/// The share, in percent, from which memory is short: much more than an idle machine ever has, and well before one stands still.
const MAX_PRESSURE: f64 = 10.0;
/// How long an answer holds.
const PERIOD: Duration = Duration::from_secs(1);

/// Says whether this process waits for memory, or the machine where its control group does not say. Whoever asks, and however
/// many: the kernel is asked once in a second.
pub(crate) struct Pressure {
    membership: PathBuf,
    control_groups: PathBuf,
    machine: PathBuf,
    last: Mutex<Option<(Instant, bool)>>,
}

impl Default for Pressure {
    fn default() -> Self {
        Self::of(MEMBERSHIP, CONTROL_GROUPS, OF_THE_MACHINE)
    }
}

impl Pressure {
    fn of(membership: impl Into<PathBuf>, control_groups: impl Into<PathBuf>, machine: impl Into<PathBuf>) -> Self {
        let last = Mutex::new(None);
        Self { membership: membership.into(), control_groups: control_groups.into(), machine: machine.into(), last }
    }

    /// Whether memory is short, as of this second. The kernel is asked on a thread that may wait.
    pub(crate) async fn is_high(self: &Arc<Self>) -> bool {
        let mut last = self.last.lock().await;
        if let Some((asked, answer)) = *last
            && asked.elapsed() < PERIOD
        {
            return answer;
        }
        let asking = Arc::clone(self);
        // It is only not done where the program ends.
        let answer = tokio::task::spawn_blocking(move || asking.ask()).await.unwrap_or_default();
        *last = Some((Instant::now(), answer));
        answer
    }

    /// A system that does not say counts as one that has enough.
    fn ask(&self) -> bool {
        let group = control_group(&self.membership, &self.control_groups);
        let of_group = group.and_then(|group| fs::read_to_string(group.join(OF_THE_GROUP)).ok());
        let text = of_group.or_else(|| fs::read_to_string(&self.machine).ok()).unwrap_or_default();
        let some = text.lines().find_map(|line| line.strip_prefix("some avg10="));
        let percent = some.and_then(|some| some.split(' ').next()?.parse::<f64>().ok());
        percent.is_some_and(|percent| percent >= MAX_PRESSURE)
    }
}

/// For tests: what a kernel says on a machine where so much time goes into waiting for memory.
#[cfg(test)]
pub(crate) mod fake {
    use std::path::Path;

    use super::*;

    pub(crate) fn text(percent: &str) -> String {
        format!("some avg10={percent} avg60=1.00 avg300=0.00 total=5\nfull avg10=50.00 avg60=0 avg300=0 total=0\n")
    }

    /// Asks this file, and no control group.
    pub(crate) fn pressure(machine: &Path) -> Pressure {
        let nothing = machine.with_extension("nothing");
        Pressure::of(nothing.clone(), nothing, machine)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        fake::{pressure, text},
        *,
    };

    #[test]
    fn what_the_kernel_says_of_memory() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("memory");
        assert!(!pressure(&file).ask(), "a system that says nothing");
        for (percent, expected) in [("0.00", false), ("9.99", false), ("10.00", true), ("93.10", true), ("?", false)] {
            fs::write(&file, text(percent)).unwrap();
            assert_eq!(pressure(&file).ask(), expected, "{percent}");
        }
    }

    #[test]
    fn a_control_group_speaks_for_itself_where_it_says_something() {
        let directory = tempfile::tempdir().unwrap();
        let [machine, membership, groups] = ["memory", "membership", "groups"].map(|name| directory.path().join(name));
        fs::create_dir_all(groups.join("service")).unwrap();
        fs::write(&membership, "0::/service\n").unwrap();
        let pressure = Pressure::of(membership, groups.clone(), machine.clone());
        fs::write(&machine, text("50.00")).unwrap();
        assert!(pressure.ask(), "a group that says nothing");
        fs::write(groups.join("service").join(OF_THE_GROUP), text("0.00")).unwrap();
        assert!(!pressure.ask(), "others wait");
        fs::write(groups.join("service").join(OF_THE_GROUP), text("20.00")).unwrap();
        fs::write(&machine, text("0.00")).unwrap();
        assert!(pressure.ask(), "this one waits, and nobody else");
    }
}
