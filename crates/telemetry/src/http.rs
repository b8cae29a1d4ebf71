//! How the exporter reaches a collector.

use std::{
    error::Error,
    fmt::Display,
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use ureq::Agent;

/// Longest answer of a collector that is read, in bytes. They are empty, or say in a few words what was wrong.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// The HTTP client of the program, which says once when a collector stops to answer, and once when it answers again.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    endpoint: String,
    /// Whether that it does not answer has been said.
    said: AtomicBool,
}

impl Client {
    /// `timeout` is for one request, with everything that belongs to it.
    pub(crate) fn new(endpoint: &str, timeout: Duration) -> Self {
        // What the collector answers is for the exporter to judge.
        let config = Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false);
        // The address is the operator's word: nothing in the environment and no answer sends it elsewhere.
        let config = config.proxy(None).max_redirects(0);
        Self { agent: config.build().new_agent(), endpoint: endpoint.to_owned(), said: AtomicBool::new(false) }
    }

    /// Blocks: it runs on the exporter's own thread.
    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, mut body) = self.agent.run(request.map(|body| body.to_vec()))?.into_parts();
        let body = body.with_config().limit(MAX_ANSWER_BYTES).read_to_vec()?;
        Ok(Response::from_parts(parts, body.into()))
    }

    fn failed(&self, error: &dyn Display) {
        if !self.said.swap(true, Relaxed) {
            tracing::warn!(
                endpoint = self.endpoint,
                %error,
                "the collector of traces does not take them: what it does not take is dropped, and not said again"
            );
        }
    }

    fn succeeded(&self) {
        if self.said.swap(false, Relaxed) {
            tracing::info!(endpoint = self.endpoint, "the collector of traces takes them again");
        }
    }
}

/// Causes belong to the message: this is the only line about them.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    let mut messages: Vec<String> = causes.map(ToString::to_string).collect();
    messages.dedup();
    messages.join(": ")
}

impl HttpClient for Client {
    fn send_bytes<'client, 'sent>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'sent>>
    where
        'client: 'sent,
        Self: 'sent,
    {
        Box::pin(async move {
            let answer = self.send(request);
            match &answer {
                Ok(answer) if answer.status().is_success() => self.succeeded(),
                Ok(answer) => self.failed(&format_args!("it answers {}", answer.status())),
                Err(error) => self.failed(&with_causes(&**error)),
            }
            answer
        })
    }
}
