//! Whether memory is short.

use std::{
    fs,
    path::{Path, PathBuf},
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

/// Whether this process waits for memory, or the machine where its control group does not say. Whoever asks, and however many:
/// the kernel is asked once in a second, on a thread that may wait.
pub(crate) async fn is_short_of_memory() -> bool {
    static LAST: Mutex<Option<(Instant, bool)>> = Mutex::const_new(None);
    let mut last = LAST.lock().await;
    if let Some((asked, answer)) = *last
        && asked.elapsed() < PERIOD
    {
        return answer;
    }
    let read = || {
        let group = control_group(Path::new(MEMBERSHIP), Path::new(CONTROL_GROUPS));
        is_short(group, Path::new(OF_THE_MACHINE))
    };
    // It is only not done where the program ends.
    let answer = tokio::task::spawn_blocking(read).await.unwrap_or_default();
    *last = Some((Instant::now(), answer));
    answer
}

/// A system that does not say counts as one that has enough.
fn is_short(group: Option<PathBuf>, machine: &Path) -> bool {
    let of_group = group.and_then(|group| fs::read_to_string(group.join(OF_THE_GROUP)).ok());
    let text = of_group.or_else(|| fs::read_to_string(machine).ok()).unwrap_or_default();
    let some = text.lines().find_map(|line| line.strip_prefix("some avg10="));
    let percent = some.and_then(|some| some.split(' ').next()?.parse::<f64>().ok());
    percent.is_some_and(|percent| percent >= MAX_PRESSURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(percent: &str) -> String {
        format!("some avg10={percent} avg60=1.00 avg300=0.00 total=5\nfull avg10=50.00 avg60=0 avg300=0 total=0\n")
    }

    #[test]
    fn what_the_kernel_says_of_memory() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("memory");
        assert!(!is_short(None, &file), "a system that says nothing");
        for (percent, expected) in [("0.00", false), ("9.99", false), ("10.00", true), ("93.10", true), ("?", false)] {
            fs::write(&file, text(percent)).unwrap();
            assert_eq!(is_short(None, &file), expected, "{percent}");
        }
    }

    #[test]
    fn a_control_group_speaks_for_itself_where_it_says_something() {
        let directory = tempfile::tempdir().unwrap();
        let (machine, group) = (directory.path().join("memory"), directory.path().join("group"));
        fs::create_dir(&group).unwrap();
        fs::write(&machine, text("50.00")).unwrap();
        assert!(is_short(Some(group.clone()), &machine), "a group that says nothing");
        fs::write(group.join(OF_THE_GROUP), text("0.00")).unwrap();
        assert!(!is_short(Some(group.clone()), &machine), "others wait");
        fs::write(group.join(OF_THE_GROUP), text("20.00")).unwrap();
        fs::write(&machine, text("0.00")).unwrap();
        assert!(is_short(Some(group), &machine), "this one waits, and nobody else");
    }
}
