//! `tapline serve` as a process: from its start until it listens, with 25 plugins that were compiled before.
//!
//! The process is this program again, which then does what `tapline` does: see `main` of `gates`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    Run,
    start::{PLUGINS, compilations_in, plugins},
};
use crate::{measure::nanoseconds, stats::Estimate};

/// The line of the log with the times of the stages.
const READY: &str = "ready";

/// A running server. Killed when it is dropped.
struct Serving {
    child: Child,
    address: String,
    /// Its log, as lines of JSON.
    log: BufReader<std::process::ChildStderr>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn run(run: &mut Run) -> Result<()> {
    run.say("tapline serve with 25 plugins");
    let directory = tempfile::tempdir()?;
    configure(directory.path())?;
    let (mut times, mut stages, mut compiled) = (Vec::new(), BTreeMap::<String, Vec<f64>>::new(), 0);
    for round in 0..=run.scale.pick(50, 20, 1) {
        let start = Instant::now();
        let mut serving = serve(directory.path())?;
        let time = nanoseconds(start);
        let inside = serving.stages()?;
        let text = serving.metrics_when_ready()?;
        // The first one compiles.
        if round == 0 {
            ensure!(compilations_in(&text)? == u64::from(PLUGINS), "the first start has to compile:\n{text}");
            continue;
        }
        times.push(time);
        compiled += compilations_in(&text)?;
        let known: f64 = inside.values().sum();
        stages.entry("process".to_owned()).or_default().push(time - known);
        for (stage, time) in inside {
            stages.entry(stage).or_default().push(time);
        }
    }
    run.millis("p8.serve", &times)?;
    run.add("p8.serve.compilations", Estimate::exact(compiled as f64))?;
    for (stage, times) in stages {
        run.millis(format!("p8.serve.{stage}"), &times)?;
    }
    Ok(())
}

fn configure(directory: &Path) -> Result<()> {
    let mut text = "[server]\nlisten = \"127.0.0.1:0\"\n[cache]\ndirectory = \"cache\"\n".to_owned();
    for (number, bytes) in plugins()?.iter().enumerate() {
        fs::write(directory.join(format!("{number}.wasm")), bytes)?;
        write!(text, "[plugins.plugin-{number}]\npath = \"{number}.wasm\"\n")?;
    }
    Ok(fs::write(directory.join("tapline.toml"), text)?)
}

/// Returns when the server says that it listens.
fn serve(directory: &Path) -> Result<Serving> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", "--log-format", "json"]).env_clear().current_dir(directory);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("its output is piped")?;
    let log = BufReader::new(child.stderr.take().context("its log is piped")?);
    let mut serving = Serving { child, address: String::new(), log };
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let Some(address) = line.trim_end().strip_prefix("listening on http://") else {
        let mut text = String::new();
        serving.log.read_to_string(&mut text)?;
        anyhow::bail!("it does not serve: {line}{text}");
    };
    serving.address = address.to_owned();
    Ok(serving)
}

impl Serving {
    /// The time of each stage until it listened, in nanoseconds, from its log.
    fn stages(&mut self) -> Result<BTreeMap<String, f64>> {
        let mut line = String::new();
        while self.log.read_line(&mut line)? > 0 {
            let logged: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            let fields = &logged["fields"];
            if fields["message"] == READY {
                let stages = fields.as_object().into_iter().flatten();
                let stages = stages
                    .filter_map(|(name, value)| Some((name.strip_suffix("_us")?.to_owned(), value.as_f64()? * 1000.0)));
                return Ok(stages.collect());
            }
            line.clear();
        }
        anyhow::bail!("its log does not say that it is ready")
    }

    /// Its metrics, when the code of all plugins is there.
    fn metrics_when_ready(&self) -> Result<String> {
        loop {
            let mut connection = TcpStream::connect(&self.address)?;
            connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            connection.read_to_string(&mut text)?;
            let loads = text.lines().filter(|line| line.starts_with("tapline_cache_loads_total{"));
            let loads = loads.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
            if loads.sum::<u64>() >= u64::from(PLUGINS) {
                return Ok(text);
            }
            std::thread::yield_now();
        }
    }
}
