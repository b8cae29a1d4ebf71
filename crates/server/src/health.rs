//! Whether the host can do its work.

use std::{error::Error, time::Duration};

use serde_json::{Value, json};
use tapline_host_core::{BreakerState, RefusedChange, metrics::process};
use tokio::time::timeout;

use crate::server::Server;

/// The part of the memory that a process may have, from which on there is too little left.
const NEARLY_ALL: f64 = 0.9;

/// How long the database may take to answer that it is there.
const DATABASE: Duration = Duration::from_secs(2);

/// How well the host can do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Health {
    /// As it should be.
    Ready,
    /// It answers, and somebody should look.
    Degraded,
    /// No page can be made: visitors belong elsewhere.
    Unready,
}

impl Health {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Unready => "unready",
        }
    }
}

/// The health of each part, and that of the whole, which is that of its worst part.
pub(crate) async fn report(server: &Server) -> (Health, Value) {
    let parts = [
        ("database", database(server).await),
        ("memory", memory(server)),
        ("plugins", plugins(server)),
        ("breakers", breakers(server)),
        ("pool", pool(server)),
    ];
    let whole = parts.iter().map(|(_, (health, _))| *health).max().unwrap_or(Health::Ready);
    let parts = parts.into_iter().map(|(name, (health, mut facts))| {
        facts["status"] = health.as_str().into();
        (name.to_owned(), facts)
    });
    (whole, json!({ "status": whole.as_str(), "checks": parts.collect::<serde_json::Map<_, _>>() }))
}

async fn database(server: &Server) -> (Health, Value) {
    match timeout(DATABASE, server.store().ping()).await {
        Ok(Ok(())) => (Health::Ready, json!({})),
        Err(_elapsed) => (Health::Unready, json!({ "reason": "the database does not answer in time" })),
        Ok(Err(error)) => {
            // What the database says may name paths: that is for the log.
            tracing::error!(error = &error as &dyn Error, "the database does not answer");
            (Health::Unready, json!({ "reason": "the database does not answer" }))
        }
    }
}

fn memory(server: &Server) -> (Health, Value) {
    let usage = server.host().memory().usage();
    let (resident, limit) = (process::resident_bytes(), process::memory_limit());
    let scarce =
        matches!((resident, limit), (Some(resident), Some(limit)) if resident as f64 > limit as f64 * NEARLY_ALL);
    let facts = json!({
        "resident_bytes": resident,
        "limit_bytes": limit,
        "current_pages": usage.current_pages,
        "peak_pages": usage.peak_pages,
        "refused_growths": usage.refused_growths,
    });
    (if scarce { Health::Degraded } else { Health::Ready }, facts)
}

fn plugins(server: &Server) -> (Health, Value) {
    let host = server.host();
    let plugins = host.plugins();
    let without_code = plugins.iter().filter(|it| host.is_enabled(it.name()) && it.code_failure().is_some());
    let without_code: Vec<&str> = without_code.map(|plugin| plugin.name().as_str()).collect();
    let refused = host.refused_changes();
    let refused: Vec<&str> = refused.iter().map(subject).collect();
    let health = if without_code.is_empty() && refused.is_empty() { Health::Ready } else { Health::Degraded };
    (health, json!({ "loaded": plugins.len(), "without_code": without_code, "refused": refused }))
}

/// What could not be changed: a plugin, or all that the configuration says.
pub(crate) fn subject(change: &RefusedChange) -> &str {
    change.plugin.as_ref().map_or("configuration", |plugin| plugin.as_str())
}

fn breakers(server: &Server) -> (Health, Value) {
    let breakers = server.host().breakers();
    let open = breakers.iter().filter(|breaker| breaker.state != BreakerState::Closed);
    let open: Vec<String> = open.map(|breaker| format!("{}.{}", breaker.plugin, breaker.tap)).collect();
    (if open.is_empty() { Health::Ready } else { Health::Degraded }, json!({ "open": open }))
}

fn pool(server: &Server) -> (Health, Value) {
    let (in_use, limit) = server.host().slots();
    let health = match server.host().is_shutting_down() {
        true => Health::Unready,
        false if in_use >= limit => Health::Degraded,
        false => Health::Ready,
    };
    (health, json!({ "in_use": in_use, "limit": limit }))
}
