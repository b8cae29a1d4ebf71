//! `tapline trace`

mod waterfall;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;
use tapline_host_core::{cut, escape};
use tapline_telemetry::{Summary, Trace};

use self::waterfall::{Look, duration};
use crate::{arguments::Global, config::Config, report::Hint, table};

/// Where a host serves its traces.
const PATH: &str = "/_tapline/trace";
/// How long a host may take to answer. It does so from memory.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer, in bytes: a hundred requests with one identifier, of a thousand spans each.
const MAX_ANSWER: u64 = 64 << 20;
/// Longest text of the host's in one place, in bytes.
const MAX_TEXT: usize = 200;

pub(crate) fn run(global: &Global, id: Option<&str>, url: Option<&str>, as_json: bool) -> Result<ExitCode> {
    let config = Config::read(global, std::env::vars_os())?;
    let base = url.map_or_else(|| of_this_machine(&config.listen), |url| url.trim_end_matches('/').to_owned());
    if let Some(id) = id
        && !id.bytes().all(|digit| digit.is_ascii_hexdigit())
    {
        let hint = "it is in the answer's X-Request-Id and in the log, 32 hexadecimal digits; without one, the last requests are listed";
        let message = format!("`{}` is not the identifier of a request", escape(cut(id, MAX_TEXT)));
        return Err(Hint { message, hint: hint.to_owned() }.into());
    }
    let address = id.map_or_else(|| format!("{base}{PATH}"), |id| format!("{base}{PATH}/{}", id.to_lowercase()));
    let token = config.operator_token.map(|token| token.into_text());
    let document = fetch(&base, &address, token.as_deref())?;
    let text = match (as_json, id) {
        (true, _) => document + "\n",
        (false, Some(_)) => {
            let look = if io::stdout().is_terminal() { Look::Terminal } else { Look::Plain };
            let traces: Vec<String> =
                parse::<Vec<Trace>>(&document)?.iter().map(|trace| waterfall::render(trace, look)).collect();
            traces.join("\n")
        }
        (false, None) => list(&parse::<Vec<Summary>>(&document)?),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The address at which a program of this machine reaches what listens there.
fn of_this_machine(listen: &str) -> String {
    let (host, port) = listen.rsplit_once(':').unwrap_or((listen, "80"));
    let host = match host {
        "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        other => other,
    };
    format!("http://{host}:{port}")
}

fn fetch(base: &str, address: &str, token: Option<&str>) -> Result<String> {
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        // A token is for this host, and for nobody whom the environment or an answer names.
        .max_redirects(0)
        .proxy(None)
        .build()
        .new_agent();
    let request = agent.get(address);
    let request = match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    };
    let mut answer = request.call().with_context(|| Hint {
        message: format!("no host answers at {base}"),
        hint: "start one with `tapline serve`, or say where one serves with --url http://ADDRESS".to_owned(),
    })?;
    let hint = match answer.status().as_u16() {
        200 => {
            let text = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_string();
            return text.context("the host's answer cannot be read");
        }
        401 => "give the token of that host's operators, in TAPLINE_OPERATOR_TOKEN or `server.operator_token`",
        404 => {
            "a host keeps its last requests that called plugins (`telemetry.keep_traces`), and shows them to operators: without a \
             token to whoever asks from the same machine, directly, where it listens on a loopback address"
        }
        _ => "is that a tapline host?",
    };
    let status = answer.status();
    Err(Hint { message: format!("{base} answers {status}"), hint: hint.to_owned() }.into())
}

fn parse<T: DeserializeOwned>(document: &str) -> Result<T> {
    serde_json::from_str(document).context("the answer is none of a tapline host of this version")
}

/// One line for each request.
fn list(requests: &[Summary]) -> String {
    if requests.is_empty() {
        return "no request has called a plugin yet\n".to_owned();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let rows: Vec<[String; 6]> = requests
        .iter()
        .map(|request| {
            let shown = |text: &str| escape(cut(text, MAX_TEXT)).into_owned();
            let ago = now.saturating_sub(Duration::from_micros(request.started_unix_us));
            let method = request.label.split(' ').next().unwrap_or_default();
            [
                shown(&request.trace_id),
                format!("{} s ago", ago.as_secs()),
                shown(&format!("{method} {}", request.path)),
                shown(&request.status),
                duration(request.duration_ns),
                request.spans.to_string(),
            ]
        })
        .collect();
    table::render(["request", "when", "what", "status", "took", "spans"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_reached_here() {
        for (listen, expected) in [
            ("127.0.0.1:8380", "http://127.0.0.1:8380"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:8380", "http://[::1]:8380"),
            ("example.org:1", "http://example.org:1"),
        ] {
            assert_eq!(of_this_machine(listen), expected);
        }
    }
}
