//! A real collector of OpenTelemetry, and what it receives of one request.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::quiet;
use crate::demo::free_address;
use crate::demo::server::Server;
use crate::workspace::{self, Workspace};

const PACKAGE: &str = "rotel";

/// How long until the collector has a trace: batches are sent every five seconds.
const PATIENCE: Duration = Duration::from_secs(30);

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// The collector, whose log shows what it received. Killed when it is dropped.
struct Collector(Child);

impl Drop for Collector {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves the documents with a collector, asks for one page as part of a trace, and looks for that in what the collector says.
pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let agent = installed()?;
    let directory = workspace.target.join("observability/collector");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let log = directory.join("received.log");
    let endpoint = free_address()?;
    let mut command = Command::new(agent);
    command.args(["start", "--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"]);
    command.args(["--otlp-http-endpoint", &endpoint, "--otlp-grpc-endpoint", &free_address()?]);
    // What it receives it writes to its standard output.
    let received = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let _collector = Collector(
        quiet(&mut command, &directory.join("agent.log"))?.stdout(received).spawn().context("rotel does not start")?,
    );

    // With the features of the whole workspace, as everything is built.
    let artifacts = workspace::build(workspace.cargo().args(["build", "--workspace", "--bin", "tapline"]))?;
    let program = workspace::program(artifacts, "tapline")?;
    let config = configure(&directory, workspace, &endpoint)?;
    let tapline = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(&workspace.root).arg("--config").arg(&config).args(arguments);
        command
    };
    workspace::run(&mut tapline(&["import", "docs"]))?;
    let server = Server::start(&mut tapline(&["serve"]))?;
    ureq::get(format!("{}/item/limits", server.address))
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .call()
        .context("the page is not served")?;
    let expected = [TRACE, CALLER, "GET /item/{id}", "dispatch item_view", "seo.item_view", "SPAN_KIND_SERVER"];
    let start = Instant::now();
    loop {
        let text = fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
        let missing: Vec<&str> = expected.into_iter().filter(|part| !text.contains(part)).collect();
        if missing.is_empty() {
            break;
        }
        if start.elapsed() > PATIENCE {
            bail!("the collector has received nothing of {}; {} has what it says", missing.join(", "), log.display());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    server.stop()?;
    println!("observability: a collector has the trace of a page, with its caller, its dispatches and its plugins");
    Ok(())
}

/// The agent lies in the package, beside its Python.
fn installed() -> Result<PathBuf> {
    let hint = format!("`{PACKAGE}` is not installed: python3 -m pip install {PACKAGE}");
    let script = format!("import os, {PACKAGE}; print(os.path.dirname({PACKAGE}.__file__))");
    let found = Command::new("python3").args(["-c", &script]).output().with_context(|| hint.clone())?;
    ensure!(found.status.success(), "{hint}");
    let agent = Path::new(String::from_utf8(found.stdout)?.trim()).join("rotel-agent");
    ensure!(agent.is_file(), "{hint}");
    Ok(agent)
}

fn configure(directory: &Path, workspace: &Workspace, endpoint: &str) -> Result<PathBuf> {
    let database = directory.join("site.db");
    let config = directory.join("tapline.toml");
    let seo = workspace.target.join("plugins/seo.wasm");
    let text = format!(
        "[server]\nlisten = \"{}\"\n\n[database]\nurl = {:?}\n\n[telemetry]\notlp_endpoint = \"http://{endpoint}\"\n\n\
         [plugins.seo]\npath = {seo:?}\n",
        free_address()?,
        format!("sqlite:{}", database.display()),
    );
    fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
    Ok(config)
}
