//! A Prometheus of our own, that ends with us.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::queries::{Query, of_rule};
use super::quiet;
use crate::demo::free_address;
use crate::workspace::{list, text};

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(30);

/// A running Prometheus that reads one host every second. Killed when it is dropped.
pub(super) struct Prometheus {
    child: Child,
    address: String,
}

impl Prometheus {
    /// `deploy` has the rules, `host` is the address of the host as `http://127.0.0.1:8380`.
    pub(super) fn start(program: &Path, directory: &Path, deploy: &Path, host: &str) -> Result<Self> {
        if directory.exists() {
            fs::remove_dir_all(directory).with_context(|| format!("cannot empty {}", directory.display()))?;
        }
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let target = host.strip_prefix("http://").context("the address of the host")?;
        let config = directory.join("prometheus.yml");
        fs::write(&config, render(&deploy.join("rules.yml"), target))?;
        let address = free_address()?;
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address={address}"));
        let log = directory.join("prometheus.log");
        let child = quiet(&mut command, &log)?.spawn().context("prometheus does not start")?;
        let mut prometheus = Self { child, address: format!("http://{address}") };
        let start = Instant::now();
        while ureq::get(format!("{}/-/ready", prometheus.address)).call().is_err() {
            let ended = prometheus.child.try_wait()?.is_some();
            if ended || start.elapsed() > START {
                bail!("prometheus does not answer; {} says why", log.display());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(prometheus)
    }

    /// What each rule needs data of. Every alert must be there.
    pub(super) fn rules(&self) -> Result<Vec<Query>> {
        let answer = self.get("/api/v1/rules")?;
        let groups = list(&answer["data"]["groups"]);
        let rules: Vec<Query> =
            groups.iter().flat_map(|group| list(&group["rules"])).map(of_rule).collect::<Result<_>>()?;
        ensure!(!rules.is_empty(), "prometheus has read no rules");
        Ok(rules)
    }

    /// Whether a query gives at least one number. One that is not a number, such as 0/0, is no data.
    pub(super) fn has_data(&self, query: &Query) -> Result<bool> {
        Ok(self.ask(query)?.into_iter().any(f64::is_finite))
    }

    /// Whether a query gives anything: also a quantile of nothing, which is no number.
    pub(super) fn has_series(&self, query: &Query) -> Result<bool> {
        Ok(!self.ask(query)?.is_empty())
    }

    fn ask(&self, query: &Query) -> Result<Vec<f64>> {
        let mut answer = ureq::get(format!("{}/api/v1/query", self.address))
            .query("query", &query.expression)
            .call()
            .with_context(|| format!("prometheus refuses{query}"))?;
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
        let numbers = list(&answer["data"]["result"]).iter().map(|sample| text(&sample["value"][1]));
        Ok(numbers.filter_map(|number| number.parse().ok()).collect())
    }

    fn get(&self, path: &str) -> Result<Value> {
        let mut answer = ureq::get(format!("{}{path}", self.address)).call()?;
        Ok(serde_json::from_str(&answer.body_mut().read_to_string()?)?)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn render(rules: &Path, target: &str) -> String {
    format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
         rule_files: ['{}']\n\
         scrape_configs:\n  - job_name: tapline\n    static_configs: [{{ targets: ['{target}'] }}]\n",
        rules.display()
    )
}
