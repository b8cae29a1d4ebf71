//! Traces on their way to a collector.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    InstrumentationScope, KeyValue, Value,
    trace::{SpanContext, SpanId as OtelSpanId, SpanKind, Status, TraceFlags, TraceState},
};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor},
};

use crate::{
    context::TraceContext,
    http::Client,
    trace::{Span, Trace},
};

/// Spans that wait to be sent. Further ones are dropped: as many as a busy second makes, and less than ten megabytes.
pub const MAX_QUEUED_SPANS: usize = 8192;

/// How long a collector may take for one batch.
pub const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the end of a program waits for a collector.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Spans of one request to the collector. The default of OpenTelemetry.
const BATCH: usize = 512;

/// How long a span waits for others to be sent with. Shorter than OpenTelemetry's 5 s: an operator looks at a request that has
/// just been made.
const DELAY: Duration = Duration::from_secs(1);

/// Sends traces to a collector with OTLP, as protobuf over HTTP, in batches, from a thread of its own.
///
/// A collector that does not answer, or slowly, delays nothing: when [`MAX_QUEUED_SPANS`] wait, further ones are dropped. One
/// warning says so, and one line when it answers again.
///
/// Cheap to clone; all clones are the same exporter.
#[derive(Clone, Debug)]
pub struct Exporter {
    processor: Arc<BatchSpanProcessor>,
    scope: InstrumentationScope,
}

/// Why nothing can be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The address is none that can be asked.
    #[error("`{endpoint}` is not the address of a collector, like http://127.0.0.1:4318")]
    Endpoint {
        /// As it was given.
        endpoint: String,
    },
    /// The exporter could not be made.
    #[error("traces cannot be exported")]
    Exporter(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Exporter {
    /// Begins to send to the collector at `endpoint`, which is `http://` and an address, without the path `/v1/traces`, which is
    /// added. It need not be there yet. `service` is the name of the program as the collector shows it.
    ///
    /// A program has a host name and a port for a collector on its machine or in its network, which may send on to anywhere:
    /// there is no TLS here.
    ///
    /// # Errors
    ///
    /// The address is none of this kind.
    pub fn start(endpoint: &str, service: &str) -> Result<Self, ExportError> {
        let base = endpoint.trim_end_matches('/');
        let wrong = || ExportError::Endpoint { endpoint: endpoint.to_owned() };
        let address: ureq::http::Uri = base.parse().map_err(|_| wrong())?;
        if address.scheme_str() != Some("http") || address.host().is_none_or(str::is_empty) || address.query().is_some()
        {
            return Err(wrong());
        }
        let url = format!("{base}/v1/traces");
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(&url, EXPORT_TIMEOUT))
            .with_endpoint(url)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|error| ExportError::Exporter(Box::new(error)))?;
        let resource = Resource::builder().with_service_name(service.to_owned()).build();
        opentelemetry_sdk::trace::SpanExporter::set_resource(&mut exporter, &resource);
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(MAX_QUEUED_SPANS)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let scope = InstrumentationScope::builder("tapline").with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Self { processor: Arc::new(processor), scope })
    }

    /// Puts the spans of a trace where they wait to be sent. Never blocks.
    pub(crate) fn send(&self, context: &TraceContext, began: SystemTime, trace: &Trace) {
        for (index, span) in trace.spans.iter().enumerate() {
            self.processor.on_end(self.span_data(context, began, index, span));
        }
    }

    /// Sends what waits, and nothing more after it. Blocks for at most [`SHUTDOWN_TIMEOUT`]: nobody waits for a collector that
    /// does not answer.
    pub fn shut_down(&self) {
        // Whether the collector took it has been said.
        let _ = self.processor.shutdown_with_timeout(SHUTDOWN_TIMEOUT);
    }

    fn span_data(&self, context: &TraceContext, began: SystemTime, index: usize, span: &Span) -> SpanData {
        let own = context.span().descendant(index).get();
        let parent = match span.parent {
            Some(parent) => Some(context.span().descendant(parent)),
            None => context.parent(),
        };
        let start_time = began + Duration::from_nanos(span.start_ns);
        SpanData {
            span_context: SpanContext::new(
                context.trace().get().into(),
                own.into(),
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: parent.map_or(OtelSpanId::INVALID, |parent| parent.get().into()),
            parent_span_is_remote: span.parent.is_none() && parent.is_some(),
            span_kind: if span.parent.is_none() { SpanKind::Server } else { SpanKind::Internal },
            name: span.label().into(),
            start_time,
            end_time: start_time + Duration::from_nanos(span.duration_ns),
            attributes: span.fields.iter().map(|(name, value)| attribute(name, value)).collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: match span.failed() {
                true => Status::error(span.field("outcome").unwrap_or_default().to_owned()),
                false => Status::Unset,
            },
            instrumentation_scope: self.scope.clone(),
        }
    }
}

/// With the names that OpenTelemetry has for them, and our own for the rest.
fn attribute(name: &str, value: &str) -> KeyValue {
    let number = |value: &str| value.parse().map_or_else(|_| Value::from(value.to_owned()), Value::I64);
    let text = |value: &str| Value::from(value.to_owned());
    match name {
        "method" => KeyValue::new("http.request.method", text(value)),
        "route" => KeyValue::new("http.route", text(value)),
        "path" => KeyValue::new("url.path", text(value)),
        "status" => KeyValue::new("http.response.status_code", number(value)),
        "sql" => KeyValue::new("db.query.text", text(value)),
        "rows" => KeyValue::new("db.response.returned_rows", number(value)),
        "handlers" | "memory_bytes" | "host_calls" | "fuel" => KeyValue::new(format!("tapline.{name}"), number(value)),
        _ => KeyValue::new(format!("tapline.{name}"), text(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_none() {
        for endpoint in ["", "127.0.0.1:4318", "https://127.0.0.1:4318", "grpc://a", "http://", "http://a/?b", "\u{0}"]
        {
            let error = Exporter::start(endpoint, "tapline").unwrap_err();
            assert!(matches!(error, ExportError::Endpoint { .. }), "{endpoint}: {error}");
        }
    }
}
