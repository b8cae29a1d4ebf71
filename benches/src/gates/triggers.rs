//! When the source documents say to think again.

use anyhow::Result;

use super::Run;
use crate::stats::Estimate;

pub(super) fn run(run: &mut Run) -> Result<()> {
    // A part that did not run has no say.
    if let Some(p95) = run.value("gate2.p95") {
        run.add("reconsider.p95", Estimate::exact(p95))?;
    }
    if let Some(peak) = run.value("gate2.peak") {
        run.add("reconsider.memory", Estimate::exact(peak))?;
    }
    if let (Some(some), Some(one)) = (run.value("gate3.unanswered"), run.value("gate3.one-connection")) {
        run.add("reconsider.deadlock", Estimate::exact(some + one))?;
    }
    Ok(())
}
