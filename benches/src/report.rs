//! What a run found, as a file for programs.

use std::{fs, io, path::Path};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{
    machine::Machine,
    spec::{self, Kind},
    stats::Estimate,
};

/// The form of the file. Grows when a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `full`, `quick` or `smoke`.
    pub scale: String,
    /// The day of the run, `2026-11-21`.
    pub date: String,
    /// Where it was measured.
    pub machine: Machine,
    /// The source that was measured; a `+` at the end: with changes.
    pub commit: String,
    /// What decides.
    pub gates: Vec<Row>,
    /// What does not.
    pub figures: Vec<Row>,
}

/// One number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Stable; see [`spec`].
    pub id: String,
    /// Where it is asked for.
    pub requirement: String,
    /// The median.
    pub measured: f64,
    /// Its unit.
    pub unit: String,
    /// What it should be, as `≤ 10`.
    pub target: Option<String>,
    /// Whether it is.
    pub met: Option<bool>,
    /// The 95 % interval of the median, for what was timed.
    pub interval: Option<[f64; 2]>,
}

impl Row {
    /// A row for an id of [`spec`].
    ///
    /// # Errors
    ///
    /// There is no such id.
    pub fn new(id: impl Into<String>, measured: Estimate) -> Result<Self> {
        let id = id.into();
        let spec = spec::find(&id).with_context(|| format!("the table of figures has no `{id}`"))?;
        let Estimate { value, low, high } = measured;
        if !value.is_finite() {
            bail!("`{id}` was not measured: {value}");
        }
        Ok(Self {
            requirement: spec.requirement.to_owned(),
            measured: value,
            unit: spec.unit.to_owned(),
            target: spec.target.text(),
            met: spec.target.met(value),
            interval: (low < high).then_some([low, high]),
            id,
        })
    }

    fn kind(&self) -> Kind {
        spec::find(&self.id).map_or(Kind::Figure, |spec| spec.kind)
    }
}

impl Report {
    /// A report of `rows`, in their order.
    #[must_use]
    pub fn new(scale: &str, machine: Machine, commit: String, rows: Vec<Row>) -> Self {
        let (gates, figures) = rows.into_iter().partition(|row| row.kind() == Kind::Gate);
        let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
        Self { schema: SCHEMA, scale: scale.to_owned(), date, machine, commit, gates, figures }
    }

    /// Whether every gate is passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.gates.iter().all(|row| row.met == Some(true))
    }

    /// Gates and figures.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.gates.iter().chain(&self.figures)
    }

    /// The number of an id.
    #[must_use]
    pub fn value(&self, id: &str) -> Option<f64> {
        self.rows().find(|row| row.id == id).map(|row| row.measured)
    }

    /// Reads a report.
    ///
    /// # Errors
    ///
    /// There is no such file, it is no report, or one of another version.
    pub fn read(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("there is no report {}: run `cargo xtask gates` first", path.display())
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let again = || format!("{} is damaged: delete it and run `cargo xtask gates` again", path.display());
        let value: serde_json::Value = serde_json::from_str(&text).with_context(again)?;
        match value["schema"].as_u64() {
            Some(schema) if schema == u64::from(SCHEMA) => {}
            Some(schema) => bail!(
                "{} has the form {schema}, this program reads {SCHEMA}: run `cargo xtask gates` again",
                path.display()
            ),
            None => bail!("{} is no report of gates: it has no `schema`", path.display()),
        }
        serde_json::from_value(value).with_context(again)
    }

    /// Writes the report, whole or not at all.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("a report is JSON")?;
        text.push('\n');
        write_whole(path, &text)
    }
}

/// Writes a file under another name first, so that nobody ever sees half of it.
///
/// # Errors
///
/// The directory cannot be made, or the file cannot be written.
pub fn write_whole(path: &Path, text: &str) -> Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut file = tempfile::Builder::new()
        .prefix(".unfinished-")
        .permissions(<fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644))
        .tempfile_in(directory)
        .with_context(|| format!("cannot write to {}", directory.display()))?;
    io::Write::write_all(&mut file, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine::here(false)
    }

    fn report(rows: Vec<Row>) -> Report {
        Report::new("smoke", machine(), "abc".to_owned(), rows)
    }

    fn row(id: &str, value: f64) -> Row {
        Row::new(id, Estimate { value, low: value - 1.0, high: value + 1.0 }).unwrap()
    }

    #[test]
    fn gates_decide_and_figures_do_not() {
        let passing = report(vec![row("gate1.lazy-over-json.2k4", 5.5), row("gate2.batch", 100.0)]);
        assert!(passing.passed());
        assert_eq!((passing.gates.len(), passing.figures.len()), (1, 1));
        assert_eq!((passing.gates[0].met, passing.figures[0].met), (Some(true), Some(false)));
        let failing = report(vec![row("gate1.lazy-over-json.2k4", 4.9), row("gate2.p95", 1.0)]);
        assert!(!failing.passed());
        let deadlock = report(vec![row("gate3.unanswered", 1.0)]);
        assert!(!deadlock.passed());
    }

    #[test]
    fn what_was_not_measured_is_no_row() {
        assert!(Row::new("gate2.p95", Estimate::exact(f64::NAN)).is_err());
        assert!(Row::new("gate2.p96", Estimate::exact(1.0)).unwrap_err().to_string().contains("`gate2.p96`"));
        assert_eq!(Row::new("gate2.p95", Estimate::exact(1.0)).unwrap().interval, None);
    }

    #[test]
    fn a_report_survives_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gates/report.json");
        let report = report(vec![row("gate2.p95", 1.5), row("gate1.lazy.2k4.own", 2.25)]);
        report.write(&path).unwrap();
        assert_eq!(Report::read(&path).unwrap(), report);
        let text = fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let gate = &value["gates"][0];
        assert_eq!(
            (gate["id"].as_str(), gate["measured"].as_f64(), gate["unit"].as_str(), gate["target"].as_str()),
            (Some("gate2.p95"), Some(1.5), Some("ms"), Some("≤ 10"))
        );
        assert_eq!((gate["requirement"].as_str(), gate["met"].as_bool()), (Some("R35"), Some(true)));
        assert_eq!(value["machine"]["cores"].as_u64(), Some(report.machine.cores as u64));
        assert_eq!(value["commit"], "abc");
        let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "no unfinished file stays: {left:?}");
    }

    #[test]
    fn a_report_that_is_none_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        let error = |text: &str| {
            fs::write(&path, text).unwrap();
            format!("{:#}", Report::read(&path).unwrap_err())
        };
        assert!(error("{\"schema\":1,\"gat").contains("is damaged: delete it"));
        assert!(error("{\"schema\":1}").contains("missing field"));
        assert!(error("{\"schema\":99}").contains("has the form 99, this program reads 1"));
        assert!(error("[]").contains("is no report of gates"));
        fs::remove_file(&path).unwrap();
        assert!(Report::read(&path).unwrap_err().to_string().contains("run `cargo xtask gates` first"));
    }

    #[test]
    fn a_file_that_cannot_be_replaced_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let taken = directory.path().join("report.json");
        fs::create_dir(&taken).unwrap();
        assert!(report(Vec::new()).write(&taken).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
