//! The status document: what is loaded, and what it has done.

use serde_json::{Value, json};

use crate::server::Server;

pub(crate) fn document(server: &Server) -> Value {
    let host = server.host();
    let snapshots = host.metrics().tap_snapshots();
    let breakers = host.breakers();
    let plugins: Vec<Value> = host
        .plugins()
        .iter()
        .map(|plugin| {
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
                        "breaker": breaker.map(|breaker| json!({
                            "state": breaker.state.as_str(),
                            "openings": breaker.openings,
                            "retry_in_seconds": breaker.retry_in.as_secs_f64(),
                        })),
                    })
                })
                .collect();
            json!({ "name": name, "enabled": host.is_enabled(plugin.name()), "grants": plugin.grant_names(), "taps": taps })
        })
        .collect();
    let (in_use, limit) = host.slots();
    let memory = host.memory().usage();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": server.uptime().as_secs_f64(),
        "plugins": plugins,
        "pool": { "in_use": in_use, "limit": limit, "metrics": host.pool_metrics() },
        "memory": {
            "current_pages": memory.current_pages,
            "maximum_pages": memory.maximum_pages,
            "peak_pages": memory.peak_pages,
            "refused_growths": memory.refused_growths,
        },
    })
}
