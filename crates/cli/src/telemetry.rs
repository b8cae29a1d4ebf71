//! Where log lines and traces go.

use std::{
    io::{IsTerminal, stderr},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use tapline_host_core::metrics::Metrics;
use tapline_telemetry::{Exporter, Recorder, Traces};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{self, writer::BoxMakeWriter},
    prelude::*,
};

use crate::{
    arguments::LogFormat,
    config::{Config, ConfigError, LOG_FILTERS},
    log_lines::LogLines,
    progress,
};

/// What becomes of log lines and traces. The default: of traces nothing, and each line is written before the program goes on,
/// as it should be with a command that somebody waits for.
pub(crate) struct Telemetry {
    pub(crate) traces: Traces,
    exporter: Option<Exporter>,
    is_recording: bool,
    /// For a host that must not wait for whoever reads its log.
    lines: Option<Arc<LogLines>>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { traces: Traces::new(0), exporter: None, is_recording: false, lines: None }
    }
}

impl Telemetry {
    /// As the configuration says, for a host that serves.
    pub(crate) fn start(config: &Config) -> Result<Self> {
        let exporter = match &config.otlp_endpoint {
            Some(endpoint) => {
                Some(Exporter::start(endpoint, &config.host.deployment.service).map_err(|_| ConfigError::Variable {
                    name: "telemetry.otlp_endpoint",
                    value: endpoint.clone(),
                    expected: "http:// and the address of a collector, such as http://127.0.0.1:4318",
                })?)
            }
            None => None,
        };
        let is_recording = config.keep_traces > 0 || exporter.is_some();
        let lines =
            Some(Arc::new(LogLines::to(progress::lines()).context("cannot start the thread that writes the log")?));
        Ok(Self { traces: Traces::new(config.keep_traces), exporter, is_recording, lines })
    }

    /// Counts the lines of the log that are lost among the figures of the host.
    pub(crate) fn count_lost_lines(&self, metrics: &Metrics) {
        if let Some(lines) = &self.lines {
            metrics.share_log_lines_lost(lines.lost());
        }
    }

    /// Sends what waits to be sent, and waits for that for a moment.
    pub(crate) async fn end(&self) {
        if let Some(exporter) = self.exporter.clone() {
            // It waits for a thread, so that this is one as well. That it panicked would have been said.
            let _ = tokio::task::spawn_blocking(move || exporter.shut_down()).await;
        }
    }

    /// Logs to stderr from now on, and records traces if they are kept or sent.
    pub(crate) fn log_to_stderr(&self, filter: &str, format: LogFormat) -> Result<()> {
        let filter = EnvFilter::try_new(filter).map_err(|_| ConfigError::Variable {
            name: "log.filter",
            value: filter.to_owned(),
            expected: LOG_FILTERS,
        })?;
        let writer = match &self.lines {
            Some(lines) => BoxMakeWriter::new(Arc::clone(lines)),
            None => BoxMakeWriter::new(progress::lines),
        };
        let lines = fmt::layer().with_writer(writer);
        let lines = match format {
            LogFormat::Human => lines.with_ansi(stderr().is_terminal()).boxed(),
            LogFormat::Json => lines.json().boxed(),
        };
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
        let set = if self.is_recording {
            let recorder = Recorder::new(self.traces.clone());
            let recorder = match self.exporter.clone() {
                Some(exporter) => recorder.export(exporter),
                None => recorder,
            };
            subscriber.with(recorder.layer()).try_init()
        } else {
            subscriber.try_init()
        };
        set.context("cannot log")
    }
}

/// The last lines are often those that matter.
impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(lines) = &self.lines {
            lines.flush();
        }
    }
}
