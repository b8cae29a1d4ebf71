//! What an earlier run has measured, as a file.

use std::{collections::BTreeMap, fs, io, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{Scope, kind};
use crate::{machine::Machine, report::write_whole};

/// The form of the file. Grows when a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Where it was measured.
    pub place: Place,
    /// The values by their ids.
    pub values: BTreeMap<String, f64>,
}

/// What values may depend on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The instruction set.
    pub arch: String,
    /// The version of wasmtime.
    pub wasmtime: String,
    /// Whether dirty pages were found by asking the kernel.
    pub pagemap_scan: bool,
    /// The processor's name.
    pub cpu: String,
    /// Processors that the run could use.
    pub cores: usize,
}

impl Place {
    /// Here.
    #[must_use]
    pub fn here(pagemap_scan: bool) -> Self {
        let Machine { cpu, cores, wasmtime, .. } = Machine::here(pagemap_scan);
        Self { arch: std::env::consts::ARCH.to_owned(), wasmtime, pagemap_scan, cpu, cores }
    }

    /// Why values of this scope cannot be compared between here and there. `None`: they can.
    #[must_use]
    pub fn apart(&self, there: &Self, scope: Scope) -> Option<&'static str> {
        if scope == Scope::Machine && (&self.cpu, self.cores) != (&there.cpu, there.cores) {
            return Some("the baseline is of another machine");
        }
        if scope != Scope::Everywhere && self.pagemap_scan != there.pagemap_scan {
            return Some("pagemap scanning is on in one of the two only");
        }
        None
    }
}

impl Baseline {
    /// Values that were measured here.
    #[must_use]
    pub fn new(place: Place, values: BTreeMap<String, f64>) -> Self {
        Self { schema: SCHEMA, place, values }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// There is no such file, it is no baseline, or one of another form.
    pub fn read(path: &Path) -> Result<Self> {
        let write = format!("`cargo xtask guard --write {}`", path.display());
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("there is no baseline {}: {write} makes one", path.display())
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let damaged = || format!("{} is no baseline: restore it, or make a new one with {write}", path.display());
        let value: serde_json::Value = serde_json::from_str(&text).with_context(damaged)?;
        if let Some(schema) = value["schema"].as_u64() {
            ensure!(
                schema == u64::from(SCHEMA),
                "{} has the form {schema}, this program reads {SCHEMA}: make a new one with {write}",
                path.display()
            );
        }
        let baseline: Self = serde_json::from_value(value).with_context(damaged)?;
        if let Some((id, _)) = baseline.values.iter().find(|(id, value)| kind(id).is_none() || !value.is_finite()) {
            bail!("{}: `{id}` is nothing that the guard measures: make a new one with {write}", path.display());
        }
        Ok(baseline)
    }

    /// Refuses a baseline that nothing measured here can be compared with.
    ///
    /// # Errors
    ///
    /// It is of another architecture or of another version of wasmtime.
    pub fn fits(&self, here: &Place, path: &Path) -> Result<()> {
        let there = &self.place;
        for (what, there, here) in
            [("architecture", &there.arch, &here.arch), ("version of wasmtime", &there.wasmtime, &here.wasmtime)]
        {
            let path = path.display();
            ensure!(
                there == here,
                "{path} is of another {what}: {there}, and here is {here}; make a new one with \
                 `cargo xtask guard --write {path}`"
            );
        }
        Ok(())
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("a baseline is JSON")?;
        text.push('\n');
        write_whole(path, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline() -> Baseline {
        let values = [("faults.teaser", 0.0), ("artifact.teaser", 20_000.0)].map(|(id, value)| (id.to_owned(), value));
        Baseline::new(Place::here(true), values.into())
    }

    #[test]
    fn a_baseline_survives_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/baseline.json");
        baseline().write(&path).unwrap();
        assert_eq!(Baseline::read(&path).unwrap(), baseline());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no unfinished file stays");
    }

    #[test]
    fn a_file_that_is_none_is_refused_with_the_way_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("baseline.json");
        let error = |text: &str| {
            fs::write(&path, text).unwrap();
            let error = format!("{:#}", Baseline::read(&path).unwrap_err());
            assert!(error.contains("cargo xtask guard --write"), "{error}");
            error
        };
        assert!(error("{\"schema\":1,").contains("is no baseline"));
        assert!(error("[]").contains("is no baseline"));
        assert!(error("{\"schema\":1}").contains("missing field"));
        assert!(error("{\"schema\":7}").contains("has the form 7, this program reads 1"));
        let mut strange = baseline();
        strange.values.insert("wishes.teaser".to_owned(), 1.0);
        assert!(error(&serde_json::to_string(&strange).unwrap()).contains("`wishes.teaser` is nothing"));
        fs::remove_file(&path).unwrap();
        assert!(format!("{:#}", Baseline::read(&path).unwrap_err()).contains("there is no baseline"));
    }

    #[test]
    fn a_baseline_of_another_machine_or_version_is_refused() {
        let here = Place::here(true);
        let path = Path::new("baseline.json");
        baseline().fits(&here, path).unwrap();
        let mut other = baseline();
        other.place.arch = "z80".to_owned();
        let error = other.fits(&here, path).unwrap_err().to_string();
        assert!(error.contains("another architecture: z80") && error.contains("--write baseline.json"), "{error}");
        let mut other = baseline();
        other.place.wasmtime = "1.0.0".to_owned();
        assert!(other.fits(&here, path).unwrap_err().to_string().contains("another version of wasmtime: 1.0.0"));
    }

    #[test]
    fn what_depends_on_the_machine_is_compared_on_it_alone() {
        let here = Place::here(true);
        let slower = Place { cpu: "slower".to_owned(), ..here.clone() };
        let older = Place { pagemap_scan: false, ..here.clone() };
        let apart = |there: &Place| {
            [Scope::Everywhere, Scope::Kernel, Scope::Machine].map(|scope| here.apart(there, scope).is_some())
        };
        assert_eq!(apart(&here), [false, false, false]);
        assert_eq!(apart(&slower), [false, false, true]);
        assert_eq!(apart(&older), [false, true, true]);
    }
}
