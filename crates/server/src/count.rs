//! Requests, counted by route, with the CPU time that answering them took.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    time::Duration,
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tapline_host_core::metrics::{RouteMetrics, process::thread_cpu_time};

/// Counts one request of a route. A client that goes away before it has an answer is not counted.
pub(crate) async fn count(State(route): State<RouteMetrics>, request: Request, next: Next) -> Response {
    if !route.is_enabled() {
        return next.run(request).await;
    }
    let (response, cpu) = timed(next.run(request)).await;
    route.answered(cpu);
    response
}

/// What the threads that ran a future spent on it. What it hands to other tasks and threads is not among it.
async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let mut future = pin!(future);
    let mut cpu = Duration::ZERO;
    let output = poll_fn(|context| {
        let before = thread_cpu_time();
        let polled = future.as_mut().poll(context);
        cpu += thread_cpu_time().saturating_sub(before);
        polled
    })
    .await;
    (output, cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_costs_no_cpu_time() {
        let wall = std::time::Instant::now();
        let ((), cpu) = timed(tokio::time::sleep(Duration::from_millis(20))).await;
        assert!(cpu < wall.elapsed(), "{cpu:?}");
        let ((), cpu) = timed(async {
            let start = thread_cpu_time();
            while thread_cpu_time() - start < Duration::from_millis(5) {}
        })
        .await;
        assert!(cpu >= Duration::from_millis(5), "{cpu:?}");
    }
}
