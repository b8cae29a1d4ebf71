//! The status document: what is loaded, and what it has done. `docs/status.md` says what each key means.

use std::time::SystemTime;

use serde_json::{Value, json};
use tapline_host_core::{
    cache::DiskState,
    metrics::{StageSnapshot, process},
};

use crate::{advice::advice, health::subject, server::Server};

pub(crate) fn document(server: &Server) -> Value {
    let host = server.host();
    let memory = host.memory().usage();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "service": host.config().deployment.service,
        "surface": host.config().deployment.surface.as_str(),
        "uptime_seconds": server.uptime().as_secs_f64(),
        "plugins": plugins(server),
        "refused_changes": refused_changes(server),
        "runtime": runtime(server),
        "stages": stages(server),
        "performance": performance(server),
        "pool": pool(server),
        "memory": {
            "current_pages": memory.current_pages,
            "maximum_pages": memory.maximum_pages,
            "peak_pages": memory.peak_pages,
            "refused_growths": memory.refused_growths,
            "resident_bytes": process::resident_bytes(),
            "limit_bytes": process::memory_limit(),
        },
        "cache": cache(server),
        "advice": advice(host, server.history().concurrency()),
    })
}

fn plugins(server: &Server) -> Vec<Value> {
    let host = server.host();
    let snapshots = host.metrics().tap_snapshots();
    let breakers = host.breakers();
    let plugin = |plugin: &std::sync::Arc<tapline_host_core::Plugin>| {
        let name = plugin.name().as_str();
        let taps: Vec<Value> = snapshots
            .iter()
            .filter(|snapshot| snapshot.plugin == name)
            .map(|snapshot| {
                let breaker = breakers
                    .iter()
                    .find(|breaker| breaker.plugin.as_str() == name && breaker.tap.as_str() == snapshot.tap);
                json!({
                    "tap": snapshot.tap,
                    "invocations": snapshot.invocations,
                    "failures": snapshot.failures,
                    "total_seconds": snapshot.total_seconds,
                    "cpu_seconds": snapshot.cpu_seconds,
                    "p50_seconds": snapshot.p50_seconds,
                    "p99_seconds": snapshot.p99_seconds,
                    "breaker": breaker.map(|breaker| json!({
                        "state": breaker.state.as_str(),
                        "openings": breaker.openings,
                        "retry_in_seconds": breaker.retry_in.as_secs_f64(),
                    })),
                })
            })
            .collect();
        // What went wrong may name paths: that is for operators.
        let failure = plugin.code_failure();
        let code = match (&failure, plugin.has_code()) {
            (_, true) => "ready",
            (Some(_), _) => "failed",
            (None, _) => "absent",
        };
        let version = plugin.manifest().taps.first().map(|record| record.version.as_str());
        json!({
            "name": name,
            "enabled": host.is_enabled(plugin.name()),
            "version": version,
            "file": plugin.key().visible_name(),
            "grants": plugin.grant_names(),
            "code": code,
            "code_failed_since": failure.as_ref().and_then(|failure| moment(failure.since)),
            "code_retry_in_seconds": failure.map_or(0.0, |failure| failure.retry_in.as_secs_f64()),
            "taps": taps,
        })
    };
    host.plugins().iter().map(plugin).collect()
}

/// What is wrong may name paths: that is for operators.
fn refused_changes(server: &Server) -> Vec<Value> {
    let changes = server.host().refused_changes();
    changes.iter().map(|change| json!({ "of": subject(change), "since": moment(change.since) })).collect()
}

/// `null` where nothing is recorded.
fn runtime(server: &Server) -> Option<Value> {
    let runtime = server.host().runtime_metrics()?;
    Some(json!({
        "cold_starts": runtime.cold_starts,
        "warm_starts": runtime.warm_starts,
        "average_cold_start_ms": runtime.average_cold_start_ms,
        "average_warm_start_ms": runtime.average_warm_start_ms,
        "p50_cold_start_ms": runtime.p50_cold_start_ms,
        "p95_cold_start_ms": runtime.p95_cold_start_ms,
        "p99_cold_start_ms": runtime.p99_cold_start_ms,
        "active_vms": runtime.active_vms,
        "total_executions": runtime.total_executions,
        "failed_executions": runtime.failed_executions,
        "cache_hit_rate": runtime.cache_hit_rate,
        "memory_bytes": runtime.memory_bytes,
        "started": moment(runtime.started),
    }))
}

/// Empty where nothing is recorded.
fn stages(server: &Server) -> Vec<Value> {
    let stage = |it: &StageSnapshot| {
        json!({
            "stage": it.stage.as_str(),
            "count": it.count,
            "average_ms": it.average_ms,
            "p50_ms": it.p50_ms,
            "p95_ms": it.p95_ms,
            "p99_ms": it.p99_ms,
        })
    };
    server.host().metrics().stages().iter().map(stage).collect()
}

/// `null` where nothing is recorded.
fn performance(server: &Server) -> Option<Value> {
    server.host().metrics().is_enabled().then(|| {
        let validation = server.host().validate_performance();
        json!({ "overall_met": validation.overall_met, "targets": validation.targets })
    })
}

fn moment(time: SystemTime) -> Option<String> {
    jiff::Timestamp::try_from(time).map(|time| time.to_string()).ok()
}

fn pool(server: &Server) -> Value {
    let host = server.host();
    let (in_use, limit) = host.slots();
    let queue = host.metrics().queue_metrics();
    json!({
        "in_use": in_use,
        "limit": limit,
        "metrics": host.pool_metrics(),
        "calls": queue.as_ref().map(|queue| queue.calls),
        "waits": queue.as_ref().map(|queue| queue.waits),
        "average_wait_of_those_ms": queue.as_ref().map(|queue| queue.average_wait_ms),
    })
}

/// Over the caches of all engines.
fn cache(server: &Server) -> Value {
    let caches = server.host().caches();
    let sum = |of: fn(&tapline_host_core::cache::Statistics) -> u64| caches.iter().map(of).sum::<u64>();
    json!({
        "entries": sum(|cache| cache.entries.len() as u64),
        "artifact_bytes": sum(|cache| cache.entries.iter().map(|entry| entry.artifact_bytes as u64).sum()),
        "memory_hits": sum(|cache| cache.memory_hits),
        "disk_hits": sum(|cache| cache.disk_hits),
        "misses": sum(|cache| cache.misses),
        "compilations": sum(|cache| cache.compilations),
        "evictions": sum(|cache| cache.evictions),
        "refused_files": sum(|cache| cache.refused_files),
        "failed_writes": sum(|cache| cache.failed_writes),
        // Where it lies, and what is wrong with it, is for operators.
        "disk": match server.host().disk_state() {
            DiskState::Ready { .. } => "ready",
            DiskState::Unusable { .. } => "unusable",
            _ => "off",
        },
    })
}
