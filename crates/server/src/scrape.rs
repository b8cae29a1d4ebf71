//! Answers to scrapers: the largest that everybody may ask for, as their length grows with the number of plugins.

use std::{convert::Infallible, sync::Arc, time::Instant};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use tapline_host_core::metrics::TextFormat;
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

use crate::{health, respond, seldom::Seldom, server::Server};

/// Text that may be on its way to scrapers at the same time, in KiB. These are seven scrapes of a host with 500 plugins, at 9 MB
/// each: enough for every Prometheus that there is, and a bound for those that ask and do not read.
const ON_THE_WAY_KIB: u32 = 64 << 10;

/// What is handed to a connection at once. The rest stays here, where it is counted.
const PART: usize = 64 << 10;

/// What all scrapes have in common.
#[derive(Debug)]
pub(crate) struct Scrapes {
    /// Held while a text is written: one processor at most is busy with that.
    writing: Arc<Mutex<()>>,
    kib: Arc<Semaphore>,
    refused: Seldom,
}

impl Default for Scrapes {
    fn default() -> Self {
        Self {
            writing: Arc::default(),
            kib: Arc::new(Semaphore::new(ON_THE_WAY_KIB as usize)),
            refused: Seldom::default(),
        }
    }
}

pub(crate) async fn answer(server: &Server, format: TextFormat) -> Response {
    let (health, _) = health::report(server).await;
    let turn = Arc::clone(&server.scrapes().writing).lock_owned().await;
    let host = server.host().clone();
    let written = spawn_blocking(move || {
        // Also when the scraper has gone meanwhile.
        let _turn = turn;
        let metrics = host.metrics();
        metrics.set_health(health as u64);
        metrics.render_as(format)
    });
    match written.await {
        Ok(Ok(text)) => server.scrapes().send(text, format),
        Ok(Err(error)) => {
            tracing::error!(%error, "the metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

impl Scrapes {
    fn send(&self, text: String, format: TextFormat) -> Response {
        let length = text.len();
        let kib = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, ON_THE_WAY_KIB);
        let Ok(room) = Arc::clone(&self.kib).try_acquire_many_owned(kib) else {
            if let Some(times) = self.refused.happened(Instant::now()) {
                tracing::warn!(times, "scrapers ask and do not read: others are refused until those are cut off");
            }
            return respond::try_again(StatusCode::SERVICE_UNAVAILABLE.into_response());
        };
        let mut response = respond::typed(format.content_type(), Body::from_stream(parts(text, room)));
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        response
    }
}

/// The text in parts, each a copy: a connection that stands still keeps some of them and not the whole.
fn parts(text: String, room: OwnedSemaphorePermit) -> impl stream::Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::unfold((Bytes::from(text), room), async |(mut rest, room)| {
        let part = rest.split_to(PART.min(rest.len()));
        (!part.is_empty()).then(|| (Ok(Bytes::copy_from_slice(&part)), (rest, room)))
    })
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn what_is_on_its_way_is_bounded_and_comes_back() {
        let scrapes = Scrapes::default();
        // A quarter of what there is room for.
        let text = || "tapline_x 1\n".repeat(ON_THE_WAY_KIB as usize / 4 * 1024 / 12);
        let send = || scrapes.send(text(), TextFormat::Prometheus);
        let mut on_the_way: Vec<Response> = (0..4).map(|_| send()).collect();
        assert!(on_the_way.iter().all(|response| response.status() == StatusCode::OK));
        let refused = send();
        assert_eq!(
            (refused.status(), refused.headers().contains_key("retry-after")),
            (StatusCode::SERVICE_UNAVAILABLE, true)
        );
        // Read by its client, or dropped with a connection that was cut off.
        let read = to_bytes(on_the_way.remove(0).into_body(), usize::MAX).await.unwrap();
        assert_eq!(read, text().as_bytes());
        assert_eq!(send().status(), StatusCode::OK);
        drop(on_the_way);
        assert_eq!(scrapes.kib.available_permits(), ON_THE_WAY_KIB as usize);
        // Longer than everything there is room for: alone.
        assert_eq!(scrapes.send("x".repeat(80 << 20), TextFormat::Prometheus).status(), StatusCode::OK);
    }
}
