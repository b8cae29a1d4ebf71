//! What `benches/peers` finds: other ways to extend a program at the tap of gate 1, as a file for programs and as a table.

use std::{fmt::Write as _, fs, io, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::{machine::Machine, measure::Rounds, report::write_whole, stats};

/// The form of the file. Grows when a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// All of one call, from the item that the host has to the item that it gets back.
pub const WHOLE: &str = "whole";
/// The part of it that makes and drops the sandbox.
pub const SANDBOX: &str = "sandbox";
/// The arm that the others are compared with: fresh memory for each call, and the whole item crosses, as it does for them.
pub const OURS: &str = "tapline-full";

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `full`, `quick` or `smoke`.
    pub scale: String,
    /// Where it was measured.
    pub machine: Machine,
    /// The source that was measured; a `+` at the end: with changes.
    pub commit: String,
    /// The size of the item as JSON.
    pub item_bytes: usize,
    /// One row for each way.
    pub peers: Vec<Peer>,
    /// Peers that could not be measured.
    pub missing: Vec<Missing>,
}

/// What a reader has to know about a way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Stable.
    pub id: String,
    /// The peer and its version.
    pub system: String,
    /// Whether a call finds nothing in memory that an earlier call has left.
    pub memory_fresh: bool,
    /// What happens for each call, and how the item crosses.
    pub how: String,
}

/// One way to do the work. Times are medians of rounds, in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// What it is.
    #[serde(flatten)]
    pub about: About,
    /// All of one call.
    pub whole: f64,
    /// The 95 % interval of that median.
    pub interval: [f64; 2],
    /// The 95th percentile of all of one call.
    pub p95: f64,
    /// The part that makes and drops the sandbox.
    pub sandbox: f64,
    /// How many times as long all of it takes as [`OURS`], round by round.
    pub against_tapline: f64,
}

/// A peer that could not be measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Missing {
    /// Its name.
    pub peer: String,
    /// Why not.
    pub reason: String,
}

impl About {
    /// What a reader has to know.
    #[must_use]
    pub fn new(id: &str, system: &str, memory_fresh: bool, how: &str) -> Self {
        Self { id: id.to_owned(), system: system.to_owned(), memory_fresh, how: how.to_owned() }
    }
}

impl Peer {
    /// What the rounds say about the arm of this id, which has the clocks [`WHOLE`] and [`SANDBOX`].
    ///
    /// # Errors
    ///
    /// There is no such arm, or no arm [`OURS`].
    pub fn new(about: About, rounds: &Rounds) -> Result<Self> {
        let (whole, ours) = (rounds.medians(&about.id, WHOLE), rounds.medians(OURS, WHOLE));
        ensure!(!whole.is_empty() && !ours.is_empty(), "`{}` or `{OURS}` was not measured", about.id);
        let median = stats::estimate(whole).scaled(1e-3);
        Ok(Self {
            whole: median.value,
            interval: [median.low, median.high],
            p95: stats::median(rounds.p95(&about.id, WHOLE)) * 1e-3,
            sandbox: stats::median(rounds.medians(&about.id, SANDBOX)) * 1e-3,
            against_tapline: stats::ratio(whole, ours).value,
            about,
        })
    }
}

impl Peers {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// There is no such file, or it is none of peers, or one of another form.
    pub fn read(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("there is no {}: `cargo xtask peers` writes it", path.display())
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let again = || format!("{} is damaged: delete it and run `cargo xtask peers` again", path.display());
        let value: serde_json::Value = serde_json::from_str(&text).with_context(again)?;
        let schema = value["schema"].as_u64();
        ensure!(
            schema == Some(u64::from(SCHEMA)),
            "{} has another form than {SCHEMA}: run `cargo xtask peers` again",
            path.display()
        );
        serde_json::from_value(value).with_context(again)
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("peers are JSON")?;
        text.push('\n');
        write_whole(path, &text)
    }

    /// Refuses to stand beside a report of another machine.
    ///
    /// # Errors
    ///
    /// It is of another processor, kernel or version of wasmtime, or pagemap scanning differs.
    pub fn fits(&self, other: &Machine) -> Result<()> {
        let settings = |of: &Machine| {
            (of.cpu.clone(), of.cores, of.kernel.clone(), of.wasmtime.clone(), of.pagemap_scan, of.build.clone())
        };
        ensure!(
            settings(&self.machine) == settings(other),
            "the peers were measured on another machine or version than the gates: run `cargo xtask peers` again"
        );
        Ok(())
    }

    /// The table, the fastest first, as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut rows: Vec<_> = self.peers.iter().collect();
        rows.sort_by(|a, b| a.whole.total_cmp(&b.whole));
        let mut text = "| way | system | memory fresh per call | µs per call | 95 % | p95 µs | sandbox µs | × Tapline full | how |\n\
                        |---|---|---|--:|--:|--:|--:|--:|---|\n"
            .to_owned();
        for peer in rows {
            let About { id, system, memory_fresh, how } = &peer.about;
            let fresh = if *memory_fresh { "yes" } else { "no" };
            let [low, high] = peer.interval;
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {id} | {system} | {fresh} | {:.2} | {low:.2} to {high:.2} | {:.2} | {:.2} | {:.2} | {how} |",
                peer.whole, peer.p95, peer.sandbox, peer.against_tapline
            );
        }
        for Missing { peer, reason } in &self.missing {
            let reason = reason.replace('|', "\\|").replace('\n', " ");
            let _ = writeln!(text, "| {peer} | missing | | | | | | | {reason} |");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::measure::{Arm, take_turns};

    async fn peers() -> Peers {
        // Each arm takes the same time in each round: 2 µs and 6 µs, a third of it for the sandbox.
        let arm =
            |name: &'static str, time: f64| Arm::new(name, [WHOLE, SANDBOX], async move || Ok([time, time / 3.0]));
        let rounds = take_turns(&[arm(OURS, 2000.0), arm("other", 6000.0)], 3, 2).await.unwrap();
        let peer = |id: &str| Peer::new(About::new(id, id, id == OURS, "typed"), &rounds).unwrap();
        Peers {
            schema: SCHEMA,
            scale: "smoke".to_owned(),
            machine: Machine::here(false),
            commit: "abc".to_owned(),
            item_bytes: 2400,
            peers: vec![peer("other"), peer(OURS)],
            missing: vec![Missing { peer: "absent".to_owned(), reason: "a | b".to_owned() }],
        }
    }

    #[tokio::test]
    async fn a_peer_is_compared_with_ours() {
        let peers = peers().await;
        let other = &peers.peers[0];
        assert_eq!((other.whole, other.interval, other.p95), (6.0, [6.0, 6.0], 6.0));
        assert_eq!((other.sandbox, other.against_tapline), (2.0, 3.0));
        let text = peers.markdown();
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert!(lines[0].starts_with("| tapline-full | tapline-full | yes | 2.00 | 2.00 to 2.00 |"), "{text}");
        assert!(lines[1].starts_with("| other | other | no | 6.00 |"), "{text}");
        assert!(lines[2].starts_with("| absent | missing |") && lines[2].ends_with("a \\| b |"), "{text}");
    }

    #[tokio::test]
    async fn figures_of_another_machine_are_not_put_beside_each_other() {
        let peers = peers().await;
        let here = Machine::here(false);
        peers.fits(&Machine { load: 9.0, ..here.clone() }).unwrap();
        for other in [
            Machine { cpu: "slower".to_owned(), ..here.clone() },
            Machine { wasmtime: "1.0.0".to_owned(), ..here.clone() },
            Machine { pagemap_scan: true, ..here.clone() },
        ] {
            assert!(peers.fits(&other).unwrap_err().to_string().contains("`cargo xtask peers` again"));
        }
    }

    #[tokio::test]
    async fn an_arm_that_was_not_measured_is_an_error() {
        let calls = Cell::new(0);
        let arm = Arm::new("alone", [WHOLE, SANDBOX], async || {
            calls.set(calls.get() + 1);
            Ok([1.0, 1.0])
        });
        let rounds = take_turns(&[arm], 1, 1).await.unwrap();
        assert_eq!(calls.get(), 2);
        let error = Peer::new(About::new("alone", "x", true, "x"), &rounds).unwrap_err();
        assert_eq!(error.to_string(), "`alone` or `tapline-full` was not measured");
    }

    #[tokio::test]
    async fn the_file_survives_and_a_bad_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peers/report.json");
        let peers = peers().await;
        peers.write(&path).unwrap();
        assert_eq!(Peers::read(&path).unwrap(), peers);
        let error = |text: &str| {
            fs::write(&path, text).unwrap();
            format!("{:#}", Peers::read(&path).unwrap_err())
        };
        assert!(error("{\"schema\":1").contains("is damaged: delete it"));
        assert!(error("{\"schema\":1}").contains("missing field"));
        assert!(error("{\"schema\":2}").contains("has another form than 1"));
        fs::remove_file(&path).unwrap();
        assert!(Peers::read(&path).unwrap_err().to_string().contains("`cargo xtask peers` writes it"));
    }
}
