//! The function of `tapline:host/database`.

use std::time::Instant;

use tapline_host_core::{CallState, Capability, GrantValue, Granted, TRACE_TARGET, cut, metrics::HostCallMetrics};
use tracing::{Instrument, Span, field::Empty};
use wasmtime::{StoreContextMut, component::Linker};

use crate::{
    config::{GRANT, GRANT_EXAMPLE, check_grant},
    database::Database,
    error::QueryError,
    share::{Share, Turn},
    value::Value,
};

const INTERFACE: &str = "tapline:host/database@0.1.0";

/// How much of a statement a span shows, in bytes.
const SPAN_SQL: usize = 256;

impl Capability for Database {
    fn grant_name(&self) -> Option<&'static str> {
        Some(GRANT)
    }

    fn grant_example(&self) -> &'static str {
        GRANT_EXAMPLE
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &[INTERFACE]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        let database = self.clone();
        linker.instance(INTERFACE)?.func_wrap_async(
            "query",
            move |store: StoreContextMut<'_, CallState>, (sql, parameters): (String, Vec<Value>)| {
                let database = database.clone();
                let state = store.data();
                state.count_host_call();
                let span = state.host_call_span("database.query");
                let deadline = state.deadline();
                // Debug formatting: the text is a guest's, and may hold what a terminal obeys.
                let sql_span = match span.is_disabled() {
                    true => Span::none(),
                    false => tracing::debug_span!(
                        target: TRACE_TARGET, parent: &span, "sql",
                        plugin = %state.plugin(), tap = %state.tap(), sql = ?cut(&sql, SPAN_SQL), rows = Empty,
                    ),
                };
                let share = state.grant::<Share>();
                let query = async move {
                    let _timer = database.metrics().map(Timer::start);
                    let patience = database.patience().min(deadline);
                    let turn = match share {
                        Some(share) => share.take(patience).await,
                        // It is not granted, and so not linked.
                        None => Ok(Turn { patience, part: None }),
                    };
                    let over_share = turn.is_err();
                    let result = match turn {
                        Ok(turn) => {
                            let answer = database.run_in_turn(&sql, parameters, turn, deadline);
                            answer.instrument(sql_span.clone()).await
                        }
                        Err(error) => Err(error),
                    };
                    if over_share || result.as_ref().is_err_and(QueryError::is_refusal) {
                        store.data().host_call_refused(GRANT);
                    }
                    match &result {
                        Ok(found) => {
                            if let Some(metrics) = database.metrics() {
                                metrics.answered(found.bytes());
                            }
                            sql_span.record("rows", found.rows.len());
                            tracing::debug!(target: "tapline::database", rows = found.rows.len(), "answered");
                        }
                        Err(error) => tracing::debug!(target: "tapline::database", ?error, "failed"),
                    }
                    Ok((result,))
                };
                Box::new(query.instrument(span))
            },
        )
    }

    fn grant(&self, plugin: &str, value: &GrantValue) -> Result<Granted, String> {
        check_grant(value)?;
        Ok(self.share(plugin))
    }
}

/// Records a query however it ends: one whose call ran out of time is dropped.
struct Timer {
    metrics: HostCallMetrics,
    started: Instant,
}

impl Timer {
    fn start(metrics: &HostCallMetrics) -> Self {
        Self { metrics: metrics.clone(), started: Instant::now() }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.metrics.record(self.started.elapsed());
    }
}
